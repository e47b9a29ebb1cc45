"""Ink that spreads, breaks, gets holes, fades; dirt on paper."""

import cv2
import numpy as np
import pytest

from dwd_jax.imaging.degrade import dirt, ink

_SPACE = 16.0


def _print():
  """A solid block, a ring, and a thin line, far from each other."""
  page = np.zeros((320, 480), np.uint8)
  page[40:200, 40:200] = 255
  cv2.circle(page, (300, 100), 10, 255, 6)
  page[280, 20:460] = 255
  return page


_BLOCK = np.s_[52:188, 52:188]  # its inside
_RING = np.s_[80:120, 280:320]
_LINE = np.s_[280, 30:450]


def _worn(seed=0, **changes):
  how = {"blur": 0.03, "gain": 0.0, "grain": 0.0, "grain_size": 0.15}
  how |= {"patchy": 0.0, "uneven": 0.0} | changes
  rng = np.random.default_rng(seed)
  return ink.wear(_print(), rng, staff_space_px=_SPACE, **how)


def _lost(worn, where):
  return float((worn[where] < 128).mean())


@pytest.mark.parametrize("kind", ["grain", "patchy", "uneven"])
def test_solid_ink_gets_holes_the_more_the_field_varies(kind):
  seeds = range(6)
  lost = [
    np.mean([_lost(_worn(seed, **{kind: amount}), _BLOCK) for seed in seeds])
    for amount in (0.0, 0.8, 1.6)
  ]
  assert lost[0] == 0 < lost[1] < lost[2] < 0.6


def test_the_size_of_holes_is_that_of_the_grain():
  counts = []
  for size in (0.1, 0.4, 1.2):
    missing = (_worn(grain=1.2, grain_size=size)[_BLOCK] < 128).astype(np.uint8)
    counts.append(cv2.connectedComponents(missing)[0])
  assert counts == sorted(counts, reverse=True) and counts[0] > 4 * counts[2]


def test_lines_break_before_solid_ink_does():
  worn = _worn(blur=0.05, gain=-0.4, grain=0.35)
  assert _lost(worn, _LINE) > 0.2 > 20 * _lost(worn, _BLOCK)


def test_gain_closes_counters_and_its_opposite_opens_them():
  areas = [
    int((_worn(gain=gain, blur=0.1)[_RING] >= 128).sum())
    for gain in (-0.6, 0.0, 1.0, 2.0)
  ]
  assert areas == sorted(set(areas))
  middle = [_worn(gain=gain, blur=0.16)[100, 300] for gain in (0.0, 2.5)]
  assert middle[0] < 64 and middle[1] > 128


def test_paper_far_from_ink_stays_clean():
  far = cv2.dilate(_print(), np.ones((25, 25), np.uint8)) == 0
  for seed in range(4):
    assert not _worn(seed, gain=1.0, grain=1.0, uneven=0.5)[far].any()


def test_faded_ink_is_grey_by_the_amount():
  faded = [
    ink.fade(
      _print(),
      np.random.default_rng(seed),
      staff_space_px=_SPACE,
      amount=0.4,
      grain_size=0.2,
    )[_BLOCK]
    for seed in range(8)
  ]
  assert np.mean(faded) / 255 == pytest.approx(0.6, abs=0.08)
  assert np.std(faded) > 15


def test_streaks_run_along_the_paper():
  solid = np.full((300, 400), 255, np.uint8)
  for seed in range(4):
    worn = ink.streaks(
      solid, np.random.default_rng(seed), staff_space_px=8.0, amount=0.8
    )
    along = sorted(
      np.abs(np.diff(worn.astype(int), axis=i)).sum() for i in (0, 1)
    )
    assert worn.min() < 230 and along[1] > 5 * along[0]


@pytest.mark.parametrize("turn", [0.0, 0.8])
def test_a_screen_leaves_its_share_of_the_ink(turn):
  how = {"period_px": 5.0, "turn": turn}
  shares = []
  for tone in (0.5, 0.75, 1.0):
    worn = ink.halftone(_print(), tone=tone, paper=0.0, **how)[_BLOCK]
    shares.append(worn.mean() / 255)
    assert tone == 1 or np.ptp(worn) > 250  # dots, not grey
  assert shares[0] == pytest.approx(0.5, abs=0.05) and shares[2] == 1
  assert 0.7 < shares[1] < 0.95
  blank = np.zeros((60, 60), np.uint8)
  assert not ink.halftone(blank, tone=0.8, paper=0.0, **how).any()
  assert ink.halftone(blank, tone=0.8, paper=0.15, **how).any()


def test_blots_cover_their_share_in_clusters():
  blank = np.zeros((600, 600), np.uint8)
  shares = []
  for share in (0.002, 0.02, 0.1):
    found = [
      dirt.blots(
        blank,
        np.random.default_rng(seed),
        staff_space_px=_SPACE,
        share=share,
        size=0.1,
      )
      for seed in range(4)
    ]
    shares.append(np.mean(np.array(found) >= 128))
    assert share / 5 < shares[-1] < 1.5 * share
  tiles = np.array(found) >= 128
  tiles = tiles.reshape(4, 10, 60, 10, 60).mean((2, 4))
  assert tiles.std() > 0.3 * tiles.mean()  # 0.03 if spots were independent
  assert shares == sorted(shares)


def test_specks_may_be_as_large_as_augmentation_dots():
  page = dirt.specks(
    np.zeros((600, 600), np.uint8),
    np.random.default_rng(0),
    staff_space_px=_SPACE,
    density=1.0,
    size=0.2,
  )
  mask = (page >= 64).astype(np.uint8)
  widths = cv2.connectedComponentsWithStats(mask)[2][1:, 2] / _SPACE
  assert len(widths) > 5
  assert 0.25 < np.median(widths) < 0.55 and widths.max() < 0.8


def test_scratches_only_take_ink():
  page = np.full((300, 300), 200, np.uint8)
  worn = dirt.strokes(
    page,
    np.random.default_rng(0),
    staff_space_px=4.0,
    density=20.0,
    step=3.0,
    bend=0.02,
    tones=(0, 0),
  )
  assert worn.max() == 200 and 0.002 < (worn < 100).mean() < 0.5
