"""Degrades an engraved page to what a scan or a photo shows."""

import dataclasses
from collections.abc import Sequence

import cv2
import numpy as np
import pyvips
from jaxtyping import UInt8

from dwd_jax.engrave import verovio_svg
from dwd_jax.engrave.deepscores_folder import Annotated
from dwd_jax.imaging import degrade
from dwd_jax.imaging.degrade import camera


@dataclasses.dataclass(frozen=True)
class DegradedPage:
  """A degraded page.

  Attributes:
    png: grey for scans, colour for photos.
    objects: the symbols that are still on the page and legible.
    labels: PNG of the label image, b"" if none was given.
  """

  png: bytes
  objects: list[Annotated]
  labels: bytes
  depth: int


def degrade_page(
  ink: UInt8[np.ndarray, "H W"],
  objects: Sequence[Annotated],
  labels: bytes = b"",
  *,
  recipe: str,
  strength: float,
  staff_space_px: float,
  key: str,
) -> DegradedPage:
  """Degrades a page; symbols and label image go through the same map.

  Args:
    ink: 0 = paper, 255 = ink.
    labels: PNG of the label image; b"" = none.
    recipe: `scan` or `photo`.
    strength: 0..2, 1 = as real scans and photos.
    staff_space_px: distance of two staff lines.
    key: seed; equal keys give equal pages.
  """
  rng = np.random.default_rng(list(key.encode()))
  hw = (ink.shape[0], ink.shape[1])
  plan = degrade.sample(
    rng,
    hw,
    recipe=recipe,
    strength=strength,
    staff_space_px=staff_space_px,
  )
  boxes = np.array([x.box_yxyx for x in objects], np.float32).reshape(-1, 4)
  corners = np.array([x.corners_yx for x in objects], np.float32)
  image, whole = plan.apply(ink, boxes)
  moved, kept = degrade.on_image(whole, hw)
  corners = plan.corners(corners.reshape(-1, 4, 2)[kept], whole[kept])
  if recipe == "photo":
    image = camera.colour_cast(
      image, rng, severity=plan.severity, staff_space_px=plan.staff_space_px
    )[..., ::-1]
  else:
    image = 255 - image
  if labels:
    values = cv2.imdecode(np.frombuffer(labels, np.uint8), cv2.IMREAD_UNCHANGED)
    assert values is not None  # the engraver has just written them
    labels = _png(plan.classes(np.ascontiguousarray(values, np.uint8)))
  found = [
    objects[i]._replace(box_yxyx=tuple(box), corners_yx=own)
    for i, box, own in zip(
      np.flatnonzero(kept).tolist(), moved.tolist(), corners, strict=True
    )
  ]
  return DegradedPage(_png(image), found, labels, 1 if image.ndim == 2 else 3)


def _png(pixels: np.ndarray) -> bytes:
  return verovio_svg.to_png(
    pyvips.Image.new_from_array(np.ascontiguousarray(pixels))
  )
