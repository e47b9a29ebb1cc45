"""Tiles against whole pages: what differs, and what a page of any size needs.

python -m benchmarks.tiles --workdir=runs/engraved --images=PAGES/*.png \
  --scale=0.5 --tile_mpx=1 --overlaps 256 512 640 [--big=14000x10000] \
  [--config=engraved] [--json=FILE]

Every page is predicted whole and in tiles of at most `tile_mpx` megapixels; a
detection is the same if it has the class and, to 2 px, the centre. `--big`
fills a canvas of that width and height with copies of the pages and predicts it
as the defaults would: in tiles, with no whole page to compare.
"""

import importlib
import itertools
import pathlib
import resource
import sys
import time
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from benchmarks import common
from dwd_jax.core import boxes as boxes_lib
from dwd_jax.core.errors import InputError
from dwd_jax.core.structs import PageBoxes, PageImage
from dwd_jax.imaging import images, page_windows
from dwd_jax.predict import predict_pages, tiling
from dwd_jax.predict.predict_config import DEFAULT, PredictConfig
from dwd_jax.train import run_evaluation, setup

_SAME_PX = 2.0


def differences(whole: PageBoxes, tiled: PageBoxes) -> dict[str, Any]:
  """What tiles changed: lost and extra objects, largest differences."""
  assert whole.scores is not None
  assert tiled.scores is not None
  n, m = len(whole.labels), len(tiled.labels)
  offset = np.asarray(boxes_lib.centers_yx(whole.boxes_yxyx))[:, None]
  offset = np.abs(offset - np.asarray(boxes_lib.centers_yx(tiled.boxes_yxyx)))
  far = offset.reshape(n, m, 2).max(-1)
  far[whole.labels[:, None] != tiled.labels[None]] = np.inf
  # The nearest pairs, one to one; impossible ones cost more than all others.
  rows, columns = linear_sum_assignment(np.minimum(far, 1e3))
  pair = far[rows, columns] <= _SAME_PX
  rows, columns = rows[pair], columns[pair]
  scores = np.abs(whole.scores[rows] - tiled.scores[columns])
  sides = np.abs(whole.boxes_yxyx[rows] - tiled.boxes_yxyx[columns])
  return {
    "objects": n,
    "lost": n - len(rows),
    "extra": m - len(rows),
    "score_difference": float(scores.max(initial=0)),
    "score_differences_above_0.001": int((scores > 1e-3).sum()),
    "box_difference_px": float(sides.max(initial=0)),
  }


def num_tiles(page: PageImage, cfg: PredictConfig) -> dict[str, Any]:
  """How many tiles a page becomes, and their size."""
  window = page_windows.page_window(
    page.ink.shape, page.scale, cfg.page_multiple
  )
  tiles = tiling.plan(window.out_hw, cfg.max_px, cfg.overlap_px)
  return {"tiles": len(tiles), "tile_hw": tiles[0].hw}


def big_page(pages: list[PageImage], width: int, height: int) -> PageImage:
  """A canvas filled with copies of the pages."""
  canvas = np.zeros((height, width), np.uint8)
  step_y, step_x = (max(p.ink.shape[i] for p in pages) for i in (0, 1))
  places = itertools.product(range(0, height, step_y), range(0, width, step_x))
  for (y, x), page in zip(places, itertools.cycle(pages), strict=False):
    part = page.ink[: height - y, : width - x]
    canvas[y : y + part.shape[0], x : x + part.shape[1]] = part
  return PageImage("big.png", canvas, pages[0].scale)


def measure_big(predict_fn, page: PageImage) -> dict[str, Any]:
  """Time and memory of a page that has to be cut."""
  seconds = []
  for _ in range(2):  # the first compiles
    start, cpu = time.perf_counter(), time.process_time()
    found = predict_pages.predict_page(predict_fn, page)
    seconds.append((time.perf_counter() - start, time.process_time() - cpu))
  peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
  return {
    "hw": page.ink.shape,
    **num_tiles(page, DEFAULT),
    "objects": len(found.detections.labels),
    "seconds_first": seconds[0][0],
    "seconds": seconds[1][0],
    "cpu_seconds": seconds[1][1],
    "process_peak_gib": peak,
  }


def main(argv: list[str]) -> None:
  """Prints the differences as JSON."""
  parser = common.parser("Tiles against whole pages")
  parser.add_argument("--config", default="engraved", help="of configs/")
  parser.add_argument("--workdir", required=True, help="of a finished run")
  parser.add_argument("--images", nargs="+", required=True)
  parser.add_argument("--scale", type=float, default=0.5)
  parser.add_argument("--tile_mpx", type=float, default=1.0)
  parser.add_argument(
    "--overlaps", type=int, nargs="*", default=[256, 512, 640]
  )
  parser.add_argument("--big", default="", help="WIDTHxHEIGHT, px")
  args = parser.parse_args(argv)
  config = importlib.import_module(f"configs.{args.config}").get_config()
  run = setup.setup(config, pathlib.Path(args.workdir))
  predict_fn = run_evaluation.bound_predict_fn(run, run_evaluation.restore(run))
  pages = []
  for path in map(pathlib.Path, args.images):
    if not path.is_file():
      raise InputError(f"{path}: no such image; check --images")
    ink = images.read_page(path.read_bytes(), path.name)
    pages.append(PageImage(path.name, ink, args.scale))
  results: dict[str, Any] = {
    "scale": args.scale,
    "tile_mpx": args.tile_mpx,
    "pages": [page.filename for page in pages],
  }
  if args.big:
    # First, so that the peak is its own.
    width, height = map(int, args.big.split("x"))
    results["big"] = measure_big(predict_fn, big_page(pages, width, height))
    print(results["big"], file=sys.stderr, flush=True)
  results["tiles"] = rows = []
  for page in pages:
    whole = predict_pages.predict_page(
      predict_fn, page, PredictConfig(max_mpx=60.0)
    )
    for overlap in args.overlaps:
      cfg = PredictConfig(max_mpx=args.tile_mpx, overlap_px=overlap)
      tiled = predict_pages.predict_page(predict_fn, page, cfg)
      rows.append(
        {
          "page": page.filename,
          "overlap_px": overlap,
          **num_tiles(page, cfg),
          **differences(whole.detections, tiled.detections),
        }
      )
      print(rows[-1], file=sys.stderr, flush=True)
  common.report("tiles", results, args.json)


if __name__ == "__main__":
  main(sys.argv[1:])
