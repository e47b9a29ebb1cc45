r"""Small objects of any kind on your own images: one command.

    python -m dwd_jax.main --config=configs/boxes.py --workdir=runs/mine \
      --config.data.manual_dir=MY_DATA

Hardware: two CPU cores or a GPU, for which the network is chosen. Run time and
score depend on the data and are not measured by us on any GPU.

MY_DATA holds images and boxes in COCO, Pascal VOC, DOTA, YOLO or CSV;
tfds_builders/boxes/README.md shows the layouts that are found. All that depends
on the objects follows from the training images, and the log says why, a line
each: scale, crops, discs, groups, network, batch, learning rate, steps,
evaluations and early stop by mAP (dwd_jax/train/from_data.py). `python -m
dwd_jax.check MY_DATA` prints the same without training. A flag, such as
--config.data.eval_scale=0.5 or --config.stages[4].steps=2000, has the last
word. What remains yours:

- data.kind: photo (crops are turned, mirrored and vary in light) or document
  (upright), if the log's guess is wrong.
- model.oriented: True for boxes of any angle, with
  data.builder_config="dota", whose files have four corners for each object.
- data.leave_out: classes that are larger than any crop.

`--config=configs/boxes.py:runlocal` does 250 steps at most.
"""

import ml_collections

from dwd_jax.train import open_keys, recipes, settings

_PREPARING = (20, 10, 10, 10)  # steps of the stages before the last


def get_config(arg: str = "") -> ml_collections.ConfigDict:
  """Returns the config; `arg` "runlocal" makes it short."""
  c = settings.default()
  c.data.builder = "boxes"
  c.data.builder_config = "auto"
  c.data.rare_prob = 0.5
  recipes.adamw(c)
  open_keys.leave_open(c)
  open_keys.leave_last_stage_open(c)
  for stage, count in zip(c.stages[:-1], _PREPARING, strict=True):
    stage.steps = count
  if arg == "runlocal":
    c.stages[-1].steps = 250
    c.train.checkpoint_every = 100
  return c
