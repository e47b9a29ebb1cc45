"""Bounds and transforms of SVG shapes."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dwd_jax.engrave import outlines, text_faces, text_outlines

_NUMBERS = st.floats(-1000, 1000)


@pytest.mark.parametrize(
  ("caption", "transform", "point", "expected"),
  [
    ("nothing", "", (3, 4), (3, 4)),
    ("translate, one number", "translate(5)", (3, 4), (8, 4)),
    ("left to right", "translate(5, 6) scale(2, -3)", (3, 4), (11, -6)),
    ("scale, one number", "scale(2)", (3, 4), (6, 8)),
    ("rotate about a point", "rotate(90 10,10)", (11, 10), (10, 11)),
    ("matrix", "matrix(1,2,3,4,5,6)", (1, 1), (9, 12)),
  ],
)
def test_transforms(caption, transform, point, expected):
  x, y = point
  found = outlines.transform_bounds(
    (x, y, x, y), outlines.parse_transform(transform)
  )
  assert found[:2] == pytest.approx(expected), caption


@given(_NUMBERS, _NUMBERS, _NUMBERS, _NUMBERS, st.floats(0, 100))
def test_stroke_contains_its_ends_and_no_more(x0, y0, x1, y1, width):
  left, top, right, bottom = outlines.line_bounds((x0, y0, x1, y1), width)
  assert left <= min(x0, x1) and right >= max(x0, x1)
  assert top <= min(y0, y1) and bottom >= max(y0, y1)
  # A stroke with butt caps is its length long and `width` wide.
  length = math.hypot(x1 - x0, y1 - y0)
  assert (
    math.hypot(right - left, bottom - top)
    <= math.hypot(length, width) + width + 1e-6
  )


def test_horizontal_stroke_grows_up_and_down_only():
  assert outlines.line_bounds((0, 5, 10, 5), 2) == (0, 4, 10, 6)


def test_contours_are_exact_at_the_extrema_of_curves():
  # A half circle of two quarter Beziers: the control points lie outside.
  d = "M0 0C0 5.5228 4.4772 10 10 10C15.5228 10 20 5.5228 20 0z M30 1h2v3h-2z"
  circle, square = outlines.contours(d)
  assert circle == pytest.approx((0, 0, 20, 10))
  assert square == (30, 1, 32, 4)


def test_text_is_the_same_without_fonts_of_the_system():
  # Liberation Serif Bold of verovio's wheel: 1024 of 2048 units per digit.
  digit = text_outlines.glyph("3", text_faces.plain(True, False).file, 0.0)
  assert digit.advance == 0.5
  assert digit.bounds is not None
  assert 0.6 < digit.bounds[3] - digit.bounds[1] < 0.75
  unknown = text_outlines.glyph("\u4e2d", "0", 0.0)  # a blank in its place
  assert unknown.advance > 0 and unknown.bounds is None
