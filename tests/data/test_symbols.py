"""Symbol records: built from records and folders, read by class."""

import json
import pathlib

import numpy as np
import pytest

from dwd_jax.core.errors import InputError
from dwd_jax.data import prepare, sources, symbols, synthetic
from dwd_jax.data.scenes import Scene
from dwd_jax.train.settings import default


def _build(out, manual_dir, config, workers=1, beam_args=None, **options):
  """The folder of the records."""
  cfg = default().data
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
  facts = [
    json.loads((folder / "metadata.json").read_text())
    for folder in (pages, cropped, engraved)
  ]
  for of_folder in facts:
    of_folder.pop("is_music")  # crops of symbols show no staves
  assert facts[0] == facts[1] == facts[2]


def test_records_give_synthetic_symbols(pages, tmp_path):
  folder = _build(tmp_path, pages, "cropped", per_class=2, context_px=7)
  source = sources.open_records(pages, "train", leave_out=("noteheadBlack",))
  cfg = default().data
  cfg.leave_out = ("noteheadBlack",)
  assert synthetic.open_synthetic(source, cfg) is None
  cfg.synthetic.layout, cfg.synthetic.path = "full", str(folder)
  cfg.synthetic.prob = 1.0
  add = synthetic.open_synthetic(source, cfg)
  assert add is not None
  page = Scene(
    np.zeros((300, 300), np.uint8),
    np.zeros((0, 4), np.float32),
    np.zeros(0, np.int32),
  )
  scene = add(page, np.random.default_rng(0), 1.0)
  assert len(scene.labels) > 4
  # Ids are those of the pages: one class fewer than the records have.
  found = symbols.open_symbol_records(folder, source.class_names)
  assert set(scene.labels) <= set(found.labels[found.labels >= 0])
  cfg.synthetic.path = str(pages)
  with pytest.raises(InputError, match="not of symbols"):
    synthetic.open_synthetic(source, cfg)


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
  assert _shards(plain) == _shards(beam)
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


def _of(found, label: int) -> np.ndarray:
  return np.flatnonzero(found.labels == label)


def test_symbols_have_their_image_and_neighbours(pages, tmp_path):
  folder = _build(tmp_path, pages, "cropped")
  found = symbols.open_symbol_records(folder)
  source = sources.open_records(folder, "train")
  assert len(found.labels) == len(source)
  for i, record in enumerate(_all(source)):
    symbol = found[i]
    assert symbol.image_hw == record.image.shape
    np.testing.assert_array_equal(
      symbol.read(0, 0, *symbol.image_hw), record.image
    )
    np.testing.assert_array_equal(symbol.box_yxyx, record.boxes_yxyx[0])
    np.testing.assert_array_equal(symbol.boxes_yxyx, record.boxes_yxyx)
    np.testing.assert_array_equal(symbol.labels, record.labels)
    assert symbol.labels[0] == found.labels[i]


def test_classes_have_the_ids_of_the_pages(pages, tmp_path):
  folder = _build(tmp_path, pages, "cropped")
  own = symbols.open_symbol_records(folder)
  # Numbered anew, one left out, as data.leave_out does.
  names = own.class_names[:0:-1]
  found = symbols.open_symbol_records(folder, names)
  assert (found.labels < 0).sum() == len(_of(own, 0)) > 0
  for i in range(len(own.labels)):
    theirs, mine = own[i], found[i]
    assert [
      names[c] if c >= 0 else own.class_names[0] for c in mine.labels
    ] == [own.class_names[c] for c in theirs.labels]


def test_classes_of_another_vocabulary(pages, tmp_path):
  given = {"leave_out": ("gClef",), "common_with": "muscima_v2"}
  source = sources.open_records(pages, "train", **given)
  folder = _build(tmp_path, pages, "cropped")
  own = symbols.open_symbol_records(folder)
  found = symbols.open_symbol_records(folder, source.class_names, **given)
  assert found.class_names == source.class_names
  assert (
    symbols.open_symbol_records(folder, **given).class_names
    == source.class_names
  )
  # As many as there are boxes: the dummy pages have fewer than per_class.
  labels = source.box_index().labels
  known = found.labels[found.labels >= 0]
  np.testing.assert_array_equal(np.bincount(known), np.bincount(labels))
  left_out = _of(own, own.class_names.index("gClef"))
  assert len(left_out) > 0
  assert np.all(found.labels[left_out] == -1)
  assert 0 < len(known) < len(own.labels)


def test_symbols_of_nothing_are_errors(pages, tmp_path):
  folder = _build(tmp_path, pages, "cropped")
  with pytest.raises(InputError, match="no symbol of a class such as 'house'"):
    symbols.open_symbol_records(folder, ["house"])
  with pytest.raises(InputError, match="not of symbols; build symbols from"):
    symbols.open_symbol_records(pages)
  left = sources.open_records(folder, "train", leave_out=("noteheadBlack",))
  with pytest.raises(InputError, match=r"without data\.leave_out"):
    symbols.SymbolsOfRecords(left)
