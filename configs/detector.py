"""The default detector: generated pages, as printed, scanned, photographed.

python -m dwd_jax.main --config=configs/detector.py --workdir=runs/detector

A network that two CPU cores still run in a second a page, trained on more pages
and for longer than configs/engraved.py, a part of its crops degraded.
"""

import ml_collections

from configs import engraved


def get_config() -> ml_collections.ConfigDict:
  """Returns the config of the default detector."""
  c = engraved.get_config()
  c.data.engrave.pages = 600
  c.data.engrave.seed = 7  # other pages than those of engraved.py
  c.data.crop_hw = (256, 256)
  c.data.max_boxes = 256
  c.data.scale_jitter = 0.15
  c.data.degrade.scan_prob = 0.3
  c.data.degrade.photo_prob = 0.3
  c.model.backbone_width = 48
  c.model.filters = 64
  c.losses.class_pixels = 1024
  c.train.batch_size = 32
  c.optimizer.warmup_steps = 100
  c.stages[-1].steps = 3500
  c.train.checkpoint_every = 1000
  return c
