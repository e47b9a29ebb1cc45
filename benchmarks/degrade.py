"""What degrading a training crop costs, on one core.

python -m benchmarks.degrade [--set=deepscores:dense_2017:DIR] [--crops=100] \
  [--strength=1] [--crop=480] [--scale=0.5] [--json=FILE]

The pages of --set, or 8 generated ones with 18 px between staff lines, are
built to records; then crops are drawn as in training, OpenCV with one thread.
Times are those of the CPU: what else a machine does is not in them.
- clean, scan, photo: milliseconds of a whole crop (reading, cutting, resizing,
  boxes) without degradation and with one of each recipe: mean, 95th percentile
  and slowest;
- degrading alone, with pixels and boxes in memory: without boxes and with them.
480 px at scale 0.5 are 960 x 960 px of the page.
"""

import sys
import tempfile
import time
from typing import Any

import cv2
import numpy as np

from benchmarks import common, data
from dwd_jax.data import prepare, sources
from dwd_jax.data.crops import TrainCrops
from dwd_jax.data.degraded_crops import NETWORK_STAFF_SPACE_PX
from dwd_jax.imaging import degrade
from dwd_jax.train.settings import default

_PAGE = {"pages": 8, "width": 2100, "height": 2970, "staff_space": 18.0}


def crop_row(source, cfg, recipe: str, args) -> dict[str, Any]:
  """Times of whole crops; recipe "" = clean."""
  cfg = cfg.copy_and_resolve_references()
  for name in degrade.RECIPES:
    cfg.degrade[f"{name}_prob"] = float(name == recipe)
  cfg.degrade.strength = args.strength
  crops = TrainCrops(source, cfg)
  seconds = []
  for i in range(-5, args.crops):
    rng = np.random.default_rng(abs(i))
    start = time.process_time()
    crops.random_map(i % len(source), rng)
    if i >= 0:  # the first ones warm the caches
      seconds.append(time.process_time() - start)
  return {"crops": recipe or "clean", **_ms(seconds)}


def alone_row(source, recipe: str, args) -> dict[str, Any]:
  """Times of degrading alone, on windows in memory."""
  size = round(args.crop / args.scale)
  image_s, both_s, count = [], [], []
  for i in range(args.crops):
    record = source[i % len(source)]
    rng = np.random.default_rng(i)
    top, left = (
      int(rng.integers(max(n - size, 0) + 1)) for n in record.image.shape
    )
    ink = np.ascontiguousarray(
      record.image[top : top + size, left : left + size]
    )
    boxes = record.boxes_yxyx - np.array([top, left] * 2, np.float32)
    boxes, _ = degrade.on_image(boxes, ink.shape)
    start = time.process_time()
    plan = degrade.sample(
      rng,
      ink.shape,
      recipe=recipe,
      strength=args.strength,
      staff_space_px=NETWORK_STAFF_SPACE_PX / args.scale,
    )
    plan.apply(ink, boxes[:0])
    between = time.process_time()
    plan.apply(ink, boxes)
    image_s.append(between - start)
    both_s.append(time.process_time() - between)
    count.append(len(boxes))
  return {
    "alone": recipe,
    "boxes": float(np.mean(count)),
    "image": _ms(image_s),
    "with_boxes": _ms(both_s),
  }


def _ms(seconds: list[float]) -> dict[str, float]:
  ms = 1e3 * np.array(seconds)
  return {
    "mean_ms": float(ms.mean()),
    "p95_ms": float(np.percentile(ms, 95)),
    "slowest_ms": float(ms.max()),
  }


def _data_cfg(args, folder: str):
  if args.set:
    return data.data_cfg(args.set, folder)
  cfg = default().data
  cfg.builder, cfg.builder_config = "deepscores", "dense_2017"
  cfg.engrave.update(_PAGE)
  return cfg


def main(argv: list[str]) -> None:
  """Builds the records, measures and prints JSON."""
  parser = common.parser("Cost of degradations")
  parser.add_argument("--set", default="", help="BUILDER:CONFIG:DIR")
  parser.add_argument("--crops", type=int, default=100, help="of each row")
  parser.add_argument("--strength", type=float, default=1.0)
  parser.add_argument("--crop", type=int, default=480, help="px, scaled")
  parser.add_argument("--scale", type=float, default=0.5)
  args = parser.parse_args(argv)
  cv2.setNumThreads(1)
  with tempfile.TemporaryDirectory() as folder:
    cfg = _data_cfg(args, folder)
    data_dir = prepare.prepare(cfg, folder)
    source = sources.open_split(cfg, data_dir, "train")
    cfg.crop_hw, cfg.scales = (args.crop,) * 2, (args.scale,)
    rows = [crop_row(source, cfg, n, args) for n in ("", *degrade.RECIPES)]
    rows += [alone_row(source, name, args) for name in degrade.RECIPES]
  common.report(
    "degrade",
    {
      "set": args.set or f"engraved: {_PAGE}",
      "strength": args.strength,
      "source_px": round(args.crop / args.scale),
      "rows": rows,
    },
    args.json,
  )


if __name__ == "__main__":
  main(sys.argv[1:])
