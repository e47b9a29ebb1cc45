"""Lines of staves: traced on drawn staves, and not where there are none."""

import cv2
import numpy as np
import pytest
from staff_helpers import staves

from dwd_jax.imaging import staff_lines, staff_pieces, staff_space


def _trace(ink):
  measured = staff_space.measure(ink)
  assert measured is not None
  pieces = staff_pieces.find(measured)
  return staff_lines.trace(ink, measured.space.px, pieces)


def _off(staff, line_at):
  """How far lines are from `line_at(number, x)`, at most, px."""
  off = []
  for number, line in enumerate(staff.lines_yx):
    x = np.arange(line[0, 1] + 2, line[-1, 1] - 2)
    y = np.interp(x, line[:, 1], line[:, 0])
    off.append(np.abs(y - line_at(number, x)).max())
  return max(off)


def test_lines_are_where_they_were_drawn():
  found = _trace(staves(10, (380, 600), thickness=2))
  assert len(found) == 3
  for i, staff in enumerate(found):
    top = 20 + 110 * i
    assert _off(staff, lambda k, _, top=top: top + 10 * k + 1) < 0.2
    np.testing.assert_allclose(
      staff.box_yxyx, [top, 30, top + 42, 570], atol=0.5
    )
    assert staff.space_px == pytest.approx(10, abs=0.05)
    assert staff.thickness_px == pytest.approx(2, abs=0.3)
    assert [len(line) for line in staff.lines_yx] == [2] * 5  # straight


def _bent(x, width):
  return 12 * np.sin(3 * x / width) - 0.01 * x


def test_lines_bend_with_the_page():
  ink = staves(10, (380, 900), thickness=2)
  y, x = np.mgrid[:380, :900].astype(np.float32)
  bent = cv2.remap(ink, x, y - _bent(x, 900), cv2.INTER_LINEAR)
  found = _trace(bent)
  assert len(found) == 3
  for i, staff in enumerate(found):
    top = 21 + 110 * i
    assert (
      _off(staff, lambda k, x, t=top: t + 10 * k + _bent(x - 0.5, 900)) < 0.5
    )


@pytest.mark.parametrize("caption", ["broken", "hidden", "faint"])
def test_one_staff_stays_one(caption):
  ink = staves(10, (380, 900), thickness=2)
  rng = np.random.default_rng(0)
  if caption == "broken":
    for x in range(0, 900, 12):
      ink[:, x : x + rng.integers(3, 8)] = 0
  elif caption == "hidden":  # beams, heads and stems
    for x in range(120, 800, 60):
      for y in (18, 130, 252):
        ink[y : y + 5, x : x + 50] = 255
        ink[y : y + 30, x : x + 2] = 255
        cv2.ellipse(ink, (x + 6, y + 28), (7, 5), -20, 0, 360, 255, -1)
  else:
    ink[120:190] //= 3
    ink = np.maximum(ink, rng.integers(0, 20, ink.shape).astype(np.uint8))
  found = _trace(ink)
  assert len(found) == 3
  for i, staff in enumerate(found):
    top = 21 + 110 * i
    assert _off(staff, lambda k, _, top=top: top + 10 * k) < 1.5
    np.testing.assert_allclose(staff.box_yxyx[[1, 3]], [45, 855], atol=13)


@pytest.mark.parametrize("caption", ["hidden", "no middle line", "worn"])
def test_a_staff_of_which_a_line_is_not_seen(caption):
  ink = staves(10, (380, 900), thickness=2)
  if caption == "hidden":  # by the bar of a rest of many measures
    ink[147:155, 100:800] = 255
  elif caption == "no middle line":
    ink[147:155] = 0
  else:
    ink[128:135, 120:] = 0
    for number, row in enumerate((140, 150, 160, 170)):
      ink[row - 2 : row + 4, 60 + 180 * number : 280 + 180 * number] = 0
  found = _trace(ink)
  assert len(found) == 3
  assert _off(found[1], lambda k, _: 131 + 10 * k) < 1.5
  np.testing.assert_allclose(found[1].box_yxyx[[1, 3]], [45, 855], atol=13)


def test_what_is_gone_is_no_end_where_lines_stop_one_by_one():
  ink = staves(10, (380, 900), thickness=2)
  for number, row in enumerate(range(129, 171, 10)):
    ink[row : row + 4, 400 + 15 * number : 520 + 15 * number] = 0
  assert len(_trace(ink)) == 3


@pytest.mark.parametrize("noise", [0, 60])
def test_a_barline_ends_a_staff_and_a_bracket_does_not(noise):
  ink = staves(10, (380, 900), thickness=2)
  ink[15:280, 45:47] = ink[15:280, 849:855] = 255  # barlines
  ink[15:280, 35:41] = 255  # a bracket
  ink[15:65, 60:90] = ink[130:170, 60:90] = 255  # as clefs hide lines
  grain = np.random.default_rng(0).integers(0, noise + 1, ink.shape)
  for staff in _trace(np.maximum(ink, grain.astype(np.uint8))):
    np.testing.assert_allclose(staff.box_yxyx[[1, 3]], [45, 855], atol=1)


def test_sizes_differ_and_staves_stand_side_by_side():
  large, small = staves(10, (300, 700), 2), staves(7, (300, 700))
  large[:, 330:360] = 0
  found = _trace(np.concatenate([large, small]))
  above = [staff for staff in found if staff.box_yxyx[0] < 300]
  sides = sorted(tuple(staff.box_yxyx[[1, 3]].round()) for staff in above)
  assert sides == [(35, 330)] * 3 + [(360, 665)] * 3
  below = [staff.space_px for staff in found[len(above) :]]
  assert len(below) == 4
  np.testing.assert_allclose(below, 7, rtol=0.02)


def test_other_numbers_of_lines_are_no_staves():
  parts = [staves(10, (200, 600), 2)]
  parts += [staves(10, (200, 600), 2, lines=lines) for lines in (1, 4, 6, 10)]
  found = _trace(np.concatenate(parts))
  assert len(found) == 2
  assert found[1].box_yxyx[2] < 200


@pytest.mark.parametrize("margin", [0, 3, 30])
def test_a_part_of_a_page_that_is_no_more_than_a_staff(margin):
  page = staves(8, (16 + 34 + margin, 300))
  (staff,) = _trace(page[16 - min(margin, 16) :])
  assert staff.space_px == pytest.approx(8, abs=0.1)


@pytest.mark.parametrize("num_staves", [1, 2])
def test_a_page_with_few_staves(num_staves):
  ink = staves(18, (2400, 1200), 2)
  ink[200 * num_staves :] = 0
  found = _trace(ink)
  assert len(found) == num_staves
  for i, staff in enumerate(found):
    top = 36 + 198 * i
    assert _off(staff, lambda k, _, top=top: top + 18 * k + 1) < 0.2
    assert staff.thickness_px == pytest.approx(2, abs=0.3)


def test_a_staff_read_from_its_other_side():
  (staff, *_) = _trace(staves(10, (200, 600), 2))
  over = staff.upside_down()
  np.testing.assert_array_equal(over.lines_yx[0][0], staff.lines_yx[4][-1])
  np.testing.assert_array_equal(over.box_yxyx, staff.box_yxyx)
