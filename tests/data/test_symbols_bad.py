"""Prepared records that symbols cannot be taken from: one line says why."""

import json
import pathlib
import shutil

import numpy as np
import pytest
import tensorflow_datasets as tfds
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dwd_jax.core.errors import InputError
from dwd_jax.data import prepare
from dwd_jax.train.settings import default
from tfds_builders import checks
from tfds_builders.symbols import symbols_parsing

pytestmark = pytest.mark.usefixtures("bounded_memory")


def _build(out, manual_dir, config):
  """The folder of the records."""
  cfg = default().data
  cfg.builder, cfg.builder_config = "symbols", config
  cfg.manual_dir, cfg.data_dir = str(manual_dir), str(out)
  prepare.prepare(cfg, out)
  return pathlib.Path(out) / "symbols" / config / "1.0.0"


@pytest.fixture
def pages(records) -> pathlib.Path:
  """Records of the dummy pages of DeepScores."""
  return next(records.glob("deepscores/dense_2017/*"))


@pytest.fixture
def broken(pages, tmp_path) -> pathlib.Path:
  copy = tmp_path / "1.0.0"
  shutil.copytree(pages, copy)
  return copy


def _write(name: str, text: str):
  return lambda folder: (folder / name).write_text(text)


def _no_train(folder):
  path = folder / "dataset_info.json"
  info = json.loads(path.read_text())
  info["splits"] = [s for s in info["splits"] if s["name"] != "train"]
  path.write_text(json.dumps(info))


def _truncate(folder):
  shutil.rmtree(folder / "box_index")
  for path in folder.glob("*train.array_record*"):
    path.write_bytes(path.read_bytes()[:-70])


def _boxes_outside(folder):
  path = folder / "box_index/train/boxes_yxyx.npy"
  np.save(path, np.load(path) + 1000)


def _unknown_labels(folder):
  path = folder / "box_index/train/labels.npy"
  np.save(path, np.load(path) + 1000)


_BROKEN = {
  "no info": (
    lambda folder: (folder / "dataset_info.json").unlink(),
    "no prepared records of pages; data.manual_dir must name",
  ),
  "metadata no JSON": (_write("metadata.json", "{"), "damaged or missing"),
  "metadata a list": (_write("metadata.json", "[]"), "damaged or missing"),
  "unknown polarity": (
    _write("metadata.json", '{"class_names": ["a"], "polarity": "sideways"}'),
    "polarity 'sideways'",
  ),
  "info no JSON": (_write("dataset_info.json", "{"), "damaged or missing"),
  "info empty": (
    _write("dataset_info.json", "{}"),
    "damaged or missing|no spl",
  ),
  "features that would be run": (
    _write("features.json", '{"pythonClassName": "payload.Feature"}'),
    r"features\.json: names 'payload.Feature', .*would be run",
  ),
  "class names no text": (
    _write("metadata.json", '{"class_names": [["a"]]}'),
    "damaged or missing",
  ),
  "features no JSON": (_write("features.json", "{"), "damaged or missing"),
  "no training pages": (_no_train, "no split 'train', and symbols are taken"),
  "records truncated": (_truncate, "damaged or missing"),
  "boxes outside": (_boxes_outside, "boxes outside their pages"),
  "unknown classes": (_unknown_labels, "or unknown classes"),
}


@pytest.mark.parametrize("caption", _BROKEN)
def test_bad_records_are_one_line(caption, broken, tmp_path):
  change, expected = _BROKEN[caption]
  change(broken)
  with pytest.raises(InputError, match=expected) as e:
    _build(tmp_path / "out", broken, "cropped")
  assert "\n" not in str(e.value)
  assert str(broken) in str(e.value)
  assert not list((tmp_path / "out").rglob("metadata.json"))


def test_a_folder_above_the_records_is_named(records, tmp_path):
  with pytest.raises(InputError, match=r"dataset_info.json, such as .*2017/"):
    _build(tmp_path, records, "cropped")


def test_symbols_of_symbols_are_refused(pages, tmp_path):
  folder = _build(tmp_path / "a", pages, "cropped")
  with pytest.raises(InputError, match="these records are symbols already"):
    _build(tmp_path / "b", folder, "cropped")


def test_nothing_left_is_an_error(repo_dir, tmp_path):
  bank = tmp_path / "bank"
  shutil.copytree(repo_dir / "tfds_builders/symbols/dummy_data", bank)
  for path in bank.rglob("*.xml"):
    path.write_text("<annotation/>")
  with pytest.raises(InputError, match=r"bank: nothing is left .*4 symbol ima"):
    _build(tmp_path / "out", bank, "folder")


def test_records_built_anew_are_read_anew(broken, repo_dir, tmp_path):
  first = _build(tmp_path / "a", broken, "cropped")
  shutil.rmtree(broken)
  cfg = default().data
  cfg.builder, cfg.data_dir = "deepscores", str(tmp_path / "fewer")
  fewer = tmp_path / "scores"
  shutil.copytree(repo_dir / "tfds_builders/deepscores/dummy_data", fewer)
  (fewer / "train_val_test/train.txt").write_text("dummy-rgb-page-1\n")
  cfg.manual_dir = str(fewer)
  prepare.prepare(cfg, tmp_path)
  made = next((tmp_path / "fewer").glob("deepscores/dense_2017/*"))
  made.rename(broken)
  second = _build(tmp_path / "b", broken, "cropped")
  assert 0 < _count(second) < _count(first)


def _count(folder) -> int:
  return (
    tfds.builder_from_directory(str(folder)).info.splits["train"].num_examples
  )


@settings(
  deadline=None,
  max_examples=60,
  suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
  st.integers(0, 1 << 30),
  st.floats(0, 1),
  st.integers(0, 200),
  st.sampled_from([b"", b"null", b"9999", b"-1.5", b"{}[]", b"\xff" * 8])
  | st.binary(max_size=20),
)
def test_nothing_but_input_errors_come_out(broken, which, at, size, text):
  files = [
    *sorted(broken.glob("*.json")),
    *sorted(broken.glob("*train.array_record*")),
    *sorted((broken / "box_index/train").iterdir()),
  ]
  path = files[which % len(files)]
  good = path.read_bytes()
  start = int(at * len(good))
  path.write_bytes(good[:start] + text + good[start + size :])
  options = symbols_parsing.Options()
  report = checks.BuildReport()
  try:
    data_set = symbols_parsing.read_data_set(broken, "cropped", options, report)
    for page in data_set.splits["train"]:
      for _, symbol in symbols_parsing.read_page(
        page, data_set.class_names, options, report
      ):
        assert symbol.labels[0] < len(data_set.class_names)
  except InputError as e:
    assert "\n" not in str(e)
  finally:
    path.write_bytes(good)
