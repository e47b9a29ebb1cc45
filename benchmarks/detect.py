"""How soon a user sees symbols: first page, further pages, memory, install.

python -m benchmarks.detect [--pages=100] [--folder=DIR] [--checkpoint=W]
  [--json=FILE]

Pages are generated (2000 x 2800 px). Measured with the program as users start
it:

  first      the first page after the install: nothing is compiled yet
  again      the same page once more: the compiled code was kept
  page_s     further pages of the same size, within one process
  pdf        a PDF of so many pages: seconds a page, and the memory of the
             process after 10 %, a half and all of them
  folder     pages of many sizes (parts of the generated ones, scaled; or those
             of --folder): how often the network was compiled, the most memory,
             and once more with the code kept, the median seconds a page
  shards     the same folder once more: pages a second of one process, of two
             shards at once, and the seconds of the merge
  install    size of dwd_jax and of all packages that it needs
"""

import importlib.metadata
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from packaging.requirements import Requirement
from PIL import Image

from benchmarks import common
from dwd_jax import engrave
from dwd_jax.core.errors import InputError
from dwd_jax.imaging import images
from dwd_jax.predict import packaged
from dwd_jax.predict.detector import Detector

_WIDTH, _HEIGHT, _STAFF_SPACE = 2000, 2800, 17.0
_SHARES = (0.1, 0.5, 1.0)  # of a PDF's pages, at which memory is looked at
_LARGEST = 8  # packages that are listed


def make_pages(folder: pathlib.Path, count: int) -> list[pathlib.Path]:
  """Generates pages, PNG files."""
  engrave.generate(
    folder,
    count,
    seed=5,
    width=_WIDTH,
    height=_HEIGHT,
    staff_space=_STAFF_SPACE,
  )
  found = sorted(folder.rglob("images_png/*.png"))
  return found[:count]


def program(
  source: pathlib.Path, out: pathlib.Path, cache: pathlib.Path, checkpoint: str
) -> list[str]:
  """The command that a user types."""
  return [
    sys.executable,
    "-m",
    "dwd_jax.detect",
    str(source),
    f"--out={out}",
    f"--compilation-cache={cache}",
    *([f"--checkpoint={checkpoint}"] if checkpoint else []),
  ]


def first_pages(
  page: pathlib.Path, folder: pathlib.Path, checkpoint: str
) -> dict[str, float]:
  """Seconds of the first start, and of the second."""
  taken = {}
  for name in ("first_s", "again_s"):
    start = time.perf_counter()
    subprocess.run(
      program(page, folder / name, folder / "cache", checkpoint),
      check=True,
      stdout=subprocess.DEVNULL,
    )
    taken[name] = time.perf_counter() - start
  return taken


def in_process(
  pages: list[pathlib.Path], repeats: int, checkpoint: str
) -> dict[str, float]:
  """Seconds of compiling, and of a page after that."""
  detector = Detector(packaged.weights_of(checkpoint))
  inks = [images.read_page(p.read_bytes(), p.name) for p in pages]
  start = time.perf_counter()
  detector("first", inks[0])
  first_s = time.perf_counter() - start
  taken, sizes = [], {inks[0].shape}
  for i in range(repeats + 1):
    ink = inks[i % len(inks)]
    start = time.perf_counter()
    detector(f"page {i}", ink)
    if ink.shape in sizes:  # else it compiles
      taken.append(time.perf_counter() - start)
    sizes.add(ink.shape)
  page_s = statistics.median(taken)
  return {"compile_s": first_s - page_s, "page_s": page_s}


def of_pdf(
  pages: list[pathlib.Path],
  folder: pathlib.Path,
  count: int,
  checkpoint: str,
) -> dict[str, Any]:
  """Seconds a page and memory of a long PDF."""
  path, out = folder / "long.pdf", folder / "pdf"
  opened = [Image.open(page).convert("L") for page in pages]
  row = [opened[i % len(opened)] for i in range(count)]
  row[0].save(path, save_all=True, append_images=row[1:], resolution=250.0)
  memory: dict[str, float] = {}
  wanted = [max(1, round(share * count)) for share in _SHARES]

  def watch(done: int, rss: float) -> None:
    for number in wanted:
      if done >= number and rss:
        memory.setdefault(str(number), rss)

  start = time.perf_counter()
  peak = watched(program(path, out, folder / "cache", checkpoint), out, watch)
  seconds = time.perf_counter() - start
  return {
    "pages": count,
    "seconds": seconds,
    "page_s": seconds / count,
    "memory_mib_after_pages": memory,
    "peak_mib": peak,
  }


def watched(
  command: list[str],
  out: pathlib.Path,
  watch: Callable[[int, float], None] = lambda done, rss: None,
) -> float:
  """Runs the program; returns the most memory seen, MiB.

  Args:
    watch: called with the number of pages done and the memory, MiB.
  """
  running = subprocess.Popen(command, stdout=subprocess.DEVNULL)
  peak = 0.0
  while running.poll() is None:
    done = len(list(out.glob("*-overlay.png")))
    rss = common.memory_mib("VmRSS", running.pid)
    peak = max(peak, rss)
    watch(done, rss)
    time.sleep(0.1)
  if running.returncode:
    raise InputError("the detection failed; see above")
  return peak


def make_many_sizes(
  pages: list[pathlib.Path], folder: pathlib.Path, count: int
) -> None:
  """Parts of pages, each scaled differently: no two have one size."""
  folder.mkdir()
  rng = np.random.default_rng(0)
  for i in range(count):
    page = Image.open(pages[i % len(pages)]).convert("L")
    width, height = (
      round(side * rng.choice([1.0, rng.uniform(0.3, 1.0)]))
      for side in page.size
    )
    scale = rng.uniform(0.5, 2.0)
    part = page.crop((0, 0, width, height))
    part = part.resize((round(width * scale), round(height * scale)))
    part.save(folder / f"{i:03d}.png")


def of_folder(
  source: pathlib.Path, folder: pathlib.Path, checkpoint: str
) -> dict[str, Any]:
  """Compilations, memory and seconds of pages of many sizes."""
  cache = folder / "cache_of_folder"
  outs = [folder / f"of_folder_{i}" for i in range(2)]
  peaks = [
    watched(program(source, out, cache, checkpoint), out) for out in outs
  ]
  done = sorted(path.stat().st_mtime for path in outs[1].glob("*-overlay.png"))
  return {
    "pages": len(done),
    "compilations": len(list(cache.glob("jit_predict-*-cache"))),
    "peak_mib": peaks[0],
    "peak_mib_again": peaks[1],
    "median_page_s": float(np.median(np.diff(done))),
  }


def of_shards(
  source: pathlib.Path, folder: pathlib.Path, checkpoint: str
) -> dict[str, Any]:
  """Pages a second of one process and of two shards; nothing is compiled."""
  cache, rates = folder / "cache_of_folder", {}
  for count in (1, 2):
    out = folder / f"of_shards_{count}"
    command = program(source, out, cache, checkpoint)
    start = time.perf_counter()
    running = [
      subprocess.Popen(
        [*command, *([f"--shard={i}/{count}"] if count > 1 else [])],
        stdout=subprocess.DEVNULL,
      )
      for i in range(count)
    ]
    if sum([abs(process.wait()) for process in running]):
      raise InputError("the detection failed; see above")
    seconds = time.perf_counter() - start
    rates[str(count)] = len(list(out.glob("*-overlay.png"))) / seconds
  start = time.perf_counter()
  subprocess.run([*command, "--merge"], check=True, stdout=subprocess.DEVNULL)
  return {"pages_per_s": rates, "merge_s": time.perf_counter() - start}


def install_size() -> dict[str, Any]:
  """MiB of dwd_jax and of the packages that it needs, without extras."""
  sizes: dict[str, float] = {}
  todo = ["dwd_jax"]
  while todo:
    name = re.sub(r"[-_.]+", "-", todo.pop()).lower()
    if name in sizes:
      continue
    try:
      package = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
      continue
    sizes[name] = sum(
      path.stat().st_size
      for path in (pathlib.Path(str(f.locate())) for f in package.files or ())
      if path.is_file()
    ) / float(1 << 20)
    for line in package.requires or ():
      wanted = Requirement(line)
      if wanted.marker is None or wanted.marker.evaluate({"extra": ""}):
        todo.append(wanted.name)
  own = pathlib.Path(__file__).parents[1] / "dwd_jax"
  sizes["dwd-jax"] = sum(
    path.stat().st_size for path in own.rglob("*") if path.suffix != ".pyc"
  ) / float(1 << 20)
  largest = sorted(sizes, key=sizes.__getitem__, reverse=True)[:_LARGEST]
  return {
    "packages": len(sizes),
    "mib": sum(sizes.values()),
    "dwd_jax_mib": sizes["dwd-jax"],
    "largest_mib": {name: round(sizes[name], 1) for name in largest},
  }


def main(argv: list[str]) -> None:
  """Measures and prints JSON."""
  parser = common.parser(str(__doc__))
  parser.add_argument("--pages", type=int, default=100, help="of the PDF")
  parser.add_argument("--folder", type=pathlib.Path, help="of pages")
  parser.add_argument("--checkpoint", default="", help="default: packaged")
  args = parser.parse_args(argv)
  with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    pages = make_pages(folder / "pages", 8)
    results: dict[str, Any] = {"page_px": [_WIDTH, _HEIGHT]}
    results |= first_pages(pages[0], folder, args.checkpoint)
    results |= in_process(pages, args.repeats, args.checkpoint)
    results["pdf"] = of_pdf(pages, folder, args.pages, args.checkpoint)
    if not args.folder:
      args.folder = folder / "many_sizes"
      make_many_sizes(pages, args.folder, args.pages)
    results["folder"] = of_folder(args.folder, folder, args.checkpoint)
    results["shards"] = of_shards(args.folder, folder, args.checkpoint)
  results["install"] = install_size()
  common.report("detect", results, args.json)


if __name__ == "__main__":
  main(sys.argv[1:])
