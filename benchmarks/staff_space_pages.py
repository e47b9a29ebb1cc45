"""Pages with a known staff space, and pages without any, for measurements.

Degradations are as strong as those of usual scans and photos; each says what it
makes of the staff space.
"""

import json
import pathlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import cv2
import numpy as np
from lxml import etree  # pyright: ignore[reportAttributeAccessIssue]
from PIL import Image, ImageDraw, ImageFont

from dwd_jax.core.errors import InputError
from dwd_jax.imaging import images

# Measured on rows that are mostly ink: (last line - first line) / 4, mean of
# all staves. The pages of both DeepScores are engraved alike.
DEEPSCORES_PX = 22.86


class Page(NamedTuple):
  """A page and its true staff space, px; None: there is none."""

  name: str
  ink: np.ndarray
  truth_px: float | None


def read(path: pathlib.Path) -> np.ndarray:
  """Ink of an image file."""
  return images.read_page(path.read_bytes(), path.name)


def engraved(folder: pathlib.Path) -> Iterator[Page]:
  """Pages of `python -m dwd_jax.engrave`; None where a staff is one line."""
  facts = folder / "engraved.json"
  spaces = json.loads(facts.read_text()).get("staff_spaces_px")
  if not spaces:
    raise InputError(f"{facts}: has no staff spaces; generate the pages anew")
  for name, px in spaces.items():
    path = folder / "segmentation_detection/images_png" / f"{name}.png"
    yield Page(name, read(path), px)


def deepscores(folder: pathlib.Path) -> Iterator[Page]:
  """The original pages of DeepScores, both versions."""
  for path in sorted(folder.glob("**/lg-*-page-*.png")):
    if not path.stem.endswith("_seg"):
      yield Page(path.stem, read(path), DEEPSCORES_PX)


def muscima(folder: pathlib.Path) -> Iterator[Page]:
  """MUSCIMA++ v2.0: the truth from the masks of the staff lines."""
  for path in sorted((folder / "data/annotations").glob("*.xml")):
    spaces = muscima_spaces(path)
    if spaces:
      ink = read(folder / "data/images" / f"{path.stem}.png")
      yield Page(path.stem, ink, float(np.median(spaces)))


def muscima_spaces(path: pathlib.Path) -> list[float]:
  """Staff space of every staff of five lines, px."""
  spaces = []
  for _, found in muscima_staves(path):
    if len(found) != 5:
      continue
    start = max(left for left, _ in found)
    stop = min(left + len(y) for left, y in found)
    y = np.stack([y[start - left : stop - left] for left, y in found])
    spaces.append(float(np.nanmedian(y.max(0) - y.min(0))) / 4)
  return spaces


def muscima_staves(
  path: pathlib.Path,
) -> list[tuple[list[int], list[tuple[int, np.ndarray]]]]:
  """Every staff: its box (ymin, xmin, ymax, xmax), and its lines.

  Of these the left edge, and the index of the middle row in every column.
  """
  lines, staves = {}, []
  for node in etree.parse(path).getroot().iter("Node"):
    name: Any = node.findtext("ClassName")
    if name == "staffLine":
      lines[node.findtext("Id")] = _line(node)
    elif name == "staff":
      top, left, width, height = _box(node)
      box = [top, left, top + height, left + width]
      staves.append((box, (node.findtext("Outlinks") or "").split()))
  return [(box, [lines[i] for i in ids if i in lines]) for box, ids in staves]


def _box(node: Any) -> tuple[int, int, int, int]:
  """Top, left, width, height of a node."""
  keys = ("Top", "Left", "Width", "Height")
  top, left, width, height = (int(node.findtext(key)) for key in keys)
  return top, left, width, height


def _line(node: Any) -> tuple[int, np.ndarray]:
  """Left edge of a staff line and its middle row in every column."""
  top, left, width, height = _box(node)
  runs = [run.split(":") for run in node.findtext("Mask").split()]
  values, counts = np.array(runs, np.int64).T
  mask = np.repeat(values, counts).reshape(height, width)
  ink = mask.sum(0)
  y = (mask * np.arange(height)[:, None]).sum(0) / np.maximum(ink, 1) + top
  return left, np.where(ink > 0, y, np.nan)


def scan(page: Page, rng: np.random.Generator) -> Page:
  """Skewed by up to 3 degrees, blurred, specks, one bit a pixel."""
  height, width = page.ink.shape
  angle = rng.uniform(-3, 3)
  turn = cv2.getRotationMatrix2D((width / 2, height / 2), angle, 1.0)
  grey = cv2.warpAffine(page.ink, turn, (width, height), flags=cv2.INTER_AREA)
  sigma = 0.1 + rng.uniform(0.02, 0.04) * (page.truth_px or 9.0)
  grey = cv2.GaussianBlur(grey, (0, 0), sigma)
  noisy = grey + rng.normal(0, 12, grey.shape)
  ink = (noisy > rng.uniform(50, 110)).astype(np.uint8) * 255
  specks = rng.random(ink.shape) < rng.uniform(0, 0.004)
  return page._replace(ink=np.where(specks, 255 - ink, ink))


def photo(page: Page, rng: np.random.Generator) -> Page:
  """Perspective, uneven light, blur, noise, JPEG."""
  height, width = page.ink.shape
  corners = np.array(
    [[0, 0], [width, 0], [width, height], [0, height]], np.float32
  )
  moved = corners + rng.uniform(-0.05, 0.05, (4, 2)) * (width, height)
  matrix = cv2.getPerspectiveTransform(corners, moved.astype(np.float32))
  grey = cv2.warpPerspective(
    page.ink, matrix, (width, height), flags=cv2.INTER_AREA
  )
  sigma = 0.3 + rng.uniform(0.02, 0.08) * (page.truth_px or 9.0)
  grey = cv2.GaussianBlur(grey, (0, 0), sigma).astype(np.float32)
  y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j].astype(np.float32)
  slope = rng.uniform(-0.45, 0.45, 2)
  light = 0.75 + slope[0] * (y - 0.5) + slope[1] * (x - 0.5)
  shown = light * (240 - 190 / 255 * grey) + rng.normal(0, 5, grey.shape)
  shown = shown.clip(0, 255).astype(np.uint8)
  quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(50, 90))]
  _, data = cv2.imencode(".jpg", shown, quality)
  ink = images.read_page(data.tobytes(), page.name)
  truth = page.truth_px and page.truth_px * _growth(matrix, page.ink)
  return Page(page.name, ink, truth)


def _growth(matrix: np.ndarray, ink: np.ndarray) -> float:
  """Median factor by which a perspective stretches upright lines at the ink."""
  y, x = np.nonzero(ink > 127)
  points = np.stack([x, y], 1)[:: max(1, len(x) // 1000), None].astype(float)
  ends = [
    cv2.perspectiveTransform(points + np.array([0.0, shift]), matrix)
    for shift in (-1.0, 1.0)
  ]
  return float(np.median(np.linalg.norm(ends[1] - ends[0], axis=-1))) / 2


DEGRADATIONS: dict[str, Callable[[Page, np.random.Generator], Page]] = {
  "clean": lambda page, rng: page,
  "scan": scan,
  "photo": photo,
}


def without_staves(rng: np.random.Generator) -> Iterator[Page]:
  """Pages of text, tables, patterns and noise."""
  for size in (12, 20, 32, 48):
    yield Page(f"text of {size} px", text(rng, size), None)
    yield Page(f"text of {size} px, ruled", text(rng, size, True), None)
  shape = (1400, 1000)
  yield Page("blank", np.zeros(shape, np.uint8), None)
  yield Page("all ink", np.full(shape, 255, np.uint8), None)
  yield Page("noise", rng.integers(0, 256, shape, np.uint8), None)
  for share in (0.02, 0.1, 0.3, 0.5):
    specks = (rng.random(shape) < share).astype(np.uint8) * 255
    yield Page(f"specks on {share:.0%}", specks, None)
  for step in (6, 10, 25):
    rows = np.zeros(shape, np.uint8)
    rows[::step] = rows[1::step] = 255
    yield Page(f"rules of {step} px", rows, None)
    grid = rows.copy()
    grid[:, ::step] = 255
    yield Page(f"squares of {step} px", grid, None)
  smooth = cv2.GaussianBlur(rng.normal(0, 1, shape), (0, 0), 4)
  smooth = cv2.normalize(smooth, np.zeros(shape), 0, 255, cv2.NORM_MINMAX)
  yield Page("clouds", smooth.astype(np.uint8), None)


def wrongly_found(
  finds: Callable[[np.ndarray], bool], seed: int, repeats: int
) -> dict[str, Any]:
  """Pages without staves on which something is found.

  Args:
    finds: whether it is, by the ink.
    repeats: of all kinds of pages, drawn anew.
  """
  found, count = [], 0
  for i in range(repeats):
    for page in without_staves(np.random.default_rng(seed + i)):
      count += 1
      if finds(page.ink):
        found.append(page.name)
  return {"pages": count, "wrongly_found": found}


def text(
  rng: np.random.Generator, size: int, ruled: bool = False
) -> np.ndarray:
  """A page of random words; `ruled`: with a line below each."""
  page = Image.new("L", (1000, 1400))
  draw, font = ImageDraw.Draw(page), ImageFont.load_default(size)
  leading = rng.uniform(1.2, 1.7) * size
  letters = list("etaoinshrdlucmfwypvbgkjqxzEFTHB,.- ")
  for y in np.arange(60.0, 1340.0, leading):
    line = "".join(rng.choice(letters, 1600 // size))
    draw.text((70, y), line, fill=255, font=font)
    if ruled:
      draw.line((60, y + 1.1 * size, 940, y + 1.1 * size), fill=255, width=2)
  return np.array(page)
