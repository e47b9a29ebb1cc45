"""Crops of photographs: turned, mirrored, in other light, with their boxes."""

import cv2
import numpy as np
import pytest

from dwd_jax.core import boxes as boxes_lib
from dwd_jax.core.errors import InputError
from dwd_jax.data import pipeline, sources
from dwd_jax.data.scenes import Scene
from dwd_jax.imaging import photo_look, tiled_tiff
from dwd_jax.train.settings import default

_HW = (96, 128)


def _scene(channels: int) -> Scene:
  """A bar with its upright and its oriented box; one end is brighter."""
  ink = np.zeros(_HW, np.uint8)
  box = cv2.boxPoints(((50.0, 40.0), (44.0, 12.0), 20.0))
  cv2.fillConvexPoly(ink, np.rint(box * 256).astype(int), 150, shift=8)
  ink[(ink > 0) & (np.arange(_HW[1]) > 50)] = 250
  corners = box[None, :, ::-1].astype(np.float32)
  boxes = np.concatenate([corners.min(1), corners.max(1)], 1)
  if channels == 3:
    ink = np.stack([ink, ink // 2, ink // 4], axis=-1)
  masks = np.arange(16, dtype=np.uint8).reshape(1, 4, 4)
  return Scene(ink, boxes, np.zeros(1, np.int32), corners, masks=masks)


def _around(ink: np.ndarray) -> np.ndarray:
  """The box of all that is not black."""
  y, x = np.nonzero(ink.reshape(*ink.shape[:2], -1).max(-1))
  return np.array([y.min(), x.min(), y.max() + 1, x.max() + 1])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_boxes_turn_with_their_pixels(channels, quarters):
  scene = _scene(channels)
  turned = scene.turned(quarters)
  wanted = np.rot90(scene.ink, quarters)
  np.testing.assert_array_equal(turned.ink, wanted)
  np.testing.assert_allclose(turned.boxes_yxyx[0], _around(wanted), atol=1.5)
  corners = turned.oriented_yx
  assert corners is not None
  around = np.concatenate([corners.min(1), corners.max(1)], 1)
  np.testing.assert_allclose(around, turned.boxes_yxyx, atol=1e-4)
  # Corners stay in the order of the hands of a clock, as before.
  assert _area(corners[0]) == pytest.approx(_area(scene.oriented_yx[0]))
  assert turned.masks is not None
  np.testing.assert_array_equal(
    turned.masks[0], np.rot90(scene.masks[0], quarters)
  )


def _area(corners_yx: np.ndarray) -> float:
  """With the sign of the direction."""
  y, x = corners_yx.T.astype(np.float64)
  return float((x * np.roll(y, -1) - y * np.roll(x, -1)).sum() / 2)


@pytest.mark.parametrize("channels", [1, 3])
def test_looks_vary_and_objects_stay(channels):
  ink = _scene(channels).ink
  looks = [photo_look.vary(ink, np.random.default_rng(i)) for i in range(40)]
  means = np.array([look.mean() for look in looks])
  assert means.std() > 5
  for look in looks:
    assert look.shape == ink.shape and look.dtype == np.uint8
    inside, outside = look[36:44, 40:60], look[80:, 100:]
    assert inside.mean() > outside.mean() + 10
  again = photo_look.vary(ink, np.random.default_rng(3))
  np.testing.assert_array_equal(again, looks[3])


def test_hues_vary_a_little():
  red = np.full((8, 8, 3), (200, 60, 60), np.uint8)
  looks = [photo_look.vary(red, np.random.default_rng(i)) for i in range(40)]
  means = np.array([look.mean((0, 1)) for look in looks])
  assert (means[:, 0] > means[:, 1] + 40).all()  # it stays red
  assert np.std(means[:, 1] - means[:, 2]) > 2


def _source(**changes):
  scene = _scene(1)
  record = {
    "image": tiled_tiff.encode_page(scene.ink),
    "image/height": _HW[0],
    "image/width": _HW[1],
    "image/filename": b"bar.png",
    "boxes_yxyx": scene.boxes_yxyx,
    "labels": np.zeros(1, np.int64),
    "oriented_yx": scene.oriented_yx,
    "positions": np.zeros(1, np.int32),
  } | changes
  return sources.PageSource(
    [record], name="bars", split="train", class_names=("bar",)
  )


def _config(kind: str, crop_hw: tuple[int, int]):
  cfg = default().data
  cfg.kind, cfg.crop_hw, cfg.scales = kind, crop_hw, (1.0,)
  cfg.max_boxes, cfg.nonempty_prob = 2, 1.0
  return cfg


def _crops(kind: str, crop_hw=(96, 96), count=24):
  loader = pipeline.train_loader(
    _source(),
    _config(kind, crop_hw),
    batch_size=count,
    seed=0,
    oriented=True,
    process_index=0,
    process_count=1,
  )
  batch = next(loader)
  loader.close()
  return batch


def test_photographs_lie_any_way_and_documents_upright():
  for kind, ways in (("photo", 2), ("document", 1)):
    batch = _crops(kind)
    hw = np.asarray(boxes_lib.sizes_hw(batch.boxes_yxyx[:, 0]))
    whole = (hw.min(1) > 15) & (hw.max(1) > 40)
    upright = hw[whole][:, 0] > hw[whole][:, 1]
    assert len(set(upright.tolist())) == ways
    # The bar is where its box is.
    for image, box in zip(batch.image[whole], batch.boxes_yxyx[whole, 0]):  # noqa: B905
      y, x = ((box[:2] + box[2:]) / 2).astype(int)
      assert image[y, x, 0] > np.median(image) + 20
  sides = np.asarray(batch.oriented_yx[:, 0])
  assert np.isfinite(sides).all()


def test_crops_that_are_not_square_keep_their_shape():
  assert _crops("photo", (64, 96), 4).image.shape == (4, 64, 96, 1)


def test_places_on_the_staff_need_upright_crops():
  with pytest.raises(InputError, match=r"set data\.kind=document"):
    pipeline.train_loader(
      _source(),
      _config("photo", (96, 96)),
      batch_size=1,
      seed=0,
      positions=True,
    )
