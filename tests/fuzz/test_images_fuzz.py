"""Whatever a picture holds: pixels, or one line. Never another error."""

import io

import cv2
import fuzz_helpers as helpers
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from dwd_jax.imaging import grey, images


def _picture() -> np.ndarray:
  noise = np.random.default_rng(0).integers(0, 256, (24, 20, 3))
  return noise.astype(np.uint8)


def _pillow(kind: str, **options) -> bytes:
  out = io.BytesIO()
  Image.fromarray(_picture()).save(out, kind, **options)
  return out.getvalue()


_TURN = Image.Exif()
_TURN[274] = 6
FILES = {
  "PNG": _pillow("png"),
  "PNG, 16 bits": cv2.imencode(".png", _picture().astype(np.uint16) * 257)[
    1
  ].tobytes(),
  "JPEG": _pillow("jpeg", exif=_TURN),
  "JPEG, progressive": _pillow("jpeg", progressive=True),
  "TIFF": _pillow("tiff"),
  "TIFF, LZW, two pages": _pillow(
    "tiff",
    compression="tiff_lzw",
    save_all=True,
    append_images=[Image.fromarray(_picture()[:9])],
  ),
  "TIFF, floats of 64 bits": cv2.imencode(".tif", _picture() / 255)[
    1
  ].tobytes(),
  "BMP": _pillow("bmp"),
}


@pytest.fixture(autouse=True)
def _small(monkeypatch):
  """A header may claim as much as is allowed: that would take long."""
  monkeypatch.setattr(images, "MAX_PIXELS", 1 << 20)


def _check(data: bytes) -> None:
  images.num_pages(data)
  for number in (1, 2):
    with helpers.may_refuse("page.x: "):
      page = images.read_page(data, "page.x", number)
      assert page.dtype == np.uint8
      assert page.ndim == 2


@pytest.mark.parametrize("caption", FILES)
@helpers.cases()
@given(pieces=helpers.PIECES, of_header=st.booleans())
def test_pieces_of_a_good_picture_replaced(caption, pieces, of_header):
  data = FILES[caption]
  part = 64 if of_header else len(data)
  _check(helpers.replaced(data[:part], pieces) + data[part:])


@helpers.cases()
@given(
  start=st.sampled_from(
    [b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM", b"II*\0", b"MM\0+"]
  ),
  rest=st.binary(max_size=100),
)
def test_random_bytes(start, rest):
  _check(start + rest)


@helpers.cases()
@given(
  pixels=st.sampled_from(
    [
      *("bool", "uint8", "int8", "uint16", "int16", "int32", "uint32"),
      *("int64", "uint64", "float16", "float32", "float64", "complex64", "U3"),
    ]
  ).flatmap(
    lambda kind: hnp.arrays(kind, hnp.array_shapes(max_dims=4, max_side=5))
  )
)
def test_arrays_are_grey_or_one_line(pixels):
  try:
    found = grey.to_grey(pixels)
  except ValueError as e:
    assert len(str(e).splitlines()) == 1
  else:
    assert found.dtype == np.uint8
    assert found.shape == pixels.shape[:2]
