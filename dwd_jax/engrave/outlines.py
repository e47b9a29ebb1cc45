"""Geometry of SVG: transforms, and bounds of glyph outlines and strokes.

Coordinates are those of SVG, y downwards. Bounds are (x0, y0, x1, y1).
"""

import functools
import math
import re
from collections.abc import Iterable, Sequence

from fontTools.pens.boundsPen import BoundsPen
from fontTools.pens.recordingPen import RecordingPen, replayRecording
from fontTools.pens.svgPathPen import SVGPathPen
from fontTools.pens.transformPen import TransformPen
from fontTools.svgLib.path import parse_path

Bounds = tuple[float, float, float, float]
Matrix = tuple[float, float, float, float, float, float]  # a b c d e f of SVG

IDENTITY: Matrix = (1.0, 0.0, 0.0, 1.0, 0.0, 0.0)
_CALL = re.compile(r"(\w+)\s*\(([^)]*)\)")
_NUMBER = re.compile(r"-?\d*\.?\d+(?:[eE][-+]?\d+)?")


def numbers(text: str) -> list[float]:
  """All numbers in an attribute, whatever separates them."""
  return [float(n) for n in _NUMBER.findall(text)]


def multiply(m: Matrix, n: Matrix) -> Matrix:
  """The matrix that applies `n` first, then `m`."""
  a, b, c, d, e, f = m
  g, h, i, j, k, o = n
  return (
    a * g + c * h,
    b * g + d * h,
    a * i + c * j,
    b * i + d * j,
    a * k + c * o + e,
    b * k + d * o + f,
  )


@functools.lru_cache(maxsize=4096)
def parse_transform(text: str) -> Matrix:
  """An SVG transform list (translate, scale, rotate, matrix) as one matrix."""
  m = IDENTITY
  for name, args in _CALL.findall(text):
    v = numbers(args)
    if name == "translate":
      m = multiply(m, (1, 0, 0, 1, v[0], v[1] if len(v) > 1 else 0.0))
    elif name == "scale":
      m = multiply(m, (v[0], 0, 0, v[1] if len(v) > 1 else v[0], 0, 0))
    elif name == "rotate":
      x, y = v[1:3] if len(v) > 2 else (0.0, 0.0)
      cos, sin = math.cos(math.radians(v[0])), math.sin(math.radians(v[0]))
      turn = (cos, sin, -sin, cos, 0.0, 0.0)
      m = multiply(m, (1, 0, 0, 1, x, y))
      m = multiply(multiply(m, turn), (1, 0, 0, 1, -x, -y))
    elif name == "matrix":
      m = multiply(m, (v[0], v[1], v[2], v[3], v[4], v[5]))
  return m


def transform_bounds(bounds: Bounds, m: Matrix) -> Bounds:
  """Bounds of the transformed rectangle; exact for multiples of 90 degrees."""
  x0, y0, x1, y1 = bounds
  a, b, c, d, e, f = m
  xs = [a * x + c * y + e for x in (x0, x1) for y in (y0, y1)]
  ys = [b * x + d * y + f for x in (x0, x1) for y in (y0, y1)]
  return min(xs), min(ys), max(xs), max(ys)


def union(boxes: Iterable[Bounds]) -> Bounds:
  """The smallest rectangle around one or more."""
  x0, y0, x1, y1 = zip(*boxes, strict=True)
  return min(x0), min(y0), max(x1), max(y1)


def grow(bounds: Bounds, by: float) -> Bounds:
  """The rectangle extended by `by` on every side."""
  x0, y0, x1, y1 = bounds
  return x0 - by, y0 - by, x1 + by, y1 + by


@functools.lru_cache(maxsize=512)
def commands(d: str) -> list[tuple[str, tuple]]:
  """Pen commands of path data; cached, so not to be changed."""
  pen = RecordingPen()
  parse_path(d, pen)
  return pen.value


def path_data(values: Iterable[tuple[str, tuple]], m: Matrix) -> str:
  """Path data of transformed pen commands."""
  path = SVGPathPen(None, ntos=lambda v: f"{v:.6g}")
  replayRecording(values, TransformPen(path, m))
  return path.getCommands()


@functools.lru_cache(maxsize=8192)
def contours(d: str) -> tuple[Bounds, ...]:
  """Bounds of each contour of a path, exact at the extrema of curves."""
  found = []
  pen = BoundsPen(None)
  for name, args in commands(d):
    if name == "moveTo":
      pen = BoundsPen(None, ignoreSinglePoints=True)
    getattr(pen, name)(*args)
    if name in ("closePath", "endPath") and pen.bounds is not None:
      found.append(pen.bounds)
  return tuple(found)


def line_bounds(points: Sequence[float], width: float) -> Bounds:
  """Bounds of a straight stroke with butt caps; points are x0, y0, x1, y1."""
  x0, y0, x1, y1 = points
  length = math.hypot(x1 - x0, y1 - y0) or 1.0
  dx = abs(y1 - y0) / length * width / 2
  dy = abs(x1 - x0) / length * width / 2
  return (
    min(x0, x1) - dx,
    min(y0, y1) - dy,
    max(x0, x1) + dx,
    max(y0, y1) + dy,
  )
