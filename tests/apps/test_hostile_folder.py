"""Ten good pages among one of each kind of bad ones."""

import json
import struct

import cv2
import detect_helpers as helpers
import numpy as np
import pdf_helpers
import pytest

from dwd_jax import detect
from dwd_jax.checkpoints import weights
from dwd_jax.imaging import pdf

pytestmark = pytest.mark.usefixtures("bounded_memory")


def _write(data):
  return lambda path: path.write_bytes(data)


def _png(pixels):
  return cv2.imencode(".png", pixels)[1].tobytes()


def _claims(width, height):
  """A PNG whose header has another size; the checksum of that is wrong."""
  data = bytearray(_png(np.zeros((8, 8), np.uint8)))
  data[16:24] = struct.pack(">II", width, height)
  return bytes(data)


def _samples(count, kind):
  """A TIFF of so many samples a pixel."""
  pixels = np.full((9, 9, min(count, 4)), -3, kind)
  data = bytearray(cv2.imencode(".tif", pixels)[1].tobytes())
  tag = data.index(struct.pack("<HHI", 277, 3, 1))  # SamplesPerPixel
  data[tag + 8] = count
  return bytes(data)


# File -> how it is made.
BAD = {
  "text.png": _write(b"hello" * 99),
  "nothing.jpg": _write(b""),
  "cut.png": _write(_png(helpers.ink())[:-30]),
  "huge.png": _write(_claims(1 << 20, 1 << 20)),
  "long.png": _write(_claims(1 << 18, 1)),
  "samples.tif": _write(_samples(5, np.int16)),
  "negative.tif": _write(_samples(1, np.int16)),
  "broken.tif": _write(b"II*\0" + b"\xff" * 99),
  "broken.pdf": _write(b"%PDF-1.4\nnothing"),
  "picture.pdf": lambda path: pdf_helpers.picture_bomb(path, 17_000),
  "drawing.pdf": lambda path: pdf_helpers.drawing_bomb(path, 5_000_000),
  "\x1b[2J.png": _write(b"hello"),
  "folder.png/a.bmp": _write(b"BM" + b"\xff" * 60),
}


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_ten_good_pages_are_done(tmp_path, monkeypatch, capsys):
  monkeypatch.setattr(pdf, "MEMORY_BYTES", 100 << 20)
  pdf._end()
  folder, out = tmp_path / "book", tmp_path / "out"
  for i in range(9):
    helpers.save(folder / f"{i}.png", helpers.ink(i))
  helpers.save(folder / f"{'音' * 80}.png", helpers.ink())
  for name, make in BAD.items():
    (folder / name).parent.mkdir(exist_ok=True)
    make(folder / name)
  weights.write(tmp_path / "w.safetensors", helpers.tiny())
  flags = [f"--checkpoint={tmp_path / 'w.safetensors'}", f"--out={out}"]
  assert detect.main([str(folder), "--compilation-cache=", *flags]) == 1
  said, complained = capsys.readouterr()
  assert f"10 images, {len(BAD)} failed" in said
  lines = complained.splitlines()
  assert len(lines) == len(BAD)
  for name in BAD:
    shown = name.replace("\x1b", "?")
    assert sum(shown in line for line in lines) == 1, shown
  run = json.loads((out / "detect.json").read_text())
  assert len(run["pages"]) == 10
  pdf._end()
