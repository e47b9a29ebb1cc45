"""Exported detectors and dwd_jax itself: seconds a page, file sizes, agreement.

python -m benchmarks.export --checkpoint=W --pages=FOLDER [--num-pages=5] \
  [--repeats=5] [--json=FILE]

FOLDER holds images of pages, at the size that the detector knows. All are run
in this process, from the array of a page to its boxes, and take turns on the
first page. Agreement is over all detections, however small their scores: found
at all, and pairs of one class with an IoU of more than 0.9.
"""

import functools
import importlib
import pathlib
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from benchmarks import common, perfect_maps
from dwd_jax.apps.export import export_files
from dwd_jax.checkpoints.weights import Weights
from dwd_jax.cluster import huge_pages
from dwd_jax.core.structs import PageImage
from dwd_jax.imaging import grey, images
from dwd_jax.models import dwd
from dwd_jax.predict import packaged, predict_pages
from dwd_jax.predict.predict_config import PredictConfig

_IOU = 0.9
# Array of a page -> (name, score, box) of all detections.
Detect = Callable[[np.ndarray], list[tuple[str, float, tuple[float, ...]]]]


def ours(trained: Weights) -> Detect:
  """The detector in dwd_jax; pages keep their size."""
  fn = predict_pages.make_predict_fn(
    dwd.make_model(trained.model),
    trained.decode,
    np.asarray(trained.group_of_class, np.int32),
    trained.class_names,
  )
  bound = functools.partial(fn, jax.device_put(trained.variables))

  def detect(page):
    ink = grey.to_ink(page)
    image = PageImage("page", ink, 1.0)
    cfg = PredictConfig(normalise="off")
    found = predict_pages.predict_page(bound, image, cfg).detections
    assert found.scores is not None
    names = [trained.class_names[label] for label in found.labels]
    boxes = map(tuple, found.boxes_yxyx.tolist())
    return list(zip(names, found.scores.tolist(), boxes, strict=True))

  return detect


def exported(folder: pathlib.Path, wanted: str) -> Detect:
  """The detector as a user of the exported files has it."""
  sys.path.insert(0, str(folder))
  try:
    if wanted == "onnx":
      module = importlib.import_module("numpy_decode")
      detector = module.Detector(folder / "model.onnx")
    else:
      detector = importlib.import_module("detector").Detector(folder)
  finally:
    sys.path.remove(str(folder))
  return functools.partial(detector, min_score=0.0)


def agreement(
  wanted: Sequence[Any], found: Sequence[Any], class_names: tuple[str, ...]
) -> dict[str, float]:
  """How far two lists of detections are the same."""

  def arrays(detections):
    boxes = np.array([box for *_, box in detections]).reshape(-1, 4)
    labels = [class_names.index(name) for name, *_ in detections]
    return boxes.astype(np.float32), np.array(labels, int)

  pairs, _ = perfect_maps.match(arrays(wanted), arrays(found), _IOU)
  return {
    "dwd_jax": len(wanted),
    "found": len(found),
    "matched": len(pairs),
  }


def main(argv: list[str]) -> None:
  """Runs the benchmark."""
  parser = common.parser(__doc__ or "")
  parser.add_argument("--checkpoint", default="", help="as of dwd_jax.export")
  parser.add_argument("--pages", required=True, help="folder of images")
  parser.add_argument("--num-pages", type=int, default=5, help="first of them")
  flags = parser.parse_args(argv)
  paths = sorted(pathlib.Path(flags.pages).glob("*.png"))[: flags.num_pages]
  pages = [255 - images.read_page(p.read_bytes(), p.name) for p in paths]
  trained = packaged.weights_of(flags.checkpoint)
  parts: dict[str, Detect] = {"dwd_jax": ours(trained)}
  sizes = {}
  with tempfile.TemporaryDirectory() as folder:
    for wanted in export_files.FORMATS:
      out = pathlib.Path(folder) / wanted
      written = export_files.export(flags.checkpoint, out, wanted)
      sizes[wanted] = sum(path.stat().st_size for path in written.paths)
      if wanted != "safetensors":
        parts[wanted] = exported(out, wanted)
  found = {name: [part(p) for p in pages] for name, part in parts.items()}
  turns = {
    name: functools.partial(part, pages[0]) for name, part in parts.items()
  }
  seconds = common.in_turns(turns, flags.repeats)
  common.report(
    "export",
    {
      "page_px": list(pages[0].shape),
      "center_offsets": trained.model.center_offsets,
      "mb": {name: size / 1e6 for name, size in sizes.items()},
      "seconds_per_page": {k: statistics.median(v) for k, v in seconds.items()},
      "agreement": {
        name: [
          agreement(w, f, trained.class_names)
          for w, f in zip(found["dwd_jax"], found[name], strict=True)
        ]
        for name in parts
        if name != "dwd_jax"
      },
    },
    flags.json,
  )


if __name__ == "__main__":
  huge_pages.restart()
  main(sys.argv[1:])
