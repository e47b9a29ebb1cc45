"""Whatever a folder of records holds: pages, or one line; no code is run."""

import json
import pathlib
import shutil
import sys

import fuzz_helpers as helpers
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dwd_jax.check import page_sets
from dwd_jax.core import box_index
from dwd_jax.data import prepare, sources
from tfds_builders import record_folders
from tfds_builders.symbols import symbols_records


@pytest.fixture(scope="module")
def whole(records, tmp_path_factory) -> pathlib.Path:
  """A copy of records, with the good files kept apart."""
  copy = tmp_path_factory.mktemp("records") / "1.0.0"
  shutil.copytree(next(records.glob("deepscores/dense_2017/*")), copy)
  return copy


_FILES = ("features.json", "metadata.json", "dataset_info.json")


def _damage(path: pathlib.Path, data) -> None:
  """Replaces a file by a damaged one; the good one is kept beside it."""
  good = path.with_name(f".{path.name}.good")
  if not good.exists():
    good.write_bytes(path.read_bytes())
  content = good.read_bytes()
  path.write_bytes(data.draw(helpers.damaged_json(json.loads(content))))


def _restore(path: pathlib.Path) -> None:
  path.write_bytes(path.with_name(f".{path.name}.good").read_bytes())


@pytest.mark.parametrize("name", _FILES)
@helpers.cases(0.5)
@given(data=st.data())
def test_metadata(whole, name, data):
  _damage(whole / name, data)
  before = set(sys.modules)
  try:
    with helpers.may_refuse(whole):
      source = sources.open_records(whole, "train")
      for i in range(len(source)):
        assert len(source[i].labels) == len(source[i].boxes_yxyx)
      sources.open_records(whole, "train[:100%]").box_index()
    with helpers.may_refuse(whole):
      names, _ = symbols_records.class_names_of(whole)
      assert all(isinstance(name, str) for name in names)
      for _ in symbols_records.pages(whole):
        pass
  finally:
    _restore(whole / name)
  more = {m for m in set(sys.modules) - before if not m.startswith(_OURS)}
  assert not any(m.split(".")[0] == "x" for m in more)


_OURS = ("tensorflow_datasets", "dwd_jax", "tfds_builders")


@helpers.cases()
@given(data=st.data())
def test_features_are_checked_before_they_are_opened(whole, data):
  _damage(whole / "features.json", data)
  try:
    with helpers.may_refuse(whole):
      record_folders._check_features(whole / "features.json")
  finally:
    _restore(whole / "features.json")


@helpers.cases()
@given(data=st.data())
def test_facts(whole, data):
  _damage(whole / "metadata.json", data)
  try:
    with helpers.may_refuse(whole):
      names = record_folders.facts_of(whole)["class_names"]
      assert len({*names}) == len(names)
  finally:
    _restore(whole / "metadata.json")


# NumPy warns of some headers before it refuses them.
@pytest.mark.filterwarnings("ignore:Reading .npy:UserWarning")
@pytest.mark.parametrize("name", ["boxes_yxyx", "labels", "page", "page_hw"])
@helpers.cases()
@given(data=st.data())
def test_arrays_of_the_box_index(whole, name, data):
  folder = whole / box_index.FOLDER / "train"
  path = folder / f"{name}.npy"
  good = path.read_bytes()
  try:
    path.write_bytes(data.draw(helpers.damaged(good)))
    with helpers.may_refuse(whole):
      source = sources.open_records(whole, "train")
      index = source.box_index()
      assert index.boxes_yxyx.shape == (len(index.labels), 4)
      assert np.isin(index.labels, np.arange(len(source.class_names))).all()
      boxes = [source.labels_and_boxes(i)[1] for i in range(len(source))]
      assert sum(map(len, boxes)) == len(index.labels)
      assert all(np.isfinite(found).all() for found in boxes)
  finally:
    path.write_bytes(good)


@helpers.cases()
@given(data=st.data())
def test_names_of_the_box_index(whole, data):
  folder = whole / box_index.FOLDER / "train"
  _damage(folder / "filenames.json", data)
  try:
    index = box_index.load(folder)
    if index is not None:
      assert all(isinstance(name, str) for name in index.filenames)
  finally:
    _restore(folder / "filenames.json")


@helpers.cases(0.3)
@given(data=st.data())
def test_stored_records(whole, data):
  path = next(whole.glob("*train.array_record*"))
  good = path.read_bytes()
  try:
    path.write_bytes(data.draw(helpers.damaged(good)))
    with helpers.may_refuse(whole):
      source = sources.open_records(whole, "train[:100%]")
      for i in range(len(source)):
        assert np.isfinite(source[i].boxes_yxyx).all()
  finally:
    path.write_bytes(good)


_ORIGIN = {"manual_dir": "/a", "engrave": None, "options": {"merge": True}}


@helpers.cases()
@given(data=st.data())
def test_origins(whole, data):
  path = whole / "origin.json"
  path.write_bytes(data.draw(helpers.damaged_json(_ORIGIN)))
  with helpers.may_refuse(whole):
    prepare._check_origin(whole, _ORIGIN)


@helpers.cases()
@given(data=helpers.damaged_json({"counts": {"boxes cut": 3}}))
def test_reports_of_builds(whole, data):
  (whole / "build_report.json").write_bytes(data)
  notes = page_sets._build_notes(whole)
  assert all(isinstance(count, int) for count in notes.values())
