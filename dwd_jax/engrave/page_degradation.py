"""Degrades an engraved page to what a scan or a photo shows."""

import dataclasses
from collections.abc import Sequence

import cv2
import numpy as np
import pyvips
from jaxtyping import UInt8

from dwd_jax.engrave import verovio_svg
from dwd_jax.imaging import degrade
from dwd_jax.imaging.degrade import camera

Box = tuple[float, float, float, float]


@dataclasses.dataclass(frozen=True)
class DegradedPage:
  """A degraded page.

  Attributes:
    png: grey for scans, colour for photos.
    boxes: (class name, yxyx in px) of the symbols that are still on the page.
    labels: PNG of the label image, b"" if none was given.
  """

  png: bytes
  boxes: list[tuple[str, Box]]
  labels: bytes
  depth: int


def degrade_page(
  ink: UInt8[np.ndarray, "H W"],
  boxes: Sequence[tuple[str, Box]],
  labels: bytes = b"",
  *,
  recipe: str,
  strength: float,
  staff_space_px: float,
  key: str,
) -> DegradedPage:
  """Degrades a page; boxes and label image go through the same map.

  Args:
    ink: 0 = paper, 255 = ink.
    boxes: (class name, yxyx in px).
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
  page = np.array([box for _, box in boxes], np.float32).reshape(-1, 4)
  moved, kept = degrade.on_image(plan.boxes(page, ink), hw)
  names = [boxes[i][0] for i in np.flatnonzero(kept).tolist()]
  image = plan.image(ink)
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
    (name, (float(y0), float(x0), float(y1), float(x1)))
    for name, (y0, x0, y1, x1) in zip(names, moved, strict=True)
  ]
  return DegradedPage(_png(image), found, labels, 1 if image.ndim == 2 else 3)


def _png(pixels: np.ndarray) -> bytes:
  return verovio_svg.to_png(
    pyvips.Image.new_from_array(np.ascontiguousarray(pixels))
  )
