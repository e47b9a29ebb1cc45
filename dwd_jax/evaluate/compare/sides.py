"""Saved evaluations of the same pages, to compare detectors with."""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dwd_jax.core.errors import InputError
from dwd_jax.core.structs import PageBoxes
from dwd_jax.evaluate import from_saved, output_files
from dwd_jax.evaluate.evaluate_split import Detected, Tally
from dwd_jax.evaluate.page_store import Page
from dwd_jax.evaluate.report import report_data
from dwd_jax.evaluate.report.report_data import Measured
from dwd_jax.metrics import pairs, protocols
from dwd_jax.metrics.protocols import Meter
from dwd_jax.metrics.reliability import OperatingPoint


class Side(NamedTuple):
  """One detector.

  Attributes:
    path: of its <split>.json.
    folder: of the split's files.
    pages: in the order of the first detector, with true boxes in one order;
      upright boxes alone.
    meter: has measured all its detections by the COCO metric.
    rotated: the same of oriented boxes; None unless all sides have them.
    point: threshold of the detections that are counted, and its figures.
    source: of the threshold, see `report_data`.
  """

  name: str
  path: pathlib.Path
  folder: pathlib.Path
  pages: list[Page]
  meter: Meter
  rotated: Meter | None
  measured: Measured
  point: OperatingPoint
  source: str


def open_sides(paths: Sequence[str], names: Sequence[str] = ()) -> list[Side]:
  """Reads evaluations of the same pages.

  Args:
    paths: W/eval/<split>.json, or the folder W/eval/<split>.
    names: of the detectors; () = those of their runs' folders.

  Raises:
    InputError: a file is missing or damaged; other pages, classes or truth than
      those of the first.
  """
  found = [_find(path) for path in paths]
  names = names or _names([path for path, _ in found])
  if len(names) != len(paths) or len(set(names)) != len(names):
    raise InputError(
      f"--names: {len(set(names))} different names, {len(paths)} evaluations;"
      " give one for each"
    )
  read = [from_saved.read(path.parent, folder.name) for path, folder in found]
  min_score = max(detected.saved_from for detected in read)
  oriented = all(map(_is_oriented, read))
  order: list[str] = []
  sides = []
  for i, detected in enumerate(read):
    pages = {p.truth.filename: _ordered(p, oriented) for p in detected.pages}
    order = order or list(pages)
    if i:
      _check_same(paths[0], read[0], paths[i], detected)
    kept = [pages[name] for name in order]
    sides.append(_measured(names[i], *found[i], kept, detected, min_score))
  return sides


def _find(path: str) -> tuple[pathlib.Path, pathlib.Path]:
  """The summary of an evaluation, and the folder of its other files."""
  given = pathlib.Path(path)
  inner = given if given.name == "eval" else given / "eval"
  if inner.is_dir():
    there = sorted(
      str(p) for p in inner.glob("*.json") if p.name != output_files.PREDICTIONS
    )
    raise InputError(
      f"{given}: of several evaluations; name one, such as"
      f" {', '.join(there[:3]) or inner / 'test.json'}"
    )
  if given.is_dir():
    return given.with_name(f"{given.name}.json"), given
  if given.suffix != ".json":
    raise InputError(
      f"{given}: no evaluation; name the file W/eval/SPLIT.json of a run"
    )
  return given, given.with_suffix("")


def _names(paths: Sequence[pathlib.Path]) -> list[str]:
  """The shortest ends of the runs' folders that tell them apart."""
  runs = [path.absolute().parent.parent.parts for path in paths]
  for length in range(1, 1 + max(map(len, runs))):
    names = ["/".join(parts[-length:]) for parts in runs]
    if len(set(names)) == len(names):
      return names
  return [str(path) for path in paths]  # of one run


def _is_oriented(side: Detected) -> bool:
  """Whether truth and detections of all pages have oriented boxes."""
  return all(pairs.are_oriented(p.found, p.truth) for p in side.pages)


def _ordered(page: Page, oriented: bool) -> Page:
  """The boxes that are compared; corners only if all sides have them.

  True boxes get an order of their own, as builders may list them anew.
  """
  page = page if oriented else page.upright()
  truth, found = (dataclasses.replace(side, positions=None) for side in page)
  return Page(truth.keep(np.lexsort(_numbers(truth))), found)


def _numbers(truth: PageBoxes) -> np.ndarray:
  """All that is known of each true box, a column each."""
  rows = [truth.labels, *truth.boxes_yxyx.T]
  if truth.oriented_yx is not None:
    rows = [*truth.oriented_yx.reshape(-1, 8).T, *rows]
  return np.stack(rows)


def _check_same(
  first_path: str, first: Detected, path: str, other: Detected
) -> None:
  """Raises if the evaluations are not of the same pages and objects."""
  why = _difference(first, other)
  if why:
    raise InputError(
      f"{path}: of {why}; {first_path} is not. Compare evaluations of one split"
      " of one data set"
    )


def _difference(first: Detected, other: Detected) -> str:
  """What the second evaluation is of, other than the first; "" = the same."""
  for key in ("dataset", "split"):
    if first.facts[key] != other.facts[key]:
      return f"the {key} {other.facts[key]!r}"
  if tuple(first.class_names) != tuple(other.class_names):
    return "other classes"
  true, pages = (
    {page.truth.filename: page for page in side.pages}
    for side in (first, other)
  )
  if pages.keys() != true.keys():
    return f"other pages, such as {min(pages.keys() ^ true.keys())!r}"
  oriented = _is_oriented(first) and _is_oriented(other)
  for name, page in true.items():
    a, b = (_ordered(p, oriented).truth for p in (page, pages[name]))
    if not np.array_equal(_numbers(a), _numbers(b)):
      return f"other true boxes on {name!r}"
  return ""


def _measured(
  name: str,
  path: pathlib.Path,
  folder: pathlib.Path,
  pages: list[Page],
  detected: Detected,
  min_score: float,
) -> Side:
  meter = protocols.meter("coco", detected.class_names)
  tally = Tally(meter, min_score)
  for page in pages:
    tally.add(page)
  rotated = tally.rotated
  facts = {**detected.facts, "protocol": "coco", "min_score": min_score}
  upright = [page.upright() for page in pages]
  detected = detected._replace(facts=facts, pages=upright)
  measured = tally.measured(folder.name, detected)
  point, source = report_data.threshold_of(measured.metrics, measured.outcomes)
  return Side(
    name=name,
    path=path,
    folder=folder,
    pages=upright,
    meter=meter,
    rotated=rotated if measured.rotated is not None else None,
    measured=measured,
    point=point,
    source=source,
  )
