"""Memory and time of an evaluation after the network, on simulated pages.

python -m benchmarks.evaluation [--boxes=10000000] [--boxes_a_page=1000] \
  [--folder=DIR] [--parts=PARTS] [--json=FILE]

Boxes are true boxes and detections together. `ap` measures AP alone by each
protocol, `evaluation` is all that follows the network: calibrated scores, AP,
files, report. Bytes are what the peak of the memory grows by, after a first,
small evaluation; CPU seconds are of this process, all threads together. The
folder takes the boxes (24 bytes of each) and the files (some 250).
"""

import contextlib
import math
import pathlib
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import IO, Any

import numpy as np

from benchmarks import common
from dwd_jax.core.structs import PageBoxes
from dwd_jax.evaluate import evaluate_split
from dwd_jax.evaluate.page_store import Page, PageStore
from dwd_jax.metrics import calibration, protocols

_CLASSES = 136  # of DeepScoresV2
_PAGE_HW = (2800, 2000)
_STAVES = 10
_NAMES = tuple(f"class {i}" for i in range(_CLASSES))


def simulated_page(number: int, boxes: int) -> Page:
  """A page of half as many symbols, of which nearly all are found.

  Most are a few pixels off; some are twice there, misnamed or on nothing.
  Classes are as unevenly frequent as in music; the first is staves.
  """
  rng = np.random.default_rng(number)
  n = boxes // 2
  corners = rng.uniform(0, np.subtract(_PAGE_HW, 40), (n, 2))
  sides = np.clip(rng.lognormal(2.8, 0.5, (n, 2)), 3, 300)
  labels = 1 + (rng.pareto(0.7, n) % (_CLASSES - 1)).astype(np.int32)
  labels[:_STAVES], corners[:_STAVES, 1], sides[:_STAVES, 1] = 0, 100, 1800
  true = np.concatenate([corners, corners + sides], 1).astype(np.float32)
  again = rng.integers(0, n, n // 20)
  rows = np.concatenate([np.flatnonzero(rng.random(n) < 0.93), again])
  shift = rng.normal(0, 1.2, (len(rows), 4)).astype(np.float32)
  found, found_labels = true[rows] + shift, labels[rows]
  wrong = rng.random(len(rows)) < 0.03
  found_labels[wrong] = rng.integers(0, _CLASSES, wrong.sum())
  scores = rng.beta(8, 2, len(rows)).astype(np.float32)
  name = f"{number:08}.png"
  return Page(
    PageBoxes(name, _PAGE_HW, true, labels),
    PageBoxes(name, _PAGE_HW, found, found_labels, scores),
  )


def simulated(
  file: IO[bytes], boxes: int, boxes_a_page: int
) -> tuple[evaluate_split.Predicted, int]:
  """Pages as `predict_all` returns them, and the number of their boxes."""
  store, count, number = PageStore(file), 0, 0
  while count < boxes:
    page = simulated_page(number, boxes_a_page)
    store.add(*page)
    count += sum(len(side.labels) for side in page)
    number += 1
  return (
    evaluate_split.Predicted(store, [], [], math.nan, [20.0] * number),
    count,
  )


@contextlib.contextmanager
def _measured(boxes: int) -> Iterator[dict[str, Any]]:
  """Yields a dictionary that is filled in at the end of the block."""
  with contextlib.suppress(OSError):  # the peak counts from now on
    pathlib.Path("/proc/self/clear_refs").write_text("5", encoding="utf8")
  result: dict[str, Any] = {}
  before = common.memory_mib("VmRSS")
  wall, cpu = time.perf_counter(), time.process_time()
  yield result
  result["seconds"] = time.perf_counter() - wall
  result["cpu_s"] = time.process_time() - cpu
  result["cpu_us_a_box"] = result["cpu_s"] / boxes * 1e6
  grown = common.memory_mib("VmHWM") - before
  result["peak_mib"] = grown
  result["bytes_a_box"] = grown * 2**20 / boxes


def _ap(
  predicted: evaluate_split.Predicted, protocol: protocols.Protocol
) -> float:
  meter = protocols.meter(protocol, _NAMES)
  for page in predicted.pages:
    meter.add(*page)
  return protocols.mean_or_nan(meter.table().per_class())


def _evaluate(
  predicted: evaluate_split.Predicted, out_dir: pathlib.Path
) -> float:
  def make(raw, num_pages):
    return calibration.make(raw, num_pages, _CLASSES, {})

  result = evaluate_split.evaluate_predicted(
    predicted,
    _NAMES,
    out_dir=out_dir,
    dataset="simulated",
    split="val",
    protocol="coco",
    checkpoint_step=0,
    min_score=0.05,
    viewer_pages=0,
    calibration=make,
  )
  return result.metrics["mAP"]


def main(argv: list[str]) -> None:
  """Prints the figures as JSON."""
  parser = common.parser("Memory and time of an evaluation")
  parser.add_argument("--boxes", type=int, default=10_000_000)
  parser.add_argument("--boxes_a_page", type=int, default=1000)
  parser.add_argument("--folder", default=None, help="for boxes and files")
  parser.add_argument("--parts", default="", help="some, as 'ap coco'; all")
  args = parser.parse_args(argv)
  with (
    tempfile.TemporaryDirectory(dir=args.folder) as folder,
    tempfile.TemporaryFile(dir=args.folder) as small_file,
    tempfile.TemporaryFile(dir=args.folder) as file,
  ):
    out_dir = pathlib.Path(folder)
    small, _ = simulated(small_file, 20_000, args.boxes_a_page)
    _evaluate(small, out_dir)
    predicted, boxes = simulated(file, args.boxes, args.boxes_a_page)
    parts: dict[str, Callable[[], float]] = {
      f"ap {name}": lambda name=name: _ap(predicted, name)
      for name in protocols.PROTOCOLS
    }
    parts["evaluation"] = lambda: _evaluate(predicted, out_dir)
    rows = {}
    for name in args.parts.split(",") if args.parts else parts:
      with _measured(boxes) as rows[name]:
        mean_ap = parts[name]()
      rows[name]["mAP"] = mean_ap
      print(name, rows[name], file=sys.stderr, flush=True)
  pages = len(predicted.pages)
  common.report(
    "evaluation", {"boxes": boxes, "pages": pages, "parts": rows}, args.json
  )


if __name__ == "__main__":
  main(sys.argv[1:])
