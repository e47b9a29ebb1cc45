"""Writes detections as nodes of MuNG, the format of MUSCIMA++."""

import copy
import pathlib
from collections.abc import Sequence
from typing import Any
from xml.sax import saxutils

import numpy as np
from jaxtyping import UInt8
from mung import io as mung_io
from mung.node import Node

from dwd_jax.core import files
from dwd_jax.core.structs import NO_POSITION, PageBoxes

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
