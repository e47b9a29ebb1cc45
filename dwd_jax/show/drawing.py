"""Pictures as uint8 RGB arrays: boxes, predictions, energy, diagrams."""

import colorsys
import os
import pathlib
from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from dwd_jax.core import boxes as boxes_lib
from dwd_jax.core import files, words
from dwd_jax.core.structs import PageBoxes
from dwd_jax.imaging import grey
from dwd_jax.imaging.staff_lines import Staff
from dwd_jax.metrics import pairs, reliability
from dwd_jax.metrics.matching import MIN_IOU, match, sane
from dwd_jax.metrics.reliability import Bins
from dwd_jax.show import letters

Picture = UInt8[np.ndarray, "H W 3"]

# Distinct for people with the common kinds of colour blindness (Okabe and Ito),
# and none is black, the colour of ink.
FOUND_RGB = (86, 180, 233)  # truth that was found: sky blue
HIT_RGB = (0, 158, 115)  # right prediction: green
WRONG_RGB = (213, 94, 0)  # wrong prediction: orange
MISSED_RGB = (204, 121, 167)  # missed truth: purple
STAFF_RGB = (0, 114, 178)  # staff lines: blue

_MAX_LEVEL = 19.0  # of the energy: full red
_MAX_SIDE_PX = 8000  # of a picture; larger pages are drawn smaller
_LEGEND_PX = 28  # height of a row of the bar above the page
_NAME_PX, _LEGEND_LETTERS_PX, _LEAST_LETTERS_PX = 10, 14, 9
_MARGIN_PX, _MARK_PX = 8, 20  # of the bar; of the coloured square of an entry
_DARK = 100  # median tone of pictures that get light colours
_QUALITY = {
  ".jpg": [cv2.IMWRITE_JPEG_QUALITY, 80],
  ".webp": [cv2.IMWRITE_WEBP_QUALITY, 60],
}
_INCHES = (9.0, 5.2)
_DPI = 100


def ground(
  ink: UInt8[np.ndarray, "h w *c"],
  polarity: str,
  said: words.Words = words.MUSIC,
) -> UInt8[np.ndarray, "h w *d"]:
  """What boxes are drawn on: ink of printed music, else the file's own look.

  Args:
    ink: see `grey.to_ink`; or colours.
    polarity: with which it was made.
    said: the words of the field.
  """
  is_print = said == words.MUSIC and polarity not in ("light", "keep")
  return ink if is_print else grey.shown(ink, polarity)


def overlay(
  ink: UInt8[np.ndarray, "h w *c"],
  truth: PageBoxes,
  detections: PageBoxes,
  class_names: Sequence[str],
  *,
  min_score: float = 0.0,
  min_width_px: int = 2000,
) -> Picture:
  """Draws truth and predictions over a page, below a legend with counts.

  Found truth is blue, hits are green, wrong predictions orange with the name of
  the class (and "predicted?true" on a symbol of another class), missed truth is
  purple. Oriented boxes are drawn as such, and matched as such where both have
  them; the legend says so.

  Args:
    ink: the page at any scale, see `ground`.
    detections: those to draw.
    min_score: of the detections; for the legend.
    min_width_px: narrower pages are enlarged, so that names fit.
  """
  canvas, zoom = _canvas(ink, truth.image_hw, min_width_px)
  hit, found, confused_with, _ = match(truth, detections)
  names = [class_names[int(label)] for label in detections.labels]
  true_names = [class_names[int(label)] for label in truth.labels]
  true_boxes, true_lines = _to_px(truth, zoom), outlines_px(truth, zoom)
  found_boxes = _to_px(detections, zoom)
  found_lines = outlines_px(detections, zoom)
  for line in true_lines[found]:
    draw_outline(canvas, line, FOUND_RGB)
  for i in np.flatnonzero(hit):
    draw_outline(canvas, found_lines[i], HIT_RGB)
    _name(canvas, found_boxes[i], names[i], HIT_RGB)
  for i in np.flatnonzero(~found):
    draw_outline(canvas, true_lines[i], MISSED_RGB, 2)
    _name(canvas, true_boxes[i], true_names[i], MISSED_RGB)
  for i in np.flatnonzero(~hit):
    name, other = names[i], int(confused_with[i])
    if other >= 0:
      name += f"?{true_names[other]}"
    draw_outline(canvas, found_lines[i], WRONG_RGB, 2)
    _name(canvas, found_boxes[i], name, WRONG_RGB, below=True)
  entries = (
    (f"{found.sum()} truth, found", FOUND_RGB),
    (f"{hit.sum()} predicted right", HIT_RGB),
    (f"{(~hit).sum()} predicted wrong", WRONG_RGB),
    (f"{(~found).sum()} truth, missed", MISSED_RGB),
  )
  oriented = pairs.are_oriented(detections, truth)
  title = (
    truth.filename,
    f"IoU {MIN_IOU:g}" + " of oriented boxes" * oriented,
    f"score {min_score:.2f} or more",
  )
  return _below(_legend(canvas.shape[1], title, entries), canvas)


def boxes_picture(
  ink: UInt8[np.ndarray, "h w *c"],
  truth: PageBoxes,
  class_names: Sequence[str],
  marked: Bool[np.ndarray, " n"] | None = None,
  *,
  staves: Sequence[Staff] = (),
  min_width_px: int = 2000,
) -> Picture:
  """Draws boxes over a page, each class in its own colour, and staff lines.

  Args:
    ink: the page at any scale, see `ground`.
    truth: the boxes, in pixels of the source image (`image_hw`).
    marked: boxes to emphasise, thick and in orange.
    staves: whose lines are drawn, in the same pixels.
    min_width_px: narrower pages are enlarged, so that names fit.
  """
  canvas, zoom = _canvas(ink, truth.image_hw, min_width_px)
  on_dark = bool(np.median(canvas[::8, ::8]) < _DARK)
  for line in (line for staff in staves for line in staff.lines_yx):
    # In 16ths; from edges to middles of pixels.
    points = np.rint(16 * (line * zoom - 0.5)).astype(np.int32)
    corners = np.ascontiguousarray(points[:, ::-1])
    cv2.polylines(canvas, [corners], False, STAFF_RGB, 1, cv2.LINE_AA, 4)
  lines = outlines_px(truth, zoom)
  for i, box in enumerate(_to_px(truth, zoom)):
    label = int(truth.labels[i])
    loud = marked is not None and bool(marked[i])
    rgb = WRONG_RGB if loud else class_rgb(label, on_dark)
    draw_outline(canvas, lines[i], rgb, 3 if loud else 1)
    _name(canvas, box, class_names[label], rgb)
  return canvas


def class_rgb(label: int, on_dark: bool = False) -> tuple[int, int, int]:
  """A colour for a class id, dark or light; neighbouring ids differ."""
  # Hues in steps of the golden ratio never come close to each other.
  strength = (0.55, 1.0) if on_dark else (1.0, 0.7)
  red, green, blue = colorsys.hsv_to_rgb(label * 0.618034 % 1, *strength)
  return round(255 * red), round(255 * green), round(255 * blue)


def energy_picture(
  ink: UInt8[np.ndarray, "h w *c"],
  levels: Float[np.ndarray, "H W"] | Float[np.ndarray, "H W G"],
) -> Picture:
  """Draws energy over a grey page, from blue over green to red.

  Args:
    ink: the page, 0 = paper, 255 = ink; or its colours.
    levels: predicted levels at the page's size, or padded below and to the
      right; of several groups the highest is shown.
  """
  if levels.ndim == 3:
    levels = levels.max(axis=-1)
  height, width = ink.shape[:2]
  heat = np.nan_to_num(levels[:height, :width]) / _MAX_LEVEL
  heat = np.clip(heat, 0, 1).astype(np.float32)
  colors = cv2.applyColorMap(
    np.rint(heat * 255).astype(np.uint8), cv2.COLORMAP_TURBO
  )[..., ::-1]
  page = grey.shown(ink).astype(np.float32)
  # Low energy stays transparent; the ink stays visible through the heat.
  alpha = np.clip(heat * 2, 0, 0.75)[..., None]
  return np.rint(page * (1 - alpha) + colors * alpha).astype(np.uint8)


def save(path: str | os.PathLike, picture: Picture) -> None:
  """Writes a file; .jpg or .webp where noise would make a .png large."""
  files.write_atomic(path, encoded(picture, pathlib.Path(path).suffix))


def encoded(picture: Picture, suffix: str = ".png") -> bytes:
  """The bytes of a .png, .jpg or .webp file of an RGB picture."""
  pixels = np.ascontiguousarray(picture[..., ::-1])
  ok, data = cv2.imencode(suffix, pixels, _QUALITY.get(suffix, []))
  if not ok:
    raise ValueError(f"the picture could not be encoded as {suffix}")
  return data.tobytes()


def _canvas(ink, image_hw, min_width_px):
  """The page, enlarged if small, and its px per source px (y, x).

  Ink is drawn in light grey.
  """
  height, width = ink.shape[:2]
  shrink = _MAX_SIDE_PX / max(height, width)
  if shrink < 1:
    size = max(1, round(width * shrink)), max(1, round(height * shrink))
    ink = cv2.resize(ink, size, interpolation=cv2.INTER_AREA)
    height, width = ink.shape[:2]
  enlarge = max(1, min(4, -(-min_width_px // width)))
  # Ink at half strength lets thin coloured lines stand out.
  page = grey.shown(ink // 2 if ink.ndim == 2 else ink).copy()
  if enlarge > 1:
    page = cv2.resize(
      page, (width * enlarge, height * enlarge), interpolation=cv2.INTER_LINEAR
    )
  return page, np.array(page.shape[:2], np.float64) / image_hw


def _to_px(page, zoom):
  """Boxes -> inclusive corners (ymin, xmin, ymax, xmax) in whole pixels."""
  px = sane(page.boxes_yxyx) * np.tile(zoom, 2) - (0, 0, 1, 1)
  return np.rint(px).astype(int)


def outlines_px(
  page: PageBoxes, zoom: float | Float[np.ndarray, " 2"] = 1.0
) -> Int[np.ndarray, "n 4 2"]:
  """Corners (y, x) of the boxes in whole pixels, the last ones inside.

  Those of the oriented boxes, if the page has them.

  Args:
    zoom: pixels of the picture per pixel of the page, or these along y and x.
  """
  corners = page.oriented_yx
  if corners is None:
    corners = np.asarray(boxes_lib.corners_yx(page.boxes_yxyx))
  px = sane(corners) * zoom
  inwards = np.sign(px.mean(axis=1, keepdims=True) - px)
  return np.rint(px + (inwards - 1) / 2).astype(int)


def draw_outline(
  canvas: Picture,
  corners_yx: Int[np.ndarray, "4 2"],
  rgb: tuple[int, int, int],
  thickness: int = 1,
) -> None:
  """Draws one of `outlines_px`."""
  points = np.ascontiguousarray(corners_yx[:, ::-1], np.int32)
  cv2.polylines(canvas, [points], True, rgb, thickness)


def _name(canvas, box, name, rgb, below=False):
  y0, x0, y1, _ = box.tolist()
  height, width = canvas.shape[:2]
  size = _fitting(name, width, _NAME_PX)
  if letters.width(name, size) > width:
    name = name[: int(len(name) * width / letters.width(name, size)) - 2] + "…"
  # Whole, also beside boxes at the edges.
  left = max(0, min(x0, width - letters.width(name, size)))
  base = y1 + _NAME_PX if below else y0 - 3
  base = max(_NAME_PX, min(base, height - 3))
  letters.write(canvas, name, left, base, size, rgb)


def _fitting(text: str, room_px: int, size_px: int) -> int:
  """The size of letters with which a text fits, not below the legible."""
  share = room_px / max(letters.width(text, size_px), 1)
  return max(_LEAST_LETTERS_PX, min(size_px, int(size_px * share)))


def _below(bar, canvas):
  """The bar over the canvas; the narrower one gets white to its right."""
  width = max(bar.shape[1], canvas.shape[1])
  return np.concatenate(
    [
      np.pad(
        part,
        ((0, 0), (0, width - part.shape[1]), (0, 0)),
        constant_values=255,
      )
      for part in (bar, canvas)
    ]
  )


def _legend(width, title, entries):
  """A bar of as many rows as the entries need; the title comes last.

  It is wider than asked for where an entry would not fit.
  """
  texts = []
  for text, rgb in (*entries, *((part, None) for part in title)):
    mark = _MARK_PX if rgb else 0
    size = _fitting(text, width - 2 * _MARGIN_PX - mark, _LEGEND_LETTERS_PX)
    texts.append((text, rgb, size, mark + letters.width(text, size)))
  width = max(width, *(room + 2 * _MARGIN_PX for *_, room in texts))
  placed, row, x = [], 0, _MARGIN_PX
  for text, rgb, size, room in texts:
    if x > _MARGIN_PX and x + room > width - _MARGIN_PX:
      row, x = row + 1, _MARGIN_PX
    placed.append((text, rgb, size, row, x))
    x += room + 2 * _MARGIN_PX
  bar = np.full(((row + 1) * _LEGEND_PX, width, 3), 255, np.uint8)
  for text, rgb, size, row, x in placed:
    top = row * _LEGEND_PX
    if rgb:
      cv2.rectangle(bar, (x, top + 8), (x + 14, top + 20), rgb, -1)
      x += _MARK_PX
    letters.write(bar, text, x, top + 19, size, (0, 0, 0))
  return bar


def reliability_diagram(
  title: str,
  raw: Bins,
  final: Bins | None,
  threshold: float | None,
) -> Picture:
  """Draws precision and number of detections over their score.

  Calibrated scores lie on the diagonal.

  Args:
    raw: of the scores of the decode, the first column.
    final: of the probabilities, the second column; None if there are
      none.
    threshold: default threshold of the probabilities, if there is one.
  """
  # Imported here: it takes longer than all our own modules together.
  from matplotlib.backends.backend_agg import FigureCanvasAgg
  from matplotlib.figure import Figure

  columns: list[tuple] = [("raw score", raw, WRONG_RGB)]
  if final is not None:
    columns.append(("calibrated probability", final, FOUND_RGB))
  figure = Figure(figsize=_INCHES, dpi=_DPI, layout="constrained")
  canvas = FigureCanvasAgg(figure)
  figure.suptitle(title)
  axes = figure.subplots(
    2,
    len(columns),
    sharex=True,
    sharey="row",
    squeeze=False,
    gridspec_kw={"height_ratios": (3, 1)},
  )
  for (above, below), column in zip(axes.T, columns, strict=True):
    _draw_column(above, below, *column)
  axes[0, 0].set_ylabel("share that is right (IoU 0.5, class)")
  axes[1, 0].set_ylabel("detections")
  if threshold is not None:
    for axis in axes[:, -1]:
      axis.axvline(threshold, color="black", linestyle=":")
    axes[0, -1].text(threshold, 0.02, f" threshold {threshold:.2f}")
  canvas.draw()
  return np.array(np.asarray(canvas.buffer_rgba())[..., :3])


def _draw_column(above, below, name, bins, rgb) -> None:
  """Bins of one kind of score: precision and size."""
  ece = reliability.expected_calibration_error(bins)
  num_bins = len(bins.count)
  middle, width = (np.arange(num_bins) + 0.5) / num_bins, 0.9 / num_bins
  color = tuple(c / 255 for c in rgb)
  above.bar(middle, np.nan_to_num(bins.precision), width, color=color)
  above.plot([0, 1], [0, 1], color="black", linewidth=1)
  above.plot(bins.mean_score, bins.precision, "o", color="black", markersize=3)
  above.set_title(f"{name}: ECE {ece:.3f}")
  above.set_xlim(0, 1)
  above.set_ylim(0, 1)
  below.bar(middle, bins.count, width, color=color)
  below.set_xlabel(name)
