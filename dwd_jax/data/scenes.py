"""Pixels with their objects: a crop, a part of a page, a single symbol."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8

from dwd_jax.core.structs import NO_POSITION
from dwd_jax.imaging import page_windows


@dataclasses.dataclass(frozen=True)
class Scene:
  """Pixels and their objects.

  Attributes:
    ink: 0 = paper, 255 = ink; or colours [h, w, 3].
    boxes_yxyx: in pixels of `ink`; they may reach over its edges.
    labels: class ids.
    oriented_yx: corners of the oriented boxes, which edges never cut.
    positions: places on the staff.
    masks: energies on them, see `imaging.masks.energy_patches`.
  """

  ink: UInt8[np.ndarray, "h w *c"]
  boxes_yxyx: Float[np.ndarray, "n 4"]
  labels: Int[np.ndarray, " n"]
  oriented_yx: Float[np.ndarray, "n 4 2"] | None = None
  positions: Int[np.ndarray, " n"] | None = None
  masks: UInt8[np.ndarray, "n p p"] | None = None

  def keep(self, rows: np.ndarray) -> "Scene":
    """The objects of `rows`, any index of an array [n]."""

    def of(values):
      return None if values is None else values[rows]

    return Scene(
      self.ink,
      self.boxes_yxyx[rows],
      self.labels[rows],
      of(self.oriented_yx),
      of(self.positions),
      of(self.masks),
    )

  def moved(self, top: int, left: int) -> "Scene":
    """The objects in a frame in which `ink` begins at (top, left), px."""
    offset = np.array([top, left] * 2, np.float32)
    oriented = self.oriented_yx
    return dataclasses.replace(
      self,
      boxes_yxyx=self.boxes_yxyx + offset,
      oriented_yx=None if oriented is None else oriented + offset[:2],
    )

  def flipped(self) -> "Scene":
    """Mirrored from left to right."""
    image, boxes = page_windows.flip_horizontally(self.ink, self.boxes_yxyx)
    oriented = self.oriented_yx
    if oriented is not None:
      oriented = page_windows.flip_corners(oriented, image.shape[1])
    masks = None if self.masks is None else self.masks[:, :, ::-1]
    return dataclasses.replace(
      self, ink=image, boxes_yxyx=boxes, oriented_yx=oriented, masks=masks
    )

  def turned(self, quarters: int) -> "Scene":
    """Turned counterclockwise by quarters, 0 to 3."""
    scene = self
    for _ in range(quarters):
      scene = scene._quarter_turned()
    return scene

  def _quarter_turned(self) -> "Scene":
    width = np.float32(self.ink.shape[1])
    y0, x0, y1, x1 = self.boxes_yxyx.T
    oriented, masks = self.oriented_yx, self.masks
    if oriented is not None:
      y, x = oriented[..., 0], oriented[..., 1]
      oriented = np.stack([width - x, y], axis=-1)
    return dataclasses.replace(
      self,
      ink=np.ascontiguousarray(np.rot90(self.ink)),
      boxes_yxyx=np.stack([width - x1, y0, width - x0, y1], axis=1),
      oriented_yx=oriented,
      masks=None if masks is None else np.rot90(masks, axes=(1, 2)),
    )

  def padded(self, count: int) -> dict[str, np.ndarray]:
    """The fields of `structs.Batch` for one image, with `count` rows."""
    boxes, labels, mask = page_windows.pad_boxes(
      self.boxes_yxyx, self.labels, count
    )
    found = {
      "image": self.ink,
      "boxes_yxyx": boxes,
      "labels": labels,
      "box_mask": mask,
    }
    if self.oriented_yx is not None:
      found["oriented_yx"] = page_windows.pad_rows(self.oriented_yx, count)
    if self.positions is not None:
      found["positions"] = page_windows.pad_rows(
        self.positions, count, NO_POSITION
      )
    if self.masks is not None:
      found["masks"] = page_windows.pad_rows(self.masks, count)
    return found


def joined(ink: UInt8[np.ndarray, "h w"], parts: Sequence[Scene]) -> Scene:
  """The objects of some scenes in the frame of `ink`, their common frame.

  What one of them lacks, the whole lacks.
  """

  def of(name: str, empty: np.ndarray) -> Any:
    values = [getattr(part, name) for part in parts]
    if any(v is None for v in values):
      return None
    return np.concatenate([empty, *(v.astype(empty.dtype) for v in values)])

  return Scene(
    ink,
    boxes_yxyx=of("boxes_yxyx", np.zeros((0, 4), np.float32)),
    labels=of("labels", np.zeros(0, np.int32)),
    oriented_yx=of("oriented_yx", np.zeros((0, 4, 2), np.float32)),
    positions=of("positions", np.zeros(0, np.int32)),
  )
