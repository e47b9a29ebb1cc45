"""One page in every form that files have, through every entrance."""

import io

import cv2
import numpy as np
import pytest
import pyvips
from PIL import Image

from dwd_jax.apps.detect import api, inputs
from dwd_jax.apps.export.standalone import detector_pages
from dwd_jax.core.errors import InputError
from dwd_jax.imaging import grey
from tfds_builders import checks


def _page() -> np.ndarray:
  """Grey, 255 = paper; no symmetry, smooth edges."""
  page = np.full((48, 80), 255, np.uint8)
  page[5:9, 10:60] = 0
  page[20:40, 12:18] = 60
  return cv2.GaussianBlur(page, (0, 0), 1)


PAGE = _page()
TURNED = np.rot90(PAGE)  # to be shown turned by 90 degrees clockwise: tag 6
_RGB = np.dstack([PAGE] * 3)
_FULL = np.full_like(PAGE, 255)


def _pillow(pixels, kind, mode=None, **options) -> bytes:
  file = io.BytesIO()
  image = Image.fromarray(np.ascontiguousarray(pixels))
  (image.convert(mode) if mode else image).save(file, kind, **options)
  return file.getvalue()


def _turned(kind, **options) -> bytes:
  exif = Image.Exif()
  exif[274] = 6
  return _pillow(TURNED, kind, exif=exif, **options)


def _png16(white, alpha=None) -> bytes:
  pixels = (PAGE / 255 * white).round().astype(np.uint16)
  if alpha is not None:
    pixels = np.dstack([pixels] * 3 + [np.full_like(pixels, alpha)])
  return cv2.imencode(".png", pixels)[1].tobytes()


def _tiff(white, dtype, interpretation="b-w", channels=1) -> bytes:
  values = PAGE / 255 * white
  values = values if np.dtype(dtype).kind == "f" else values.round()
  values = np.dstack([values] * channels).astype(dtype)
  image = pyvips.Image.new_from_array(values)
  return image.copy(interpretation=interpretation).tiffsave_buffer()


def _two_pages() -> bytes:
  """The page with tag 6, and one with tag 1 that is all paper."""
  file = io.BytesIO()
  pages = []
  for pixels, tag in ((TURNED, 6), (_FULL, 1)):
    page, exif = Image.fromarray(np.ascontiguousarray(pixels)), Image.Exif()
    exif[274] = tag
    page.encoderinfo = {"exif": exif}
    pages.append(page)
  pages[0].save(
    file,
    "tiff",
    save_all=True,
    append_images=pages[1:],
    **pages[0].encoderinfo,
  )
  return file.getvalue()


def _palette_with_nothing() -> bytes:
  """Black of which a palette of 256 says how opaque it is."""
  image = Image.fromarray(255 - PAGE, "P")
  image.putpalette([0] * 768)
  file = io.BytesIO()
  image.save(file, "png", transparency=bytes(range(256)))
  return file.getvalue()


# Caption: file name's ending, content.
FORMS = {
  "PNG": (".png", _pillow(PAGE, "png")),
  "PNG, light on dark": (".png", _pillow(255 - PAGE, "png")),
  "PNG, colours": (".png", _pillow(_RGB, "png")),
  "PNG, opaque alpha": (".png", _pillow(np.dstack([_RGB, _FULL]), "png")),
  "PNG, ink on nothing": (
    ".png",
    _pillow(np.dstack([0 * _RGB, 255 - PAGE]), "png"),
  ),
  "PNG, grey ink on nothing": (
    ".png",
    _pillow(np.dstack([0 * PAGE, 255 - PAGE]), "png"),
  ),
  "PNG, palette": (".png", _pillow(PAGE, "png", "P")),
  "PNG, palette with nothing": (".png", _palette_with_nothing()),
  "PNG, 8 of 16 bits": (".png", _png16(255)),
  "PNG, 10 of 16 bits": (".png", _png16(1023)),
  "PNG, 12 of 16 bits": (".png", _png16(4095)),
  "PNG, 16 bits": (".png", _png16(65535)),
  "PNG, 16 bits, alpha": (".png", _png16(65535, 65535)),
  "PNG, turned": (".png", _turned("png")),
  "JPEG": (".jpg", _pillow(PAGE, "jpeg", quality=100)),
  "JPEG, colours": (".jpeg", _pillow(_RGB, "jpeg", quality=100)),
  "JPEG, CMYK": (".jpg", _pillow(_RGB, "jpeg", "CMYK", quality=100)),
  "JPEG, turned": (".jpg", _turned("jpeg", quality=100)),
  "TIFF": (".tif", _pillow(PAGE, "tiff")),
  "TIFF, turned": (".tif", _turned("tiff")),
  "TIFF, turned, compressed": (".tif", _turned("tiff", compression="tiff_lzw")),
  "TIFF, CMYK": (".tif", _pillow(_RGB, "tiff", "CMYK")),
  "TIFF, 12 of 16 bits": (".tif", _tiff(4095, np.uint16)),
  "TIFF, 16 bits": (".tif", _tiff(65535, np.uint16)),
  "TIFF, 16 bits with a sign": (".tif", _tiff(32767, np.int16)),
  "TIFF, 32 bits": (".tif", _tiff(2**31 - 1, np.int32)),
  "TIFF, floats to 1": (".tif", _tiff(1, np.float32)),
  "TIFF, floats to 255": (".tif", _tiff(255, np.float32)),
  "TIFF, floats to 65535": (".tif", _tiff(65535, np.float32)),
  "BMP": (".bmp", _pillow(PAGE, "bmp")),
  "BMP, colours": (".bmp", _pillow(_RGB, "bmp")),
}
# Forms that Pillow does not know, or spoils: they come from files only.
FILES_ONLY = {
  "TIFF, colours of 12 bits": (".tif", _tiff(4095, np.uint16, "rgb16", 3)),
  "TIFF, colours as floats": (".tif", _tiff(1, np.float32, "scrgb", 3)),
}


def _of_detect(path, _):
  ((source,), failures) = inputs.find([path])
  assert not failures
  return inputs.read(source, 0.0).ink


def _of_a_builder(path, _):
  return grey.to_ink(255 - checks.read_image(path))


class _Stub:
  """A detector whose detections are the ink."""

  polarity = ""
  channels = 1

  def __call__(self, name, ink):
    return ink


def _of_python(path, monkeypatch):
  monkeypatch.setattr(api, "_detector", lambda *_: _Stub())
  with Image.open(path) as image:
    return api.detect(image)


def _of_an_exported_script(path, _):
  ink = detector_pages.to_ink(detector_pages.read(path)) * 255
  return ink[..., 0].round().astype(np.uint8)


ENTRANCES = {
  "detect": _of_detect,
  "a builder": _of_a_builder,
  "an image of Pillow": _of_python,
  "an exported script": _of_an_exported_script,
}
_OF_FILES = ("detect", "a builder")


def _check(form, entrance, tmp_path, monkeypatch):
  ending, content = form
  path = tmp_path / f"page{ending}"
  path.write_bytes(content)
  found = ENTRANCES[entrance](path, monkeypatch)
  assert found.shape == PAGE.shape
  lossy = 2 if ending.startswith(".j") else 1
  assert np.abs(found.astype(int) - (255 - PAGE)).max() <= lossy


@pytest.mark.parametrize("entrance", ENTRANCES)
@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_the_same_page(form, entrance, tmp_path, monkeypatch):
  _check(FORMS[form], entrance, tmp_path, monkeypatch)


@pytest.mark.parametrize("entrance", _OF_FILES)
@pytest.mark.parametrize("form", FILES_ONLY)
def test_files_that_pillow_does_not_read(form, entrance, tmp_path, monkeypatch):
  _check(FILES_ONLY[form], entrance, tmp_path, monkeypatch)


@pytest.mark.parametrize("form", FILES_ONLY)
def test_exported_scripts_refuse_what_they_would_spoil(form, tmp_path, capsys):
  ending, content = FILES_ONLY[form]
  path = tmp_path / f"page{ending}"
  path.write_bytes(content)
  code = detector_pages.main(["x.py", path], 1, lambda _: lambda *_: [])
  assert code == 2
  assert capsys.readouterr().err.startswith("error: ")


ARRAYS = {
  "a list of lists": PAGE.tolist(),
  "one channel": PAGE[..., None],
  "colours": _RGB,
  "alpha": np.dstack([0 * _RGB, 255 - PAGE]),
  "grey and alpha": np.dstack([0 * PAGE, 255 - PAGE]),
  "12 of 16 bits": (PAGE / 255 * 4095).round().astype(np.uint16),
  "signs": PAGE.astype(np.int32),
  "floats": PAGE / 255,
  "floats to 255": PAGE.astype(np.float32),
}


@pytest.mark.parametrize("caption", ARRAYS)
def test_arrays_are_the_same_page(caption, monkeypatch):
  monkeypatch.setattr(api, "_detector", lambda *_: _Stub())
  for found in (
    api.detect(ARRAYS[caption]),
    detector_pages.to_ink(ARRAYS[caption])[..., 0] * 255,
  ):
    assert np.abs(np.asarray(found, int) - (255 - PAGE)).max() <= 1


@pytest.mark.parametrize("polarity", ["dark", "light", "keep"])
def test_exported_scripts_know_the_polarity(polarity):
  for ground in (124, 132):  # more than half of one is bright
    tones = np.maximum(255 - PAGE, ground)
    ink = detector_pages.to_ink(tones, polarity) * 255
    wanted = 255 - tones if polarity == "dark" else tones
    np.testing.assert_array_equal(ink[..., 0].round(), wanted)


def test_pages_of_a_tiff_have_their_own_orientation(tmp_path):
  path = tmp_path / "two.tif"
  path.write_bytes(_two_pages())
  sources, _ = inputs.find([path])
  first, second = (inputs.read(source, 0.0).ink for source in sources)
  np.testing.assert_array_equal(first, 255 - PAGE)
  assert second.shape == PAGE.shape
  assert not second.any()
  with pytest.raises(ValueError, match="has 2 pages; give one"):
    detector_pages.read(path)


def test_a_range_that_cannot_be_told_is_one_line(tmp_path, monkeypatch):
  path = tmp_path / "page.tif"
  path.write_bytes(_tiff(20, np.float32))
  line = "values .* to 20 of type float32: their range cannot be told"
  for entrance in _OF_FILES:
    with pytest.raises(InputError, match=rf"page\.tif: {line}"):
      ENTRANCES[entrance](path, monkeypatch)
  with pytest.raises(InputError, match=f"image: {line}"):
    ENTRANCES["an image of Pillow"](path, monkeypatch)
  with pytest.raises(ValueError, match=line):
    ENTRANCES["an exported script"](path, monkeypatch)
