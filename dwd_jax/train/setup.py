"""config + workdir -> data, network, groups, mesh: what a run is made of."""

import collections
import dataclasses
import pathlib
from typing import Any

import flax.linen as nn
import jax
import ml_collections
import numpy as np

from dwd_jax.checkpoints import checkpointer
from dwd_jax.cluster import processes, sharding
from dwd_jax.core import config_sections, words
from dwd_jax.core.errors import InputError
from dwd_jax.core.structs import NO_POSITION
from dwd_jax.data import (
  box_facts,
  pipeline,
  prepare,
  sampling,
  sources,
  split_staff_spaces,
)
from dwd_jax.evaluate import other_data_sets
from dwd_jax.models import dwd, staff_positions
from dwd_jax.objectives import detection_loss, energy_groups
from dwd_jax.train import adapt_config, from_data, open_keys, optim, state
from dwd_jax.train import settings as config_lib

_FIRST = ("energy", "class", "box")  # the losses that every run has had
_PAGES_OF_CLASS = 4  # of which some object has a position, if the class has


@dataclasses.dataclass(frozen=True)
class Run:
  """A run, ready to train or to evaluate.

  Attributes:
    config: resolved; energy groups, polarity and staff space are filled in.
    settings: the checked parts of it.
    workdir: where everything is written.
    data_dir: prepared records.
    class_names: C names.
    vocabulary: of the records' own class names, "" = unknown.
    group_of_class: energy group of each class.
    model: the network.
    mesh: devices.
    choices: settings that followed from the data.
  """

  config: ml_collections.ConfigDict
  settings: config_lib.RunSettings
  workdir: pathlib.Path
  data_dir: pathlib.Path
  class_names: tuple[str, ...]
  vocabulary: str
  group_of_class: tuple[int, ...]
  model: dwd.DWDNet
  mesh: jax.sharding.Mesh
  choices: tuple[from_data.Choice, ...] = ()

  @property
  def losses(self) -> detection_loss.DetectionConfig:
    """What the losses of the detector need."""
    return detection_loss.DetectionConfig(
      self.settings.targets,
      self.settings.losses,
      self.group_of_class,
      self.settings.train.remat,
      self.model.cfg.position_space_px,
      self._seed_level,
    )

  @property
  def _seed_level(self) -> float:
    """Energy of a peak from which the decode makes an object."""
    decode = self.settings.decode
    if decode.method == "threshold":
      return decode.energy_cutoff
    return max(decode.energy_cutoff, decode.min_seed_level)

  @property
  def card(self) -> checkpointer.ModelCard:
    """What checkpoints of this run say of it."""
    model = dataclasses.asdict(self.model.cfg)
    # How it is computed may change between machines.
    model.pop("dtype")
    model.pop("remat")
    training = {
      "optimizer": self.settings.optimizer.name,
      "loss_window": self.config.train.loss_window,
      # Of older runs True: their mean was of the parameters alone.
      "ema": ["params", "batch_stats"]
      if self.config.train.ema_decay
      else False,
      # Rows of the state's running means; older cards know of none.
      "further_losses": [k for k in detection_loss.LOSSES if k not in _FIRST],
    }
    return checkpointer.ModelCard(
      self.class_names,
      self.group_of_class,
      model,
      training,
      float(self.config.data.staff_space_px),
      self.polarity,
    )

  @property
  def polarity(self) -> str:
    """See `sources.PageSource`."""
    given = self.config.data.polarity
    return "" if given == "auto" else given

  @property
  def classes(self) -> other_data_sets.RunClasses:
    """What another data set is matched with."""
    return other_data_sets.RunClasses(
      self.class_names, self.vocabulary, self.config.data.common_with
    )

  def source(self, split: str) -> sources.PageSource:
    """Opens a split of the run's records."""
    return sources.open_split(self.config.data, self.data_dir, split)

  def init(self, seed: jax.typing.ArrayLike) -> state.TrainState:
    """A fresh state; a pure function."""
    optimizer = self.settings.optimizer
    return init_state(self.model, self.config, optimizer, seed)


def setup(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> Run:
  """Checks the config, prepares the data, builds the network.

  Args:
    config: overrides applied.
    workdir: made if missing.

  Returns:
    The run.

  Raises:
    InputError: bad config, bad data, or a batch that does not fit the devices.
  """
  config_lib.validate(config)
  config = open_keys.copy(config)
  mesh = sharding.make_mesh(config.train.fsdp)
  make_workdir(workdir)
  data_dir = prepare.prepare(config.data, workdir)
  source = sources.open_split(config.data, data_dir, config.data.train_split)
  choices = from_data.fill(
    config,
    box_facts.of_index(source.box_index()),
    from_data.Machine(jax.default_backend() == "cpu", jax.device_count()),
    _num_eval_images(config.data, data_dir),
  )
  groups = resolve_groups(config, source)
  if config.adapt.pages and not config.train.ema_decay:
    config.train.ema_decay = adapt_config.EMA_DECAY  # the teacher
  config.data.staff_space_px = resolve_staff_space(config.data, source)
  resolve_splits(config.data, data_dir)
  config.groups.by_class = tuple(
    zip(source.class_names, map(int, groups), strict=True)
  )
  config.data.polarity = source.polarity or "auto"
  if config.data.kind == "auto":
    config.data.kind = source.kind
  if source.channels == 3 or config.data.channels == "auto":
    config.data.channels = str(source.channels)
  num_groups = int(groups.max()) + 1
  model_cfg = config_lib.model_config(
    config,
    num_classes=len(source.class_names),
    num_groups=num_groups,
    channels=source.channels,
  )
  if model_cfg.staff_positions:
    model_cfg = dataclasses.replace(
      model_cfg,
      position_classes=classes_with_positions(source),
      position_space_px=config.data.staff_space_px
      or staff_positions.USUAL_SPACE_PX,
    )
  model = dwd.make_model(model_cfg)
  return Run(
    config=config,
    settings=config_lib.validate(config),
    workdir=workdir,
    data_dir=data_dir,
    class_names=source.class_names,
    vocabulary=source.vocabulary,
    group_of_class=tuple(map(int, groups)),
    model=model,
    mesh=mesh,
    choices=choices,
  )


def _num_eval_images(data_cfg, data_dir: pathlib.Path) -> int:
  """Images of an evaluation; of the training where there is no other split."""
  try:
    source = sources.open_split(data_cfg, data_dir, data_cfg.eval_split)
  except InputError:  # `resolve_splits` says so
    source = sources.open_split(data_cfg, data_dir, data_cfg.train_split)
  return pipeline.num_eval_pages(source, data_cfg)


def init_state(
  network: nn.Module,
  config: Any,
  optimizer: optim.OptimizerConfig,
  seed: jax.typing.ArrayLike,
) -> state.TrainState:
  """A fresh state for a network and a config; a pure function."""
  hw = tuple(config.data.crop_hw)
  return state.new_state(
    dwd.init_variables(network, seed, hw),
    optim.make_optimizer(optimizer),
    config.train.loss_window,
    bool(config.train.ema_decay),
  )


def make_workdir(workdir: pathlib.Path) -> None:
  """Makes the folder of a run.

  Raises:
    InputError: it cannot be made or written.
  """
  try:
    workdir.mkdir(parents=True, exist_ok=True)
    probe = workdir / f".writable-{jax.process_index()}"
    probe.touch()
    probe.unlink()
  except OSError as e:
    raise InputError(
      f"{workdir}: cannot write there ({e.strerror}); choose another --workdir"
    ) from e


def resolve_splits(data_cfg, data_dir: pathlib.Path) -> None:
  """Replaces `val` and `test` in the config where the records lack them.

  A set of one or two images is not divided. Prints a line for each.

  Raises:
    InputError: the records lack a split of another name, which was chosen.
  """
  images = words.of_data(data_cfg).images
  for key, usual, instead, what in (
    (
      "eval_split",
      "val",
      data_cfg.train_split,
      f"validation means the training {images} ({data_cfg.train_split}), whose"
      " scores say nothing about others",
    ),
    ("test_split", "test", "", "nothing is tested"),
  ):
    try:
      if data_cfg[key]:
        sources.open_split(data_cfg, data_dir, data_cfg[key])
    except InputError as e:
      if data_cfg[key] != usual:
        raise
      processes.say(f"{e}: {what}; add {images}, or name others in data.{key}")
      data_cfg[key] = instead
  _warn_of_shared_pages(data_cfg, data_dir)


def _warn_of_shared_pages(data_cfg, data_dir: pathlib.Path) -> None:
  """Says which pages are trained on and judged.

  Only splits of other names than the usual three, such as the list train100 of
  `tfds_builders/deepscores`, can share pages with them.
  """
  keys = ("train_split", "eval_split", "test_split")
  if {data_cfg[key] for key in keys} <= {"train", "val", "test", ""}:
    return
  trained, images = data_cfg.train_split, words.of_data(data_cfg).images
  names = _filenames(data_cfg, data_dir, trained)
  for key in keys[1:]:
    judged = data_cfg[key]
    if not judged or judged == trained:
      continue
    own = _filenames(data_cfg, data_dir, judged)
    if shared := len(own & names):
      processes.say(
        f"warning: {shared} of {len(own)} {images} of data.{key}={judged} are"
        f" in data.train_split={trained}, too: its scores say little about"
        f" other {images}"
      )


def _filenames(data_cfg, data_dir: pathlib.Path, split: str) -> set[str]:
  source = sources.open_split(data_cfg, data_dir, split)
  return set(source.box_index().filenames)


def resolve_groups(
  config: ml_collections.ConfigDict, source: sources.PageSource
) -> np.ndarray:
  """Energy group of each class; `groups.by_class` overrides the rule.

  Args:
    source: training pages, whose boxes decide.

  Returns:
    int32 [C].

  Raises:
    InputError: a class or a group that does not exist.
  """
  num = config.groups.num
  groups = np.zeros(len(source.class_names), np.int32)
  boxes = (
    (boxes, labels)
    for labels, boxes in map(source.labels_and_boxes, range(len(source)))
  )
  sizes = {
    "disc_px": float(config.targets.energy_disc_px),
    "scale": float(config.data.eval_scale),
  }
  if config.groups.covered:
    groups = energy_groups.covered_classes(
      boxes, len(groups), float(config.groups.covered), **sizes
    ).astype(np.int32)
  elif num > 1 and config.groups.automatic:
    groups = energy_groups.assign_groups(boxes, len(groups), num, **sizes)
  index = {name: i for i, name in enumerate(source.class_names)}
  for name, group in config.groups.by_class:
    if name not in index:
      raise InputError(
        f"config: groups.by_class: unknown class '{name}';"
        f" {config_sections.nearest(name, list(index))}"
      )
    if not 0 <= group < num:
      raise InputError(
        f"config: groups.by_class: '{name}' has group {group};"
        f" groups.num is {num}"
      )
    groups[index[name]] = group
  return groups


def classes_with_positions(source: sources.PageSource) -> tuple[int, ...]:
  """Ids of the classes that have places on the staff.

  Looks at some pages of each class, evenly chosen.

  Args:
    source: training pages.

  Raises:
    InputError: the records have no positions, or none of these pages any.
  """
  source.require("positions", "model.staff_positions")
  index, found = source.box_index(), set()
  for label in range(len(source.class_names)):
    pages = np.unique(index.page[index.labels == label])
    for page in sampling.spread(pages, _PAGES_OF_CLASS).tolist():
      positions = source.feature("positions", page)
      assert positions is not None  # required above
      labels = index.labels[index.of_page(page)]
      if np.any(positions[labels == label] != NO_POSITION):
        found.add(label)
        break
  if not found:
    raise InputError(
      f"{source.folder or source.name}: no symbol has a place on the staff,"
      " which model.staff_positions=True needs; set it to False"
    )
  return tuple(sorted(found))


def resolve_staff_space(data_cfg, source: sources.PageSource) -> float:
  """Distance of two staff lines as the network sees it: given, or measured.

  Args:
    data_cfg: `config.data`.
    source: training pages.

  Returns:
    Pixels at `data.eval_scale`; 0.0 where the pages have no staves.
  """
  given = float(data_cfg.staff_space_px)
  if given:
    return given
  px = split_staff_spaces.typical_staff_space(source)
  # Rounded: measured anew it must be the same number in the config.
  return round(px * float(data_cfg.eval_scale), 3)


def describe_staff_space(run: Run) -> str:
  """One line: the staff space, and what is made of it."""
  px = run.config.data.staff_space_px
  if not px:
    return "Staff space unknown: no staves on the training pages"
  kept = "pages keep their scale"
  if run.settings.predict.normalise != "off":
    kept = "pages that differ are scaled to it"
  return f"Staff space {px:g} px as the network sees it; {kept}"


def describe_polarity(run: Run) -> str:
  """One line: which tone objects have, or that there are colours."""
  if run.model.cfg.channels == 3:
    return "Pictures in colour, as they are"
  meaning = {
    "dark": "objects are darker than what is around them",
    "light": "objects are lighter than what is around them",
    "keep": "pictures stay as stored",
    "": "each picture by itself, as older records are; build them again",
  }[run.polarity]
  return f"Polarity {run.polarity or 'unknown'}: {meaning}"


def describe_groups(run: Run) -> str:
  """One line: the energy groups and a few classes of each."""
  members = collections.defaultdict(list)
  for name, group in zip(run.class_names, run.group_of_class, strict=True):
    members[group].append(name)
  parts = [
    f"{group}: {len(names)} classes ({', '.join(names[:3])} ...)"
    for group, names in sorted(members.items())
  ]
  return "Energy groups " + "; ".join(parts)
