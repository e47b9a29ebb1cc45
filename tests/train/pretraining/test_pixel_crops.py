"""Crops with classes by pixel: the same place, the same draws."""

import numpy as np
import pytest

from dwd_jax.data.pixel_classes import PixelClasses
from dwd_jax.imaging import page_windows
from dwd_jax.train.pretraining import loaders


def _take(source, data_cfg, count, seed=0, start=0):
  loader = loaders.pixel_loader(
    source, PixelClasses(source), data_cfg, batch_size=4, seed=seed
  )
  loader.set_state({"step": start})
  try:
    return [next(loader) for _ in range(count)]
  finally:
    loader.close()


@pytest.mark.parametrize("scale", [0.5, 1.0, 1.5])
def test_classes_lie_where_the_ink_is(page_source, data_cfg, scale):
  data_cfg.scales = (scale,)
  seen = set()
  for batch in _take(page_source, data_cfg, 6):
    assert batch.image.shape == (4, 64, 96, 1)
    assert batch.image.dtype == np.uint8
    assert batch.classes.shape == (4, 16, 24)
    assert batch.classes.dtype == np.int16
    ink = batch.image[..., 0].reshape(4, 16, 4, 24, 4).max((2, 4))
    assert (ink[batch.classes > 0] > 60).all()
    seen |= set(np.unique(batch.classes).tolist())
  assert seen == {0, 1, 2, 3, 4}


def test_crops_depend_on_seed_and_step_alone(page_source, data_cfg):
  first = _take(page_source, data_cfg, 3)
  (third,) = _take(page_source, data_cfg, 1, start=2)
  other = _take(page_source, data_cfg, 3, seed=1)
  np.testing.assert_array_equal(first[2].image, third.image)
  np.testing.assert_array_equal(first[2].classes, third.classes)
  assert any(
    not np.array_equal(a.image, b.image)
    for a, b in zip(first, other, strict=True)
  )


def test_mirrored_crops_have_mirrored_classes(page_source, data_cfg):
  data_cfg.flip = True
  for batch in _take(page_source, data_cfg, 6):
    ink = batch.image[..., 0].reshape(4, 16, 4, 24, 4).max((2, 4))
    assert (ink[batch.classes > 0] > 60).all()


def test_outside_of_the_page_is_background():
  classes = np.full((6, 5), 3, np.int32)
  window = page_windows.Window(-2, -4, (12, 12), (24, 24))
  found = loaders.fit_classes(classes, window, 0, 0)
  wanted = np.zeros((24, 24), int)
  wanted[4:16, 8:18] = 3
  np.testing.assert_array_equal(found, wanted)


def test_nothing_is_mixed_on_resizing():
  rng = np.random.default_rng(0)
  classes = rng.choice([0, 1, 200], (50, 70)).astype(np.int32)
  window = page_windows.Window(0, 0, (50, 70), (32, 32))
  found = loaders.fit_classes(classes, window, 0, 0)
  assert set(np.unique(found).tolist()) == {0, 1, 200}
