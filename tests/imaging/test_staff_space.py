"""The staff space of pages of all kinds, and none where there is no staff."""

import pathlib

import cv2
import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from staff_helpers import staves

from benchmarks import staff_space_pages as pages_lib
from dwd_jax import engrave
from dwd_jax.imaging import staff_space

# Without pages whose staves are small for the most part.
_DENSE = {"piano": 5.0, "band": 5.0, "choir": 5.0, "reduced_solo": 0.0}


def _px(ink) -> float:
  found = staff_space.estimate(ink)
  assert found is not None
  assert 0 < found.confidence <= 1
  return found.px


@pytest.mark.parametrize("space", [5, 6.5, 9, 12.4, 21, 33, 60])
def test_plain_staves_of_all_sizes(space):
  hw = (round(30 * space), round(40 * space))
  thickness = max(1, round(space / 8))
  found = _px(staves(space, hw, thickness))
  assert abs(found / space - 1) < 0.02


@pytest.fixture(scope="module")
def engraved(tmp_path_factory):
  """Pages of 7, 12 and 20 px, dense ones among them."""
  pages = []
  for space in (7.0, 12.0, 20.0):
    out = tmp_path_factory.mktemp("pages") / "p"
    engrave.generate(
      out,
      6,
      int(space),
      width=round(90 * space),
      height=round(110 * space),
      staff_space=space,
      jitter=0.2,
      workers=1,
      weights=_DENSE,
    )
    pages += pages_lib.engraved(out)
  return pages


def test_generated_pages(engraved):
  for page in engraved:
    if page.truth_px is None:
      assert staff_space.estimate(page.ink) is None
    else:
      assert abs(_px(page.ink) / page.truth_px - 1) < 0.03, page.name


@pytest.mark.parametrize("degrade", ["scan", "photo"])
def test_degraded_pages(engraved, degrade):
  rng = np.random.default_rng(1)
  errors = []
  for original in engraved:
    page = pages_lib.DEGRADATIONS[degrade](original, rng)
    if page.truth_px is not None and page.truth_px > 8:
      found = staff_space.estimate(page.ink)
      errors.append(abs(found.px / page.truth_px - 1) if found else 1.0)
  assert len(errors) > 8
  assert np.mean(np.array(errors) < 0.05) >= 0.9, errors


@pytest.mark.parametrize("degrees", [-8, -3, 1, 5])
def test_skew(engraved, degrees):
  page = next(p for p in engraved if p.truth_px and p.truth_px > 15)
  height, width = page.ink.shape
  turn = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1.0)
  ink = cv2.warpAffine(page.ink, turn, (width, height))
  # Along a column the distance grows with the slope, by 1 % at 8 degrees.
  assert abs(_px(ink) / page.truth_px - 1) < 0.03


@hypothesis.settings(max_examples=15, deadline=None)
@hypothesis.given(
  shift=st.tuples(st.integers(0, 40), st.integers(0, 40)),
  darkest=st.integers(60, 255),
  paper=st.integers(0, 40),
)
def test_place_and_grey_levels_do_not_matter(shift, darkest, paper):
  ink = staves(11, (400, 300), 2)
  expected = _px(ink)
  moved = np.pad(ink, ((shift[0], 40 - shift[0]), (shift[1], 40 - shift[1])))
  grey = paper + moved.astype(np.float32) / 255 * (darkest - paper)
  assert abs(_px(grey.astype(np.uint8)) / expected - 1) < 0.01


@pytest.mark.parametrize("factor", [0.5, 0.75, 1.4, 2.0])
def test_it_grows_with_the_image(engraved, factor):
  page = next(p for p in engraved if p.truth_px and p.truth_px > 15)
  ink = cv2.resize(
    page.ink, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA
  )
  assert abs(_px(ink) / (factor * _px(page.ink)) - 1) < 0.02


def test_specks_and_one_line_staves_do_not_matter():
  page = staves(14, (800, 600), 2)
  page[700:702, 30:570] = 255  # percussion
  rng = np.random.default_rng(0)
  page[rng.random(page.shape) < 0.01] = 255
  assert abs(_px(page) / 14 - 1) < 0.02


def test_the_more_frequent_of_two_sizes():
  page = np.concatenate([staves(16, (900, 600), 2), staves(10, (150, 600), 1)])
  assert abs(_px(page) / 16 - 1) < 0.02


def test_a_single_staff():
  strip = np.zeros((80, 900), np.uint8)
  strip[10:60] = staves(10, (70, 900), 1)[15:65]
  assert abs(_px(strip) / 10 - 1) < 0.02


def test_ledger_lines():
  page = staves(12, (500, 500), 1)
  ledger = staves(12, (500, 500), 1, lines=6) - page
  for left in range(30, 470, 60):  # above every second column or so
    page[:, left : left + 28] |= ledger[:, left : left + 28]
  assert abs(_px(page) / 12 - 1) < 0.02


def test_a_tablature_is_no_staff():
  tablature = staves(15, (400, 600), 1, lines=6)
  assert staff_space.estimate(tablature) is None
  # Not even if there is more of it.
  both = np.concatenate([tablature, tablature, staves(10, (300, 600), 1)])
  assert abs(_px(both) / 10 - 1) < 0.02


def test_pages_without_staves():
  for page in pages_lib.without_staves(np.random.default_rng(5)):
    assert staff_space.estimate(page.ink) is None, page.name


@pytest.mark.parametrize(
  "hw",
  [
    (0, 0),
    (0, 9),
    (9, 0),
    (1, 1),
    (3, 2),
    (18, 16),
    (17, 17),
    (1, 9000),
    (9000, 1),
    (20, 4000),
    (4000, 18),
  ],
)
def test_tiny_and_extreme_pages(hw):
  rng = np.random.default_rng(0)
  for ink in (
    np.zeros(hw, np.uint8),
    np.full(hw, 255, np.uint8),
    rng.integers(0, 256, hw, np.uint8),
  ):
    assert staff_space.estimate(ink) is None


@pytest.mark.parametrize("lines", [1, 2, 3, 4])
def test_fewer_than_five_lines_say_nothing(lines):
  page = staves(12, (600, 500), 2, lines=lines)
  assert staff_space.estimate(page) is None


@pytest.mark.parametrize("lines", [12, 30])
def test_ruled_paper_is_no_staff(lines):
  page = staves(15, (600, 500), 2, lines=lines, gap_spaces=1000)
  assert staff_space.estimate(page) is None


def test_real_engraved_pages(shared_data):
  pages = list(pages_lib.deepscores(shared_data))
  assert len(pages) == 4
  for page in pages:
    assert abs(_px(page.ink) / pages_lib.DEEPSCORES_PX - 1) < 0.01, page.name


def test_real_handwritten_pages(shared_data):
  root = shared_data / "muscima_pp/v2.0"
  # Three scans, and pages of three other writers rebuilt from masks.
  names = "W-01_N-10", "W-01_N-14", "W-07_N-08", "W-08_N-10", "W-25_N-09"
  for name in (*names, "W-43_N-10"):
    path = root / f"data/annotations/CVC-MUSCIMA_{name}_D-ideal.xml"
    truth = np.median(pages_lib.muscima_spaces(path))
    ink = pages_lib.read(root / "data/images" / f"{path.stem}.png")
    assert abs(_px(ink) / truth - 1) < 0.01, name


def test_the_benchmark_names_what_is_missing(tmp_path: pathlib.Path):
  (tmp_path / "engraved.json").write_text("{}")
  with pytest.raises(pages_lib.InputError, match="has no staff spaces"):
    next(pages_lib.engraved(tmp_path))
