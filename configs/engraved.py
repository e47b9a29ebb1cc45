"""Generated pages: the embedded default, no download.

python -m dwd_jax.main --config=configs/engraved.py --workdir=runs/engraved

Hardware: two CPU cores. Run time: 9.5 minutes (generation 37 s, training 8
minutes, evaluation of 48 pages 1 minute). Score on the 28 test pages:
mAP_50 0.771, COCO mAP 0.474, noteheadBlack AP_50 0.990 (2026-11-22,
benchmarks/results/).
"""

import ml_collections

from configs import default


def get_config() -> ml_collections.ConfigDict:
  """Returns the config of the embedded default."""
  c = default.get_config()
  c.data.builder = "deepscores"
  c.data.builder_config = "dense_2017"
  c.data.engrave.pages = 240
  c.data.scales = (1.0,)
  c.data.eval_scale = 1.0
  # Many small crops, each around a rare symbol, teach rare classes faster than
  # few large ones of the same area.
  c.data.crop_hw = (160, 160)
  c.train.batch_size = 10
  c.data.max_boxes = 128
  c.data.rare_prob = 0.9
  c.data.rare_power = 0.8
  c.targets.class_overlap = "nearest"
  # A quarter of the pixels says as much as all of them, the maps being smooth.
  c.targets.energy_strides = (2,)
  c.targets.size_strides = (1,)
  # On CPUs convolutions of 32 channels run at twice the rate of 48.
  c.model.backbone_depth = 18
  c.model.backbone_width = 32
  c.model.filters = 32
  c.model.decoder_norm = True
  c.model.class_hidden = 128
  c.losses.size_loss = "log_l1"
  c.losses.class_weights = "by_class"
  c.losses.class_pixels = 512
  c.losses.energy_smoothing = 1.0
  c.optimizer.name = "adam"
  c.optimizer.learning_rate = 3e-3
  c.optimizer.schedule = "cosine"
  c.optimizer.warmup_steps = 50
  c.optimizer.l2 = 0.0
  c.optimizer.weight_decay = 1e-4
  c.optimizer.clip_norm = 5.0
  for stage, steps in zip(c.stages, (20, 10, 10, 10, 1000), strict=True):
    stage.steps = steps
  c.train.log_every = 25
  c.train.checkpoint_every = 250
  c.train.batch_norm_momentum = 0.95
  c.decode.energy_cutoff = 5.0
  c.decode.min_seed_level = 5.0
  return c
