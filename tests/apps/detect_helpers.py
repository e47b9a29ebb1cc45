"""A tiny detector that finds something on every page, and pages for it."""

import dataclasses
import pathlib

import calibration_helpers
import jax
import numpy as np
from PIL import Image

from dwd_jax.checkpoints import weights
from dwd_jax.decode.decode_config import DecodeConfig
from dwd_jax.metrics import calibration
from dwd_jax.models import dwd

CLASSES = ("clefG", "noteheadBlack", "restQuarter")
HW = (100, 120)  # of the pages


def tiny(**changes) -> weights.Weights:
  """An untrained network; every bump of its energy counts."""
  model = dwd.ModelConfig(
    num_classes=3, backbone_depth=10, backbone_width=4, filters=4
  )
  made = weights.Weights(
    variables=_untrained(dwd.make_model(model)),
    class_names=CLASSES,
    group_of_class=(0, 0, 0),
    model=model,
    decode=DecodeConfig(
      energy_cutoff=1.0,
      min_seed_level=1.0,
      min_saddle_depth=1e-4,
      max_detections=2048,
    ),
    calibration=calibration_helpers.calibration(
      calibration.ScoreMap(1.0, 1.0, 3.0, np.zeros(3)), 0.2
    ),
    about={"name": "tiny"},
  )
  return dataclasses.replace(made, **changes)


def _untrained(model: dwd.DWDNet):
  """Variables of a network; to initialise it takes longer than most tests."""
  shapes = jax.eval_shape(lambda: dwd.init_variables(model, 0, (32, 32)))
  rng = np.random.default_rng(0)

  def value(path, x):
    if path[-1].key == "kernel":
      return rng.normal(0, np.prod(x.shape[:-1]) ** -0.5, x.shape)
    return np.full(x.shape, path[-1].key in ("scale", "var"))

  return jax.tree_util.tree_map_with_path(
    lambda path, x: value(path, x).astype(x.dtype), dict(shapes)
  )


def ink(seed: int = 0, hw: tuple[int, int] = HW) -> np.ndarray:
  """A page with blobs, 0 = paper, 255 = ink."""
  rng = np.random.default_rng(seed)
  page = np.zeros(hw, np.uint8)
  for _ in range(6):
    y, x = rng.integers(5, hw[0] - 15), rng.integers(5, hw[1] - 15)
    page[y : y + rng.integers(3, 10), x : x + rng.integers(3, 10)] = 255
  return page


def save(path: pathlib.Path, page: np.ndarray, **options) -> pathlib.Path:
  """Writes ink as a picture, black on white."""
  path.parent.mkdir(parents=True, exist_ok=True)
  Image.fromarray(255 - page).save(path, **options)
  return path


def save_pages(path: pathlib.Path, *pages: np.ndarray) -> pathlib.Path:
  """Writes pages into one TIFF, or PDF of 150 dpi."""
  first, *others = [Image.fromarray(255 - page) for page in pages]
  more = {} if path.suffix != ".pdf" else {"resolution": 150.0}
  first.save(path, save_all=True, append_images=others, **more)
  return path
