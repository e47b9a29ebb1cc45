"""MUSCIMA++ folders: what is read, what stops, what is skipped."""

import pathlib
import shutil

import cv2
import numpy as np
import pytest

from dwd_jax.core.errors import InputError
from tfds_builders import checks
from tfds_builders.muscima_pp import muscima_pp_parsing

_PAGE = "CVC-MUSCIMA_W-01_N-90_D-dummy"
_XML = f"data/annotations/{_PAGE}.xml"
_PNG = f"data/images/{_PAGE}.png"
_SPEC = "specifications/mff-muscima-mlclasses-annot.xml"


@pytest.fixture
def root(repo_dir, tmp_path) -> pathlib.Path:
  copy = tmp_path / "muscima"
  shutil.copytree(repo_dir / "tfds_builders/muscima_pp/dummy_data", copy)
  return copy


def _parse(root):
  report = checks.BuildReport()
  data_set = muscima_pp_parsing.read_data_set(
    root, "v2.0", muscima_pp_parsing.Options(), report
  )
  pages = {
    page.name: muscima_pp_parsing.read_page(
      page, data_set.class_names, muscima_pp_parsing.Options(), report
    )
    for pages in data_set.splits.values()
    for page in pages
  }
  return data_set, pages, report


def test_dummy_pages(root):
  data_set, pages, report = _parse(root)
  # The vocabulary is the specification's, used or not.
  assert data_set.class_names == (
    "noteheadFull",
    "stem",
    "beam",
    "staffLine",
    "unused",
  )
  assert {
    k: [p.name.split("_")[1][2:] for p in v] for k, v in data_set.splits.items()
  } == {
    "train": ["01", "02"],
    "val": ["17"],
    "heldout": ["11"],
    "test": ["12"],
  }
  assert dict(report.counts) == {"official test pages absent": 1}
  assert report.examples["official test pages absent"] == [
    "CVC-MUSCIMA_W-13_N-90_D-dummy"
  ]
  assert pages[_PAGE].labels.tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 0]


def test_a_folder_v2_0_in_between(root):
  inner = root / "v2.0"
  inner.mkdir()
  for name in ("data", "specifications"):
    (root / name).rename(inner / name)
  assert len(_parse(root)[1]) == 5


def _edit(path: str, old: str, new: str):
  def change(root):
    text = (root / path).read_text()
    assert old in text
    (root / path).write_text(text.replace(old, new, 1))

  return change


def _truncate(path: str, size: int):
  return lambda root: (root / path).write_bytes(
    (root / path).read_bytes()[:size]
  )


_ERRORS = {
  "folder missing": (shutil.rmtree, "muscima: no such folder"),
  "no specifications": (
    lambda root: shutil.rmtree(root / "specifications"),
    "specifications: no such folder",
  ),
  "no class definitions": (
    lambda root: (root / _SPEC).unlink(),
    "mlclasses-annot.xml: no such file",
  ),
  "class twice": (
    _edit(_SPEC, "<Name>stem<", "<Name>beam<"),
    "mlclasses-annot.xml: a class without a name, or a name twice",
  ),
  "only writers that are kept out of train": (
    lambda root: [
      p.unlink() for w in ("01", "02") for p in root.rglob(f"*W-{w}*")
    ],
    "annotations: no page of a training writer",
  ),
  "image without annotation": (
    lambda root: (root / _XML).unlink(),
    f"{_PAGE}.xml: no such annotation",
  ),
  "annotation without image": (
    lambda root: (root / _PNG).unlink(),
    f"{_PAGE}.png: no such image",
  ),
  "foreign name": (
    lambda root: [
      (root / path).rename((root / path).with_stem("page"))
      for path in (_XML, _PNG)
    ],
    "page.xml: 'page' is not CVC-MUSCIMA",
  ),
  "truncated image": (_truncate(_PNG, 100), f"{_PAGE}.png: not a readable"),
  "truncated annotation": (_truncate(_XML, 500), f"{_PAGE}.xml: broken XML"),
  "entity that refers to a file": (
    _edit(
      _XML,
      "<Nodes",
      "<!DOCTYPE Nodes [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><Nodes",
    ),
    f"{_PAGE}.xml: the XML has a document type",
  ),
  "annotation of another page": (
    _edit(_XML, "W-01", "W-02"),
    f"{_PAGE}.xml: says that it annotates",
  ),
  "unknown class": (
    _edit(_XML, ">beam<", ">bean<"),
    f"{_PAGE}.xml: object 2 has the unknown class 'bean'",
  ),
  "a page that is too small for its boxes": (
    lambda root: (root / _PNG).write_bytes(_tiny_png()),
    "boxes are unusable",
  ),
}


def _tiny_png() -> bytes:
  return cv2.imencode(".png", np.zeros((4, 4), np.uint8))[1].tobytes()


@pytest.mark.parametrize("caption", _ERRORS)
def test_bad_input_is_one_line_that_names_the_file(root, caption):
  change, expected = _ERRORS[caption]
  change(root)
  with pytest.raises(InputError) as e:
    _parse(root)
  assert expected in str(e.value)
  assert "\n" not in str(e.value)


_SKIPPED = {
  "no number": ("<Top>", "<Top>x", "boxes skipped: not a usable number"),
  "zero height": ("<Height>9<", "<Height>0<", "boxes skipped: of zero area"),
  "negative width": ("<Width>7<", "<Width>-7<", "boxes skipped: inverted"),
  "outside": ("<Left>", "<Left>9", "boxes skipped: outside the image"),
}


@pytest.mark.parametrize("caption", _SKIPPED)
def test_single_bad_boxes_are_skipped_and_counted(root, caption):
  old, new, kind = _SKIPPED[caption]
  _edit(_XML, old, new)(root)
  _, pages, report = _parse(root)
  assert report.counts[kind] == 1
  assert report.examples[kind] == [f"{_PAGE}.xml: object 0"]
  assert len(pages[_PAGE].boxes_yxyx) == 8


def test_real_pages_split_by_writer(shared_data):
  data_set = muscima_pp_parsing.read_data_set(
    shared_data / "muscima_pp",
    "v2.0",
    muscima_pp_parsing.Options(),
    checks.BuildReport(),
  )
  sizes = {split: len(pages) for split, pages in data_set.splits.items()}
  assert sizes == {"train": 96, "val": 12, "heldout": 12}
  assert len(data_set.class_names) == 163
  writers = [
    {p.name.split("_")[1] for p in pages} for pages in data_set.splits.values()
  ]
  assert not set.intersection(*writers)
  names = [p.name for pages in data_set.splits.values() for p in pages]
  assert len(set(names)) == len(names) == 120


def test_boxes_of_a_real_page_end_where_the_ink_ends(shared_data):
  data_set = muscima_pp_parsing.read_data_set(
    shared_data / "muscima_pp",
    "v2.0",
    muscima_pp_parsing.Options(),
    checks.BuildReport(),
  )
  page = data_set.splits["val"][0]
  parsed = muscima_pp_parsing.read_page(
    page,
    data_set.class_names,
    muscima_pp_parsing.Options(),
    checks.BuildReport(),
  )
  ink = parsed.ink < 255  # white on black
  heads = parsed.boxes_yxyx[
    parsed.labels == data_set.class_names.index("noteheadFull")
  ].astype(int)
  assert len(heads) > 50
  for y0, x0, y1, x1 in heads:
    # A mask's outermost rows and columns have ink.
    assert ink[y0, x0:x1].any() and ink[y1 - 1, x0:x1].any()
    assert ink[y0:y1, x0].any() and ink[y0:y1, x1 - 1].any()
