"""The last pass of `dwd_jax.detect` over the pages of a library.

  python -m benchmarks.library [--pages=1000,10000,100000] [--symbols=100] \
  [--json=FILE]

Makes up that many pages with the functions of the program: image files of equal
names in folders of 300, which are never opened, and the results of each. Then a
process of its own lists the files, claims them and writes the files of all
pages for real. A page takes some 17 KB of disk, which is freed at the end.
Processor seconds say more than seconds where other work shares the machine.
"""

import json
import pathlib
import subprocess
import sys
import tempfile
import time
import warnings
from typing import Any

import numpy as np

from benchmarks import common
from dwd_jax.apps.detect import (
  detect_files,
  detect_pages,
  formats,
  inputs,
  manifest,
  outputs,
)
from dwd_jax.core import boxes as boxes_lib
from dwd_jax.predict.page_detections import PageDetections

_HW = (2970, 2100)
_OF_FOLDER = 300  # pages
_SETTINGS = detect_pages.DetectSettings()


class _Timer:
  """Seconds and processor seconds since it was made."""

  def __init__(self):
    self._start = time.perf_counter(), time.process_time()

  def __call__(self) -> dict[str, float]:
    now = time.perf_counter(), time.process_time()
    wall, cpu = np.subtract(now, self._start).round(2).tolist()
    return {"s": wall, "cpu_s": cpu}


def make(folder: pathlib.Path, num_pages: int, symbols: int) -> dict[str, Any]:
  """Makes image files, and the results of their pages; times its steps."""
  for i in range(num_pages):
    path = folder / f"in/volume {i // _OF_FOLDER}/{i % _OF_FOLDER + 1:04d}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
  detector = detect_pages.make_detector(_SETTINGS)
  facts = detect_pages.facts(_SETTINGS, detector)
  names, out = detector.weights.class_names, folder / "out"
  timer = _Timer()
  sources, _ = inputs.find([folder / "in"], outputs.taken())
  listed, timer = timer(), _Timer()
  outputs.check_folder(out, facts)
  outputs.claim(out, facts, sources)
  claimed, timer = timer(), _Timer()
  run, rng = manifest.digest(facts), np.random.default_rng(0)
  for source in sources:
    corner = rng.uniform(0, 1, (symbols, 2)) * np.subtract(_HW, 60)
    size = rng.uniform(6, 60, (symbols, 2))
    boxes = np.concatenate([corner, corner + size], 1, dtype=np.float32)
    model = detector.weights.model
    found = PageDetections(
      page=source.name,
      image_hw=_HW,
      boxes_yxyx=boxes,
      oriented_yx=np.asarray(boxes_lib.corners_yx(boxes))
      if model.oriented
      else None,
      positions=rng.integers(-8, 8, symbols) if model.staff_positions else None,
      labels=rng.integers(0, len(names), symbols).astype(np.int32),
      scores=np.sort(rng.uniform(0.25, 1, symbols))[::-1],
      class_names=names,
      staff_space_px=20.0,
    )
    path = out / f"{source.name}.json"
    formats.write_page_json(path, found, formats.origin(source, run))
  return {"list": listed, "claim": claimed, "make_pages": timer()}


def merge(folder: pathlib.Path) -> dict[str, Any]:
  """Writes the files of all pages; the time, and the memory it took."""
  warnings.filterwarnings("ignore", ".*pictures are missing")
  detect_pages.make_detector(_SETTINGS)
  before, timer = common.memory_mib("VmRSS"), _Timer()
  done = detect_files.merge([folder / "in"], folder / "out", _SETTINGS)
  return {
    "merge": timer(),
    "pages": done.pages,
    "symbols": done.symbols,
    "start_mib": round(before, 1),
    "most_mib": round(common.memory_mib("VmHWM"), 1),
  }


def measure(num_pages: int, symbols: int) -> dict[str, Any]:
  """Makes pages, and merges them in a process of its own."""
  with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    made = make(folder, num_pages, symbols)
    command = [sys.executable, "-m", "benchmarks.library", f"--merge={name}"]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    out = folder / "out"
    files = [*formats.run_files(["page"]), manifest.NAME]
    parts = [path.stat().st_size for path in out.glob("viewer/*")]
    return {
      **json.loads(done.stdout),
      **made,
      "mib": {
        **{f: round((out / f).stat().st_size / 2**20, 2) for f in files},
        "viewer": round(sum(parts) / 2**20, 2),
      },
      "viewer_parts": len(parts),
    }


def main(argv: list[str]) -> None:
  """Measures and prints JSON."""
  parser = common.parser("The last pass of a detection over a library")
  parser.add_argument("--pages", default="1000,10000,100000")
  parser.add_argument("--symbols", type=int, default=100, help="of each page")
  parser.add_argument("--merge", default="", help="folder; for its own process")
  args = parser.parse_args(argv)
  if args.merge:
    print(json.dumps(merge(pathlib.Path(args.merge))))
    return
  rows = []
  for num_pages in map(int, args.pages.split(",")):
    rows.append(measure(num_pages, args.symbols))
    print(rows[-1], file=sys.stderr, flush=True)
  results = {
    "symbols_per_page": args.symbols,
    "rows": rows,
    "memory_ratio": rows[-1]["most_mib"] / rows[0]["most_mib"],
  }
  common.report("library", results, args.json)


if __name__ == "__main__":
  main(sys.argv[1:])
