"""Rectangles of any angle: their code, and their overlap.

Corners are (y, x), in order around the rectangle. Its code is (m, a, b): with
sides exp(m + d) and exp(m - d), d >= 0, and the longer side at the angle t to
the x axis (towards y), a = d cos 2t and b = d sin 2t. That is the logarithm of
the matrix that makes the rectangle of a unit square. It has no jumps: half a
turn changes nothing, and a square, which has no angle, is a = b = 0. An upright
box has b = 0, m - a = log height and m + a = log width.

Functions take NumPy or JAX arrays. Exported detectors carry a copy of this
file, so it needs numpy only.
"""

from typing import Any

import numpy as np

_LEAST_PX = 0.1  # sides have logarithms
_TINY = 1e-12


def _np_of(array) -> Any:
  return getattr(array, "__array_namespace__", lambda: np)()


def encode(corners_yx: Any) -> Any:
  """Codes (m, a, b), [..., 3], of corners [..., 4, 2].

  Of four corners that are no rectangle: that with the means of their opposite
  sides. A side shorter than 0.1 px counts as 0.1 px.
  """
  xp = _np_of(corners_yx)
  long, length, width = _longer(corners_yx)
  length, width = (xp.maximum(side, _LEAST_PX) for side in (length, width))
  m, d = xp.log(length * width) / 2, xp.log(length / width) / 2
  y, x = long[..., 0] / length, long[..., 1] / length
  return xp.stack([m, d * (x**2 - y**2), 2 * d * x * y], -1)


def decode(codes: Any, centers_yx: Any) -> Any:
  """Corners [..., 4, 2] of codes [..., 3] around centres [..., 2]."""
  xp = _np_of(codes)
  m, a, b = xp.moveaxis(codes, -1, 0)
  d, angle = xp.sqrt(a**2 + b**2), xp.arctan2(b, a) / 2
  y, x = xp.sin(angle), xp.cos(angle)
  long = xp.stack([y, x], -1) * (xp.exp(m + d) / 2)[..., None]
  short = xp.stack([x, -y], -1) * (xp.exp(m - d) / 2)[..., None]
  ways = (-long - short, long - short, long + short, short - long)
  return centers_yx[..., None, :] + xp.stack(ways, -2)


def centers_yx(corners_yx: Any) -> Any:
  """Centres (y, x) [..., 2]."""
  return corners_yx.mean(-2)


def _sides(corners_yx):
  """Vectors of two neighbouring sides, each the mean of opposite ones."""
  c = [corners_yx[..., i, :] for i in range(4)]
  return (c[1] - c[0] + c[2] - c[3]) / 2, (c[3] - c[0] + c[2] - c[1]) / 2


def _longer(corners_yx):
  """The longer side, a vector, its length, and that of the other one."""
  xp = _np_of(corners_yx)
  one, two = _sides(corners_yx)
  lengths = [xp.sqrt((side**2).sum(-1)) for side in (one, two)]
  turned = lengths[0] < lengths[1]
  long = xp.where(turned[..., None], two, one)
  return long, xp.maximum(*lengths), xp.minimum(*lengths)


def pairwise_iou(a_yx: Any, b_yx: Any) -> Any:
  """The `iou` [n, m] of all pairs of [n, 4, 2] and [m, 4, 2]."""
  return iou(a_yx[:, None], b_yx)


def iou(a_yx: Any, b_yx: Any) -> Any:
  """Intersection over union [...] of rectangles [..., 4, 2].

  Exact, without sorting points: by Green's theorem the intersection with a
  rectangle |x| <= w, |y| <= h is the integral of x clipped to it over dy along
  the other's outline, where |y| <= h. So `b_yx` may be any quadrilaterals whose
  sides do not cross. It is 0 with boxes of no area.
  """
  xp = _np_of(a_yx)
  long, length, width = _longer(a_yx)
  # Where there is no side, there is no area either.
  unit = long / xp.maximum(length, _TINY)[..., None]
  u_y, u_x = unit[..., 0], unit[..., 1]
  center = a_yx.mean(-2)
  # Corners of b as the rectangles a see them.
  seen = []
  for corner in range(4):
    dy, dx = (b_yx[..., corner, i] - center[..., i] for i in range(2))
    seen.append((dx * u_x + dy * u_y, dy * u_x - dx * u_y))
  w, h = length / 2, width / 2
  inter = 0.0
  for (x0, y0), (x1, y1) in zip(seen, seen[1:] + seen[:1], strict=True):
    inter = inter + _under(xp, x0, y0, x1, y1, w, h)
  inter = abs(inter)
  b_one, b_two = _sides(b_yx)
  area = abs(b_one[..., 0] * b_two[..., 1] - b_one[..., 1] * b_two[..., 0])
  union = length * width + area - inter
  share = xp.where(union > 0, inter / xp.maximum(union, _TINY), 0.0)
  return xp.where(xp.isfinite(share), xp.clip(share, 0.0, 1.0), 0.0)


def _under(xp, x0, y0, x1, y1, w, h):
  """Integral over dy of x clipped to +-w, where |y| <= h, along one side."""
  dy = y1 - y0
  c0, c1 = xp.clip(y0, -h, h), xp.clip(y1, -h, h)
  # Ends of the part within |y| <= h; if it is empty, c0 = c1.
  scale = 1 / xp.where(abs(dy) < _TINY, 1.0, dy)
  e0 = x0 + (x1 - x0) * xp.clip((c0 - y0) * scale, 0.0, 1.0)
  e1 = x0 + (x1 - x0) * xp.clip((c1 - y0) * scale, 0.0, 1.0)
  low, high = xp.minimum(e0, e1), xp.maximum(e0, e1)
  span = high - low
  # How much of the way lies left and right of the rectangle.
  left = xp.clip(-w - low, 0.0, span)
  right = xp.clip(high - w, 0.0, span)
  inside = (xp.clip(low, -w, w) + xp.clip(high, -w, w)) / 2
  shift = left * (-w - inside) + right * (w - inside)
  return (inside + shift / xp.maximum(span, _TINY)) * (c1 - c0)
