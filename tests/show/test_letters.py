"""Words on pictures: letters of many languages, legends that wrap."""

import numpy as np
import pytest

from dwd_jax.core.structs import PageBoxes
from dwd_jax.show import drawing, letters


def _written(text: str, *, left=4, baseline=20, hw=(30, 200)) -> np.ndarray:
  canvas = np.full((*hw, 3), 255, np.uint8)
  letters.write(canvas, text, left, baseline, 14, (0, 0, 0))
  return canvas[..., 0] < 128


@pytest.mark.parametrize("text", ["cell", "клетка", "κύτταρο", "Zellkörper"])
def test_letters_are_drawn(text):
  ink = _written(text)
  assert ink.any() and not ink[:, letters.width(text, 14) + 6 :].any()
  # Letters that a font lacks all look alike.
  assert (ink != _written(text[0] * len(text))).any()
  assert (ink != _written("\U0010ffff" * len(text))).any()


def test_letters_beyond_the_edges_are_cut():
  assert _written("cell", left=-8).any()
  assert _written("cell", left=190).any()
  assert not _written("cell", left=500).any()
  assert not _written("cell", baseline=-40).any()
  assert not _written("").any()


@pytest.mark.parametrize("width", [60, 300, 2500])
def test_no_legend_is_cut_off(width):
  ink = np.zeros((40, width), np.uint8)
  name = "очень длинное имя файла.png"
  truth = PageBoxes(
    name, (40, width), np.zeros((0, 4), np.float32), np.zeros(0, np.int32)
  )
  found = PageBoxes(
    *(name, (40, width), np.zeros((0, 4), np.float32)),
    np.zeros(0, np.int32),
    scores=np.zeros(0),
  )
  picture = drawing.overlay(ink, truth, found, ("клетка",), min_width_px=600)
  zoom = (picture.shape[1] // width) * 40
  legend = picture[: picture.shape[0] - zoom]
  assert legend.shape[0] % 28 == 0
  # No ink at the edge, where a line would be cut.
  assert (legend[:, -4:] == 255).all()
