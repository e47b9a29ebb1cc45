r"""DeepScores (2017), the recipe of the paper; `:ours` is what we would do.

    python -m dwd_jax.main --config=configs/deepscores.py \
      --workdir=runs/deepscores --config.data.manual_dir=PATH/TO/DeepScores_2017

Hardware: made for a GPU (the original trained with batch 1). Run time: 50,000
steps of pretraining and 100,000 of the detector; not measured by us. Score: not
measured by us; the paper reports AP at IoU 0.5 of 0.86 for noteheadBlack
(Tuggener et al. 2018, table 1).

| config | what |
| --- | --- |
| `configs/deepscores.py` | the paper's recipe, and its decode |
| `configs/deepscores.py:ours` | Adam, batches of 16 smaller crops, watershed |
| `...:runlocal`, `...:ours,runlocal` | the same path in minutes, on a CPU |

Beside each value of the recipe stands where it comes from. README is the
original's (github.com/tuggeluk/DeepWatershedDetection, branch master), which
names the values of its best results; FILE@COMMIT is a file of the same place.
What the original has and this does not: docs/differences.md.
"""

import ml_collections

from dwd_jax.core.errors import InputError
from dwd_jax.train import recipes, settings

_ARGUMENTS = ("ours", "runlocal")


def get_config(arg: str = "") -> ml_collections.ConfigDict:
  """Returns the config.

  Args:
    arg: "" = the paper's; "ours", "runlocal" (shrunk to try it out) or both,
      joined by a comma.
  """
  chosen = arg.split(",") if arg else []
  if unknown := set(chosen) - set(_ARGUMENTS):
    raise InputError(
      f"argument {min(unknown)!r} is not among {', '.join(_ARGUMENTS)}"
    )
  c = settings.default()
  c.data.builder = "deepscores"
  c.data.builder_config = "dense_2017"
  if "ours" in chosen:
    c.data.nonempty_prob = 1.0
    c.data.rare_prob = 0.5
    recipes.adamw(c)
  else:
    paper(c)
  if "runlocal" in chosen:
    recipes.a_few_steps(c)
  return c


def paper(c: ml_collections.ConfigDict) -> None:
  """The recipe of the paper; values that are our defaults, too, are named."""
  # Crops: lib/main/train_deepscores.py@65ccdf2 (max_edge, scale_list,
  # crop_top_left_bias), drawn by lib/utils/blob.py@a62b591.
  c.data.crop_hw = (960, 960)  # of the scaled page
  c.data.scales = (0.5,)  # README: "0.5 in all experiments"
  c.data.eval_scale = 0.5  # inference.py@6259a88
  c.data.nonempty_prob = 0.0  # anywhere on the page ...
  c.data.corner_prob = 0.3  # ... or at its top left corner
  c.data.redraw_empty = True  # lib/main/train_dwd.py@5c314f1
  c.data.min_visible = 0.0  # lib/roi_data_layer/minibatch.py@5c314f1
  c.data.max_boxes = 2048  # there: no limit

  # Targets: lib/main/train_deepscores.py@0181650. 65ccdf2, set up for
  # MUSCIMA++, has an energy disc of 9 px.
  c.targets.energy_disc = "fixed"
  c.targets.energy_disc_px = 17
  c.targets.energy_shape = "oval"
  c.targets.energy_profile = "linear"
  c.targets.energy_strides = (1,)  # the others have heads of their own, below
  c.targets.class_disc_px = 9
  c.targets.class_overlap = "last"
  c.targets.size_disc_px = 9
  c.targets.size_strides = (1,)
  c.targets.disc_center = "rounded"  # lib/datasets/fcn_groundtruth.py@51f7fab
  c.losses.size_loss = "mse"
  c.losses.class_pixels = 65535  # there: all pixels of all discs

  # Network: README, lib/main/train_deepscores.py@65ccdf2.
  c.model.backbone_depth = 101
  c.model.refinenet = "dwd2018"  # lib/models/RefineNet.py@050d77b
  # Heads of coarser levels: ds_factors of lib/main/train_deepscores.py@0181650.
  # 65ccdf2 trains stride 1 alone; 6553748 (2020) adds stride 32 and takes the
  # sizes at stride 1 alone.
  c.model.deep_energy_strides = (8, 16)
  c.model.deep_size_strides = (8,)

  # Pretraining: README (semseg); lib/semseg_pretrain/semseg_pretrain.py@65ccdf2
  # (its network starts from a ResNet of pretraining at level `class`).
  c.pretraining.level = "semseg"
  c.pretraining.steps = 50_000
  c.pretraining.batch_size = 1
  c.pretraining.learning_rate = 1e-4
  c.pretraining.crop_hw = (640, 640)

  # Training: README. The code's own defaults are 1e-4 and 0 for the two rates
  # (lib/main/train_deepscores.py@65ccdf2).
  c.optimizer.name = "rmsprop"
  c.optimizer.learning_rate = 5e-5  # README: "close to"
  c.optimizer.l2 = 5e-7  # README: "close to"
  c.optimizer.rmsprop_decay = 0.995  # lib/main/train_dwd.py@5c314f1
  c.optimizer.rmsprop_start = 1.0  # of TensorFlow 1
  c.optimizer.schedule = "constant"  # lib/main/train_dwd.py@5c314f1
  c.train.batch_size = 1  # lib/main/train_deepscores.py@65ccdf2
  c.train.loss_window = 5  # lib/main/train_deepscores.py@65ccdf2
  steps = (20_000, 20_000, 20_000, 10_000, 30_000)
  for stage, count in zip(c.stages, steps, strict=True):
    stage.steps = count
  c.stages[-1].factors = (2.0, 1.0, 1.0)  # train_deepscores.py@65ccdf2

  # Decode: inference.py@6259a88 (components above 1, of 4 pixels or more),
  # lib/main/dws_detector.py@0181650; recorded at ac54e34.
  c.decode.method = "threshold"
  c.decode.energy = "argmax"
  c.decode.energy_cutoff = 1.0
  c.decode.min_area_px = 4
  c.decode.size = "max"
  c.decode.class_vote = "majority"
