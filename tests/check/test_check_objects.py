"""Sets that are no print: pictures of many tones, and the training to come."""

import dataclasses
import json
import re
import shlex

import check_helpers as h
import cv2
import numpy as np
import pytest

from dwd_jax.check import (
  __main__,
  measures,
  page_sets,
  rules,
  write_report,
)
from dwd_jax.core import words
from dwd_jax.train import config_file

HW = (240, 320)
CLASS_NAMES = ("bright", "dark")


def _picture(seed: int, edge: float = 60.0):
  """A grainy slope with discs on it, brighter and darker ones; their boxes."""
  rng = np.random.default_rng(seed)
  grey = np.linspace(60, 190, HW[1])[None] + rng.normal(0, 8, HW)
  boxes, labels = [], []
  while len(boxes) < 14:
    side = int(rng.integers(24, 40))
    y, x = (int(rng.integers(0, total - side)) for total in HW)
    if any(max(abs(y - b[0]), abs(x - b[1])) < 42 for b in boxes):
      continue  # they would touch
    middle = (x + side // 2, y + side // 2)
    disc = np.zeros(HW, np.float32)
    cv2.circle(disc, middle, side // 2, 1.0, -1, cv2.LINE_AA)
    label = int(rng.integers(2))
    grey = grey + (edge if label == 0 else -edge) * disc
    boxes.append((y, x, y + side, x + side))
    labels.append(label)
  ink = 255 - np.clip(grey, 0, 255).astype(np.uint8)
  return ink, np.array(boxes, np.float32), np.array(labels)


def _pages(count=6, **kwargs):
  return [
    h.page(*_picture(seed, **kwargs), filename=f"{seed}.png")
    for seed in range(count)
  ]


def _find(pages):
  measured = [measures.measure(page) for page in pages]
  assert not measures.is_print(measured)
  return rules.find_misfits(measured, pages.__getitem__)


def test_right_boxes_are_right():
  assert _find(_pages(12)) == []


def test_shifted_boxes_are_told_by_how_much():
  shift = np.array([12, -8, 12, -8], np.float32)
  (found,) = _find(
    [dataclasses.replace(p, boxes_yxyx=p.boxes_yxyx + shift) for p in _pages()]
  )
  assert found.kind == "boxes shifted" and len(found.pages) == 6
  assert "12 px too low and 8 px too far left" in found.message


def test_one_shift_of_many_pages_and_another_of_one():
  pages = _pages(7)
  shifts = [(12, 12)] * 4 + [(-14, 0)] + [(0, 0)] * 2
  pages = [
    dataclasses.replace(
      p, boxes_yxyx=p.boxes_yxyx + np.array(s + s, np.float32)
    )
    for p, s in zip(pages, shifts, strict=True)
  ]
  many, one = _find(pages)
  assert (many.pages, one.pages) == ((0, 1, 2, 3), (4,))
  assert "14 px too high" in one.message


def test_two_shifts_of_equally_many_pages():
  pages = _pages(6)
  for i, s in enumerate([(14, 14), (14, 14), (-14, -14), (-14, -14)]):
    boxes = pages[i].boxes_yxyx + np.array(s + s, np.float32)
    pages[i] = dataclasses.replace(pages[i], boxes_yxyx=boxes)
  found = _find(pages)
  assert sorted(f.pages for f in found) == [(0, 1), (2, 3)]


def test_boxes_of_another_picture():
  pages = _pages(12)
  for i, j in ((2, 5), (5, 2)):
    pages[i] = dataclasses.replace(
      pages[i], boxes_yxyx=_picture(j)[1], labels=_picture(j)[2]
    )
  (found,) = _find(pages)
  assert (found.level, found.pages) == ("error", (2, 5))
  assert "exchanged" in found.message


def test_objects_without_edges_are_no_error():
  pages = _pages(edge=0.0)
  assert _find(pages) == []
  assert not rules.boxes_fit([measures.measure(page) for page in pages])


# Caption: what is done to pages that are ink on paper.
PRINT = {
  "as drawn": lambda ink: ink,
  "grey paper, pale ink": lambda ink: 40 + ink // 2,
  "uneven light": lambda ink: (
    ink // 2 + np.linspace(0, 90, ink.shape[1]).astype(np.uint8)
  ),
  "blank": np.zeros_like,
}


@pytest.mark.parametrize("caption", PRINT)
def test_pages_of_print_are_told(caption):
  ink, boxes, labels = h.make_page(0)
  assert h.measured(PRINT[caption](ink), boxes, labels).has_clear_ink


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  """A COCO folder of such pictures."""
  root = tmp_path_factory.mktemp("discs")
  (root / "images").mkdir()
  images, objects = [], []
  for i in range(12):
    ink, boxes, labels = _picture(i)
    cv2.imwrite(str(root / f"images/{i}.png"), 255 - ink)
    size = {"height": HW[0], "width": HW[1]}
    images.append({"id": i, "file_name": f"{i}.png", **size})
    for (y0, x0, y1, x1), label in zip(boxes.tolist(), labels, strict=True):
      box = [x0, y0, x1 - x0, y1 - y0]
      of = {"image_id": i, "category_id": int(label) + 1}
      objects.append({"id": len(objects), "bbox": box, **of})
  names = [{"id": i + 1, "name": name} for i, name in enumerate(CLASS_NAMES)]
  coco = {"images": images, "annotations": objects, "categories": names}
  (root / "annotations.json").write_text(json.dumps(coco))
  return root


def _check(folder, out, *flags):
  code = __main__.main([str(folder), f"--out={out}", "--workers=2", *flags])
  return code, json.loads((out / "check.json").read_text())


def test_a_set_of_photographs(folder, tmp_path, capsys, monkeypatch):
  # There is room for some of the overlays.
  monkeypatch.setattr(write_report, "_LEAST_BYTES", 0)
  monkeypatch.setattr(write_report, "_SHARE", 0.5)
  code, found = _check(folder, tmp_path / "out")
  text = capsys.readouterr().out
  assert code == 0
  assert not [f for f in found["findings"] if f["level"] != "info"]
  assert found["not_checked"] in text and "many tones" in text
  of_music = re.compile(r"\b(ink|staff|staves|symbols?|pages?|music|pieces?)\b")
  assert not of_music.search(text)
  written = sum(p.stat().st_size for p in (tmp_path / "out").rglob("*.*"))
  pictures = sum(p.stat().st_size for p in folder.glob("images/*"))
  assert written < 0.6 * pictures
  page = (tmp_path / "out/index.html").read_text()
  assert " left out: " in page
  assert not of_music.search(re.sub(r"(?s)<style.*?</style>|<[^>]*>", "", page))
  assert "Images of train" in page
  # The command is whole: what it says reaches the config.
  command = shlex.split(found["command"])
  assert found["command"] in text
  assert command[:3] == ["python", "-m", "dwd_jax.main"]
  flags = [word.removeprefix("--config.") for word in command[5:]]
  config = config_file.load(command[3].removeprefix("--config="), flags)
  assert config.data.manual_dir == str(folder)
  assert config.data.eval_scale is None  # the run chooses as is said here
  assert found["suggested"]["data.eval_scale"] == found["limits"]["scale"]
  crop_hw = found["suggested"]["data.crop_hw"]
  assert crop_hw == [found["limits"]["crop_px"]] * 2
  assert f"data.eval_scale={found['limits']['scale']}" in text
  assert found["reasons"]["data.eval_scale"] in text
  assert found["reasons"]["data.crop_hw"] in page
  # What is compared with is proposed, unless a flag says otherwise.
  assert "as proposed below" in text and "as proposed below" in page
  _, found = _check(folder, tmp_path / "out", "--scale=0.5", "--pages=0")
  assert found["limits"]["scale"] == 0.5
  assert "as proposed below" not in capsys.readouterr().out


def test_large_objects_are_scaled_down_and_crops_grow(folder, tmp_path):
  big = tmp_path / "big"
  (big / "images").mkdir(parents=True)
  coco = json.loads((folder / "annotations.json").read_text())
  coco["images"] = coco["images"][:2]
  for image in coco["images"]:
    image |= {"height": 3 * HW[0], "width": 3 * HW[1]}
    ink = _picture(image["id"])[0]
    picture = cv2.resize(255 - ink, None, fx=3, fy=3)
    cv2.imwrite(str(big / "images" / image["file_name"]), picture)
  kept = [o for o in coco["annotations"] if o["image_id"] < 2]
  for i, o in enumerate(kept):
    # One in five is much longer than the others.
    stretch = 3 if i % 5 else 9
    o["bbox"] = [3 * v for v in o["bbox"][:3]] + [stretch * o["bbox"][3]]
  coco["annotations"] = kept
  (big / "annotations.json").write_text(json.dumps(coco))
  _, found = _check(big, tmp_path / "out", "--pages=0")
  changes = found["suggested"]
  scale = changes["data.eval_scale"]
  assert changes["data.scales"] == [scale] and 0.1 < scale < 0.3
  assert changes["data.crop_hw"][0] >= 160
  assert "data.scales" not in found["command"]  # the run chooses it
  # A flag is what is measured.
  config = "--config=configs/boxes.py:runlocal"
  flags = ("--config.data.max_boxes=192", "--pages=0", "--crop=96")
  _, found = _check(big, tmp_path / "out", config, *flags)
  assert found["limits"]["scale"] == scale
  assert found["limits"]["crop_px"] == 96
  assert found["limits"]["max_boxes"] == 192
  assert "data.eval_scale" in found["suggested"]
  assert "--config.data.max_boxes=192" in found["command"]
  # A scale of the user's stays the only one.
  flags = ("--config.data.scales=(0.5,)", "--pages=0")
  _, found = _check(big, tmp_path / "out", *flags)
  assert "data.scales" not in found["suggested"]
  assert found["suggested"]["data.eval_scale"] == 0.5


# Caption: flags, and what the line says.
BAD = {
  "no such config": (["--config=configs/nothing.py"], "no such file"),
  "unknown key": (["--config.data.scale=1"], "did you mean 'scales'"),
  "value out of range": (["--config.data.eval_scale=-1.0"], "eval_scale"),
}


@pytest.mark.parametrize("caption", BAD)
def test_bad_configs(caption, folder, tmp_path, capsys):
  flags, message = BAD[caption]
  code = __main__.main([str(folder), f"--out={tmp_path / 'out'}", *flags])
  text = capsys.readouterr().err
  assert code == 2 and message in text and len(text.splitlines()) == 1
  assert not (tmp_path / "out").exists()


def test_pictures_are_shown_as_they_are(folder):
  page_set = page_sets.open_set(folder)
  assert page_set.said == words.ANYTHING
  (page,) = page_set.read(0)
  stored = cv2.imread(str(folder / "images" / page.filename))
  np.testing.assert_array_equal(page.seen, stored)


def test_sixteen_bits_of_which_few_are_in_use_are_told(tmp_path):
  """As cameras of microscopes write: a hot pixel, and hardly any light else."""
  (tmp_path / "images").mkdir()
  box = [40, 30, 20, 20]
  images, objects = [], []
  for i in range(3):
    values = np.random.default_rng(i).integers(100, 110, HW).astype(np.uint16)
    values[30:50, 40:60] += 60
    values[200, 300] = 15_000
    cv2.imwrite(str(tmp_path / f"images/{i}.tif"), values)
    size = {"height": HW[0], "width": HW[1]}
    images.append({"id": i, "file_name": f"{i}.tif", **size})
    objects.append({"id": i, "bbox": box, "image_id": i, "category_id": 1})
  names = [{"id": 1, "name": "дрожжи, две"}]
  coco = {"images": images, "annotations": objects, "categories": names}
  (tmp_path / "annotations.json").write_text(json.dumps(coco))
  _, found = _check(tmp_path, tmp_path / "out", "--pages=0")
  (faint,) = [f for f in found["findings"] if f["kind"] == "faint objects"]
  assert faint["level"] == "warning"
  assert faint["message"].startswith("on ") and "16 bits" in faint["remedy"]
  assert list(found["classes"]) == ["дрожжи, две"]
