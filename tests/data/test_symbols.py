"""Symbol records: built from records and folders, read by class."""

import json
import pathlib
import shutil

import numpy as np
import pytest
import tensorflow_datasets as tfds
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from configs import default
from dwd_jax.data import prepare, sources, symbols
from dwd_jax.errors import InputError
from tfds_builders import checks
from tfds_builders.symbols import symbols_parsing


def _build(out, manual_dir, config, workers=1, beam_args=None, **options):
  """The folder of the records."""
  cfg = default.get_config().data
  cfg.builder, cfg.builder_config = "symbols", config
  cfg.manual_dir, cfg.data_dir = str(manual_dir), str(out)
  cfg.options.update(options)
  prepare.prepare(cfg, out, workers=workers, beam_args=beam_args)
  return pathlib.Path(out) / "symbols" / config / "1.0.0"


def _all(source):
  return [source[i] for i in range(len(source))]


def _shards(folder: pathlib.Path) -> dict[str, bytes]:
  found = {p.name: p.read_bytes() for p in folder.glob("*.array_record*")}
  assert found
  return found


@pytest.fixture
def pages(records) -> pathlib.Path:
  """Records of the dummy pages of DeepScores."""
  return next(records.glob("deepscores/dense_2017/*"))


@pytest.fixture
def scores(repo_dir) -> pathlib.Path:
  return repo_dir / "tfds_builders/deepscores/dummy_data"


def test_from_records_as_from_the_pages_themselves(pages, scores, tmp_path):
  cropped = _build(tmp_path, pages, "cropped", per_class=2, context_px=7)
  engraved = _build(tmp_path, scores, "engraved", per_class=2, context_px=7)
  mine, theirs = (sources.open_records(f, "train") for f in (cropped, engraved))
  assert len(mine) == len(theirs) > 4
  for a, b in zip(_all(mine), _all(theirs), strict=True):
    assert a.filename == b.filename
    np.testing.assert_array_equal(a.image, b.image)
    np.testing.assert_array_equal(a.boxes_yxyx, b.boxes_yxyx)
    np.testing.assert_array_equal(a.labels, b.labels)
  page_facts = json.loads((pages / "metadata.json").read_text())
  for folder in (cropped, engraved):
    assert json.loads((folder / "metadata.json").read_text()) == page_facts


@pytest.mark.parametrize("config", ["cropped", "folder"])
def test_threads_change_nothing(config, pages, repo_dir, tmp_path):
  given = {
    "cropped": pages,
    "folder": repo_dir / "tfds_builders/symbols/dummy_data",
  }[config]
  one = _build(tmp_path / "a", given, config)
  three = _build(tmp_path / "b", given, config, workers=3)
  assert _shards(one) == _shards(three)


@pytest.mark.parametrize("config", ["cropped", "engraved", "masks"])
def test_beam_makes_the_same_records(config, pages, repo_dir, tmp_path):
  pytest.importorskip("apache_beam", reason="needs dwd_jax[beam]")
  builders = repo_dir / "tfds_builders"
  given = {
    "cropped": pages,
    "engraved": builders / "deepscores/dummy_data",
    "masks": builders / "muscima_pp/dummy_data",
  }[config]
  plain = _build(tmp_path / "plain", given, config)
  beam = _build(
    tmp_path / "beam", given, config, beam_args=["--runner=FnApiRunner"]
  )
  mine, theirs = (
    {r.filename: r for r in _all(sources.open_records(f, "train"))}
    for f in (plain, beam)
  )
  assert mine.keys() == theirs.keys()
  for name, record in mine.items():
    np.testing.assert_array_equal(record.image, theirs[name].image)
    np.testing.assert_array_equal(record.boxes_yxyx, theirs[name].boxes_yxyx)
  reports = [(f / "build_report.json").read_text() for f in (plain, beam)]
  assert reports[0] == reports[1]


def test_symbols_come_from_the_split_train_only(pages, tmp_path):
  folder = _build(tmp_path, pages, "cropped")
  assert [p.name for p in (folder / "box_index").iterdir()] == ["train"]
  names = {r.filename for r in _all(sources.open_records(folder, "train"))}
  train = sources.open_records(pages, "train").box_index()
  others = sources.open_records(pages, "val+test").box_index()
  assert {name.rpartition("-")[0] for name in names} <= {
    pathlib.PurePath(f).stem for f in train.filenames
  }
  assert len(names) == len(train.labels)  # fewer than per_class: all of them
  assert len(others.labels) > 0


def test_the_symbol_is_the_first_box_and_has_ink(pages, tmp_path):
  source = sources.open_records(_build(tmp_path, pages, "cropped"), "train")
  index = source.box_index()
  first = np.searchsorted(index.page, np.arange(len(source)))
  for i, record in enumerate(_all(source)):
    np.testing.assert_array_equal(
      record.boxes_yxyx[0], index.boxes_yxyx[first[i]]
    )
    y0, x0, y1, x1 = np.round(record.boxes_yxyx[0]).astype(int)
    assert record.image[y0:y1, x0:x1].max() > 127
    middle = (record.boxes_yxyx[0, :2] + record.boxes_yxyx[0, 2:]) / 2
    assert np.all(np.abs(middle - np.array(record.image.shape) / 2) < 0.51)


def test_pairs_of_a_class(pages, tmp_path):
  names = sources.open_records(pages, "train").class_names
  bank = symbols.open_bank(_build(tmp_path, pages, "cropped"), names)
  counts = bank.counts()
  assert counts.sum() == len(bank)
  assert counts.tolist() == [len(bank.of_class(c)) for c in range(len(names))]
  paired = 0
  for label in np.flatnonzero(counts >= 2):
    a, b = (bank[int(i)] for i in bank.of_class(int(label))[:2])
    assert a.filename != b.filename
    assert a.labels[0] == b.labels[0] == label
    paired += 1
  assert paired >= 3


def test_classes_have_the_ids_of_the_pages(pages, tmp_path):
  folder = _build(tmp_path, pages, "cropped")
  own = symbols.open_bank(folder)
  # Numbered anew, one left out, as data.leave_out does.
  names = own.class_names[:0:-1]
  bank = symbols.open_bank(folder, names)
  assert (bank.labels < 0).sum() == len(own.of_class(0)) > 0
  for i in np.flatnonzero(bank.labels >= 0):
    theirs, mine = own[int(i)], bank[int(i)]
    assert [names[c] for c in mine.labels] == [
      own.class_names[c] for c in theirs.labels if c
    ]
  with pytest.raises(ValueError, match="no known class"):
    bank[int(np.flatnonzero(bank.labels < 0)[0])]


def test_classes_of_another_vocabulary(pages, tmp_path):
  given = {"leave_out": ("gClef",), "common_with": "muscima_v2"}
  source = sources.open_records(pages, "train", **given)
  folder = _build(tmp_path, pages, "cropped")
  own = symbols.open_bank(folder)
  bank = symbols.open_bank(folder, source.class_names, **given)
  assert bank.class_names == source.class_names
  assert symbols.open_bank(folder, **given).class_names == source.class_names
  # As many as there are boxes: the dummy pages have fewer than per_class.
  labels = source.box_index().labels
  np.testing.assert_array_equal(
    bank.counts(), np.bincount(labels, minlength=len(source.class_names))
  )
  left_out = own.of_class(own.class_names.index("gClef"))
  assert len(left_out) > 0
  assert np.all(bank.labels[left_out] == -1)
  assert 0 < bank.counts().sum() < len(own)


def test_banks_of_nothing_are_errors(pages, tmp_path):
  folder = _build(tmp_path, pages, "cropped")
  with pytest.raises(InputError, match="no symbol of a class such as 'house'"):
    symbols.open_bank(folder, ["house"])
  with pytest.raises(InputError, match="not of symbols; build symbols from"):
    symbols.open_bank(pages)
  left = sources.open_records(folder, "train", leave_out=("noteheadBlack",))
  with pytest.raises(InputError, match=r"without data\.leave_out"):
    symbols.SymbolBank(left)


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
  "info no JSON": (_write("dataset_info.json", "{"), "damaged or missing"),
  "info empty": (
    _write("dataset_info.json", "{}"),
    "damaged or missing|no spl",
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


def test_records_built_anew_are_read_anew(broken, scores, tmp_path):
  first = _build(tmp_path / "a", broken, "cropped")
  shutil.rmtree(broken)
  cfg = default.get_config().data
  cfg.builder, cfg.data_dir = "deepscores", str(tmp_path / "fewer")
  fewer = tmp_path / "scores"
  shutil.copytree(scores, fewer)
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
