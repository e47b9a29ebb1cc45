"""DeepScoresV2: bad files stop with one line, bad boxes are counted."""

import pathlib
import shutil

import cv2
import deepscores_v2_helpers as helpers
import numpy as np
import pytest
from deepscores_v2_helpers import FIRST, PAGE, TRAIN, edit, set_first, set_image

from dwd_jax.core.errors import InputError

pytestmark = pytest.mark.usefixtures("bounded_memory")


@pytest.fixture
def root(repo_dir, tmp_path) -> pathlib.Path:
  return helpers.copy(repo_dir, tmp_path / "scores")


def _json_bytes(change):
  def apply(root):
    path = root / TRAIN
    path.write_bytes(change(path.read_bytes()))

  return apply


def _remove(path: str):
  def apply(root):
    target = root / path
    shutil.rmtree(target) if target.is_dir() else target.unlink()

  return apply


_ERRORS = {
  "folder missing": (_remove("."), "scores: no such folder"),
  "no images": (_remove("images"), "images: no such folder"),
  "no train file": (_remove(TRAIN), "deepscores_train.json: no such file"),
  "truncated": (_json_bytes(lambda b: b[:-99]), "not a readable JSON file"),
  "empty": (_json_bytes(lambda b: b""), "the file is empty"),
  "not a number that is none": (
    helpers.replace('"comments": ""', '"comments": NaN'),
    "has the value NaN or Infinity",
  ),
  "not UTF-8": (
    _json_bytes(lambda b: b.replace(b"lg-1-", b"lg-\xff-", 1)),
    "not UTF-8 text (byte ",
  ),
  "nested too deeply": (
    _json_bytes(lambda b: b'{"info":' + b"[" * 10**6),
    "nested too deeply",
  ),
  "a list": (_json_bytes(lambda b: b"[]"), "not as expected"),
  "categories missing": (
    edit(lambda d: d.pop("categories")),
    "deepscores_train.json: not as expected",
  ),
  "categories empty": (
    edit(lambda d: d.update(categories={})),
    "no categories of the set 'deepscores'",
  ),
  "categories that differ between files": (
    helpers.replace('"brace"', '"kazoo"'),
    f"{TRAIN}: other categories than in the other files",
  ),
  "two categories of one name": (
    helpers.replace('"clefG"', '"brace"'),
    "two categories of the set 'deepscores' have the same name",
  ),
  "annotation set missing": (
    edit(lambda d: d.update(annotation_sets=["muscima++"])),
    "annotation_sets has no 'deepscores'",
  ),
  "annotations of few bytes": (
    edit(lambda d: d["annotations"].update((i, {}) for i in range(900))),
    "entries in ",
  ),
  "annotations that are no objects": (
    edit(lambda d: d["annotations"].update((i, 0) for i in range(900))),
    "not as expected: Expected `object`, got `int`",
  ),
  "a page of a million annotations": (
    edit(lambda d: d["images"][0].update(ann_ids=[0] * 10**6 * 2)),
    "allowed of one entry; replace the file",
  ),
  "annotations as a list": (
    edit(lambda d: d.update(annotations=[])),
    "deepscores_train.json: not as expected",
  ),
  "annotation id is text": (
    helpers.replace(f'"{FIRST}": ', '"first": '),
    "an annotation id is not a whole number",
  ),
  "annotation id without end": (
    helpers.replace(f'"{FIRST}": ', f'"{"9" * 5000}": '),
    "an annotation id is not a whole number",
  ),
  "annotation id twice": (
    helpers.replace('"102": ', f'"{FIRST}": '),
    "1 annotation ids are used twice",
  ),
  "annotation is a number": (
    edit(lambda d: d["annotations"].update({FIRST: 7})),
    f"{TRAIN}: not as expected: Expected `object`, got `int`",
  ),
  "image id twice": (set_image(id=12), "or its id 12 occurs twice"),
  "image name twice": (
    edit(lambda d: d["images"][1].update(filename=f"{PAGE}.png")),
    f"image '{PAGE}.png' or its id 12 occurs twice",
  ),
  "image name leads out": (
    set_image(filename="../../secret.png"),
    "'../../secret.png' is not a plain file name",
  ),
  "image name is a Windows path": (
    set_image(filename="C:\\secret.png"),
    "is not a plain file name",
  ),
  "width is text": (set_image(width="96"), "not as expected"),
  "width is negative": (set_image(width=-96), "not as expected"),
  "width of another image": (
    set_image(width=97),
    f"{PAGE}.png: 96 x 64 px, but {TRAIN} is for 97 x 64",
  ),
  "ann_ids missing": (
    edit(lambda d: d["images"][0].pop("ann_ids")),
    "not as expected",
  ),
  "ann_ids are words": (
    set_image(ann_ids=["first"]),
    f"ann_ids of {PAGE}.png: not as expected",
  ),
  "category unknown": (
    set_first(cat_id=["999", None]),
    f"{TRAIN}: {PAGE}: annotation {FIRST}: '999' is no category",
  ),
  "category of the other set": (
    set_first(cat_id=["4", "4"]),
    "'4' is no category of its annotation set",
  ),
  "category is a list": (
    set_first(cat_id=[[3], "4"]),
    "'[3]' is no category",
  ),
  "categories are no list": (set_first(cat_id="3"), "cat_id is not a list"),
  "boxes of another unit": (
    edit(
      lambda d: [
        a.update(a_bbox=[9e4 + v for v in a["a_bbox"]])
        for a in d["annotations"].values()
      ]
    ),
    f"{TRAIN}: {PAGE}: 4 of 4 boxes are unusable",
  ),
  "number out of range": (
    helpers.replace('"comments": ""', '"a_bbox": [1e999, 0, 1, 1]'),
    f"{TRAIN}: {PAGE}: not ",
  ),
  "most images missing": (
    lambda root: [p.unlink() for p in (root / "images").glob("lg-1*")],
    "images: 2 of 6 images that the annotation files name are there",
  ),
  "truncated image": (
    lambda root: (root / f"images/{PAGE}.png").write_bytes(
      b"\x89PNG\r\n\x1a\n"
    ),
    f"{PAGE}.png: not a readable PNG",
  ),
  "segmentation of another size": (
    lambda root: cv2.imwrite(
      str(root / f"segmentation/{PAGE}_seg.png"), np.zeros((5, 7), np.uint8)
    ),
    f"{PAGE}_seg.png: 7 x 5 px, but the page has 96 x 64",
  ),
}


@pytest.mark.parametrize("caption", _ERRORS)
def test_bad_input_is_one_line_that_names_the_file(root, caption):
  change, expected = _ERRORS[caption]
  change(root)
  with pytest.raises(InputError) as e:
    helpers.parse(root)
  assert expected in str(e.value)
  assert "\n" not in str(e.value)
  assert str(root) in str(e.value)


def test_an_oversized_file_is_not_read(root, monkeypatch):
  monkeypatch.setattr(helpers.parsing.json_files, "MAX_BYTES", 1000)
  with pytest.raises(InputError, match="bytes are more than the 1,000 allowed"):
    helpers.parse(root)


_NO_NUMBER = "boxes skipped: not a usable number"
_SKIPPED = {
  "text for a number": (
    set_first(a_bbox=["14", 17, 26, 47]),
    {_NO_NUMBER: 1},
    3,
  ),
  "three numbers": (set_first(a_bbox=[14, 17, 26]), {_NO_NUMBER: 1}, 3),
  "no box": (set_first(a_bbox=None), {_NO_NUMBER: 1}, 3),
  "true": (set_first(a_bbox=[True, 17, 26, 47]), {_NO_NUMBER: 1}, 3),
  "a number of 400 digits": (
    set_first(a_bbox=[int("9" * 400), 17, 26, 47]),
    {_NO_NUMBER: 1},
    3,
  ),
  "inverted": (
    set_first(a_bbox=[26, 17, 14, 47]),
    {"boxes skipped: inverted": 1},
    3,
  ),
  "outside": (
    set_first(a_bbox=[-26, 17, -14, 47]),
    {"boxes skipped: outside the image": 1},
    3,
  ),
  "partly outside": (
    set_first(a_bbox=[-14, 17, 26, 47]),
    {"boxes cut: partly outside the image": 1},
    4,
  ),
  "oriented box missing": (
    edit(lambda d: d["annotations"][FIRST].pop("o_bbox")),
    {"oriented boxes replaced by the upright ones: not 8 numbers": 1},
    4,
  ),
  "oriented box far away": (
    set_first(o_bbox=[1e30] * 8),
    {"oriented boxes replaced by the upright ones: far beside the page": 1},
    4,
  ),
  "oriented box of three points": (
    set_first(o_bbox=[1, 1, 9, 1, 9, 9]),
    {"oriented boxes replaced by the upright ones: not 8 numbers": 1},
    4,
  ),
  "oriented box of another object": (
    set_first(o_bbox=[90, 70, 95, 70, 95, 75, 90, 75]),
    {"oriented boxes replaced by the upright ones: elsewhere": 1},
    4,
  ),
  "no class in any set": (
    set_first(cat_id=[]),
    {"annotations left out: no class in this set": 1},
    3,
  ),
  "img_id of another page": (
    set_first(img_id="999"),
    {"annotations whose img_id is not their page's": 1},
    4,
  ),
  "ann_ids of no annotation": (
    set_image(ann_ids=["101", "102", "103", "104", "777"]),
    {"ann_ids skipped: no such annotation, or listed before": 1},
    4,
  ),
  "ann_ids twice": (
    set_image(ann_ids=["101", "102", "103", "104", "103"]),
    {"ann_ids skipped: no such annotation, or listed before": 1},
    4,
  ),
  "annotation that no page lists": (
    set_image(ann_ids=["101", "102", "103"]),
    {"annotations skipped: no page lists them": 1},
    3,
  ),
  "image missing": (
    lambda root: (root / f"images/{PAGE}.png").unlink(),
    {"pages skipped: no image": 1},
    None,
  ),
  "image in no file": (
    lambda root: (root / "images/more.png").touch(),
    {"images skipped: in no annotation file": 1},
    4,
  ),
}


@pytest.mark.parametrize("caption", _SKIPPED)
def test_what_can_be_skipped_is_counted_and_listed(root, caption):
  change, counts, boxes_left = _SKIPPED[caption]
  change(root)
  _, pages, report = helpers.parse(root)
  assert dict(report.counts) == counts
  if boxes_left is None:
    assert PAGE not in pages
  else:
    assert len(pages[PAGE].boxes_yxyx) == boxes_left
    assert len(pages[PAGE].extras["oriented_yx"]) == boxes_left
