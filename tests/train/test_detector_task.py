"""Pictures of a batch: crops with boxes, target and predicted energy."""

import jax
import numpy as np
import train_helpers as helpers

from dwd_jax.objectives.targets import TargetConfig
from dwd_jax.train import detector_task


def test_a_picture_shows_crops_targets_and_predictions():
  model, px = helpers.tiny_model(), helpers.CROP_PX
  batch = helpers.tiny_batch(size=3)
  grey = np.round(255 * np.asarray(batch.image)).astype(np.uint8)
  batch = jax.tree.map(np.asarray, batch.replace(image=grey))
  found = detector_task.batch_pictures(
    model, TargetConfig(), helpers.made_up_variables(model), batch
  )
  picture = found["crops"]
  gap = (picture.shape[1] - 3 * px) // 3
  assert picture.dtype == np.uint8
  assert picture.shape == (2 * (px + gap), 3 * (px + gap), 3)  # two of three
  for row in range(2):
    crop, wanted, predicted = (
      picture[row * (px + gap) :, j * (px + gap) :][:px, :px] for j in range(3)
    )
    # Coloured pixels of the crop are outlines: the box is there.
    y0, x0, _, _ = batch.boxes_yxyx[row][0].astype(int)
    assert crop[y0, x0].tolist() == [0, 114, 178]
    paper = grey[row, ..., 0] == 0
    assert (crop[paper].max(-1) == 255).mean() > 0.6
    # The target is brightest at the centres, dark where there is no disc.
    bright = wanted.sum(-1).astype(int)
    for box in batch.boxes_yxyx[row][batch.box_mask[row]]:
      y, x = ((box[:2] + box[2:]) / 2).astype(int)
      assert bright[y, x] > 400
    assert bright[0, 0] < 30
    assert predicted.std() > 0
