"""Generated pages: the embedded default, no download."""

import ml_collections

from configs import default


def get_config() -> ml_collections.ConfigDict:
  """Returns the config of the embedded default."""
  c = default.get_config()
  c.data.builder = "deepscores"
  c.data.builder_config = "dense_2017"
  c.data.engrave.pages = 240
  c.data.crop_hw = (256, 256)
  c.data.scales = (1.0,)
  c.data.eval_scale = 1.0
  c.data.max_boxes = 256
  c.data.rare_prob = 0.7
  c.model.backbone_depth = 18
  c.model.backbone_width = 48
  c.model.filters = 32
  c.model.decoder_norm = True
  c.losses.size_loss = "log_l1"
  c.losses.class_pixels = 1024
  c.losses.energy_smoothing = 0.0
  c.optimizer.name = "adam"
  c.optimizer.learning_rate = 3e-3
  c.optimizer.schedule = "cosine"
  c.optimizer.warmup_steps = 50
  c.optimizer.l2 = 0.0
  c.optimizer.weight_decay = 1e-4
  c.optimizer.clip_norm = 5.0
  for stage, steps in zip(c.stages, (40, 20, 20, 20, 800), strict=True):
    stage.steps = steps
  c.train.batch_size = 4
  c.train.log_every = 20
  c.train.checkpoint_every = 200
  c.train.batch_norm_momentum = 0.95
  return c
