"""The levels `class` and `semseg` as tasks of the training loop."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import ml_collections

from dwd_jax.checkpoints import checkpointer
from dwd_jax.core.errors import InputError
from dwd_jax.data import sources
from dwd_jax.data.pixel_classes import PixelClasses
from dwd_jax.data.symbols import SymbolsOfPages, open_symbols
from dwd_jax.train import settings
from dwd_jax.train import setup as setup_lib
from dwd_jax.train.pretraining import networks
from dwd_jax.train.pretraining.loaders import pixel_loader, symbol_loader
from dwd_jax.train.pretraining_config import PretrainingConfig
from dwd_jax.train.stages import Stage
from dwd_jax.train.task import Loader, Task

FOLDER = "pretraining"  # in the workdir of the run
_VALIDATION_SEED = 1  # crops of validations; any number


@dataclasses.dataclass(frozen=True)
class _Parts:
  """The parts of a task that depend on the level.

  Attributes:
    class_names: of the head of `model`.
    loader: seed -> batches.
    validation: batches of validation pages; None = no validation.
    classes_from: where the classes come from, for the log.
  """

  model: nn.Module
  class_names: tuple[str, ...]
  loader: Callable[[int], Loader]
  validation: Callable[[], Loader] | None
  classes_from: str


def make_task(run: setup_lib.Run) -> Task:
  """The task of the pretraining at level `class` or `semseg`."""
  chosen = run.settings.pretraining
  _require_grey(run, chosen.level)
  config = task_config(run.config, chosen)
  parts = (_symbols if chosen.level == "class" else _pixels)(run, config)
  stage = Stage(chosen.level, chosen.steps, (networks.LOSS,), (1.0,))
  optimizer = dataclasses.replace(
    run.settings.optimizer, learning_rate=config.optimizer.learning_rate
  )
  says = f"Pretraining, level {chosen.level}, {chosen.steps} steps:"
  return Task(
    workdir=run.workdir / FOLDER,
    config=config,
    stages=(stage,),
    optimizer=optimizer,
    card=_card(run, chosen, parts),
    mesh=run.mesh,
    loader=functools.partial(parts.loader, config.seed),
    init=functools.partial(
      setup_lib.init_state, parts.model, config, optimizer
    ),
    losses_fn=networks.losses_of(parts.model),
    update=run.settings.train,
    announce=lambda logs, _: logs.say(f"{says} {parts.classes_from}"),
    validation=parts.validation,
  )


def _require_grey(run: setup_lib.Run, level: str) -> None:
  """Raises InputError for pictures in colour, whose ink is not known."""
  if run.model.cfg.channels != 1:
    raise InputError(
      f"config: pretraining.level={level}: learns from ink on grey pictures,"
      " and these are in colour; use level packaged, run or imagenet, or"
      " data.channels=1"
    )


def task_config(config: Any, chosen: PretrainingConfig) -> Any:
  """The config of the pretraining, saved as W/pretraining/config.json.

  Sections that only the detection reads are reset to the defaults, so that a
  change of them does not invalidate a finished pretraining.
  """
  c: Any = config.copy_and_resolve_references()
  plain: Any = settings.default()
  for section in ("groups", "targets", "losses", "decode", "predict", "eval"):
    c[section] = plain[section]
  c.data.crop_hw = chosen.crop_size(tuple(config.data.crop_hw))
  c.data.max_boxes = plain.data.max_boxes
  c.train.batch_size = chosen.batch_size
  c.train.eval_every = 0
  c.train.pictures_every = 0
  c.optimizer.learning_rate = (
    chosen.learning_rate or config.optimizer.learning_rate
  )
  stage = {"name": chosen.level, "steps": chosen.steps}
  c.stages = (ml_collections.ConfigDict(stage),)
  return c


def _card(
  run: setup_lib.Run, chosen: PretrainingConfig, parts: _Parts
) -> checkpointer.ModelCard:
  training = run.card.training | {"pretraining": chosen.level}
  model = run.card.model | {"num_classes": len(parts.class_names)}
  model.pop("num_groups")  # of heads that only the detector has
  model.pop("num_energy_levels")
  return checkpointer.ModelCard(parts.class_names, (), model, training)


def _symbols(run: setup_lib.Run, config: Any) -> _Parts:
  path = run.settings.pretraining.path
  symbols = open_symbols(path, run.source(config.data.train_split))
  model = dataclasses.replace(
    run.model.cfg, num_classes=len(symbols.class_names)
  )
  hw, batch_size = tuple(config.data.crop_hw), config.train.batch_size

  def loader(seed: int, shown=symbols) -> Loader:
    return symbol_loader(
      shown, hw, config.data, batch_size=batch_size, seed=seed
    )

  def validation() -> Loader:
    shown = SymbolsOfPages(run.source(config.data.eval_split))
    return loader(_VALIDATION_SEED, shown)

  return _Parts(
    networks.SymbolNet(model),
    symbols.class_names,
    loader,
    None if path else validation,
    f"{(symbols.labels >= 0).sum()} symbols of {len(symbols.class_names)}"
    f" classes from {path or 'the training pages'}",
  )


def _pixels(run: setup_lib.Run, config: Any) -> _Parts:
  source = run.source(config.data.train_split)
  pixels = PixelClasses(source)

  def loader(
    seed: int, shown: sources.PageSource = source, classes=pixels
  ) -> Loader:
    return pixel_loader(
      shown,
      classes,
      config.data,
      batch_size=config.train.batch_size,
      seed=seed,
    )

  def validation() -> Loader:
    shown = run.source(config.data.eval_split)
    classes = PixelClasses(shown, pixels.meaning)
    return loader(_VALIDATION_SEED, shown, classes)

  return _Parts(
    networks.PixelNet(run.model.cfg),
    run.class_names,
    loader,
    validation,
    f"classes of pixels from {pixels.describe()}",
  )
