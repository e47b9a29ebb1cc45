"""Cuts the symbols of the training writers from the masks of MUSCIMA++ v2.0.

  python -m tfds_builders.muscima_pp.muscima_pp_hands MUSCIMA/v2.0 hands.npz

`python -m dwd_jax.engrave --hands=hands.npz` draws pages from them. The writers
of `val`, `heldout` and `test` are left out, and so are staves and their groups,
which are lines and no symbols.
"""

import dataclasses
import pathlib
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from dwd_jax.core import cli
from dwd_jax.core.errors import InputError
from dwd_jax.engrave import hands
from dwd_jax.imaging import masks
from tfds_builders import checks
from tfds_builders.muscima_pp import muscima_pp_parsing as parsing
from tfds_builders.muscima_pp import muscima_pp_release as release

SOURCE = "MUSCIMA++ v2.0, CC BY-NC-SA 4.0"
_CONFIG = "v2.0"
_STAVES = ("staff", "staffLine", "staffSpace", "staffGrouping")
# Classes with parts; those that may be a part of another one come later.
COMPOUNDS = (
  "volta", "otherText", "tempoText", "transpositionText", "dynamicsText",
  "instrumentSpecific", "ornamentTrill", "keySignature", "timeSignature",
  "tuple", "otherNumericSign", "repeat", "measureSeparator", "dynamicLetterP",
  "dynamicLetterF", "dynamicLetterM", "dynamicLetterS", "dynamicLetterZ",
  "dynamicLetterR",
)  # fmt: skip
_INSIDE = 0.9  # of the ink of a part
_SLACK_PX = 2  # by which a part may leave the box of the whole


@dataclasses.dataclass(frozen=True)
class _Cut:
  """The rows of one page, see `hands.Table`."""

  labels: Int[np.ndarray, " n"]
  boxes_yxyx: Int[np.ndarray, "n 4"]
  middle_y: Float[np.ndarray, " n"]
  staff_space: float
  line_px: float
  parents: Int[np.ndarray, " n"]
  runs: list[np.ndarray]


def cut(root: pathlib.Path, report: checks.BuildReport) -> hands.Table:
  """Cuts the symbols of a folder.

  Args:
    root: see the builder's README.
    report: counts pages and objects that are left out.

  Raises:
    InputError: part of the layout is missing, or a file is bad.
  """
  checks.require_dir(root, release.LAYOUT)
  names, splits = release.read(root, _CONFIG, "", report)
  pages, writers = [], []
  for page in splits["train"]:
    found = _cut_page(page, names, report)
    if found is None:
      report.add("pages skipped: no staves or symbols", page.name)
      continue
    pages.append(found)
    writers.append(int(release.page_id(page.name, page.annotation)[0]))
  if not pages:
    raise InputError(f"{root}: no page of a training writer has staves")
  sizes = [len(page.labels) for page in pages]
  first = np.cumsum([0, *sizes[:-1]])
  runs, stops = masks.join([run for page in pages for run in page.runs])
  return hands.Table(
    class_names=np.array(names),
    source=np.array(SOURCE),
    labels=np.concatenate([p.labels for p in pages]).astype(np.int32),
    writers=np.repeat(writers, sizes).astype(np.int32),
    pages=np.repeat(np.arange(len(pages)), sizes).astype(np.int32),
    boxes_yxyx=np.concatenate([p.boxes_yxyx for p in pages]).astype(np.int32),
    middle_y=np.concatenate([p.middle_y for p in pages]).astype(np.float32),
    staff_spaces=np.repeat([p.staff_space for p in pages], sizes),
    line_px=np.repeat([p.line_px for p in pages], sizes),
    parents=np.concatenate(
      [
        np.where(p.parents >= 0, p.parents + at, -1)
        for p, at in zip(pages, first, strict=True)
      ]
    ).astype(np.int32),
    mask_runs=runs,
    mask_stops=stops,
  )


def _cut_page(
  page: checks.PageFiles,
  names: Sequence[str],
  report: checks.BuildReport,
) -> _Cut | None:
  """The symbols of a page; None if it has no staves."""
  parsed = parsing.read_page(
    page, tuple(names), parsing.Options(masks=True), report
  )
  labels = np.asarray(parsed.labels)
  boxes = np.asarray(parsed.boxes_yxyx).round().astype(np.int64)
  kinds = np.array(names)[labels]
  staves = boxes[kinds == "staff"]
  runs = masks.split(parsed.extras["mask_runs"], parsed.extras["mask_stops"])
  symbols = [
    i
    for i, run in enumerate(runs)
    if kinds[i] not in _STAVES and run[1::2].sum()
  ]
  lines = np.flatnonzero(kinds == "staffLine")
  if not len(staves) or not symbols or not len(lines):
    return None
  # Ink per column of a line.
  line_px = float(
    np.median(
      [runs[i][1::2].sum() / (boxes[i, 3] - boxes[i, 1]) for i in lines]
    )
  )
  space = (float(np.median(staves[:, 2] - staves[:, 0])) - line_px) / 4
  if not (line_px > 0 and space > line_px):
    return None
  own = boxes[symbols]
  own_runs = [runs[i] for i in symbols]
  return _Cut(
    labels=labels[symbols],
    boxes_yxyx=own,
    middle_y=_middle_lines(own, staves),
    staff_space=space,
    line_px=line_px,
    parents=_parents(kinds[symbols], own, own_runs),
    runs=own_runs,
  )


def _middle_lines(
  boxes: Int[np.ndarray, "n 4"], staves: Int[np.ndarray, "s 4"]
) -> Float[np.ndarray, " n"]:
  """Middle line of the staff nearest to each symbol, px."""
  y, x = (boxes[:, :2] + boxes[:, 2:]).T[:, :, None] / 2
  y0, x0, y1, x1 = staves.T[:, None]
  away = np.maximum(0, np.maximum(y0 - y, y - y1)) + np.maximum(
    0, np.maximum(x0 - x, x - x1)
  )
  return ((staves[:, 0] + staves[:, 2]) / 2)[away.argmin(1)]


def _parents(
  kinds: np.ndarray, boxes: Int[np.ndarray, "n 4"], runs: list[np.ndarray]
) -> Int[np.ndarray, " n"]:
  """The outermost object that each one is a part of, -1 if there is none."""
  parents = np.full(len(kinds), -1, np.int64)
  order = {name: i for i, name in enumerate(COMPOUNDS)}
  wholes = [i for i in range(len(kinds)) if kinds[i] in order]
  wholes.sort(key=lambda i: (order[kinds[i]], -int(runs[i][1::2].sum()), i))
  for whole in wholes:
    if parents[whole] >= 0:
      continue
    low = boxes[whole, :2] - _SLACK_PX
    high = boxes[whole, 2:] + _SLACK_PX
    near = np.all((boxes[:, :2] >= low) & (boxes[:, 2:] <= high), axis=1)
    for i in np.flatnonzero(near & (parents < 0)).tolist():
      rank = order.get(kinds[i], len(order))
      if rank <= order[kinds[whole]]:
        continue
      if _share_inside(boxes, runs, i, whole) >= _INSIDE:
        parents[i] = whole
  # A whole may have had parts before it became a part itself.
  for i in np.flatnonzero(parents >= 0):
    while parents[parents[i]] >= 0:
      parents[i] = parents[parents[i]]
  return parents


def _share_inside(boxes, runs, part: int, whole: int) -> float:
  """Share of the ink of one object that is ink of another, too."""
  first, second = (
    masks.decode_runs(runs[i], tuple(boxes[i, 2:] - boxes[i, :2]))
    for i in (part, whole)
  )
  low = np.maximum(boxes[part, :2], boxes[whole, :2])
  high = np.minimum(boxes[part, 2:], boxes[whole, 2:])
  if np.any(high <= low):
    return 0.0
  views = [
    mask[tuple(slice(a, b) for a, b in zip(low - at, high - at, strict=True))]
    for mask, at in ((first, boxes[part, :2]), (second, boxes[whole, :2]))
  ]
  return float((views[0] & views[1]).sum() / first.sum())


def main(argv: list[str]) -> int:
  """Writes the file; returns the exit code."""
  parser = cli.parser(
    "tfds_builders.muscima_pp.muscima_pp_hands",
    "Cut the symbols of the training writers of MUSCIMA++ v2.0, to draw pages"
    " from them (python -m dwd_jax.engrave --hands=FILE).\n\nThe file and such"
    " pages are derived from MUSCIMA++: CC BY-NC-SA 4.0.",
    "FOLDER FILE",
  )
  parser.add_argument("folder", metavar="FOLDER", help="MUSCIMA++ v2.0")
  parser.add_argument("file", metavar="FILE", help="to write, a .npz")
  flags = parser.parse_args(argv)

  def run() -> int:
    report = checks.BuildReport()
    table = cut(pathlib.Path(flags.folder).expanduser(), report)
    hands.write(pathlib.Path(flags.file).expanduser(), table)
    found = hands.Hands(table)
    print(
      f"{len(table.labels)} symbols of {len(found.names)} classes by"
      f" {len(found.writers)} writers ({SOURCE}): {flags.file}"
    )
    if report.line():
      print(report.line())
    return 0

  return cli.run(run, flags.file)


if __name__ == "__main__":
  cli.start(main)
