"""How well staves and their lines are found.

python -m benchmarks.staves [--engraved PAGES ...] [--muscima=DIR/v2.0] \
  [--pages=N] [--no_staves] [--json=FILE]

PAGES are folders of `python -m dwd_jax.engrave --vocabulary=deepscores_v2`,
whose boxes of class `staff` are the truth; those of staves of another number of
lines than five are none. The truth of MUSCIMA++ are its boxes, and the masks of
its staff lines. On pages of --no_staves, and in the text between staves,
nothing must be found.
"""

import itertools
import json
import pathlib
import sys
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import cv2
import numpy as np
from lxml import etree  # pyright: ignore[reportAttributeAccessIssue]

from benchmarks import common
from benchmarks import staff_space_pages as pages_lib
from dwd_jax.core.errors import InputError
from dwd_jax.core.structs import PageBoxes
from dwd_jax.imaging.staff_lines import Staff
from dwd_jax.imaging.staff_space import LINES
from dwd_jax.metrics import matching, protocols
from dwd_jax.predict import staves as staves_lib

# Height of a staff of five lines, in staff spaces; ossias are small.
_LEAST_SPACES = 2.3

# First column and heights of a line, px; NaN where it is not seen.
Line = tuple[int, np.ndarray]


class Page(NamedTuple):
  """A page and its truth.

  Attributes:
    boxes_yxyx: of staves of five lines.
    lines: of each staff, from above; None if only boxes are known.
  """

  name: str
  ink: np.ndarray
  boxes_yxyx: np.ndarray
  lines: list[list[Line]] | None


def engraved(folder: pathlib.Path) -> Iterator[Page]:
  """Pages of the page generator."""
  facts = json.loads((folder / "engraved.json").read_text())
  for name, px in facts["staff_spaces_px"].items():
    inside = folder / "segmentation_detection"
    ink = pages_lib.read(inside / "images_png" / f"{name}.png")
    root = etree.parse(inside / "xml_annotations" / f"{name}.xml").getroot()
    nodes = [
      node for node in root.iter("object") if node.findtext("name") == "staff"
    ]
    boxes = [
      [float(node.find(f"bndbox/{key}").text) for key in _EDGES]
      for node in nodes
    ]
    boxes = np.array(boxes).reshape(-1, 4) * np.tile(ink.shape, 2)
    corners = [node.findtext("corners").split() for node in nodes]
    corners = np.array(corners, float).reshape(-1, 4, 2) * ink.shape[::-1]
    # Boxes of skewed staves of one line are tall, too.
    sides = np.linalg.norm(np.diff(corners, axis=1), axis=2)
    tall = sides.min(1) >= _LEAST_SPACES * (px or np.inf)
    yield Page(name, ink, boxes[tall], None)


_EDGES = ("ymin", "xmin", "ymax", "xmax")


def muscima(folder: pathlib.Path) -> Iterator[Page]:
  """Pages of MUSCIMA++ v2.0 that have staves of five lines."""
  for path in sorted((folder / "data/annotations").glob("*.xml")):
    boxes, lines = [], []
    for box, staff in pages_lib.muscima_staves(path):
      if len(staff) == LINES:
        boxes.append(box)
        staff = [(left, row + 0.5) for left, row in staff]
        lines.append(sorted(staff, key=lambda line: np.nanmedian(line[1])))
    if boxes:
      ink = pages_lib.read(folder / "data/images" / f"{path.stem}.png")
      yield Page(path.stem, ink, np.array(boxes, float), lines)


class Errors:
  """Collects what is found on pages, and how far it is off."""

  def __init__(self):
    self._meter = protocols.Meter(1, protocols.COCO)
    self._counts = {"pages": 0, "staves": 0, "found": 0, "right": 0}
    self._edges: list[np.ndarray] = []
    self._lines: list[np.ndarray] = []
    self._spaces: list[float] = []
    self._wrong: list[str] = []
    self._seconds: list[float] = []

  def add(self, page: Page, found: list[Staff], seconds: float) -> None:
    """Adds a page."""
    boxes = [staff.box_yxyx for staff in found]
    guess = _boxes(page, np.array(boxes).reshape(-1, 4), np.ones(len(found)))
    truth = _boxes(page, page.boxes_yxyx)
    self._meter.add(truth, guess)
    taken = matching.match(truth, guess).taken
    right = np.flatnonzero(taken >= 0)
    for key, count in zip(
      self._counts,
      (1, len(page.boxes_yxyx), len(found), len(right)),
      strict=True,
    ):
      self._counts[key] += count
    if not len(right) == len(found) == len(page.boxes_yxyx):
      self._wrong.append(page.name)
    off = guess.boxes_yxyx[right] - truth.boxes_yxyx[taken[right]]
    self._edges += list(np.abs(off))
    for i in right if page.lines else ():
      assert page.lines is not None
      for line, true in zip(
        found[i].lines_yx, page.lines[taken[i]], strict=True
      ):
        self._lines.append(_line_error(line, true))
        self._spaces.append(found[i].space_px)
    self._seconds.append(seconds)

  def summary(self) -> dict[str, Any]:
    """Shares, errors in px, pages with mistakes, CPU seconds a page."""
    counts = self._counts
    if not counts["pages"]:
      raise InputError("no pages there; check the folders and --pages")
    if not counts["staves"]:  # pages of text alone
      return {**counts, "pages_with_mistakes": self._wrong}
    edges = np.array(self._edges).reshape(-1, 4)
    average = self._meter.table().ap[:, 0]
    result = {
      **counts,
      "AP_50": float(average[0]),
      "AP": float(average.mean()),
      "recall": counts["right"] / max(1, counts["staves"]),
      "precision": counts["right"] / max(1, counts["found"]),
      "edges_px": dict(zip(_EDGES, np.median(edges, 0).tolist(), strict=True)),
    }
    if self._lines:
      every = np.concatenate(self._lines)
      medians = np.array([np.median(line) for line in self._lines])
      result["lines_px"] = {
        "median": float(np.median(every)),
        "mean": float(every.mean()),
        "95_percent": float(np.quantile(every, 0.95)),
        "largest_median_of_a_line": float(medians.max()),
        "lines_off_by_a_quarter_space": int(
          (medians > 0.25 * np.array(self._spaces)).sum()
        ),
      }
    return {
      **result,
      "pages_with_mistakes": self._wrong,
      "cpu_seconds_per_page": float(np.median(self._seconds)),
      "most_cpu_seconds": max(self._seconds),
    }


def _boxes(
  page: Page, boxes: np.ndarray, scores: np.ndarray | None = None
) -> PageBoxes:
  hw = page.ink.shape[0], page.ink.shape[1]
  return PageBoxes(page.name, hw, boxes, np.zeros(len(boxes), int), scores)


def _line_error(line: np.ndarray, true: Line) -> np.ndarray:
  """Distances where the true line is seen, px."""
  left, y = true
  x = left + np.arange(len(y)) + 0.5
  off = np.abs(np.interp(x, line[:, 1], line[:, 0]) - y)
  return off[np.isfinite(off)]


def traced(ink: np.ndarray) -> tuple[list[Staff], float]:
  """Staves of a page and the CPU seconds of tracing."""
  staves = staves_lib.find(ink)
  upright = staves.applied(ink)
  start = time.process_time()
  found = staves.traced(upright, (ink.shape[0], ink.shape[1]))
  return list(found), time.process_time() - start


def measure(pages: Iterator[Page]) -> dict[str, Any]:
  """Measures a set of pages."""
  errors = Errors()
  for page in pages:
    errors.add(page, *traced(page.ink))
  return errors.summary()


def main(argv: list[str]) -> None:
  """Prints the figures as JSON."""
  parser = common.parser("How well staves and their lines are found")
  parser.add_argument("--engraved", nargs="*", default=[], help="folders")
  parser.add_argument("--muscima", default="", help="folder of v2.0")
  parser.add_argument("--no_staves", action="store_true")
  parser.add_argument("--pages", type=int, default=0, help="of a set; 0 = all")
  parser.add_argument("--seed", type=int, default=0)
  args = parser.parse_args(argv)
  cv2.setNumThreads(1)
  folders = [pathlib.Path(folder) for folder in args.engraved]
  sets = {folder.name: engraved(folder) for folder in folders}
  if args.muscima:
    sets["muscima_pp"] = muscima(pathlib.Path(args.muscima))
  results: dict[str, Any] = {"sets": {}}
  for name, pages in sets.items():
    results["sets"][name] = measure(itertools.islice(pages, args.pages or None))
    print(name, results["sets"][name], file=sys.stderr)
  if args.no_staves:
    results["seed"] = args.seed
    results["no_staves"] = pages_lib.wrongly_found(
      lambda ink: bool(traced(ink)[0]), args.seed, args.repeats
    )
  common.report("staves", results, args.json)


if __name__ == "__main__":
  main(sys.argv[1:])
