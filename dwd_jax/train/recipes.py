"""Groups of settings that several configs share."""

import ml_collections


def adamw(c: ml_collections.ConfigDict) -> None:
  """Adam with warm-up and cosine, batches of 16, losses for rare classes.

  Differs from the original: rmsprop at a constant rate, batch 1, squared error
  of the sizes, centres from the energy alone, no second look at boxes.
  """
  c.losses.size_loss = "log_l1"
  c.losses.class_pixels = 8192
  c.targets.class_overlap = "nearest"
  c.model.center_offsets = True
  # Both find more in the same time: docs/results.md.
  c.model.refinenet = "dwd2018"
  c.model.refine_boxes = True
  c.optimizer.name = "adam"
  c.optimizer.learning_rate = 3e-4
  c.optimizer.schedule = "cosine"
  c.optimizer.warmup_steps = 500
  c.optimizer.l2 = 0.0
  c.optimizer.weight_decay = 1e-4
  c.optimizer.clip_norm = 5.0
  c.train.batch_size = 16


def two_cores(c: ml_collections.ConfigDict, combined_steps: int) -> None:
  """A small network for minutes on two CPU cores, on top of `adamw`.

  Args:
    c: changed in place.
    combined_steps: of the last stage, which the others only prepare.
  """
  # On CPUs convolutions of 32 channels run at twice the rate of 48.
  c.model.backbone_depth = 18
  c.model.backbone_width = 32
  c.model.filters = 32
  c.model.decoder_norm = True
  c.model.class_hidden = 128
  # Many small crops teach rare classes faster than few large ones of the same
  # area.
  c.data.crop_hw = (160, 160)
  c.data.max_boxes = 128
  c.train.batch_size = 10
  # A quarter of the pixels says as much as all of them, the maps being smooth.
  c.targets.energy_strides = (2,)
  c.targets.size_strides = (1,)
  c.losses.class_pixels = 512
  c.losses.class_weights = "by_class"
  c.losses.energy_smoothing = 1.0
  c.optimizer.learning_rate = 3e-3
  c.optimizer.warmup_steps = 50
  c.train.log_every = 25
  c.train.batch_norm_momentum = 0.95
  c.decode.energy_cutoff = 3.0
  c.decode.min_seed_level = 3.0
  steps = (20, 10, 10, 10, combined_steps)
  for stage, count in zip(c.stages, steps, strict=True):
    stage.steps = count


def generated_pages(c: ml_collections.ConfigDict) -> None:
  """Printed music without any download, on two CPU cores."""
  c.data.builder = "deepscores"
  c.data.builder_config = "engraved"
  c.data.engrave.pages = 240
  c.data.scales = (1.0,)
  c.data.eval_scale = 1.0
  adamw(c)
  two_cores(c, combined_steps=1000)
  c.data.rare_prob = 0.9
  c.data.rare_power = 0.8
  # What helped in `python -m benchmarks.ablation`: docs/results.md.
  c.data.synthetic.layout = "full"
  c.data.synthetic.prob = 0.5
  c.data.degrade.scan_prob = 0.15
  c.data.degrade.photo_prob = 0.15
  c.train.checkpoint_every = 250


def a_few_steps(c: ml_collections.ConfigDict) -> None:
  """A small network, few steps, few pages: to see whether everything runs."""
  c.model.backbone_depth = 18
  c.model.backbone_width = 16
  c.model.filters = 16
  c.data.crop_hw = (256, 256)
  c.data.max_pages = 2
  c.train.batch_size = 2
  c.train.log_every = 5
  c.losses.class_pixels = 512
  c.pretraining.steps = 10
  c.pretraining.batch_size = 2
  c.pretraining.crop_hw = ()
  for stage in c.stages:
    stage.steps = 10
