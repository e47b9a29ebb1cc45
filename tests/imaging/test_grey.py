"""Pixels of any kind become the same grey: ranges, alpha, orientation."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from dwd_jax.imaging import grey

_RAMP = np.tile(np.arange(256, dtype=np.uint8), (4, 1))

# Type: values of white.
RANGES = {
  "uint8": (255,),
  "uint16": (255, 1023, 4095, 16383, 65535),
  "int16": (4095, 32767),
  "int32": (65535, 2**31 - 1),
  "uint32": (2**32 - 1,),
  "float16": (1,),
  "float32": (1, 255, 4095, 65535),
  "float64": (1,),
}


@pytest.mark.parametrize("dtype", RANGES)
def test_the_same_grey_from_every_range(dtype):
  for white in RANGES[dtype]:
    values = _RAMP / 255 * white
    if not dtype.startswith("float"):
      values = values.round()
    np.testing.assert_array_equal(grey.to_grey(values.astype(dtype)), _RAMP)


def test_bytes_with_a_sign_have_7_bits():
  found = grey.to_grey(np.array([[0, 64, 127]], np.int8))
  assert found.tolist() == [[0, 129, 255]]


def test_truth_values_are_black_and_white():
  found = grey.to_grey(np.array([[True, False]]))
  assert found.tolist() == [[255, 0]]


def test_resampled_floats_may_exceed_their_range():
  found = grey.to_grey(np.array([[-0.02, 0.0, 0.5, 1.0, 1.03, np.nan]]))
  assert found.tolist() == [[0, 0, 128, 255, 255, 255]]


# Caption: pixels of which nobody can tell what they mean.
STRANGE = {
  "between bits": (np.array([[0.0, 20.0]]), "values 0 to 20 of type float64"),
  "negative": (
    np.array([[-3, 200]], np.int16),
    "values -3 to 200 of type int16",
  ),
  "17 bits": (np.array([[0, 70_000]], np.int32), "values 0 to 70000 of type"),
  "negative floats": (
    np.array([[-1.0, 1.0]]),
    "values -1 to 1 of type float64",
  ),
  "complex": (np.zeros((3, 3), complex), r"\[3, 3, 1\] of type complex128"),
  "nothing": (np.zeros((0, 3)), r"\[0, 3, 1\]"),
  "five channels": (np.zeros((3, 3, 5)), r"\[3, 3, 5\]"),
  "a stack": (np.zeros((2, 3, 3, 1)), r"\[2, 3, 3, 1\]"),
}


@pytest.mark.parametrize("caption", STRANGE)
def test_what_cannot_be_told_is_one_line(caption):
  pixels, message = STRANGE[caption]
  with pytest.raises(ValueError, match=message) as e:
    grey.to_grey(pixels)
  assert "\n" not in str(e.value)


def test_colours_are_those_of_opencv():
  rgb = np.random.default_rng(0).integers(0, 256, (70, 90, 3), np.uint8)
  wanted = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
  np.testing.assert_array_equal(grey.to_grey(rgb), wanted)


@pytest.mark.parametrize("white", [255, 4095, 65535])
def test_transparent_pixels_are_white(white):
  alpha = np.array([[0, 128, 255]]) * (white // 255)
  alpha[..., -1] = white
  black = np.zeros((1, 3), int)
  for pixels in ((black, alpha), (black, black, black, alpha)):
    found = grey.to_grey(np.dstack(pixels).astype(np.uint16))
    assert found.tolist() == [[255, 127, 0]]


def test_large_pages_are_converted_in_parts():
  wide = np.tile(_RAMP.astype(np.uint16) * 257, (600, 8))
  np.testing.assert_array_equal(grey.to_grey(wide), np.tile(_RAMP, (600, 8)))


def _opened(pixels, kind, orientation) -> Image.Image:
  exif = Image.Exif()
  exif[274] = orientation
  file = io.BytesIO()
  Image.fromarray(pixels).save(file, kind, exif=exif)
  return Image.open(file)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_that_of_pillow(orientation):
  pixels = np.random.default_rng(1).integers(0, 256, (5, 9), np.uint8)
  wanted = ImageOps.exif_transpose(_opened(pixels, "png", orientation))
  wanted = np.asarray(wanted)
  np.testing.assert_array_equal(grey.upright(pixels, orientation), wanted)
  for kind in ("png", "tiff"):
    found = grey.of_pillow(_opened(pixels, kind, orientation))
    np.testing.assert_array_equal(found, wanted)


def test_cmyk_is_that_of_pillow():
  pixels = np.random.default_rng(2).integers(0, 256, (40, 50, 4), np.uint8)
  wanted = Image.fromarray(pixels, "CMYK").convert("RGB")
  np.testing.assert_array_equal(grey.cmyk_to_rgb(pixels), np.asarray(wanted))


def test_colours_that_pillow_cuts_off_are_refused(tmp_path):
  dark = np.full((4, 4, 3), 4000, np.uint16)  # white of 12 bits
  cv2.imwrite(str(tmp_path / "a.png"), dark)
  with pytest.raises(ValueError, match="colours of 16 bits"):
    grey.of_pillow(Image.open(tmp_path / "a.png"))
  cv2.imwrite(str(tmp_path / "b.png"), dark * 16)
  assert grey.of_pillow(Image.open(tmp_path / "b.png")).min() == 250


def test_one_transparent_value_of_16_bits(tmp_path):
  page = np.array([[0, 30_000, 65_535]], np.uint16)
  path = tmp_path / "page.png"
  Image.fromarray(page).save(path, transparency=0)
  with Image.open(path) as image:
    assert grey.of_pillow(image).tolist() == [[255, 117, 255]]


def test_most_pixels_are_paper():
  page = np.full((4, 5), 230, np.uint8)
  page[1, 1] = 20
  ink = grey.to_ink(page)
  assert (ink[1, 1], ink[0, 0]) == (235, 25)
  np.testing.assert_array_equal(grey.to_ink(255 - page), ink)
