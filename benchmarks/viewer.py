"""Speed of the viewer in a browser: many pages with many boxes.

  python -m benchmarks.viewer

Needs Chromium; it runs headless and without a graphics card.
"""

import pathlib
import statistics
import sys
import tempfile
import time
from typing import Any

import numpy as np

from benchmarks import common, screenshot
from dwd_jax.core.structs import PageBoxes
from dwd_jax.show.viewer import write

_HW = (2970, 2100)
_FRAMES = 240

# Moves the page along a circle, one step a frame; the time that the script
# takes to draw, and from one frame to the next.
_PAN = """(frames) => new Promise((resolve) => {
  drawing.times.length = 0;
  const intervals = [];
  let before = 0;
  let count = 0;
  const next = (now) => {
    if (before) intervals.push(now - before);
    before = now;
    if (count++ === frames) {
      resolve({draws: [...drawing.times], intervals, drawn: drawing.drawn});
      return;
    }
    panBy(6 * Math.cos(count / 20), 6 * Math.sin(count / 20));
    requestAnimationFrame(next);
  };
  requestAnimationFrame(next);
})"""

# Milliseconds of calls of an expression.
_TIMES = """([code, times]) => {
  const call = new Function("i", code);
  const taken = [];
  for (let i = 0; i < times; i++) {
    const start = performance.now();
    call(i);
    taken.push(performance.now() - start);
  }
  return taken;
}"""


def made_up_pages(num_pages: int, num_boxes: int) -> list[write.ViewerPage]:
  """Pages whose detections lie near true boxes; one picture for all.

  Args:
    num_pages: how many.
    num_boxes: true boxes, and as many detections, of each.
  """
  rng = np.random.default_rng(0)
  pages = []
  for i in range(num_pages):
    top_left = rng.uniform(0, 1, (num_boxes, 2)) * np.subtract(_HW, 60)
    truth = np.concatenate(
      [top_left, top_left + rng.uniform(6, 60, (num_boxes, 2))], axis=1
    )
    labels = rng.integers(0, common.NUM_CLASSES, num_boxes)
    wrong = rng.random(num_boxes) < 0.1
    found = PageBoxes(
      filename=f"page-{i}",
      image_hw=_HW,
      boxes_yxyx=(truth + rng.normal(0, 1, truth.shape)).astype(np.float32),
      labels=np.where(wrong, 0, labels).astype(np.int32),
      scores=rng.random(num_boxes, np.float32),
    )
    true = PageBoxes(
      f"page-{i}", _HW, truth.astype(np.float32), labels.astype(np.int32)
    )
    pages.append(write.ViewerPage(f"page-{i}", "page.jpg", found, true))
  return pages


def measure(index: pathlib.Path) -> dict[str, Any]:
  """Opens a viewer and times what a person waits for, in milliseconds."""
  with screenshot.chromium() as browser:
    page = browser.new_page(viewport={"width": 1280, "height": 720})
    page.goto(index.as_uri())
    page.evaluate("() => picture.decode()")
    load_ms = float(page.evaluate("document.documentElement.dataset.readyMs"))

    def timed(code: str, times: int = 20) -> float:
      # What a person does once a second is not measured hot.
      return statistics.median(page.evaluate(_TIMES, [code, times]))

    results: dict[str, Any] = {
      "load_ms": load_ms,
      "page_turn_ms": timed("showPage(i + 1)"),
      "filter_ms": timed("setScore(i / 100)"),
      # A thousand looks, since the clock of a browser is coarse.
      "hover_us": timed("for (let x = 0; x < 1000; x++) boxUnder([x, 10 * i])"),
    }
    page.evaluate("setScore(0), setMode('class')")
    results["pan_whole_page"] = _pan(page)
    page.evaluate("zoomTo(1)")
    results["pan_pixel_for_pixel"] = _pan(page)
    page.evaluate("setMode('compare'), fitPage()")
    results["compare_filter_ms"] = timed("setScore(i / 100)")
    page.evaluate("setScore(0)")
    results["pan_compare"] = _pan(page)
    return results


def _pan(page: Any) -> dict[str, float]:
  taken = page.evaluate(_PAN, _FRAMES)
  return {
    "boxes_drawn": taken["drawn"],
    "draw_ms_median": statistics.median(taken["draws"]),
    "draw_ms_p95": float(np.percentile(taken["draws"], 95)),
    "frame_ms_median": statistics.median(taken["intervals"]),
    "frame_ms_p95": float(np.percentile(taken["intervals"], 95)),
  }


def run(num_pages: int, num_boxes: int) -> dict[str, Any]:
  """Writes a viewer into a temporary folder and measures it."""
  rng = np.random.default_rng(1)
  ink = (rng.random(_HW) < 0.02).astype(np.uint8) * 255
  with tempfile.TemporaryDirectory() as folder:
    index = pathlib.Path(folder) / "index.html"
    picture = write.page_picture(255 - ink, 4000)
    index.with_name("page.jpg").write_bytes(picture)
    pages = made_up_pages(num_pages, num_boxes)
    names = [f"class{i}" for i in range(common.NUM_CLASSES)]
    start = time.perf_counter()
    write.write(index, pages, names, title="made up")
    return {
      "num_pages": num_pages,
      "boxes_per_page": num_boxes,
      "write_s": time.perf_counter() - start,
      "html_mib": index.stat().st_size / 2**20,
      **measure(index),
    }


def main(argv: list[str]) -> None:
  """Measures and prints JSON."""
  parser = common.parser("Speed of the viewer in headless Chromium")
  parser.add_argument("--pages", type=int, default=200)
  parser.add_argument("--boxes", type=int, default=2000, help="of each page")
  args = parser.parse_args(argv)
  common.report("viewer", run(args.pages, args.boxes), args.json)


if __name__ == "__main__":
  main(sys.argv[1:])
