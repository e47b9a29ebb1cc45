"""Energies on masks, on their way from records to crops."""

import numpy as np
import pytest

from dwd_jax.core.errors import InputError
from dwd_jax.data import pipeline
from dwd_jax.data.crops import TrainCrops
from dwd_jax.data.sources import PageSource
from dwd_jax.imaging import masks, tiled_tiff
from dwd_jax.train.settings import default

HW = (96, 128)


def _source(with_masks=True):
  """A page of a cross and of an object that is left out."""
  ink = np.zeros(HW, np.uint8)
  cross = np.zeros((32, 32), bool)
  cross[:, 12:20] = cross[12:20] = True
  ink[40:72, 60:92] = 255 * cross
  runs = [np.zeros(0, np.int32), masks.encode_mask(cross)]
  mask_runs, mask_stops = masks.join(runs)
  record = {
    "image": tiled_tiff.encode_page(ink),
    "image/filename": "a.png",
    "image/height": HW[0],
    "image/width": HW[1],
    "boxes_yxyx": np.float32([[0, 0, 20, 20], [40, 60, 72, 92]]),
    "labels": np.array([0, 1]),
  }
  if with_masks:
    record |= {"mask_runs": mask_runs, "mask_stops": mask_stops}
  return PageSource(
    [record],
    name="one",
    split="train",
    class_names=("gone", "cross"),
    leave_out=("gone",),
    polarity="dark",
  )


@pytest.fixture
def data_cfg():
  cfg = default().data
  cfg.crop_hw, cfg.scales, cfg.max_boxes = (64, 64), (1.0,), 4
  cfg.nonempty_prob, cfg.min_visible, cfg.flip = 1.0, 0.1, True
  return cfg


def test_energy_lies_on_the_ink(data_cfg):
  crops = TrainCrops(_source(), data_cfg, with_masks=True)
  rng = np.random.default_rng(0)
  for _ in range(8):
    crop = crops.random_map(0, rng)
    assert crop["masks"].shape == (4, masks.PATCH_PX, masks.PATCH_PX)
    assert crop["box_mask"].tolist() == [True, False, False, False]
    y0, x0, y1, x1 = crop["boxes_yxyx"][0].astype(int)
    shown = crop["image"][y0:y1, x0:x1]
    patch = np.kron(crop["masks"][0], np.ones((2, 2)))
    assert shown.shape == (32, 32)  # the whole cross
    assert np.mean((patch > 0) == (shown > 128)) > 0.9
    assert crop["masks"][0].max() == 255


def test_records_without_masks_are_refused(data_cfg):
  with pytest.raises(
    InputError, match=r"one: records without masks, which tar"
  ):
    pipeline.train_loader(
      _source(with_masks=False),
      data_cfg,
      batch_size=1,
      seed=0,
      with_masks=True,
    )


def test_masks_that_fit_no_box_are_one_line(data_cfg):
  source = _source()
  source._records[0]["mask_stops"] = np.array([0, 3], np.int32)
  crops = TrainCrops(source, data_cfg, with_masks=True)
  with pytest.raises(InputError, match="one: "):
    crops.random_map(0, np.random.default_rng(0))
