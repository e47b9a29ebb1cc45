"""MUSCIMA++ -> pages, boxes, labels, masks; no TFDS in here."""

import dataclasses
import pathlib

import numpy as np

from dwd_jax.core import vocabulary
from dwd_jax.core.errors import InputError
from tfds_builders import checks
from tfds_builders.muscima_pp import muscima_pp_annotations as annotations
from tfds_builders.muscima_pp import muscima_pp_original as original
from tfds_builders.muscima_pp import muscima_pp_release as release

ORIGINAL = "original_2017"
# Names in v1.0 and in v2.0 of the classes that the original does not train on.
LEGACY_CLASSES = frozenset({
  "ledger_line", "legerLine", "multi-measure_rest", "multiMeasureRest",
  "multi-staff_brace", "brace", "multi-staff_bracket", "bracket",
  "staff_grouping", "staffGrouping",
})  # fmt: skip
LEGACY_MAX_SIDE_PX = 400  # annotated boxes of this size or more are left out
_VOCABULARIES = {
  "v2.0": ("muscima_v2",),
  "v1.0": ("muscima_v1",),
  ORIGINAL: ("muscima_v1", "muscima_v2"),
}


@dataclasses.dataclass(frozen=True)
class Options:
  """What `data.options` can change.

  Attributes:
    official_split: see `muscima_pp_release.assign_splits`.
    masks: add `mask_runs` and `mask_stops` to the records.
    legacy_exclusions: leave out the objects that the original leaves out.
  """

  official_split: str = ""
  masks: bool = False
  legacy_exclusions: bool = False


def extra_features(config: str, options: Options) -> tuple[str, ...]:
  """See `base.Parser`."""
  del config
  return ("mask_runs", "mask_stops") if options.masks else ()


def read_data_set(
  root: pathlib.Path, config: str, options: Options, report: checks.BuildReport
) -> checks.DataSet:
  """Lists the pages of a MUSCIMA++ folder; see `base.Parser`.

  Returns:
    Class names in the order of the specification, and splits. A split without
    pages is absent.

  Raises:
    InputError: part of the layout is missing, an image has no annotation or
      vice versa, or a file is not named as in MUSCIMA++.
  """
  checks.require_dir(root, release.LAYOUT)
  if config == ORIGINAL:
    if options.official_split:
      raise InputError(
        f"data.options.official_split: {config} has its own lists of pages;"
        " leave it empty"
      )
    class_names, splits = original.read(root, report)
  else:
    class_names, splits = release.read(
      root, config, options.official_split, report
    )
  fitting = vocabulary.first_with(class_names, _VOCABULARIES[config])
  return checks.DataSet(class_names, splits, fitting)


def read_page(
  page: checks.PageFiles,
  class_names: tuple[str, ...],
  options: Options,
  report: checks.BuildReport,
) -> checks.ParsedPage:
  """Reads and checks one page; see `base.Parser`.

  Raises:
    InputError: broken image or XML, an annotation of another page, an unknown
      class name, unusable boxes or masks.
  """
  ink = checks.read_image(page.image)
  objects = annotations.read_objects(
    page.annotation, page.name, page.rows.root_tag, class_names
  )
  boxes, kept = checks.clean_boxes(
    objects.boxes_yxyx, ink.shape, page.annotation, report
  )
  if options.legacy_exclusions:
    left_out = LEGACY_CLASSES | set(page.rows.marked_classes)
    kept = kept & ~_legacy_exclusions(
      objects, kept, class_names, left_out, page.annotation, report
    )
  rows = np.flatnonzero(kept)
  boxes, labels = boxes[rows], objects.labels[rows]
  _count_duplicates(rows, boxes, labels, class_names, page.annotation, report)
  extras = {}
  if options.masks:
    extras = annotations.read_masks(
      objects, rows, boxes, page.annotation, report
    )
  return checks.ParsedPage(ink, boxes, labels, extras)


def _legacy_exclusions(
  objects: annotations.Objects,
  kept,
  class_names: tuple[str, ...],
  left_out: frozenset[str],
  path: pathlib.Path,
  report: checks.BuildReport,
) -> np.ndarray:
  """Which objects the original leaves out."""
  sides = objects.boxes_yxyx[:, 2:] - objects.boxes_yxyx[:, :2]
  large = np.any(sides >= LEGACY_MAX_SIDE_PX, axis=1)
  of_class = np.isin(
    objects.labels, [i for i, n in enumerate(class_names) if n in left_out]
  )
  for excluded, why in (
    (large, f"{LEGACY_MAX_SIDE_PX} px or more"),
    (of_class & ~large, "of an excluded class"),
  ):
    for i in np.flatnonzero(excluded & kept):
      name = class_names[objects.labels[i]]
      report.add(
        f"objects left out (legacy_exclusions): {why}",
        f"{path.name}: object {i}: {name}",
      )
  return large | of_class


def _count_duplicates(rows, boxes, labels, class_names, path, report) -> None:
  """Counts objects with class and box of an earlier one, which stay."""
  first: dict[tuple, int] = {}
  for row, label, box in zip(rows, labels, boxes, strict=True):
    key = (int(label), *map(float, box))
    if key in first:
      report.add(
        "identical annotations (kept)",
        f"{path.name}: object {row} is object {first[key]}:"
        f" {class_names[label]}",
      )
    else:
      first[key] = row
