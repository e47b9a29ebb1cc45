"""Building records and reading training crops from them.

python -m benchmarks.data --set=muscima_pp:v2.0:DIR [--set=...] [--json=FILE]
python -m benchmarks.data --copies=100 --set=deepscores_v2:dense:DIR

Build: pages a second with one thread, peak memory of the process, and what that
means for the 255,385 pages of the complete DeepScoresV2. Read: training crops
through the whole loader, and through a plain loop of OpenCV and NumPy over the
original files, one crop for each page that it decodes, in the same run; both a
second of CPU time (all threads) and of wall time.
"""

import concurrent.futures
import json
import multiprocessing
import os
import pathlib
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

from benchmarks import common
from dwd_jax.data import pipeline, prepare, sources
from dwd_jax.train.settings import default
from tfds_builders import checks

COMPLETE_PAGES = 255_385  # DeepScoresV2 (Tuggener et al. 2020)
_SHAPES = ((160, 0.5), (480, 0.5), (480, 1.0))  # crop px after scaling, scale


def data_cfg(name: str, data_dir: str) -> Any:
  """config.data for BUILDER:CONFIG:DIR."""
  builder, config, manual_dir = name.split(":", 2)
  cfg = default().data
  cfg.builder, cfg.builder_config = builder, config
  cfg.manual_dir, cfg.data_dir = manual_dir, data_dir
  cfg.nonempty_prob = 0.0  # crops anywhere, as the plain loop takes them
  return cfg


def copies(manual_dir: pathlib.Path, count: int, out: pathlib.Path) -> None:
  """DeepScoresV2 of `count` pages, all of them the first of `manual_dir`.

  The real set has as many annotations a page; a small sample of it does not
  tell the cost of its JSON.
  """
  name = "deepscores_train.json"
  data = json.loads((manual_dir / name).read_text(encoding="utf8"))
  first, annotations = data["images"][0], data["annotations"]
  data["images"], data["annotations"] = [], {}
  for folder in ("images", "segmentation"):
    (out / folder).mkdir(parents=True)
  stem, ending = first["filename"].rsplit(".", 1)
  for i in range(count):
    ids = {key: f"{i + 1}{int(key):09d}" for key in first["ann_ids"]}
    page = {"id": i, "filename": f"lg-{i}-aug-copy--page-1.{ending}"}
    data["images"].append(first | page | {"ann_ids": list(ids.values())})
    data["annotations"] |= {
      ids[key]: annotations[key] | {"img_id": str(i)} for key in ids
    }
    new = page["filename"].rsplit(".", 1)[0]
    for folder, old, end in (
      ("images", stem, f".{ending}"),
      ("segmentation", f"{stem}_seg", "_seg.png"),
    ):
      source = manual_dir / folder / (old + (".png" if "_" in end else end))
      (out / folder / f"{new}{end}").symlink_to(source.absolute())
  (out / name).write_text(json.dumps(data), encoding="utf8")


def _build(name: str, data_dir: str) -> tuple[float, float, float, float]:
  """Builds a set; wall and CPU seconds, memory before and at most."""
  cfg = data_cfg(name, data_dir)
  before = common.memory_mib("VmHWM")
  start, cpu = time.perf_counter(), time.process_time()
  prepare.prepare(cfg, data_dir, workers=1)
  return (
    time.perf_counter() - start,
    time.process_time() - cpu,
    before,
    common.memory_mib("VmHWM"),
  )


def build_row(name: str, data_dir: str) -> dict[str, Any]:
  """Builds a set and says how fast."""
  context = multiprocessing.get_context("spawn")
  with concurrent.futures.ProcessPoolExecutor(1, context) as pool:
    wall_s, cpu_s, before_mib, peak_mib = pool.submit(
      _build, name, data_dir
    ).result()
  cfg = data_cfg(name, data_dir)
  made = sources.builder_by_name(cfg.builder, data_dir, cfg.builder_config)
  splits = made.info.splits
  pages = sum(splits[s].num_examples for s in splits)
  folder = pathlib.Path(made.data_dir)
  size = sum(p.stat().st_size for p in folder.glob("*.array_record*"))
  hours = COMPLETE_PAGES * cpu_s / pages / 3600
  return {
    "set": cfg.builder + ":" + cfg.builder_config,
    "pages": pages,
    "pages_per_s": pages / wall_s,
    "pages_per_cpu_s": pages / cpu_s,
    "kib_per_page": size / pages / 1024,
    "memory_before_mib": before_mib,
    "memory_peak_mib": peak_mib,
    "complete_deepscores_v2_hours_1_core": hours,
    "complete_deepscores_v2_hours_16_cores": hours / 16,
  }


def plain_loop(cfg, pages: list, crop: int, scale: float) -> Callable:
  """A reader as one would write it: decode a page, slice, resize, boxes."""
  rng = np.random.default_rng(0)
  length = round(crop / scale)

  def read(i: int) -> tuple[np.ndarray, np.ndarray]:
    path, boxes = pages[i % len(pages)]
    page = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    assert page is not None
    height, width = page.shape
    y = int(rng.integers(0, max(1, height - length)))
    x = int(rng.integers(0, max(1, width - length)))
    part = cv2.resize(
      page[y : y + length, x : x + length],
      (crop, crop),
      interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR,
    )
    moved = (boxes - (y, x, y, x)) * scale
    inside = np.clip(moved, 0, crop)
    area = np.prod(inside[:, 2:] - inside[:, :2], axis=1)
    whole = np.prod(moved[:, 2:] - moved[:, :2], axis=1)
    kept = (area > 0) & (area >= cfg.min_visible * whole)
    return part.astype(np.float32) / 255, inside[kept]

  return read


def _per_second(read: Callable, count: int) -> tuple[float, float]:
  """Calls a wall second and a CPU second."""
  start, cpu = time.perf_counter(), time.process_time()
  for i in range(count):
    read(i)
  return (
    count / (time.perf_counter() - start),
    count / (time.process_time() - cpu),
  )


def _original_pages(cfg) -> list:
  """(image file, boxes) of the training pages, annotations already parsed."""
  made = sources.builder_by_name(cfg.builder, cfg.data_dir, cfg.builder_config)
  report = checks.BuildReport()
  data_set = made.PARSER.read_data_set(
    pathlib.Path(cfg.manual_dir), cfg.builder_config, made.options, report
  )
  source = sources.open_split(cfg, cfg.data_dir, "train")
  index = source.box_index()
  boxes = {
    name: index.boxes_yxyx[index.of_page(i)]
    for i, name in enumerate(index.filenames)
  }
  return [(p.image, boxes[p.image.name]) for p in data_set.splits["train"]]


def read_rows(name: str, data_dir: str, args) -> list[dict[str, Any]]:
  """Loader against plain loop for several crop sizes."""
  rows = []
  cfg = data_cfg(name, data_dir)
  pages = _original_pages(cfg)
  source = sources.open_split(cfg, data_dir, "train")
  for crop, scale in _SHAPES:
    cfg.crop_hw, cfg.scales = (crop, crop), (scale,)
    plain = plain_loop(cfg, pages, crop, scale)
    timings = []
    for _ in range(args.repeats):
      batches = batches_per_second(source, cfg, 0, args)
      plain(0)
      timings.append((*batches, *_per_second(plain, args.batches * 2)))
    wall, cpu, plain_wall, plain_cpu = (
      statistics.median(column) for column in zip(*timings, strict=True)
    )
    rows.append(
      {
        "set": f"{cfg.builder}:{cfg.builder_config}",
        "first_page_hw": source.box_index().page_hw[0].tolist(),
        "crop_px": crop,
        "scale": scale,
        "loader_crops_per_cpu_s": cpu * args.batch_size,
        "loader_crops_per_s": wall * args.batch_size,
        "plain_crops_per_cpu_s": plain_cpu,
        "plain_crops_per_s": plain_wall,
        "ratio_per_cpu_s": cpu * args.batch_size / plain_cpu,
        "crops_per_s_by_cores": {
          n: _on_cores(source, cfg, n, args) for n in args.cores
        },
      }
    )
    print(rows[-1], file=sys.stderr)
  return rows


def batches_per_second(source, cfg, workers: int, args) -> tuple[float, float]:
  """Batches a wall second and a CPU second of this process, once it runs."""
  cfg = cfg.copy_and_resolve_references()
  cfg.workers = workers
  loader = pipeline.train_loader(
    source, cfg, batch_size=args.batch_size, seed=0
  )
  # Until what was read ahead is used up and all workers have started.
  for _ in range(6 + 6 * workers):
    next(loader)
  timing = _per_second(lambda _: next(loader), args.batches)
  loader.close()
  return timing


def _on_cores(source, cfg, cores: int, args) -> float:
  """Crops a wall second with as many cores as worker processes."""
  every = sorted(os.sched_getaffinity(0))
  os.sched_setaffinity(0, every[:cores])  # the workers inherit it
  try:
    return args.batch_size * statistics.median(
      batches_per_second(source, cfg, cores, args)[0]
      for _ in range(args.repeats)
    )
  finally:
    os.sched_setaffinity(0, every)


def main(argv: list[str]) -> None:
  """Builds and reads every set and prints JSON."""
  parser = common.parser("Building and reading records")
  parser.add_argument("--set", action="append", required=True, dest="sets")
  parser.add_argument("--batch_size", type=int, default=16)
  parser.add_argument("--batches", type=int, default=10, help="a timing")
  parser.add_argument("--cores", type=int, nargs="*", default=[1, 2])
  parser.add_argument("--copies", type=int, default=0, help="see `copies`")
  args = parser.parse_args(argv)
  cv2.setNumThreads(1)
  built, read = [], []
  for name in args.sets:
    with tempfile.TemporaryDirectory() as folder:
      if args.copies:
        builder, config, manual_dir = name.split(":", 2)
        out = pathlib.Path(folder) / "copies"
        copies(pathlib.Path(manual_dir), args.copies, out)
        name = f"{builder}:{config}:{out}"
      built.append(build_row(name, folder))
      print(built[-1], file=sys.stderr)
      read += read_rows(name, folder, args)
  common.report("data", {"build": built, "read": read}, args.json)


if __name__ == "__main__":
  main(sys.argv[1:])
