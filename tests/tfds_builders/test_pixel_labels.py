"""Pixel annotations: values come back exactly, whatever the PNG is like."""

import io
import zlib

import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dwd_jax.core.errors import InputError
from dwd_jax.imaging import tiled_tiff
from tfds_builders import pixel_labels

pytestmark = pytest.mark.usefixtures("bounded_memory")

_HW = (270, 300)  # two by two tiles
_VALUES = np.random.default_rng(0).integers(0, 256, (*_HW, 4), np.uint8)
_GREY = _VALUES[..., 0]


def _palette(values: np.ndarray) -> PIL.Image.Image:
  image = PIL.Image.frombytes("P", _HW[::-1], values.tobytes())
  image.putpalette([(i * 37) % 256 for i in range(768)])
  return image


_KINDS = {
  "8-bit grey": (PIL.Image.fromarray(_GREY), _GREY, {}),
  "grey and alpha": (PIL.Image.fromarray(_VALUES[..., :2], "LA"), _GREY, {}),
  "16-bit grey up to 255": (
    PIL.Image.fromarray(_GREY.astype(np.uint16)),
    _GREY,
    {},
  ),
  "1-bit grey: 0 and 1": (PIL.Image.fromarray(_GREY > 99), _GREY > 99, {}),
  "palette: indices": (_palette(_GREY), _GREY, {}),
  "4-bit palette: indices": (_palette(_GREY % 16), _GREY % 16, {"bits": 4}),
  "1-bit palette: indices": (_palette(_GREY % 2), _GREY % 2, {"bits": 1}),
  "palette with transparency": (
    _palette(_GREY),
    _GREY,
    {"transparency": 0},
  ),
  "RGB": (PIL.Image.fromarray(_VALUES[..., :3]), _VALUES[..., :3], {}),
  "RGBA without its alpha": (
    PIL.Image.fromarray(_VALUES),
    _VALUES[..., :3],
    {},
  ),
}


@pytest.mark.parametrize("caption", _KINDS)
def test_values_are_exact(tmp_path, caption):
  image, expected, options = _KINDS[caption]
  path = tmp_path / "labels.png"
  image.save(path, **options)
  stored = pixel_labels.read(path, _HW)
  np.testing.assert_array_equal(
    tiled_tiff.read_pixels(stored, "labels"), expected.astype(np.uint8)
  )


def test_no_file_no_labels(tmp_path):
  assert pixel_labels.read(tmp_path / "absent.png", _HW) == b""
  with pytest.raises(InputError, match="page: the stored page is damaged"):
    tiled_tiff.read_pixels(b"", "page")


def _bytes(image: PIL.Image.Image, kind="PNG") -> bytes:
  out = io.BytesIO()
  image.save(out, kind)
  return out.getvalue()


_WRONG = {
  "another size": (
    _bytes(PIL.Image.fromarray(_GREY[1:])),
    "300 x 269 px, but the page has 300 x 270",
  ),
  "16 bits that matter": (
    _bytes(PIL.Image.fromarray(_GREY.astype(np.uint16) + 1)),
    "values above 255",
  ),
  "no PNG": (_bytes(PIL.Image.fromarray(_GREY), "BMP"), "not a PNG file"),
  "truncated": (_bytes(PIL.Image.fromarray(_GREY))[:-20], "it is truncated"),
  "empty": (b"", "the file is empty"),
}


@pytest.mark.parametrize("caption", _WRONG)
def test_bad_files_are_one_line_that_names_them(tmp_path, caption):
  data, expected = _WRONG[caption]
  path = tmp_path / "labels.png"
  path.write_bytes(data)
  with pytest.raises(InputError) as e:
    pixel_labels.read(path, _HW)
  assert expected in str(e.value)
  assert str(path) in str(e.value)


def test_a_large_palette_png_is_refused_before_it_is_decoded(
  tmp_path, monkeypatch
):
  monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 1000)
  path = tmp_path / "labels.png"
  _palette(_GREY).save(path)
  with pytest.raises(InputError, match="more than 1,000 pixels with a palette"):
    pixel_labels.read(path, _HW)


def _with_checksums(data: bytes) -> bytes:
  """A PNG whose chunks have been changed, made consistent again."""
  out, at = data[:8], 8
  while at + 12 <= len(data):
    end = at + 8 + int.from_bytes(data[at : at + 4])
    out += data[at:end] + zlib.crc32(data[at + 4 : end]).to_bytes(4)
    at = end + 4
  return out


@settings(deadline=None, max_examples=60, derandomize=True)
@given(
  junk=st.binary(min_size=1, max_size=40),
  at=st.integers(0, 900),
  kind=st.sampled_from(["palette: indices", "8-bit grey", "RGB"]),
  consistent=st.booleans(),
)
def test_damaged_files_give_one_line(
  tmp_path_factory, junk, at, kind, consistent
):
  path = tmp_path_factory.mktemp("fuzz") / "labels.png"
  data = _bytes(_KINDS[kind][0])
  data = data[:at] + junk + data[at + len(junk) :]
  path.write_bytes(_with_checksums(data) if consistent else data)
  try:
    stored = pixel_labels.read(path, _HW)
  except InputError as e:
    assert "\n" not in str(e)
  else:
    assert tiled_tiff.read_pixels(stored, "labels").shape[:2] == _HW
