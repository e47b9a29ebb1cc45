"""Detections of one page, with conversions to other formats."""

import dataclasses
import functools
import operator
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8

from dwd_jax.core import words as words_lib
from dwd_jax.core.structs import NO_POSITION, PageBoxes
from dwd_jax.imaging import grey
from dwd_jax.imaging.staff_lines import Staff
from dwd_jax.imaging.staff_space import LINES
from dwd_jax.metrics import json_results
from dwd_jax.predict import mung_nodes, staff_symbols
from dwd_jax.predict.staff_symbols import StaffSymbol
from dwd_jax.show import drawing
from dwd_jax.show.drawing import Picture

_SHOWN_CLASSES = 6  # of a repr
_MAX_SIDE_PX = 1 << 20


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class PageDetections:
  """The symbols of one page, best score first.

  Not `structs.Detections`, which are padded slots on the device.

  Attributes:
    boxes_yxyx: half-open, in pixels of the page.
    scores: 0..1; probabilities if the detector is calibrated.
    ink: the page, 0 = paper, 255 = ink, or its colours; None = not kept.
    staff_space_px: measured distance of two staff lines; 0 = no staff found.
    dpi: resolution at which a PDF page was drawn; 0 = an image file.
    turned: degrees clockwise by which the page was turned, so that its staves
      and clefs stand upright: 0, 90, 180 or 270, and a few more or less, not
      whole, where staves were skewed; boxes are those of the page as it came.
    without_staves: no staff was found, so that no symbol was looked for.
    oriented_yx: corners (y, x) in order around each oriented box, px of the
      page; None = the detector has none.
    positions: on the staff, as in `core.structs`; None = the detector has none.
    left_out: number of symbols by the detector's class that has no name in the
      vocabulary asked for; None = the detector's own names.
    words: of the detector's field.
    polarity: how `ink` was made of tones, see `imaging.grey.to_ink`.
    staves: with their lines, in the order in which they are read, whatever the
      classes and scores; none if the detector knows no staves.
  """

  page: str
  image_hw: tuple[int, int]
  boxes_yxyx: Float[np.ndarray, "n 4"]
  labels: Int[np.ndarray, " n"]
  scores: Float[np.ndarray, " n"]
  class_names: tuple[str, ...]
  ink: UInt8[np.ndarray, "H W *c"] | None = None
  staff_space_px: float = 0.0
  dpi: float = 0.0
  turned: float = 0
  without_staves: bool = False
  oriented_yx: Float[np.ndarray, "n 4 2"] | None = None
  positions: Int[np.ndarray, " n"] | None = None
  left_out: dict[str, int] | None = None
  words: words_lib.Words = words_lib.MUSIC
  polarity: str = ""
  staves: tuple[Staff, ...] = ()

  def __len__(self) -> int:
    return len(self.labels)

  def __iter__(self) -> Iterator[dict[str, Any]]:
    """Yields name, score and bbox (x, y, width, height) of each symbol."""
    return iter(self.symbols())

  @functools.cached_property
  def names(self) -> list[str]:
    """Class name of each symbol."""
    return [self.class_names[label] for label in self.labels.tolist()]

  def counts(self) -> dict[str, int]:
    """Number of symbols by class name, the most frequent first."""
    found = np.bincount(self.labels, minlength=len(self.class_names))
    order = np.argsort(-found, kind="stable")
    return {self.class_names[i]: int(found[i]) for i in order if found[i]}

  def keep(
    self, min_score: float = 0.0, classes: Sequence[str] = ()
  ) -> "PageDetections":
    """Keeps symbols with at least this score, of these classes (none = all).

    Raises:
      ValueError: an unknown class.
    """
    kept = self.scores >= min_score
    if classes:
      unknown = set(classes) - set(self.class_names)
      if unknown:
        raise ValueError(f"unknown class {min(unknown)!r}")
      ids = [i for i, name in enumerate(self.class_names) if name in classes]
      kept &= np.isin(self.labels, ids)
    left = self.page_boxes().keep(kept)
    assert left.scores is not None
    return dataclasses.replace(
      self,
      boxes_yxyx=left.boxes_yxyx,
      labels=left.labels,
      scores=left.scores,
      oriented_yx=left.oriented_yx,
      positions=left.positions,
    )

  def at_resolution(self, dpi: float) -> "PageDetections":
    """The same with another `dpi`."""
    return dataclasses.replace(self, dpi=dpi)

  def symbols(self) -> list[dict[str, Any]]:
    """Lists name, score and bbox (x, y, width, height, px) as plain values.

    Where the detector has them, also `oriented`, four corners (x, y), and
    `position`, the place on the staff of noteheads: steps of half a staff
    space, 0 = the middle line, upwards positive.
    """
    return [
      {
        "name": self.class_names[row["category_id"] - 1],
        "score": round(row["score"], 4),
        "bbox": row["bbox"],
        **_oriented(row),
        **({"position": row["position"]} if "position" in row else {}),
      }
      for row in self.to_coco()
    ]

  def staff_symbols(self) -> list[StaffSymbol]:
    """Staves, lines, spaces and groups, where the names are MUSCIMA++ v2.0's.

    Classes that the detector has itself are left out.
    """
    wanted = staff_symbols.names_for(self.class_names)
    if not wanted:
      return []
    names = np.array(self.names, dtype=str)
    signs = {
      name: np.asarray(self.boxes_yxyx[names == name], np.float64)
      for name in (*staff_symbols.SIGNS, "barline")
    }
    found = staff_symbols.find(self.staves, self.image_hw, signs)
    return [symbol for symbol in found if symbol.name in wanted]

  def to_json(self) -> dict[str, Any]:
    """Page and symbols as plain values; `from_json` reads them back."""
    height, width = self.image_hw
    of_staves = [_symbol_to_json(item) for item in self.staff_symbols()]
    return {
      "page": self.page,
      "width": width,
      "height": height,
      "dpi": round(self.dpi, 3) or None,
      "staff_space_px": round(self.staff_space_px, 3) or None,
      "turned": self.turned,
      "without_staves": self.without_staves,
      "num_detections": len(self),
      **({} if self.left_out is None else {"left_out": self.left_out}),
      "detections": self.symbols(),
      "staves": [_staff_to_json(staff) for staff in self.staves],
      **({"staff_symbols": of_staves} if of_staves else {}),
    }

  def to_coco(self, image_id: int = 1) -> list[dict[str, Any]]:
    """COCO results: image_id, category_id (class id + 1), bbox, score.

    And a `segmentation` or `position`, where the detector has such.
    """
    return json_results.coco_results(self.page_boxes(), image_id)

  def to_mung(self, path: str | pathlib.Path | None = None) -> list[Any]:
    """Nodes (`mung.node.Node`) of the MUSCIMA++ notation graph.

    Symbols, then staves with edges to their lines and, where the names are
    those of MUSCIMA++ v2.0, to their spaces, and groups with edges to their
    staves; no other edges. The mask of each is its ink, that of a space its
    box; `path` is an XML file to write.
    """
    ink = None if self.ink is None else grey.ink_of(self.ink)
    nodes = mung_nodes.of_page(self.page_boxes(), self.class_names, ink)
    nodes += mung_nodes.of_staves(
      self.staves,
      self.page,
      self.image_hw,
      ink,
      first_id=len(nodes),
      symbols=self.staff_symbols(),
    )
    if path is not None:
      mung_nodes.write(pathlib.Path(path), nodes, self.page)
    return nodes

  def plot(self, path: str | pathlib.Path | None = None) -> Picture:
    """Draws boxes, names and staff lines on the page, each class in its colour.

    Narrow pages are enlarged; `path` is a .png or .jpg file to write.
    """
    picture = np.zeros(self.image_hw, np.uint8)
    if self.ink is not None:
      picture = drawing.ground(self.ink, self.polarity, self.words)
    picture = drawing.boxes_picture(
      picture, self.page_boxes(), self.class_names, staves=self.staves
    )
    if path is not None:
      drawing.save(path, picture)
    return picture

  def __repr__(self) -> str:
    height, width = self.image_hw
    counts = self.counts()
    shown = [f"{count} {name}" for name, count in counts.items()]
    if len(shown) > _SHOWN_CLASSES:
      rest = len(shown) - _SHOWN_CLASSES + 1
      shown = [*shown[: _SHOWN_CLASSES - 1], f"{rest} other classes"]
    scores = ""
    if self.left_out:
      shown.append(f"{sum(self.left_out.values())} without a name left out")
    if len(self):
      scores = f"; scores {self.scores.min():.2f} to {self.scores.max():.2f}"
    listed = f": {', '.join(shown)}" if shown else ""
    return (
      f"<Detections of {self.page!r}, {width} x {height} px:"
      f" {self.words.count(len(self))}{listed}{scores}>"
    )

  def _repr_png_(self) -> bytes:
    """The picture for notebooks."""
    return drawing.encoded(self.plot())

  def page_boxes(self) -> PageBoxes:
    """The symbols as the metrics and the viewer take them."""
    return PageBoxes(
      filename=self.page,
      image_hw=self.image_hw,
      boxes_yxyx=self.boxes_yxyx,
      labels=self.labels,
      scores=self.scores,
      oriented_yx=self.oriented_yx,
      positions=self.positions,
    )


def _oriented(row: dict[str, Any]) -> dict[str, Any]:
  """Corners of a COCO result, if it has any."""
  if "segmentation" not in row:
    return {}
  (polygon,) = row["segmentation"]
  return {"oriented": [polygon[i : i + 2] for i in range(0, 8, 2)]}


def _staff_to_json(staff: Staff) -> dict[str, Any]:
  """A staff as plain values, px; points are (x, y), the upper line first."""
  y0, x0, y1, x1 = staff.box_yxyx.tolist()
  box = x0, y0, x1 - x0, y1 - y0
  return {
    "bbox": [round(value, 2) for value in box],
    "staff_space_px": round(staff.space_px, 3),
    "line_thickness_px": round(staff.thickness_px, 3),
    "lines": [line[:, ::-1].round(2).tolist() for line in staff.lines_yx],
  }


def _staff_from_json(row: Mapping[str, Any]) -> Staff:
  """Reads a staff; raises ValueError for a number out of range."""
  lines = tuple(np.array(line, np.float64)[:, ::-1] for line in row["lines"])
  sizes = float(row["staff_space_px"]), float(row["line_thickness_px"])
  if not (
    len(lines) == LINES
    and all(line.shape[0] and line.shape[1:] == (2,) for line in lines)
    and all(np.all(np.abs(line) < _MAX_SIDE_PX) for line in lines)
    and np.isfinite(sizes).all()
  ):
    raise ValueError("a staff has not five lines, or a number is out of range")
  return Staff(lines, *sizes)


def _symbol_to_json(symbol: StaffSymbol) -> dict[str, Any]:
  """Name, bbox (x, y, width, height, px) and numbers of the staves."""
  y0, x0, y1, x1 = (round(float(v), 2) for v in symbol.box_yxyx)
  bbox = [x0, y0, round(x1 - x0, 2), round(y1 - y0, 2)]
  return {"name": symbol.name, "bbox": bbox, "staves": list(symbol.staves)}


def from_json(
  content: Mapping[str, Any], class_names: tuple[str, ...]
) -> PageDetections:
  """Reads the content of `PageDetections.to_json`; there is no ink.

  Raises:
    ValueError, LookupError, TypeError, OverflowError: damaged content.
  """
  index = {name: i for i, name in enumerate(class_names)}
  rows = content["detections"]
  boxes_xywh = np.array([row["bbox"] for row in rows], np.float64)
  boxes_xywh = boxes_xywh.reshape(len(rows), 4)
  oriented = None
  if rows and "oriented" in rows[0]:
    oriented = np.array([row["oriented"] for row in rows], np.float64)
    oriented = oriented.reshape(len(rows), 4, 2)[..., ::-1]
  positions = None
  if any("position" in row for row in rows):
    positions = np.array(
      [operator.index(row.get("position", NO_POSITION)) for row in rows],
      np.int32,
    )
  left_out = content.get("left_out")
  if left_out is not None:
    left_out = {k: operator.index(n) for k, n in dict(left_out).items()}
  scores = np.array([float(row["score"]) for row in rows], np.float64)
  image_hw = operator.index(content["height"]), operator.index(content["width"])
  turned, staff_space_px, dpi = (
    float(content[key] or 0.0) for key in ("turned", "staff_space_px", "dpi")
  )
  if not (
    0 < min(image_hw) <= max(image_hw) < _MAX_SIDE_PX
    and np.all(np.abs(boxes_xywh) < _MAX_SIDE_PX)
    and (oriented is None or np.all(np.abs(oriented) < _MAX_SIDE_PX))
    and (positions is None or np.all(np.abs(positions) <= -NO_POSITION))
    and np.all((scores >= 0) & (scores <= 1))
    and np.isfinite([turned, staff_space_px, dpi]).all()
  ):
    raise ValueError("a number is out of range")
  x, y, width, height = boxes_xywh.T.astype(np.float32)
  return PageDetections(
    page=str(content["page"]),
    image_hw=image_hw,
    boxes_yxyx=np.stack([y, x, y + height, x + width], 1),
    labels=np.array([index[row["name"]] for row in rows], np.int32),
    scores=scores,
    class_names=class_names,
    staff_space_px=staff_space_px,
    dpi=dpi,
    turned=int(turned) if turned.is_integer() else turned,
    without_staves=bool(content["without_staves"]),
    oriented_yx=None if oriented is None else oriented.astype(np.float32),
    positions=positions,
    left_out=left_out,
    staves=tuple(_staff_from_json(row) for row in content["staves"]),
  )
