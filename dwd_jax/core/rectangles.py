"""Rectangles of any angle: their code, and their overlap.

Corners are (y, x), in order around the rectangle. Its code is the upright box
around it and the slant: the artanh of the share of its shorter side that the
flatter side of the rectangle covers (the steeper one in a box that is higher
than wide), positive from the top left to the bottom right. An upright rectangle
has the slant 0, and half a turn changes nothing.

Functions take NumPy or JAX arrays. Exported detectors carry a copy of this
file, so it needs numpy only.
"""

from typing import Any

import numpy as np

_LEAST_PX = 0.1  # of sides, which are divided by
_MOST_SHARE = 0.998  # of the shorter side of a box; slants stay finite
_TINY = 1e-12


def _np_of(array) -> Any:
  return getattr(array, "__array_namespace__", lambda: np)()


def encode(corners_yx: Any) -> Any:
  """Codes [..., 5], an upright box and a slant, of corners [..., 4, 2].

  Of four corners that are no rectangle: that with the means of their opposite
  sides. A side shorter than 0.1 px counts as 0.1 px.
  """
  xp = _np_of(corners_yx)
  half = axes(corners_yx)
  center, reach = centers_yx(corners_yx), xp.abs(half).sum(-2)
  wide = reach[..., 1] >= reach[..., 0]
  # (across, along) the longer side of the box.
  half = xp.where(wide[..., None, None], half, half[..., ::-1])
  flat = xp.abs(half[..., 1]) >= xp.abs(half[..., 0])  # [..., 2]
  side = xp.where(flat[..., :1], half[..., 0, :], half[..., 1, :])
  across = xp.where(side[..., 1] < 0, -side[..., 0], side[..., 0])
  share = xp.clip(across / reach.min(-1), -_MOST_SHARE, _MOST_SHARE)
  box = xp.concatenate([center - reach, center + reach], -1)
  return xp.concatenate([box, xp.arctanh(share)[..., None]], -1)


def decode(codes: Any) -> Any:
  """Corners [..., 4, 2] of codes [..., 5]."""
  xp = _np_of(codes)
  low, high, share = codes[..., :2], codes[..., 2:4], xp.tanh(codes[..., 4])
  center, sides = (low + high) / 2, xp.maximum(high - low, _LEAST_PX)
  wide = sides[..., 1] >= sides[..., 0]
  short, long = sides.min(-1), sides.max(-1)
  # Of the shorter side, one side of the rectangle covers this, the other that.
  own, other = abs(share) * short, (1 - abs(share)) * short
  root = xp.sqrt(xp.maximum(long**2 - 4 * own * other, 0))
  tangent = xp.where(share < 0, -2, 2) * own / (long + root)
  ways = (
    (share * short, long - other * abs(tangent)),
    (other, -other * tangent),
  )
  one, two = (xp.stack(way, -1) / 2 for way in ways)
  one, two = (
    xp.where(wide[..., None], way, way[..., ::-1]) for way in (one, two)
  )
  ways = (-one - two, one - two, one + two, two - one)
  return center[..., None, :] + xp.stack(ways, -2)


def axes(corners_yx: Any) -> Any:
  """Half of the longer and of the shorter side, as vectors [..., 2, 2].

  See `encode` for what is no rectangle.
  """
  xp = _np_of(corners_yx)
  long, length, width = _longer(corners_yx)
  length, width = (xp.maximum(side, _LEAST_PX) for side in (length, width))
  unit = long / length[..., None]
  # A point has no direction.
  flat = xp.stack([0 * length, 0 * length + 1], -1)
  unit = xp.where((long**2).sum(-1)[..., None] < _LEAST_PX**2, flat, unit)
  across = xp.stack([unit[..., 1], -unit[..., 0]], -1)
  halves = unit * length[..., None] / 2, across * width[..., None] / 2
  return xp.stack(halves, -2)


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
