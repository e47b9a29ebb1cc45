"""DeepScores folders: what is read, what stops, what is skipped."""

import pathlib
import shutil

import cv2
import numpy as np
import pytest

from dwd_jax.core.errors import InputError
from tfds_builders import checks
from tfds_builders.deepscores import deepscores_parsing

_IMAGES = "segmentation_detection/images_png"
_XML = "segmentation_detection/xml_annotations"
_PIXELS = "segmentation_detection/pix_annotations_png"
_PAGE = "dummy-rgb-page-1"


@pytest.fixture
def root(repo_dir, tmp_path) -> pathlib.Path:
  copy = tmp_path / "scores"
  cv2.imwrite(str(tmp_path / "other.png"), np.zeros((5, 7), np.uint8))
  shutil.copytree(repo_dir / "tfds_builders/deepscores/dummy_data", copy)
  return copy


def _parse(root):
  report = checks.BuildReport()
  data_set = deepscores_parsing.read_data_set(
    root, "dense_2017", deepscores_parsing.Options(), report
  )
  pages = {
    page.name: deepscores_parsing.read_page(
      page, data_set.class_names, deepscores_parsing.Options(), report
    )
    for pages in data_set.splits.values()
    for page in pages
  }
  return data_set, pages, report


def test_dummy_pages(root):
  data_set, pages, report = _parse(root)
  assert data_set.class_names[:2] == ("noteheadBlack", "augmentationDot")
  assert {k: len(v) for k, v in data_set.splits.items()} == {
    "train": 3,
    "val": 1,
    "test": 1,
  }
  assert pages["dummy-empty-page-2"].boxes_yxyx.shape == (0, 4)
  assert pages[_PAGE].ink.shape == (96, 128)
  assert pages[_PAGE].labels.tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 0]
  # Drawn on whole pixels, 8 decimals in the file.
  boxes = pages[_PAGE].boxes_yxyx
  assert abs(boxes - boxes.round()).max() < 1e-3
  assert not report.counts


def test_folders_right_under_the_root(root):
  whole = _parse(root)[1]
  for name in ("images_png", "xml_annotations", "pix_annotations_png"):
    (root / "segmentation_detection" / name).rename(root / name)
  (root / "segmentation_detection").rmdir()
  assert _parse(root)[1].keys() == whole.keys()


def _edit(path: str, old: str, new: str):
  def change(root):
    text = (root / path).read_text()
    assert old in text
    (root / path).write_text(text.replace(old, new, 1))

  return change


def _append(path: str, text: str):
  def change(root):
    with (root / path).open("a") as f:
      f.write(text)

  return change


def _truncate(path: str, size: int):
  return lambda root: (root / path).write_bytes(
    (root / path).read_bytes()[:size]
  )


def _remove(path: str):
  def change(root):
    target = root / path
    shutil.rmtree(target) if target.is_dir() else target.unlink()

  return change


def _empty(path: str):
  def change(root):
    shutil.rmtree(root / path)
    (root / path).mkdir()

  return change


_ERRORS = {
  "folder missing": (_remove("."), "scores: no such folder"),
  "folder empty": (_empty("."), "scores: the folder is empty"),
  "images missing": (_remove(_IMAGES), "images_png: no such folder"),
  "images empty": (_empty(_IMAGES), "images_png: the folder is empty"),
  "no annotations": (_remove(_XML), "xml_annotations: no such folder"),
  "no split lists": (_remove("train_val_test"), "train_val_test: no such"),
  "no train list": (_remove("train_val_test/train.txt"), "train.txt: missing"),
  "train list empty": (
    _truncate("train_val_test/train.txt", 0),
    "train.txt: missing or empty",
  ),
  "class names are binary": (
    lambda root: (
      root / "DeepScores_classification/class_names.csv"
    ).write_bytes(b"\xff\x00"),
    "class_names.csv: not UTF-8",
  ),
  "class id without end": (
    _append("DeepScores_classification/class_names.csv", f"{'9' * 5000},x\n"),
    "class_names.csv: line 5 is not",
  ),
  "two images of one name": (
    lambda root: shutil.copy(
      root / _IMAGES / f"{_PAGE}.png", root / _IMAGES / f"{_PAGE}.jpg"
    ),
    f"{_PAGE}.png: beside {_PAGE}.jpg",
  ),
  "pixel labels of another page": (
    lambda root: shutil.copy(
      root.parent / "other.png", root / _PIXELS / f"{_PAGE}.png"
    ),
    f"{_PAGE}.png: 7 x 5 px, but the page has 128 x 96",
  ),
  "truncated pixel labels": (
    _truncate(f"{_PIXELS}/{_PAGE}.png", 100),
    f"{_PAGE}.png: not a readable PNG, it is truncated",
  ),
  "class ids with a gap": (
    _append("DeepScores_classification/class_names.csv", "9,coda\n"),
    "class_names.csv: the ids",
  ),
  "class id twice": (
    _append("DeepScores_classification/class_names.csv", "0,coda\n"),
    "class_names.csv: line 5 repeats",
  ),
  "page in two splits": (
    _append("train_val_test/test.txt", f"{_PAGE}\n"),
    f"test.txt: page '{_PAGE}' is also in",
  ),
  "page twice in a split": (
    _append("train_val_test/train.txt", f"{_PAGE}\n"),
    f"train.txt: page '{_PAGE}' is twice",
  ),
  "name leads out of the folder": (
    _append("train_val_test/train.txt", "../../secret\n"),
    "train.txt: '../../secret' is not a plain",
  ),
  "image without annotation": (
    _remove(f"{_XML}/{_PAGE}.xml"),
    f"{_PAGE}.xml: no such annotation",
  ),
  "annotation without image": (
    _remove(f"{_IMAGES}/{_PAGE}.png"),
    f"{_PAGE}.png: no such image",
  ),
  "truncated image": (
    _truncate(f"{_IMAGES}/{_PAGE}.png", 200),
    f"{_PAGE}.png: not a readable PNG",
  ),
  "truncated annotation": (
    _truncate(f"{_XML}/{_PAGE}.xml", 300),
    f"{_PAGE}.xml: broken XML",
  ),
  "expanding entities": (
    _edit(
      f"{_XML}/{_PAGE}.xml",
      "<annotation>",
      "<!DOCTYPE a [<!ENTITY e 'eee'>]><annotation>",
    ),
    f"{_PAGE}.xml: the XML has a document type",
  ),
  "unknown class": (
    _edit(f"{_XML}/{_PAGE}.xml", "gClef", "gClif"),
    f"{_PAGE}.xml: object 2 has the unknown class 'gClif'",
  ),
  "boxes in pixels": (
    lambda root: [
      _edit(f"{_XML}/{_PAGE}.xml", "<xmin>0.", "<xmin>9")(root)
      for _ in range(6)
    ],
    f"{_PAGE}.xml: 6 of 9 boxes are unusable",
  ),
}


@pytest.mark.parametrize("caption", _ERRORS)
def test_bad_input_is_one_line_that_names_the_file(root, caption):
  change, expected = _ERRORS[caption]
  change(root)
  with pytest.raises(InputError) as e:
    _parse(root)
  assert expected in str(e.value)
  assert "\n" not in str(e.value)


_SKIPPED = {
  "not a number": (
    _edit(f"{_XML}/{_PAGE}.xml", "<xmin>0.", "<xmin>nan"),
    "boxes skipped: not a usable number",
    8,
  ),
  "text for a number": (
    _edit(f"{_XML}/{_PAGE}.xml", "<xmin>0.", "<xmin>left"),
    "boxes skipped: not a usable number",
    8,
  ),
  "infinite": (
    _edit(f"{_XML}/{_PAGE}.xml", "<xmin>0.", "<xmin>infinity"),
    "boxes skipped: not a usable number",
    8,
  ),
  "negative": (
    _edit(f"{_XML}/{_PAGE}.xml", "<xmax>0.", "<xmax>-7."),
    "boxes skipped: inverted",
    8,
  ),
  "page of other proportions": (
    _edit(f"{_XML}/{_PAGE}.xml", "<width>128", "<width>96"),
    "pages of other proportions than their annotation says",
    9,
  ),
  "inverted": (
    _edit(f"{_XML}/{_PAGE}.xml", "<xmin>0.", "<xmin>1."),
    "boxes skipped: inverted",
    8,
  ),
  "image and annotation in no list": (
    _edit("train_val_test/train.txt", f"{_PAGE}\n", ""),
    "pages skipped: in no split list",
    None,
  ),
}


@pytest.mark.parametrize("caption", _SKIPPED)
def test_what_can_be_skipped_is_counted_and_listed(root, caption):
  change, kind, boxes_left = _SKIPPED[caption]
  change(root)
  _, pages, report = _parse(root)
  assert dict(report.counts) == {kind: 1}
  assert report.examples[kind][0].startswith(_PAGE)
  assert report.line() == f"1 {kind}"
  if boxes_left is not None:
    assert len(pages[_PAGE].boxes_yxyx) == boxes_left


def test_a_split_with_an_empty_list_is_absent(root):
  _truncate("train_val_test/val.txt", 0)(root)
  (root / "train_val_test/test.txt").write_text("\n \n")
  data_set, _, report = _parse(root)
  assert set(data_set.splits) == {"train"}
  assert report.counts["split lists empty"] == 2


def test_real_pages(shared_data):
  data_set, pages, report = _parse(shared_data / "deepscores_v1")
  assert len(data_set.class_names) == 124
  # Counted with `grep -o "<object>" | wc -l` on the three files.
  assert sorted(len(p.boxes_yxyx) for p in pages.values()) == [171, 325, 325]
  assert {p.ink.shape for p in pages.values()} == {(3828, 2707)}
  assert not report.counts
