"""Photocopies, faxes and scans of one bit: nothing moves."""

import numpy as np
import pytest

from dwd_jax.imaging.degrade import copies

_SPACE = 16.0
_BAR = np.s_[60:100, 50:150]


def _page():
  pixels = np.full((160, 200), 230, np.uint8)
  pixels[_BAR] = 40
  return pixels


def _box(pixels):
  ys, xs = np.nonzero(pixels < 128)
  return [ys.min(), xs.min(), ys.max() + 1, xs.max() + 1]


def _fax(rng, *, fine=True, errors=0.0):
  return copies.fax(
    _page(),
    rng,
    staff_space_px=_SPACE,
    threshold=128,
    fine=fine,
    errors=errors,
  )


@pytest.mark.parametrize("scale", [0.4, 0.7, 1.0, 1.5, 30.0])
def test_one_bit_at_any_resolution_keeps_places(scale):
  # Staves of 7 mm have 20.67 px between lines at 300 dpi.
  worn = copies.one_bit(
    _page(), staff_space_px=20.67, dpi=300 * scale, threshold=128
  )
  assert worn.shape == (160, 200) and {worn.min(), worn.max()} == {0, 255}
  box = 60, 50, 100, 150
  np.testing.assert_allclose(_box(worn), box, atol=max(1, 1 / scale))
  if scale == 1.0:
    assert set(np.unique(worn)) == {0, 255}


@pytest.mark.parametrize(("fine", "pixels"), [(True, 1.2), (False, 2.4)])
def test_rows_of_a_fax_are_coarse(fine, pixels):
  worn = _fax(np.random.default_rng(0), fine=fine)
  np.testing.assert_allclose(_box(worn), (60, 50, 100, 150), atol=pixels)


def test_bad_rows_of_a_fax_lose_their_rest():
  clean = _fax(np.random.default_rng(0))
  worn = _fax(np.random.default_rng(0), errors=0.3)
  changed = clean != worn
  assert 0.01 < changed[_BAR].mean() < 0.5
  # What is lost reaches the end of the bar: the beginnings are as before.
  assert changed[:, 52:60].mean() < changed[:, 140:148].mean()
  assert not changed[:55].any() and not changed[105:].any()


def test_every_copy_is_harder_and_noisier_at_edges():
  grey = _page()
  grey[20:40, 50:150] = 150  # faded
  steps = []
  for generations in (0, 1, 3):
    worn = copies.photocopy(
      grey,
      np.random.default_rng(0),
      staff_space_px=_SPACE,
      generations=generations,
      blur=0.04,
      noise=8.0,
      threshold=140.0,
    )
    assert worn.shape == grey.shape
    steps.append(np.mean((worn < 20) | (worn > 235)))
  assert steps[0] < 0.01 and 0.8 < steps[1] < steps[2]
  np.testing.assert_allclose(_box(worn[50:]), (10, 50, 50, 150), atol=2)
