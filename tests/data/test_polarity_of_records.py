"""One polarity for all records of a set, and what a setting makes of them."""

import json
import pathlib

import cv2
import numpy as np
import pytest

from dwd_jax.check import page_sets
from dwd_jax.core.errors import InputError
from dwd_jax.data import prepare, sources
from dwd_jax.train.settings import default

_HW = (48, 64)


def _frames(folder: pathlib.Path, objects: int) -> None:
  """Frames of a video around the middle tone: half of them are bright."""
  for i in range(8):
    # 127 and less counts as dark.
    tones = np.full(_HW, 124 if i % 2 else 132, np.uint8)
    rows = []
    for y, x in ((8, 10 + i), (30, 40 - i)):
      tones[y : y + 8, x : x + 6] = objects
      rows.append(f"0 {(x + 3) / 64} {(y + 4) / 48} {6 / 64} {8 / 48}\n")
    for kind in ("images", "labels"):
      (folder / kind).mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(folder / f"images/scene{i}.png"), tones)
    (folder / f"labels/scene{i}.txt").write_text("".join(rows))
  (folder / "data.yaml").write_text("names: [car]\n")


def _prepared(tmp_path, objects):
  """config.data and the folder of the records."""
  _frames(tmp_path / "frames", objects)
  cfg = default().data
  cfg.builder = "boxes"
  cfg.manual_dir = str(tmp_path / "frames")
  return cfg, prepare.prepare(cfg, tmp_path / "run")


def _contrasts(cfg, data_dir):
  """How much more ink objects have than the ground, for each page."""
  found = []
  for split in ("train", "val", "test"):
    source = sources.open_split(cfg, data_dir, split)
    for i in range(len(source)):
      page = source[i]
      y0, x0, y1, x1 = page.boxes_yxyx[0].astype(int)
      assert page.image[y0, x0] == page.image[y1 - 1, x1 - 1]
      part = source.image_window(i, 0, 0, 4, 4)
      found.append(int(page.image[y0, x0]) - int(part[0, 0]))
  assert len(found) == 8
  return np.array(found)


@pytest.mark.parametrize(("objects", "wanted"), [(240, "light"), (10, "dark")])
def test_all_frames_are_learned_alike(tmp_path, capsys, objects, wanted):
  cfg, data_dir = _prepared(tmp_path, objects)
  said = capsys.readouterr().out
  assert f"Polarity {wanted}: objects are {wanted}er than what is" in said
  (path,) = data_dir.rglob("metadata.json")
  assert json.loads(path.read_text())["polarity"] == wanted
  assert sources.open_split(cfg, data_dir, "val").polarity == wanted
  assert (_contrasts(cfg, data_dir) > 100).all()


def test_the_checker_sees_what_is_learned(tmp_path):
  _, data_dir = _prepared(tmp_path, 240)
  pages = []
  for folder in (tmp_path / "frames", data_dir):
    read = page_sets.open_set(folder).read
    (pages_of_set,) = zip(*map(read, range(8)), strict=True)
    pages.append({page.filename: page.ink for page in pages_of_set})
  for name, ink in pages[0].items():
    assert set(np.unique(ink)) <= {124, 132, 240}
    np.testing.assert_array_equal(pages[1][name], ink)


def test_settings_need_no_new_records(tmp_path):
  cfg, data_dir = _prepared(tmp_path, 240)
  for setting, sign in (("dark", -1), ("light", 1), ("keep", 1), ("auto", 1)):
    cfg.polarity = setting
    assert prepare.prepare(cfg, tmp_path / "run") == data_dir
    assert (sign * _contrasts(cfg, data_dir) > 100).all()
  cfg.polarity = "keep"
  page = sources.open_split(cfg, data_dir, "train")[0]
  assert set(np.unique(page.image)) <= {124, 132, 240}


def test_older_records_are_read_as_before(tmp_path):
  cfg, data_dir = _prepared(tmp_path, 240)
  (path,) = data_dir.rglob("metadata.json")
  facts = json.loads(path.read_text())
  del facts["polarity"]
  path.write_text(json.dumps(facts))
  # They hold ink on white paper, whatever the pictures were.
  source = sources.open_split(cfg, data_dir, "train")
  assert source.polarity == ""
  assert (_contrasts(cfg, data_dir) < -100).all()
  cfg.polarity = "light"
  with pytest.raises(
    InputError, match=r"remove the folder for data\.polarity="
  ):
    sources.open_split(cfg, data_dir, "train")
  path.write_text(json.dumps(facts | {"polarity": "sideways"}))
  with pytest.raises(InputError, match=r"damaged .*polarity 'sideways'"):
    sources.open_split(cfg, data_dir, "train")
