"""Training examples per second and compiled FLOPs by backbone and crop size.

python -m benchmarks.train_step [--json=FILE] [--backbones=18x48x32,101x64x256]
"""

import functools
import sys

from benchmarks import common
from configs import default
from dwd_jax import config as config_lib
from dwd_jax import optim
from dwd_jax.models import dwd
from dwd_jax.train import state as state_lib
from dwd_jax.train import step as step_lib
from dwd_jax.train import update

NUM_CLASSES = 124


def make_step(backbone: str, crop: int, batch_size: int, max_boxes: int):
  """The combined stage's step of a network, and its arguments.

  Args:
    backbone: depth x width x filters, such as "18x48x32".
    crop: side of the crops in pixels.
    batch_size: crops of a step.
    max_boxes: padded boxes of a crop.

  Returns:
    The function, its arguments and its `StepConfig`.
  """
  config = default.get_config()
  depth, width, filters = map(int, backbone.split("x"))
  config.model.backbone_depth = depth
  config.model.backbone_width = width
  config.model.filters = filters
  config.data.crop_hw = (crop, crop)
  settings = config_lib.validate(config)
  model = dwd.make_model(config_lib.model_config(config, NUM_CLASSES, 1))
  tx = optim.make_optimizer(settings.optimizer)
  variables = dwd.init_variables(model, 0, (64, 64))
  state = state_lib.new_state(variables, tx, config.train.loss_window)
  cfg = step_lib.StepConfig(
    settings.targets, settings.losses, (0,) * NUM_CLASSES
  )
  step = functools.partial(step_lib.train_step, model=model, tx=tx, cfg=cfg)
  batch = common.made_up_batch(batch_size, (crop, crop), max_boxes, NUM_CLASSES)
  plan = update.make_plan(settings.stages[-1], 1e-3)
  return step, (state, batch, plan), cfg


def main(argv: list[str]) -> None:
  """Measures and prints JSON."""
  parser = common.parser("Training throughput")
  parser.add_argument("--backbones", default="18x48x32,18x64x64,50x64x64")
  parser.add_argument("--crops", default="160,256")
  parser.add_argument("--batch_size", type=int, default=4)
  args = parser.parse_args(argv)
  rows = []
  for backbone in args.backbones.split(","):
    for crop in map(int, args.crops.split(",")):
      step, inputs, _ = make_step(backbone, crop, args.batch_size, 256)
      timing = common.measure(step, *inputs, repeats=args.repeats)
      rows.append(
        {
          "backbone": backbone,
          "crop_px": crop,
          "batch_size": args.batch_size,
          "examples_per_second": args.batch_size / timing["median_s"],
          "gflops_per_second": timing["gflops"] / timing["median_s"],
          **timing,
        }
      )
      print(rows[-1], file=sys.stderr)
  largest = max(row["examples_per_second"] for row in rows)
  for row in rows:
    row["relative_throughput"] = row["examples_per_second"] / largest
  common.report({"benchmark": "train_step", "rows": rows}, args.json)


if __name__ == "__main__":
  main(sys.argv[1:])
