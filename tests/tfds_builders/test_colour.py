"""Whether colours matter, and records that keep them."""

import cv2
import numpy as np
import pytest
from boxes_helpers import CLASSES

from dwd_jax.core.errors import InputError
from dwd_jax.data import pipeline, prepare, sources, split_staff_spaces
from dwd_jax.imaging import grey
from dwd_jax.train.settings import default
from tfds_builders import colour

_HW = (64, 96)
_RED, _BLUE = (200, 40, 40), (70, 70, 200)  # RGB


def _cells(seed: int) -> tuple[np.ndarray, list[tuple[int, int]]]:
  """Red and blue squares on a bright ground, and their corners (y, x)."""
  rng = np.random.default_rng(seed)
  pixels = np.full((*_HW, 3), (235, 230, 220), np.uint8)
  corners = [(int(rng.integers(2, 50)), x + 4) for x in range(0, 80, 16)]
  for i, (y, x) in enumerate(corners):
    pixels[y : y + 8, x : x + 8] = (_RED, _BLUE)[i % 2]
  return pixels, corners


def _paper(seed: int, paper, ink=(0, 0, 0)) -> np.ndarray:
  """Strokes on paper that darkens to one side, with the noise of a sensor."""
  rng = np.random.default_rng(seed)
  light = np.linspace(0.7, 1, 96)[None].repeat(64, 0)
  for _ in range(40):
    y, x = rng.integers(0, 60), rng.integers(0, 80)
    light[y : y + 3, x : x + 14] *= rng.uniform(0.1, 0.5)
  pixels = ink + light[..., None] * (np.array(paper) - ink)
  pixels += rng.normal(0, 3, pixels.shape)
  return np.clip(pixels, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
  ("pixels", "wanted"),
  [
    pytest.param(_cells(0)[0], True, id="two kinds of cells"),
    pytest.param(_paper(0, (255, 255, 255)), False, id="grey"),
    pytest.param(_paper(1, (240, 225, 180)), False, id="yellowed paper"),
    pytest.param(_paper(2, (250, 235, 205), (70, 40, 20)), False, id="sepia"),
    pytest.param(_paper(3, (225, 235, 250)), False, id="a bluish sensor"),
    pytest.param(np.zeros((1, 1, 3), np.uint8), False, id="a black pixel"),
  ],
)
def test_tints_are_no_colours(pixels, wanted):
  assert colour.is_colourful(pixels) is wanted


def test_few_pixels_count_if_their_colour_is_strong():
  pixels = np.full((200, 200, 3), 128, np.uint8)
  pixels[50:64, 50:64] = (230, 60, 60)
  assert colour.is_colourful(pixels)


def _folder(root, pictures) -> None:
  """YOLO files of squares; pictures are RGB, grey ones [H, W]."""
  for kind in ("images", "labels"):
    (root / kind).mkdir(parents=True)
  for i, pixels in enumerate(pictures):
    path = root / "images" / f"cells{i}.png"
    bgr = pixels[..., ::-1] if pixels.ndim == 3 else pixels
    assert cv2.imwrite(str(path), bgr)
    rows = [
      f"{n % 3} {(x + 4) / 96} {(y + 4) / 64} {8 / 96} {8 / 64}\n"
      for n, (y, x) in enumerate(_cells(i)[1])
    ]
    (root / "labels" / f"cells{i}.txt").write_text("".join(rows))
  (root / "data.yaml").write_text(f"names: {list(CLASSES)}\n")


def _config(tmp_path, pictures):
  _folder(tmp_path / "cells", pictures)
  cfg = default().data
  cfg.builder = "boxes"
  cfg.manual_dir = str(tmp_path / "cells")
  cfg.crop_hw, cfg.scales, cfg.max_boxes = (32, 32), (1.0,), 8
  return cfg


def test_records_keep_colours_that_matter(tmp_path, capsys):
  pictures = [_cells(i)[0] for i in range(6)]
  pictures[1] = grey.to_grey(pictures[1])  # a grey one among them
  cfg = _config(tmp_path, pictures)
  data_dir = prepare.prepare(cfg, tmp_path / "run")
  said = capsys.readouterr().out
  assert "Pictures in colour (data.channels=3): colours say more" in said
  assert "Polarity" not in said  # colours stay as they are
  source = sources.open_split(cfg, data_dir, "train")
  assert (source.channels, source.polarity) == (3, "keep")
  assert split_staff_spaces.typical_staff_space(source) == 0
  for i in range(len(source)):
    name = source.box_index().filenames[i]
    given = pictures[int(name[5])]
    wanted = given if given.ndim == 3 else np.repeat(given[..., None], 3, -1)
    np.testing.assert_array_equal(source[i].image, wanted)
    part = source.image_window(i, 10, 20, 16, 24)
    np.testing.assert_array_equal(part, wanted[10:26, 20:44])
  loader = pipeline.train_loader(
    source, cfg, batch_size=4, seed=0, process_index=0, process_count=1
  )
  batch = next(loader)
  loader.close()
  assert batch.image.shape == (4, 32, 32, 3)
  colours = {tuple(c) for c in batch.image.reshape(-1, 3).tolist()}
  assert {_RED, _BLUE} <= colours


def test_settings_of_channels_and_polarity(tmp_path):
  cfg = _config(tmp_path, [_cells(i)[0] for i in range(4)])
  data_dir = prepare.prepare(cfg, tmp_path / "run")
  cfg.channels = "1"
  source = sources.open_split(cfg, data_dir, "train")
  assert source[0].image.shape == _HW
  assert source.polarity == "dark"  # objects are darker than the ground
  cfg.channels, cfg.polarity = "auto", "dark"
  with pytest.raises(InputError, match=r"add data\.channels=1"):
    sources.open_split(cfg, data_dir, "train")


def test_grey_records_have_no_colours_to_give(tmp_path, capsys):
  pictures = [_paper(i, (240, 225, 180)) for i in range(4)]
  cfg = _config(tmp_path, pictures)
  data_dir = prepare.prepare(cfg, tmp_path / "run")
  assert "Pictures grey (data.channels=1)" in capsys.readouterr().out
  assert sources.open_split(cfg, data_dir, "train")[0].image.ndim == 2
  cfg.channels = "3"
  with pytest.raises(InputError, match=r"grey pictures; remove the folder"):
    sources.open_split(cfg, data_dir, "train")


@pytest.mark.parametrize("channels", [1, 3])
def test_transparency_and_16_bits(channels):
  pixels = np.zeros((2, 3, 4), np.uint16)
  pixels[..., 0], pixels[..., 3] = 65535, 65535
  pixels[0, 0, 3] = 0
  tones = grey.to_tones(pixels, channels)
  assert tones.shape == ((2, 3) if channels == 1 else (2, 3, 3))
  np.testing.assert_array_equal(tones[0, 0], np.full_like(tones[0, 0], 255))
  wanted = 76 if channels == 1 else [255, 0, 0]
  np.testing.assert_array_equal(tones[1, 1], wanted)
