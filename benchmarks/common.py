"""What the benchmarks share: timing within one process, JSON, where it ran."""

import argparse
import json
import os
import pathlib
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from dwd_jax.core.structs import Batch

NUM_CLASSES = 124  # of DeepScores (2017)
_PAUSE_S = 0.3
_PAPER_FILTERS = 256


def parser(description: str) -> argparse.ArgumentParser:
  """Arguments that every benchmark has."""
  result = argparse.ArgumentParser(description=description)
  result.add_argument("--json", default="", help="file to write the JSON to")
  result.add_argument("--repeats", type=int, default=7, help="of each timing")
  return result


def network_keys(spec: str) -> dict[str, Any]:
  """Fields of `dwd.NetworkConfig` of a network.

  Args:
    spec: DEPTHxWIDTHxFILTERS; with 256 filters the paper's decoder, else the
      default one of this project (batch norm, a hidden layer of 128 in the
      class head).
  """
  depth, width, filters = map(int, spec.split("x"))
  paper = filters == _PAPER_FILTERS
  return {
    "backbone_depth": depth,
    "backbone_width": width,
    "filters": filters,
    "class_hidden": 0 if paper else 128,
    "decoder_norm": not paper,
  }


def memory_mib(key: str, pid: int | str = "self") -> float:
  """MiB of a process (Linux): "VmRSS" now, "VmHWM" at most; 0 if it ended.

  Of this process the most is read here, as getrusage has the parent's.
  """
  try:
    status = pathlib.Path(f"/proc/{pid}/status").read_text(encoding="utf8")
  except OSError:
    return 0.0
  _, _, rest = status.partition(f"{key}:")
  return int(rest.split()[0]) / 1024 if rest else 0.0


def measure(fn: Callable, *args: Any, repeats: int = 7) -> dict[str, float]:
  """Compiles a function and times it.

  Args:
    fn: a pure function of arrays.
    *args: its arguments.
    repeats: timed calls, after one that is not timed.

  Returns:
    Seconds to compile, median and smallest seconds of a call, compiled GFLOPs
    and bytes that the compiled function needs for its temporary arrays.
  """
  start = time.perf_counter()
  compiled = jax.jit(fn).lower(*args).compile()
  compile_s = time.perf_counter() - start
  jax.block_until_ready(compiled(*args))
  seconds = []
  for _ in range(repeats):
    start = time.perf_counter()
    jax.block_until_ready(compiled(*args))
    seconds.append(time.perf_counter() - start)
  cost = compiled.cost_analysis() or {}
  memory = compiled.memory_analysis()
  return {
    "compile_s": compile_s,
    "median_s": statistics.median(seconds),
    "min_s": min(seconds),
    "gflops": float(cost.get("flops", 0.0)) / 1e9,
    "temp_mib": getattr(memory, "temp_size_in_bytes", 0) / 2**20,
  }


def in_turns(
  parts: Mapping[str, Callable[[], Any]], repeats: int
) -> dict[str, list[float]]:
  """Seconds of each; all of them have a turn in every round.

  A turn is a pause, until the threads of the one before no longer spin, a call
  that is not counted (in the first round it compiles; later it fills the caches
  as in a training) and one that is.
  """
  taken = {name: [] for name in parts}
  for _ in range(repeats):
    for name, part in parts.items():
      time.sleep(_PAUSE_S)
      part()
      start = time.perf_counter()
      part()
      taken[name].append(time.perf_counter() - start)
  return taken


def made_up_batch(
  batch_size: int, hw: tuple[int, int], max_boxes: int, num_classes: int
) -> Batch:
  """Noise with as many boxes as a dense page has on such an area.

  Args:
    batch_size: B.
    hw: (height, width) of the images in pixels.
    max_boxes: N; about one box for 800 square pixels is real.
    num_classes: C.
  """
  rng = np.random.default_rng(0)
  count = min(max_boxes, hw[0] * hw[1] // 800)
  boxes = np.zeros((batch_size, max_boxes, 4), np.float32)
  top_left = rng.uniform(0, 1, (batch_size, count, 2)) * np.subtract(hw, 16)
  boxes[:, :count, :2] = top_left
  boxes[:, :count, 2:] = top_left + rng.uniform(3, 16, top_left.shape)
  mask = np.zeros((batch_size, max_boxes), bool)
  mask[:, :count] = True
  labels = rng.integers(0, num_classes, (batch_size, max_boxes))
  return Batch(
    image=rng.random((batch_size, *hw, 1), np.float32),
    boxes_yxyx=boxes,
    labels=labels.astype(np.int32),
    box_mask=mask,
  )


def report(benchmark: str, results: dict[str, Any], path: str) -> None:
  """Prints the results as JSON, and writes them to `path` if it is given."""
  device = jax.devices()[0]
  text = json.dumps(
    {
      "benchmark": benchmark,
      "date": time.strftime("%Y-%m-%d"),
      "backend": jax.default_backend(),
      "device": device.device_kind,
      "machine": platform.machine(),
      "cores": len(os.sched_getaffinity(0)),
      "python": platform.python_version(),
      "jax": jax.__version__,
      "glibc_tunables": os.environ.get("GLIBC_TUNABLES", ""),
      **results,
    },
    indent=2,
  )
  print(text)
  if path:
    pathlib.Path(path).write_text(text + "\n", encoding="utf8")
