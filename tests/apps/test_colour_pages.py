"""Detectors of pictures in colour: files, pages, tiles, exports, pictures."""

import dataclasses
import sys

import cv2
import export_helpers
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from dwd_jax.apps.detect import inputs
from dwd_jax.apps.export import export_files
from dwd_jax.checkpoints import weights as weights_lib
from dwd_jax.core.structs import PageImage
from dwd_jax.decode.decode_config import DecodeConfig
from dwd_jax.models import dwd, ink_windows
from dwd_jax.predict import detector, predict_pages
from dwd_jax.predict.predict_config import PredictConfig
from dwd_jax.show import drawing
from dwd_jax.show.viewer import write as viewer

_HW = (90, 120)


@pytest.fixture(scope="module")
def weights():
  """A detector with a second look, for pictures in colour."""
  cfg = dwd.ModelConfig(
    num_classes=2,
    channels=3,
    backbone_depth=10,
    backbone_width=4,
    filters=6,
    refine_boxes=True,
  )
  variables = export_helpers.variables_of(cfg)
  return weights_lib.Weights(
    variables,
    ("cell", "другая клетка"),
    (0, 0),
    cfg,
    DecodeConfig(energy_cutoff=3.0, min_seed_level=3.0),
    polarity="keep",
  )


@pytest.fixture(scope="module")
def picture():
  rng = np.random.default_rng(0)
  small = rng.integers(0, 255, (9, 12, 3), dtype=np.uint8)
  return cv2.resize(small, _HW[::-1], interpolation=cv2.INTER_NEAREST)


def test_files_of_weights_say_that_there_are_colours(tmp_path, weights):
  path = tmp_path / "cells.safetensors"
  weights_lib.write(path, weights)
  assert weights_lib.read(path).model == weights.model
  assert '"channels"' in str(weights_lib._card(weights)).replace("'", '"')
  grey = dataclasses.replace(weights.model, channels=1)
  card = weights_lib._card(dataclasses.replace(weights, model=grey))
  assert "channels" not in card["model"]  # older versions read it


def test_every_entrance_gives_the_same_colours(tmp_path, weights, picture):
  found = detector.Detector(weights, min_score=0.0)
  assert cv2.imwrite(str(tmp_path / "a.png"), picture[..., ::-1])
  (source,), _ = inputs.find([tmp_path])
  page = inputs.read(source, 0.0, polarity="keep", channels=found.channels)
  np.testing.assert_array_equal(page.ink, picture)
  by_file = found("a", page.ink)
  assert by_file.image_hw == _HW
  assert len(by_file.labels) > 5
  with pytest.raises(Exception, match=r"give uint8 RGB \[H, W, 3\]"):
    found("a", picture[..., 0])


def test_onnx_finds_what_we_find(tmp_path, weights, picture, monkeypatch):
  weights_lib.write(tmp_path / "cells.safetensors", weights)
  out = tmp_path / "onnx"
  made = export_files.export(str(tmp_path / "cells.safetensors"), out, "onnx")
  assert "red, green, blue" in (out / "README.md").read_text()
  monkeypatch.syspath_prepend(str(out))
  import numpy_decode  # pyright: ignore[reportMissingImports]

  Image.fromarray(picture).save(tmp_path / "a.png")
  read = sys.modules["detector_pages"].read(tmp_path / "a.png")
  theirs = numpy_decode.Detector(made.paths[0], threads=1)(read, 0.0)
  find = predict_pages.make_predict_fn(
    dwd.make_model(weights.model),
    weights.decode,
    np.zeros(2, np.int32),
    weights.class_names,
  )
  ours = predict_pages.predict_page(
    lambda image: find(weights.variables, image),
    PageImage("a", picture, 1.0),
    PredictConfig(normalise="off", channels=3),  # padded as the others
  ).detections
  assert len(theirs) == len(ours.labels) > 3
  scores = [row[1] for row in theirs]
  np.testing.assert_allclose(scores, np.sort(ours.scores)[::-1], atol=1e-4)


def test_tiles_in_colour_are_parts_of_the_page(picture):
  page = np.tile(picture, (3, 4, 1))  # 270 x 480 px
  seen = []

  def look(image):
    seen.append(np.asarray(image))
    raise MemoryError

  cfg = PredictConfig(max_mpx=0.08, overlap_px=32, channels=3, page_multiple=32)
  with pytest.raises(MemoryError):
    predict_pages.predict_page(look, PageImage("a", page, 1.0), cfg)
  tile = seen[0][0]
  assert tile.shape[2] == 3
  height, width = (
    min(a, b) for a, b in zip(tile.shape[:2], page.shape[:2], strict=True)
  )
  shown = tile[:height, :width]
  np.testing.assert_array_equal(shown, page[:height, :width])


def test_the_second_look_sees_grey():
  image = np.zeros((2, 2, 3), np.float32)
  image[0, 0] = 1
  np.testing.assert_allclose(
    ink_windows.grey_of(jnp.asarray(image)), [[1, 0], [0, 0]], atol=1e-6
  )


def test_pictures_keep_their_colours(picture):
  jpeg = np.frombuffer(viewer.page_picture(picture), np.uint8)
  shown = cv2.imdecode(jpeg, cv2.IMREAD_COLOR)[..., ::-1]
  off = [
    np.abs(s.astype(int) - picture).mean() for s in (shown, shown[..., ::-1])
  ]
  assert off[0] < 0.4 * off[1]
  heat = drawing.energy_picture(picture, np.zeros(_HW, np.float32))
  np.testing.assert_array_equal(heat, picture)
