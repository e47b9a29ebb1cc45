"""MUSCIMA++ v2.0 (handwritten): symbols that fit into a crop.

python -m dwd_jax.main --config=configs/muscima_pp.py \
  --workdir=runs/muscima_pp --config.data.manual_dir=PATH/TO/MUSCIMA++/v2.0

Hardware: made for a GPU; run time and score of the whole recipe are not
measured by us. `--config=configs/muscima_pp.py:runlocal` shrinks it to two CPU
cores: 7 minutes for 550 steps, COCO mAP 0.083, mAP_50 0.182 on `heldout`
(2026-11-22, benchmarks/results/).

Validation pages are those of four writers; `heldout` (four other writers)
stands in for the official test set, which `--config.data.test_split=test`
evaluates where its pages are at hand.
"""

import ml_collections

from configs import default

# Wider than any crop: a detector of small symbols can not learn them. They are
# taken out of training and truth alike; `data.leave_out=()` brings them back.
STAFF_WIDE = ("staff", "staffLine", "staffSpace", "staffGrouping")


def get_config(arg: str = "") -> ml_collections.ConfigDict:
  """Returns the config; `arg` "runlocal" shrinks it to two CPU cores."""
  c = default.get_config()
  c.data.builder = "muscima_pp"
  c.data.builder_config = "v2.0"
  c.data.test_split = "heldout"
  c.data.leave_out = STAFF_WIDE
  c.data.rare_prob = 0.5
  # Three groups lift what the decode can reach from 0.92 to 0.997 recall, but
  # have to earn it: after 550 steps on two cores one group was better (README).
  c.groups.num = 1
  c.losses.size_loss = "log_l1"
  c.losses.class_pixels = 8192
  c.targets.class_overlap = "nearest"
  c.optimizer.name = "adam"
  c.optimizer.learning_rate = 3e-4
  c.optimizer.schedule = "cosine"
  c.optimizer.warmup_steps = 500
  c.optimizer.l2 = 0.0
  c.optimizer.weight_decay = 1e-4
  c.optimizer.clip_norm = 5.0
  c.train.batch_size = 16
  if arg == "runlocal":
    _shrink(c)
  return c


def _shrink(c: ml_collections.ConfigDict) -> None:
  """A small network for a few minutes on two CPU cores, as engraved.py."""
  c.model.backbone_depth = 18
  c.model.backbone_width = 32
  c.model.filters = 32
  c.model.decoder_norm = True
  c.model.class_hidden = 128
  c.data.crop_hw = (160, 160)
  c.data.max_boxes = 192
  c.data.rare_prob = 0.9
  c.data.rare_power = 0.8
  c.targets.energy_strides = (2,)
  c.targets.size_strides = (1,)
  c.losses.class_pixels = 512
  c.losses.class_weights = "by_class"
  c.losses.energy_smoothing = 1.0
  c.optimizer.learning_rate = 3e-3
  c.optimizer.warmup_steps = 50
  c.train.batch_size = 10
  c.train.log_every = 25
  c.train.batch_norm_momentum = 0.95
  c.decode.energy_cutoff = 5.0
  c.decode.min_seed_level = 5.0
  for stage, steps in zip(c.stages, (20, 10, 10, 10, 650), strict=True):
    stage.steps = steps
