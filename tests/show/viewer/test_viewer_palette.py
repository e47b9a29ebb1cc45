import re

import numpy as np

from dwd_jax.show.viewer import palette


def _least_distance(colours: tuple[str, ...]) -> float:
  """OKLab distance of the two closest colours in the worst kind of vision."""
  rgb = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in colours])
  distances = palette._gaps(palette._seen(rgb), palette._seen(rgb)).min(axis=0)
  np.fill_diagonal(distances, np.inf)
  return float(distances.min())


def test_colours_are_different_and_do_not_depend_on_the_number():
  many = palette.class_colours(124)
  assert len(set(many)) == 124
  assert all(re.fullmatch("#[0-9a-f]{6}", colour) for colour in many)
  assert palette.class_colours(20) == many[:20]


def test_the_first_colours_differ_most_for_every_kind_of_vision():
  many = palette.class_colours(124)
  # A step of 0.02 in OKLab is about what can just be seen side by side; five
  # of them can be told apart anywhere on a page.
  assert _least_distance(many[:8]) > 0.1
  assert _least_distance(many[:32]) > 0.04
  assert _least_distance(many) > 0.018


def test_red_and_green_are_one_colour_for_some():
  # Normal vision sees them 0.23 apart, people with protanopia 0.002.
  red, green, blue = "#c8503c", "#3c6e3c", "#3c50c8"
  assert _least_distance((red, green)) < 0.01
  assert _least_distance((red, blue)) > 0.1


def test_more_classes_than_colours_repeat_them():
  assert len(palette.class_colours(5000)) == 5000
  assert palette.class_colours(0) == ()
