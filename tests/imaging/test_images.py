"""Decoding of page images: formats, polarity, hostile headers."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from dwd_jax.core.errors import InputError
from dwd_jax.imaging import images

pytestmark = pytest.mark.usefixtures("bounded_memory")

# 3 x 4 page with two inked pixels.
_INK = np.zeros((3, 4), np.uint8)
_INK[0, 1] = _INK[2, 3] = 255


def _saved(image, kind, **options) -> bytes:
  out = io.BytesIO()
  image.save(out, kind, **options)
  return out.getvalue()


def _cv_png(array, *flags) -> bytes:
  return cv2.imencode(".png", array, list(flags))[1].tobytes()


_PAPER = 255 - _INK
_FORMATS = {
  "grey, black on white": _cv_png(_PAPER),
  "grey, white on black": _cv_png(_INK),
  "1 bit, black on white": _cv_png(_PAPER, cv2.IMWRITE_PNG_BILEVEL, 1),
  "1 bit, white on black": _cv_png(_INK, cv2.IMWRITE_PNG_BILEVEL, 1),
  "16 bit": _cv_png(_PAPER.astype(np.uint16) * 257),
  "colour": _cv_png(np.dstack([_PAPER] * 3)),
  "alpha: black ink on nothing": _cv_png(
    np.dstack([np.zeros_like(_INK)] * 3 + [_INK])
  ),
  "alpha: opaque": _cv_png(np.dstack([_PAPER] * 3 + [np.full_like(_INK, 255)])),
  "grey with alpha": _saved(
    Image.fromarray(np.dstack([np.zeros_like(_INK), _INK])), "png"
  ),
}


@pytest.mark.parametrize("caption", _FORMATS)
def test_every_format_gives_ink_on_paper(caption):
  np.testing.assert_array_equal(
    images.read_page(_FORMATS[caption], "page.png"), _INK
  )


def test_half_transparent_ink_is_half_grey():
  alpha = np.where(_INK > 0, 128, 0).astype(np.uint8)
  data = _cv_png(np.dstack([np.zeros_like(_INK)] * 3 + [alpha]))
  page = images.read_page(data, "page.png")
  assert page[0, 1] == 128
  assert page[0, 0] == 0


def test_exif_orientation_is_applied():
  wide = np.full((16, 64), 255, np.uint8)
  wide[:, :8] = 0
  exif = Image.Exif()
  exif[274] = 6  # to be shown turned by 90 degrees clockwise
  data = _saved(Image.fromarray(wide), "jpeg", quality=95, exif=exif)
  page = images.read_page(data, "page.jpg")
  assert page.shape == (64, 16)
  assert page[:6].min() > 200
  assert page[10:].max() < 50


def _png_claiming(height: int, width: int) -> bytes:
  def chunk(kind: bytes, body: bytes) -> bytes:
    crc = struct.pack(">I", zlib.crc32(kind + body))
    return struct.pack(">I", len(body)) + kind + body + crc

  header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
  return (
    b"\x89PNG\r\n\x1a\n"
    + chunk(b"IHDR", header)
    + chunk(b"IDAT", zlib.compress(bytes(1000)))
    + chunk(b"IEND", b"")
  )


@pytest.mark.parametrize("hw", [(100_000, 100_000), (1, 1 << 30)])
def test_a_header_that_claims_too_much_is_refused(hw):
  with pytest.raises(InputError, match=r"page\.png: .* pixels are more than"):
    images.read_page(_png_claiming(*hw), "page.png")


def test_header_sizes_are_those_of_the_pixels():
  page = np.zeros((37, 53), np.uint8)
  for ending in (".png", ".jpg", ".bmp", ".tif"):
    data = cv2.imencode(ending, page)[1].tobytes()
    assert images.header_hw(data) == (37, 53)
  assert images.header_hw(b"\xff\xd8\xff\xff") is None
  assert images.header_hw(b"BM123") is None


def test_a_large_colour_profile_is_no_fault():
  profile = np.random.default_rng(0).bytes(3 << 20)
  data = _saved(Image.fromarray(_PAPER), "png", icc_profile=profile)
  page = images.read_page(data, "page.png")
  np.testing.assert_array_equal(page, _INK)


def _claiming(kind: str, height: int, width: int) -> bytes:
  """A small JPEG, BMP or TIFF whose header claims another size."""
  data = bytearray(_saved(Image.fromarray(_PAPER), kind))
  if kind == "jpeg":
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", height, width)
  elif kind == "bmp":
    data[18:26] = struct.pack("<ii", width, height)
  else:  # the first two entries of the directory: width, height
    at = int.from_bytes(data[4:8], "little") + 2
    for value in (width, height):
      data[at + 2 : at + 12] = struct.pack("<HII", 4, 1, value)
      at += 12
  return bytes(data)


@pytest.mark.parametrize("kind", ["jpeg", "bmp", "tiff"])
def test_other_formats_that_claim_too_much_are_refused(kind):
  data = _claiming(kind, 40_000, 50_000)
  with pytest.raises(InputError, match="50000 x 40000 pixels are more than"):
    images.read_page(data, "page")


def test_what_a_page_takes_counts_bytes_and_sides(monkeypatch):
  wide = _png_claiming(1, 1 << 18)
  with pytest.raises(InputError, match=r"p\.png: 262144 x 1 pixels, a side"):
    images.read_page(wide, "p.png")
  rgba = np.zeros((100, 100, 4), np.uint16)
  data = _cv_png(rgba)
  assert images.read_page(data, "p.png").shape == (100, 100)
  monkeypatch.setattr(images, "_MAX_BYTES", 79_999)
  with pytest.raises(InputError, match=r"100 x 100 pixels of 8 bytes are more"):
    images.read_page(data, "p.png")


def test_a_header_in_front_of_another_picture_is_not_believed(monkeypatch):
  monkeypatch.setattr(images, "header_hw", lambda *_: (8, 8))
  monkeypatch.setattr(images, "MAX_PIXELS", 100)
  with pytest.raises(InputError, match="20 x 20 pixels of 1 bytes are more"):
    images.read_page(_cv_png(np.zeros((20, 20), np.uint8)), "p.png")


def _bmp_without_lengths() -> bytes:
  """8 bits, run-length encoded, with a palette and no run."""
  header = struct.pack("<IiiHHIIiiII", 40, 9, 9, 1, 8, 1, 2, 0, 0, 0, 0)
  return b"BM" + struct.pack("<IHHI", 1080, 0, 0, 1078) + header + bytes(1026)


@pytest.mark.parametrize(
  "data",
  [
    *(b"", b"not an image", _cv_png(_INK)[:-5], _png_claiming(300, 400)),
    _bmp_without_lengths(),
  ],
  ids=["empty", "text", "truncated", "too few pixels", "no run lengths"],
)
def test_unreadable_bytes_name_the_file(data):
  with pytest.raises(InputError, match=r"page\.png: not a readable"):
    images.read_page(data, "page.png")


@pytest.mark.parametrize("kind", ["float64", "uint64"])
def test_values_of_64_bits_are_named(kind):
  data = bytearray(cv2.imencode(".tif", _PAPER / 255)[1].tobytes())
  if kind == "uint64":
    tag = data.index(struct.pack("<HHI", 339, 3, 1))
    data[tag + 8] = 1
  words = "floats of 64" if kind == "float64" else "integers of 64"
  with pytest.raises(InputError, match=rf"page\.tif: a TIFF of {words} bits"):
    images.read_page(bytes(data), "page.tif")


@pytest.mark.parametrize("number", [1, 2])
def test_colours_that_would_be_taken_for_others_are_named(number):
  first, second = Image.fromarray(_PAPER), Image.new("YCbCr", (4, 3))
  if number == 1:
    first, second = second, first
  pages = {"save_all": True, "append_images": [second]}
  data = _saved(first, "tiff", compression="tiff_lzw", **pages)
  images.read_page(data, "page.tif", 3 - number)
  with pytest.raises(InputError, match=r"page\.tif: a TIFF of YCbCr, which"):
    images.read_page(data, "page.tif", number)
  data = _saved(first, "tiff", compression="jpeg", **pages)
  assert images.read_page(data, "page.tif", number).shape == (3, 4)


def _jpeg(**options) -> bytes:
  noise = np.random.default_rng(0).integers(0, 256, (200, 300)).astype(np.uint8)
  return _saved(Image.fromarray(noise), "jpeg", **options)


@pytest.mark.parametrize("options", [{}, {"progressive": True}])
def test_damage_in_the_middle_of_a_jpeg_is_found(options, caplog):
  data = bytearray(_jpeg(**options))
  images.read_page(bytes(data), "page.jpg")
  middle = len(data) // 2
  del data[middle : middle + 400]
  with pytest.raises(
    InputError, match=r"page\.jpg: damaged JPEG \([\w ]+\), a"
  ):
    images.read_page(bytes(data), "page.jpg")
  assert not caplog.records


def test_strange_bytes_between_segments_of_a_jpeg_do_no_harm():
  data = _jpeg()
  at = data.index(b"\xff\xdb")
  strange = data[:at] + b"12345" + data[at:]
  np.testing.assert_array_equal(
    images.read_page(strange, "page.jpg"), images.read_page(data, "page.jpg")
  )


def test_a_flipped_bit_is_found():
  data = bytearray(_cv_png(np.random.default_rng(0).integers(0, 255, (9, 9))))
  data[50] ^= 1
  with pytest.raises(InputError, match="checksum"):
    images.read_page(bytes(data), "page.png")
