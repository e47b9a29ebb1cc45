"""Elements of a page's drawing as points: their curves become short lines."""

import dataclasses
import functools
import re

import numpy as np
from jaxtyping import Float

from dwd_jax.engrave import outlines

_ATTRIBUTE = re.compile(r'([\w:-]+)="([^"]*)"')
_CURVE = np.linspace(0, 1, 9)[1:, None]  # points of a cubic except its first
_ROUND = np.linspace(0, 2 * np.pi, 33)[:-1]


@dataclasses.dataclass
class Element:
  """Something drawn, its curves as many short lines.

  Attributes:
    lines: points (x, y) of each contour, in page units.
    closed: whether each contour returns to its start.
    attributes: fill and stroke, except the stroke's width.
    stroke: its width in page units; 0 = none.
  """

  lines: list[Float[np.ndarray, "n 2"]]
  closed: list[bool]
  attributes: dict[str, str]
  stroke: float

  def to_svg(self) -> str:
    """The element as a path."""
    parts = []
    for points, closed in zip(self.lines, self.closed, strict=True):
      numbers = " ".join(f"{x:.1f},{y:.1f}" for x, y in points.tolist())
      parts.append(f"M{numbers}{'Z' if closed else ''}")
    more = "".join(f' {k}="{v}"' for k, v in self.attributes.items())
    width = f' stroke-width="{self.stroke:.2f}"' if self.stroke else ""
    return f'<path d="{"".join(parts)}"{more}{width}/>'


def read(drawn: str, defs: dict[str, str]) -> Element | None:
  """Reads an element of `Page.body`; None for an unknown tag.

  `defs` are those of the page, for glyphs.
  """
  tag = drawn[1:].partition(" ")[0]
  found = dict(_ATTRIBUTE.findall(drawn))
  matrix = outlines.parse_transform(found.pop("transform", ""))
  stroke = (outlines.numbers(found.pop("stroke-width", "")) or [0.0])[0]
  if tag == "use":
    glyph = dict(_ATTRIBUTE.findall(defs[found.pop("xlink:href")[1:]]))
    inside = outlines.parse_transform(glyph.get("transform", ""))
    matrix = outlines.multiply(matrix, inside)
    lines, closed = path_lines(glyph["d"])
  elif tag == "path":
    lines, closed = path_lines(found.pop("d", ""))
  elif tag in ("polygon", "polyline"):
    numbers = outlines.numbers(found.pop("points", ""))
    lines = [np.array(numbers, float).reshape(-1, 2)] if numbers else []
    closed = [tag == "polygon"] * len(lines)
  elif tag == "rect":
    x, y, w, h = (float(found.pop(k, 0)) for k in ("x", "y", "width", "height"))
    lines = [np.array([(x, y), (x + w, y), (x + w, y + h), (x, y + h)])]
    closed = [True]
  elif tag == "ellipse":
    cx, cy, rx, ry = (float(found.pop(k, 0)) for k in ("cx", "cy", "rx", "ry"))
    lines = [np.stack([cx + rx * np.cos(_ROUND), cy + ry * np.sin(_ROUND)], 1)]
    closed = [True]
  else:
    return None
  a, b, c, d, e, f = matrix
  turn, shift = np.array([[a, b], [c, d]]), np.array([e, f])
  return Element(
    [points @ turn + shift for points in lines if len(points) > 1],
    [c for c, points in zip(closed, lines, strict=True) if len(points) > 1],
    found,
    stroke * abs(a * d - b * c) ** 0.5,
  )


@functools.lru_cache(maxsize=512)
def path_lines(d: str) -> tuple[list[np.ndarray], list[bool]]:
  """Contours of path data; cached, so not to be changed."""
  lines, closed, points = [], [], []
  for name, args in outlines.commands(d):
    if name == "moveTo":
      points = [np.array(args, float)]
    elif name == "lineTo":
      points.append(np.array(args, float))
    elif name in ("curveTo", "qCurveTo"):
      points.append(_curve(np.array([points[-1][-1], *args], float)))
    else:
      lines.append(np.concatenate(points))
      closed.append(name == "closePath")
  return lines, closed


def _curve(corners: Float[np.ndarray, "k 2"]) -> Float[np.ndarray, "m 2"]:
  """Points of a Bezier curve of any degree except its first (de Casteljau)."""
  rows = np.repeat(corners[None], len(_CURVE), 0)
  t = _CURVE[:, None]
  while rows.shape[1] > 1:
    rows = (1 - t) * rows[:, :-1] + t * rows[:, 1:]
  return rows[:, 0]


def subdivide(
  points: Float[np.ndarray, "n 2"], closed: bool, step: float
) -> Float[np.ndarray, "m 2"]:
  """Adds points until none are further apart than `step`."""
  ends = np.concatenate([points, points[:1]]) if closed else points
  away = np.diff(ends, axis=0)
  counts = np.ceil(np.hypot(*away.T) / step).astype(int).clip(1)
  rows = np.repeat(np.arange(len(away)), counts)
  first = np.cumsum(counts) - counts
  share = (np.arange(len(rows)) - first[rows]) / counts[rows]
  found = ends[rows] + away[rows] * share[:, None]
  return found if closed else np.concatenate([found, points[-1:]])


_CAP = np.stack([np.cos(_ROUND[::4]), np.sin(_ROUND[::4])], 1)


def spread(
  points: Float[np.ndarray, "n 2"], width: float
) -> Float[np.ndarray, "m 2"]:
  """Points around a stroke of some width along a line, for its extent.

  A straight line ends with its points, others are rounded.
  """
  if not width:
    return points
  if len(points) > 2:
    around = _CAP * width / 2
    return (points[:, None] + around).reshape(-1, 2)
  along = points[1] - points[0]
  across = np.array([-along[1], along[0]]) * width / 2
  across /= np.hypot(*along) or 1.0
  return np.concatenate([points - across, points + across])
