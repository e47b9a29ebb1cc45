"""Whatever pages and symbols of DeepScores hold: boxes, or one line."""

import pathlib
import shutil

import fuzz_helpers as helpers
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dwd_jax.imaging import tiled_tiff
from tfds_builders import checks
from tfds_builders.deepscores import deepscores_parsing
from tfds_builders.symbols import symbols_parsing


@pytest.fixture(scope="module")
def folders(repo_dir, tmp_path_factory) -> dict[str, pathlib.Path]:
  """Copies of the dummy data of the builders."""
  root = tmp_path_factory.mktemp("dummy")
  for name in ("deepscores", "symbols"):
    dummy = repo_dir / "tfds_builders" / name / "dummy_data"
    shutil.copytree(dummy, root / name)
  return {path.name: path for path in root.iterdir()}


_XML, _PIXELS = "xml_annotations", "pix_annotations_png"
_FILES = {
  "annotation": f"segmentation_detection/{_XML}/dummy-rgb-page-1.xml",
  "labels of pixels": f"segmentation_detection/{_PIXELS}/dummy-rgb-page-1.png",
  "classes": "DeepScores_classification/class_names.csv",
  "split": "train_val_test/train.txt",
}
_TAGS = ("ymin", "xmin", "ymax", "xmax", "name", "width", "height")


def _check(root: pathlib.Path, path: pathlib.Path, content: bytes, read):
  good = path.read_bytes()
  path.write_bytes(content)
  try:
    with helpers.may_refuse(root):
      read(root)
  finally:
    path.write_bytes(good)


def _pages(root: pathlib.Path) -> None:
  options, report = deepscores_parsing.Options(), checks.BuildReport()
  found = deepscores_parsing.read_data_set(root, "dense_2017", options, report)
  for pages in found.splits.values():
    for files in pages:
      page = deepscores_parsing.read_page(
        files, found.class_names, options, report
      )
      _sound(page, len(found.class_names))


def _symbols(root: pathlib.Path) -> None:
  options, report = symbols_parsing.Options(), checks.BuildReport()
  found = symbols_parsing.read_data_set(root, "folder", options, report)
  for files in found.splits["train"]:
    for _, symbol in symbols_parsing.read_page(
      files, found.class_names, options, report
    ):
      _sound(symbol, len(found.class_names))


def _sound(page: checks.ParsedPage, classes: int) -> None:
  boxes = page.boxes_yxyx
  assert np.isfinite(boxes).all() and (boxes >= 0).all()
  assert (boxes <= page.ink.shape * 2).all()
  assert np.isin(page.labels, np.arange(classes)).all()


@pytest.mark.parametrize("caption", _FILES)
@helpers.cases()
@given(data=st.data())
def test_damaged_files(folders, caption, data):
  root = folders["deepscores"]
  path = root / _FILES[caption]
  content = data.draw(helpers.damaged(path.read_bytes()))
  _check(root, path, content, _pages)


_VALUES = helpers.ODD.filter(lambda text: not {*text} & {*"<&\0\x1b"})


@helpers.cases()
@given(tag=st.sampled_from(_TAGS), value=_VALUES | st.floats().map(str))
def test_odd_values(folders, tag, value):
  root = folders["deepscores"]
  path = root / _FILES["annotation"]
  before, _, rest = path.read_text().partition(f"<{tag}>")
  after = rest.partition(f"</{tag}>")[2]
  content = f"{before}<{tag}>{value}</{tag}>{after}".encode()
  _check(root, path, content, _pages)


@pytest.mark.parametrize(
  "name", ["xml_data_gt/gClef/symbol-1.xml", "class_names.csv"]
)
@helpers.cases()
@given(data=st.data())
def test_symbols(folders, name, data):
  root = folders["symbols"]
  path = root / name
  content = data.draw(helpers.damaged(path.read_bytes()))
  _check(root, path, content, _symbols)


_PAGE = (np.arange(300 * 280).reshape(300, 280) % 251).astype(np.uint8)
_TILED = tiled_tiff.encode_page(_PAGE)


@helpers.cases()
@given(pieces=helpers.PIECES, in_header=st.booleans())
def test_pages_of_records(pieces, in_header):
  part = 300 if in_header else len(_TILED)
  data = helpers.replaced(_TILED[:part], pieces) + _TILED[part:]
  for area in (None, (10, 20, 64, 64)):
    with helpers.may_refuse("page.tif"):
      page = tiled_tiff.read_page(data, "page.tif", area, polarity="dark")
      assert page.dtype == np.uint8 and page.ndim == 2
