"""Symbols of generated pages and of masks, from training pages only."""

import functools
import pathlib
import shutil
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest

from dwd_jax.core.errors import InputError
from tfds_builders import checks
from tfds_builders.symbols import symbols_parsing


def _parse(root, config, **options):
  report = checks.BuildReport()
  made = symbols_parsing.Options(**options)
  data_set = symbols_parsing.read_data_set(root, config, made, report)
  assert set(data_set.splits) == {"train"}
  symbols = {}
  for page in data_set.splits["train"]:
    for name, symbol in symbols_parsing.read_page(
      page, data_set.class_names, made, report
    ):
      assert name not in symbols
      symbols[name] = symbol
  return data_set, symbols, report


def _ink_in_box(symbol) -> int:
  y0, x0, y1, x1 = np.round(symbol.boxes_yxyx[0]).astype(int)
  return int(np.count_nonzero(symbol.ink[y0:y1, x0:x1] > 127))


def test_symbols_of_generated_pages(repo_dir):
  pages = repo_dir / "tfds_builders/deepscores/dummy_data"
  data_set, symbols, report = _parse(pages, "engraved", context_px=6)
  assert data_set.class_names[:2] == ("noteheadBlack", "augmentationDot")
  # The third page of `train` is empty.
  assert {k.rpartition("-")[0] for k in symbols} == {
    "dummy-rgb-page-1",
    "dummy-rgba-page-1",
  }
  for symbol in symbols.values():
    height, width = symbol.boxes_yxyx[0, 2:] - symbol.boxes_yxyx[0, :2]
    assert abs(symbol.ink.shape[0] - height - 12) < 2
    assert abs(symbol.ink.shape[1] - width - 12) < 2
    assert _ink_in_box(symbol) > 3
  assert not report.counts


def test_symbols_come_from_training_pages_only(repo_dir, tmp_path):
  scores = tmp_path / "scores"
  shutil.copytree(repo_dir / "tfds_builders/deepscores/dummy_data", scores)
  lists = scores / "train_val_test"
  others = (lists / "val.txt").read_text() + (lists / "test.txt").read_text()
  xml = scores / "segmentation_detection/xml_annotations"
  for name in others.split():
    (xml / f"{name}.xml").write_text("nobody looks at it")
  train = set((lists / "train.txt").read_text().split())
  data_set, symbols, _ = _parse(scores, "engraved")
  assert {page.name for page in data_set.splits["train"]} <= train
  assert len(symbols) > 10


@pytest.fixture
def few_pages(shared_data, tmp_path) -> pathlib.Path:
  """Three real pages of MUSCIMA++ v2.0, one of a writer of `val`."""
  real = shared_data / "muscima_pp/v2.0"
  shutil.copytree(real / "specifications", tmp_path / "specifications")
  for page in ("W-01_N-10", "W-02_N-06", "W-17_N-16"):
    for path in real.glob(f"data/*/CVC-MUSCIMA_{page}_*"):
      to = tmp_path / path.relative_to(real)
      to.parent.mkdir(parents=True, exist_ok=True)
      to.symlink_to(path)
  return tmp_path


def test_real_masks_of_training_writers(few_pages):
  data_set, symbols, _ = _parse(few_pages, "masks", per_class=3)
  assert {name[12:21] for name in symbols} == {"W-01_N-10", "W-02_N-06"}
  assert data_set.vocabulary == "muscima_v2"
  counts = np.bincount([s.labels[0] for s in symbols.values()])
  assert counts.max() == 3
  assert np.count_nonzero(counts) > 20
  for name, symbol in symbols.items():
    page, _, i = name.rpartition("-")
    np.testing.assert_array_equal(
      symbol.ink[32:-32, 32:-32] > 127, _ink_of_object(few_pages, page, int(i))
    )
    assert np.count_nonzero(symbol.ink) == _ink_in_box(symbol)


@functools.cache
def _nodes(path: pathlib.Path):
  return ElementTree.parse(path).findall("Node")


def _ink_of_object(root, page: str, i: int) -> np.ndarray:
  """What object `i` shows, read by other means."""
  node = _nodes(root / f"data/annotations/{page}.xml")[i]
  top, left, height, width = (
    int(str(node.findtext(tag))) for tag in ("Top", "Left", "Height", "Width")
  )
  pairs = [p.split(":") for p in str(node.findtext("Mask")).split()]
  mask = np.array(list("".join(v * int(n) for v, n in pairs))) == "1"
  image = cv2.imread(str(root / f"data/images/{page}.png"), 0)
  white = image[top : top + height, left : left + width] > 127  # is ink there
  return mask.reshape(height, width) & white


def test_the_split_of_the_pages_can_be_followed(few_pages):
  path = few_pages / "specifications/testset-dependent.txt"
  path.write_text("CVC-MUSCIMA_W-01_N-10_D-ideal\n")
  options = {"per_class": 1, "official_split": "dependent"}
  _, symbols, _ = _parse(few_pages, "masks", **options)
  assert {name[12:21] for name in symbols} == {"W-02_N-06"}


def test_no_symbol_at_all_is_an_error(repo_dir):
  pages = repo_dir / "tfds_builders/deepscores/dummy_data"
  with pytest.raises(InputError, match="none of at most 1 px; raise"):
    _parse(pages, "engraved", max_symbol_px=1)


def test_cut_outs_by_masks(repo_dir):
  pages = repo_dir / "tfds_builders/muscima_pp/dummy_data"
  data_set, symbols, report = _parse(pages, "masks", context_px=4)
  assert symbols
  assert not report.counts["symbols skipped: no ink"]
  for name, symbol in symbols.items():
    assert "W-01" in name or "W-02" in name  # the training writers
    assert len(symbol.labels) == 1
    assert 0 <= symbol.labels[0] < len(data_set.class_names)
    assert np.count_nonzero(symbol.ink) == _ink_in_box(symbol) > 0
