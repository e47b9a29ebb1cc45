"""Rendering the targets as a share of the train step; the goal is under 5 %.

python -m benchmarks.targets [--json=FILE] [--backbone=18x48x32]
"""

import sys

import numpy as np

from benchmarks import common, train_step
from dwd_jax import targets


def main(argv: list[str]) -> None:
  """Measures both in one process and prints JSON."""
  parser = common.parser("Target rendering as a share of the train step")
  parser.add_argument("--backbone", default="18x48x32")
  parser.add_argument("--crops", default="160,256,480")
  parser.add_argument("--batch_size", type=int, default=4)
  args = parser.parse_args(argv)
  rows = []
  for crop in map(int, args.crops.split(",")):
    step, inputs, cfg = train_step.make_step(
      args.backbone, crop, args.batch_size, 256
    )
    batch = inputs[1]

    def render(boxes, labels, mask, cfg=cfg, crop=crop):
      groups = np.asarray(cfg.group_of_class, np.int32)
      return targets.render(
        boxes, labels, mask, groups, (crop, crop), cfg.targets
      )

    rendering = common.measure(
      render,
      batch.boxes_yxyx,
      batch.labels,
      batch.box_mask,
      repeats=args.repeats,
    )
    whole = common.measure(step, *inputs, repeats=args.repeats)
    rows.append(
      {
        "backbone": args.backbone,
        "crop_px": crop,
        "batch_size": args.batch_size,
        "boxes": int(batch.box_mask.sum()),
        "render_median_s": rendering["median_s"],
        "step_median_s": whole["median_s"],
        "share": rendering["median_s"] / whole["median_s"],
      }
    )
    print(rows[-1], file=sys.stderr)
  common.report({"benchmark": "targets", "rows": rows}, args.json)


if __name__ == "__main__":
  main(sys.argv[1:])
