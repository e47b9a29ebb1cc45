"""Generated pages, everything as small as can be: does the whole path run?

    python -m dwd_jax.main --config=configs/smoke.py --workdir=runs/smoke

Hardware: two CPU cores. Run time: 41 s (2026-11-30), most of it compilation; a
second run of the same workdir takes 11 s. Score: mAP_50 0.000, the network sees
22 crops. The tests run it whole.
"""

import ml_collections

from dwd_jax.train import settings


def get_config() -> ml_collections.ConfigDict:
  """Returns the config: six pages, eleven steps in five stages."""
  c = settings.default()
  c.data.builder = "deepscores"
  c.data.builder_config = "dense_2017"
  c.data.engrave.pages = 6
  c.data.engrave.width = 400
  c.data.engrave.height = 480
  c.data.engrave.workers = 1
  c.data.crop_hw = (64, 64)
  c.data.scales = (1.0,)
  c.data.eval_scale = 1.0
  c.data.max_boxes = 64
  c.groups.num = 2
  c.model.backbone_depth = 10
  c.model.backbone_width = 8
  c.model.filters = 8
  c.model.center_offsets = True
  c.losses.size_loss = "log_l1"
  c.losses.class_pixels = 256
  c.optimizer.name = "adam"
  c.optimizer.learning_rate = 3e-3
  c.optimizer.l2 = 0.0
  for stage, steps in zip(c.stages, (2, 2, 2, 1, 4), strict=True):
    stage.steps = steps
  c.train.batch_size = 2
  c.train.log_every = 1
  c.train.checkpoint_every = 2
  c.train.eval_every = 8
  c.decode.max_detections = 256
  c.eval.overlays = 2
  return c
