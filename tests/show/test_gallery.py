"""Pictures of the augmentations: all of them, from records or generated."""

import cv2
import numpy as np
import pytest

from dwd_jax.core.errors import InputError
from dwd_jax.show import gallery


def test_every_augmentation_has_its_picture(records, tmp_path, capsys):
  folder = next(records.glob("deepscores/dense_2017/*"))
  out = tmp_path / "out"
  args = [str(folder), f"--out={out}", "--crop=40", "--crops=2"]
  assert gallery.main(args) == 0
  assert "index.html" in capsys.readouterr().out
  page = (out / "index.html").read_text()
  pictures = {}
  for kind in (*gallery.CROPS, *gallery.PAGES, *gallery.SCANS):
    assert f'src="{kind.name}.jpg"' in page
    pictures[kind.name] = cv2.imread(str(out / f"{kind.name}.jpg"))
  clean = pictures["clean"]
  assert clean.shape == (80, 168, 3)
  for kind in gallery.CROPS[1:]:
    assert pictures[kind.name].shape == clean.shape
    assert np.any(pictures[kind.name] != clean), kind.name


def test_files_of_something_else_stay(tmp_path):
  mine = tmp_path / "index.html"
  for name in ("index.html", "clean.jpg"):
    (tmp_path / name).write_text("mine")
    with pytest.raises(InputError, match=f"{name}: is there already"):
      gallery.write(tmp_path, iter(()))
    assert (tmp_path / name).read_text() == "mine"
    (tmp_path / name).unlink()
  for _ in range(2):  # the second one replaces the first
    gallery.write(tmp_path, iter([(gallery.CROPS[0], np.zeros((9, 9, 3)))]))
    assert "clean.jpg" in mine.read_text()


@pytest.mark.parametrize(
  ("args", "message"),
  [
    (["absent"], "no prepared records"),
    (["--crop=0"], "--crop: must be above 0"),
    (["--crops=51"], "--crops: must be above 0"),
  ],
)
def test_bad_input(args, message, tmp_path, capsys):
  assert gallery.main([*args, f"--out={tmp_path / 'out'}"]) == 2
  assert message in capsys.readouterr().err
