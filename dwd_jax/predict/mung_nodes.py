"""Writes detections as nodes of MuNG, the format of MUSCIMA++."""

import copy
import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any
from xml.sax import saxutils

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from mung import io as mung_io
from mung.node import Node

from dwd_jax.core import files
from dwd_jax.core.structs import NO_POSITION, PageBoxes
from dwd_jax.imaging.staff_lines import Staff
from dwd_jax.imaging.staff_space import LINES
from dwd_jax.predict.staff_symbols import StaffSymbol

_DATASET = "dwd_jax"
_INK = 128  # pixels from here on belong to the symbol


def of_page(
  found: PageBoxes,
  class_names: Sequence[str],
  ink: UInt8[np.ndarray, "H W"] | None = None,
) -> list[Node]:
  """Makes a node for each symbol, in order, with ids from 0.

  Boxes are rounded to whole pixels, at least one, and clipped to the page. The
  mask is the ink in the box; the score is kept as the node's data "score", the
  place on the staff, if there is one, as "position".

  Args:
    ink: the page, 0 = paper, 255 = ink; None: nodes have no masks.
  """
  assert found.scores is not None
  height, width = found.image_hw
  result = []
  for i, (label, score) in enumerate(
    zip(found.labels.tolist(), found.scores.tolist(), strict=True)
  ):
    y0, x0, y1, x1 = np.rint(found.boxes_yxyx[i]).astype(int).tolist()
    top, left = min(max(y0, 0), height - 1), min(max(x0, 0), width - 1)
    bottom = min(max(y1, top + 1), height)
    right = min(max(x1, left + 1), width)
    data: dict[str, Any] = {"score": round(score, 4)}
    if found.positions is not None and found.positions[i] != NO_POSITION:
      data["position"] = int(found.positions[i])
    mask: Any = None
    if ink is not None:
      mask = (ink[top:bottom, left:right] >= _INK).astype(np.uint8)
    result.append(
      Node(
        i,
        class_names[int(label)],
        top,
        left,
        right - left,
        bottom - top,
        mask=mask,
        dataset=_DATASET,
        document=found.filename,
        data=data,
      )
    )
  return result


def of_staves(
  staves: Sequence[Staff],
  page: str,
  image_hw: tuple[int, int],
  ink: UInt8[np.ndarray, "H W"] | None = None,
  *,
  first_id: int = 0,
  symbols: Sequence[StaffSymbol] = (),
) -> list[Node]:
  """Makes nodes `staffLine`, then nodes `staff` with edges to their lines.

  As in MUSCIMA++. The mask of a line is the ink along it, that of a staff the
  ink of its lines.

  Args:
    ink: see `of_page`.
    first_id: ids count from here.
    symbols: spaces, to which staves get edges, and groups, which get edges to
      their staves, become nodes, too; staves and lines among them do not count.
  """
  lines, whole = [], []
  first_staff = first_id + LINES * len(staves)
  for number, staff in enumerate(staves):
    first = first_id + LINES * number
    ids = list(range(first, first + LINES))
    for i, line in zip(ids, staff.lines_yx, strict=True):
      node = _drawn("staffLine", i, [line], staff, page, image_hw, ink)
      node.inlinks = [first_staff + number]
      lines.append(node)
    i, drawn = first_staff + number, staff.lines_yx
    node = _drawn("staff", i, drawn, staff, page, image_hw, ink)
    node.outlinks = ids
    whole.append(node)
  more = []
  for symbol in symbols:
    if symbol.name not in ("staffSpace", "staffGrouping"):
      continue
    number = first_staff + len(staves) + len(more)
    node = _boxed(symbol, number, page, image_hw, ink)
    for staff in (whole[i] for i in symbol.staves):
      above, below = (
        (staff, node) if symbol.name == "staffSpace" else (node, staff)
      )
      above.outlinks = [*above.outlinks, below.id]
      below.inlinks = [*below.inlinks, above.id]
    more.append(node)
  return lines + whole + more


def _boxed(
  symbol: StaffSymbol,
  number: int,
  page: str,
  image_hw: tuple[int, int],
  ink: UInt8[np.ndarray, "H W"] | None,
) -> Node:
  """A node of a box; a space is all of it, a group its ink."""
  box = np.rint(symbol.box_yxyx).astype(int)
  low = box[:2].clip(0, np.subtract(image_hw, 1))
  high = box[2:].clip(low + 1, image_hw)
  (top, left), (height, width) = low.tolist(), (high - low).tolist()
  mask: Any = None
  if ink is not None and symbol.name == "staffSpace":
    mask = np.ones((height, width), np.uint8)
  elif ink is not None:
    part = ink[top : top + height, left : left + width]
    mask = (part >= _INK).astype(np.uint8)
  return Node(
    number, symbol.name, top, left, width, height,
    mask=mask, dataset=_DATASET, document=page,
  )  # fmt: skip


def _drawn(
  name: str,
  number: int,
  lines: Sequence[Float[np.ndarray, "_ 2"]],
  staff: Staff,
  page: str,
  image_hw: tuple[int, int],
  ink: UInt8[np.ndarray, "H W"] | None,
) -> Node:
  """A node around some lines of a staff."""
  box = dataclasses.replace(staff, lines_yx=tuple(lines)).box_yxyx
  # Less than a quarter of a pixel is none.
  low = np.floor(box[:2] + 0.25).astype(int).clip(0, np.subtract(image_hw, 1))
  high = np.ceil(box[2:] - 0.25).astype(int).clip(low + 1, image_hw)
  (top, left), (height, width) = low.tolist(), (high - low).tolist()
  mask: Any = None
  if ink is not None:
    mask = np.zeros((height, width), np.uint8)
    for line in lines:
      # From edges to middles of pixels, in 16ths.
      points = np.rint(16 * (line - low - 0.5)).astype(np.int32)
      thickness = int(np.ceil(staff.thickness_px)) + 1
      corners = np.ascontiguousarray(points[:, ::-1])
      cv2.polylines(mask, [corners], False, 1, thickness, cv2.LINE_8, 4)
    mask &= ink[top : top + height, left : left + width] >= _INK
  return Node(
    number, name, top, left, width, height,
    mask=mask, dataset=_DATASET, document=page,
  )  # fmt: skip


def write(path: pathlib.Path, found: Sequence[Node], page: str) -> None:
  """Writes nodes as XML; `mung.io.read_nodes_from_file` reads it."""
  # The package does not escape names.
  escaped = [copy.copy(node) for node in found]
  for node in escaped:
    node.set_class_name(_escape(node.class_name))
  text = mung_io.write_nodes_to_string(escaped, _escape(page), _DATASET)
  files.write_atomic(path, text)


def _escape(text: str) -> str:
  return saxutils.escape(text, {'"': "&quot;"})
