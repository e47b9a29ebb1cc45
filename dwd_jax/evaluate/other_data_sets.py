"""Evaluation on data sets other than the run's: `config.eval.on`.

Truth and detections are mapped to the finest classes that the run and the set
can both express (`core.vocabulary`); the rest is left out and counted. If both
use the same vocabulary, or one has no known vocabulary, classes are matched by
name.
"""

import collections
import dataclasses
import pathlib
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from dwd_jax.core import config_sections, vocabulary
from dwd_jax.core.errors import InputError
from dwd_jax.core.structs import PageBoxes
from dwd_jax.data import pipeline, prepare, sources
from dwd_jax.evaluate.eval_config import OtherSetConfig


def names_in_config(config: Any) -> dict[str, tuple[str, OtherSetConfig]]:
  """Lists the entries of `config.eval.on` that name a data set.

  Returns:
    {name of the results: (where, such as "eval.on[0]", the entry)}.

  Raises:
    InputError: an entry without a builder, a duplicate name, also of an own
      split, or one unfit for a file.
  """
  found: dict[str, tuple[str, OtherSetConfig]] = {}
  empty = vars(OtherSetConfig())
  own = (config.data.eval_split, config.data.test_split)
  for i, values in enumerate(config.eval.on):
    where = f"eval.on[{i}]"
    entry = config_sections.make(OtherSetConfig, values)
    if not entry.builder:
      given = [key for key, value in vars(entry).items() if value != empty[key]]
      if given:
        raise InputError(
          f"config: {where}.{given[0]} is given, but no {where}.builder; name a"
          " folder of tfds_builders/"
        )
      continue
    name = entry.name or f"{entry.builder}-{entry.split}"
    if not re.fullmatch(r"\w[\w.+-]{0,99}", name, re.ASCII):
      raise InputError(
        f"config: {where}: {name!r} can not name a file; set {where}.name to"
        " letters, digits, and any of _ . + -"
      )
    if name in found or name in own:
      other = found[name][0] if name in found else "a split of config.data"
      raise InputError(
        f"config: {where}: its results would have the name '{name}', as those"
        f" of {other}; set {where}.name"
      )
    found[name] = (where, entry)
  return found


class RunClasses(NamedTuple):
  """The classes that a run was trained on.

  Attributes:
    names: C names, in the order of the class head.
    vocabulary: of the run's data set; "" = unknown.
    common_with: `config.data.common_with` of the run.
  """

  names: tuple[str, ...]
  vocabulary: str
  common_with: str = ""


@dataclasses.dataclass(frozen=True)
class Matched:
  """Matched classes of a run and a data set.

  Attributes:
    names: of the classes that both can express.
    of_run: class of the run -> index into `names`; -1 = none.
    of_set: class of the set -> index into `names`; -1 = none.
  """

  names: tuple[str, ...]
  of_run: np.ndarray  # int32 [C of the run]
  of_set: np.ndarray  # int32 [C of the set]


def match(run: RunClasses, source: sources.PageSource) -> Matched:
  """Matches the classes of a run with those of a source.

  A common class has the set's name if that is one name, otherwise the run's
  names, joined with "+".

  Args:
    source: opened with `common_with` from `other_vocabulary`.

  Raises:
    InputError: no common class.
  """
  parts = vocabulary.components(_links(run, source))
  if not parts:
    raise InputError(
      f"{source.name} has no class in common with the run"
      f" ({', '.join(run.names[:3])} ...); name another data set"
    )
  names = [s[0] if len(s) == 1 else "+".join(r) for r, s in parts]
  of_run = {name: i for i, (r, _) in enumerate(parts) for name in r}
  of_set = {name: i for i, (_, s) in enumerate(parts) for name in s}

  def ids(classes: Sequence[str], of: dict[str, int]) -> np.ndarray:
    return np.array([of.get(name, -1) for name in classes], np.int32)

  return Matched(
    tuple(names), ids(run.names, of_run), ids(source.class_names, of_set)
  )


def other_vocabulary(run: RunClasses, set_vocabulary: str) -> str:
  """The `common_with` to open a set with; "" = its own names."""
  known = bool(run.vocabulary and set_vocabulary)
  return run.vocabulary if known and run.vocabulary != set_vocabulary else ""


def _links(
  run: RunClasses, source: sources.PageSource
) -> list[tuple[str, str]]:
  """Pairs (class of the run, class of the source) with a common meaning."""
  in_set = frozenset(source.class_names)
  if not (run.vocabulary and source.vocabulary):
    return [(name, name) for name in run.names if name in in_set]
  of_run = {name: name for name in run.names}
  if run.common_with:
    common = vocabulary.common_classes(run.vocabulary, run.common_with).of_a
    of_run = {x: y for x, y in common.items() if y in run.names}
  of_set = {name: name for name in in_set}
  if other_vocabulary(run, source.vocabulary):
    of_set = vocabulary.common_classes(run.vocabulary, source.vocabulary).of_a
  return [(y, of_set[x]) for x, y in of_run.items() if of_set.get(x) in in_set]


@dataclasses.dataclass(frozen=True, eq=False)
class OtherSet:
  """A split of another data set to evaluate a run on; see `open_sets`.

  Attributes:
    name: of the result's files.
    data_cfg: `config.data` for this set.
  """

  name: str
  data_cfg: Any
  source: sources.PageSource
  run: RunClasses
  matched: Matched

  @property
  def class_names(self) -> tuple[str, ...]:
    """The common classes."""
    return self.matched.names

  def pages(self, part: range | None = None) -> Iterator[pipeline.EvalPage]:
    """Pages with truth in `class_names`; see `pipeline.read_eval_pages`."""
    for page in pipeline.read_eval_pages(self.source, self.data_cfg, part):
      truth = _relabelled(page.truth, self.matched.of_set)
      yield dataclasses.replace(page, truth=truth)

  def relabel(self, detections: PageBoxes) -> PageBoxes:
    """Maps detections of the run to `class_names`, without unmapped ones."""
    return _relabelled(detections, self.matched.of_run)

  def unmapped(self, detections: PageBoxes) -> list[str]:
    """Classes of the detections of the run that have none in the set."""
    labels = np.asarray(detections.labels)
    labels = labels[self.matched.of_run[labels] < 0]
    return [self.run.names[i] for i in labels.tolist()]

  def facts(self, unmapped: collections.Counter[str]) -> dict:
    """Fields of the summary about the mapping; `unmapped` counts by class."""
    run = self.run.vocabulary
    if self.run.common_with:
      run += f" in common with {self.run.common_with}"
    return {
      "vocabularies": [run, self.source.vocabulary],
      "unmapped_detections": dict(unmapped.most_common()),
    }

  def describe(self) -> str:
    """Describes in one line how much of the run and of the set is judged."""
    matched, source = self.matched, self.source
    index = source.box_index()
    left = int((matched.of_set[index.labels] < 0).sum())
    left += sum(source.unmapped_boxes.values())
    total = len(index.labels) + sum(source.unmapped_boxes.values())
    return (
      f"{self.name}: {len(matched.names)} classes in common"
      f" ({(matched.of_run >= 0).sum()} of {len(self.run.names)} of the run);"
      f" {left} of {total} objects of the split have another class"
    )


def _relabelled(page: PageBoxes, new_id: np.ndarray) -> PageBoxes:
  labels = new_id[np.asarray(page.labels, np.int32)]
  return dataclasses.replace(page, labels=labels).keep(labels >= 0)


def open_sets(
  config, workdir: pathlib.Path, run: RunClasses
) -> tuple[OtherSet, ...]:
  """Prepares and opens the sets that `config.eval.on` names.

  Records are built in WORKDIR/data/on, or WORKDIR/data/on/NAME for a set with a
  name, unless `eval.on[i].data_dir` is set.

  Raises:
    InputError: a set cannot be built or opened, or has no common class.
  """
  return tuple(
    _open_set(config, workdir, run, name, where, on)
    for name, (where, on) in names_in_config(config).items()
  )


def _open_set(
  config,
  workdir: pathlib.Path,
  run: RunClasses,
  name: str,
  where: str,
  on: OtherSetConfig,
) -> OtherSet:
  data_cfg = config.data.copy_and_resolve_references()
  for key in ("builder", "builder_config", "manual_dir"):
    data_cfg[key] = getattr(on, key)
  data_cfg.options = config_sections.config_dict(on.options)
  data_cfg.data_dir = on.data_dir or str(workdir / "data" / "on" / on.name)
  data_cfg.eval_scale = on.eval_scale or config.data.eval_scale
  data_cfg.max_pages = on.max_pages or config.data.max_pages
  data_cfg.engrave.pages = 0
  data_cfg.leave_out, data_cfg.common_with = (), ""
  if config.data.staff_space_px:
    data_cfg.polarity = "auto"  # a detector of music inverts negatives
  try:
    data_dir = prepare.prepare(data_cfg, workdir)
    source = sources.open_split(data_cfg, data_dir, on.split)
    data_cfg.common_with = other_vocabulary(run, source.vocabulary)
    if data_cfg.common_with:
      source = sources.open_split(data_cfg, data_dir, on.split)
    return OtherSet(
      name=name,
      data_cfg=data_cfg,
      source=source,
      run=run,
      matched=match(run, source),
    )
  except InputError as e:
    raise InputError(f"{where}: {e}") from None
