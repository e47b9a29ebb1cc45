"""Pages from records: content, cache, classes left out, clear errors."""

import collections
import json
import pickle
import shutil

import numpy as np
import pytest

from dwd_jax.core import vocabulary
from dwd_jax.core.errors import InputError
from dwd_jax.data import sources
from dwd_jax.train.settings import default
from tfds_builders.symbols import symbols_records


def _open(builder, split, data_dir, **settings):
  cfg = default().data
  cfg.builder = builder
  cfg.update(settings)
  return sources.open_split(cfg, data_dir, split)


def test_a_page_is_what_was_drawn(train_source):
  names = train_source.box_index().filenames
  record = train_source[names.index("dummy-rgb-page-1.png")]
  assert record.image.dtype == np.uint8
  assert record.image.shape == (96, 128)
  assert record.labels.dtype == np.int32
  # Objects 1, 3, 5, 7 of the dummy page are filled rectangles.
  for y0, x0, y1, x1 in record.boxes_yxyx.round().astype(int)[1::2]:
    assert record.image[y0:y1, x0:x1].min() == 255
  assert record.image.mean() < 128


def test_index_and_pages_agree(train_source):
  index = train_source.box_index()
  assert len(train_source) == len(index.filenames) == 3
  assert (np.diff(index.page) >= 0).all()
  for i in range(3):
    record = train_source[i]
    labels, boxes = train_source.labels_and_boxes(i)
    np.testing.assert_array_equal(boxes, record.boxes_yxyx)
    np.testing.assert_array_equal(labels, record.labels)
    assert tuple(index.page_hw[i]) == record.image.shape
    assert record.filename == index.filenames[i]
  assert len(index.labels) == 16
  assert sorted(index.filenames)[0] == "dummy-empty-page-2.png"


def test_class_names_come_from_the_files(records):
  source = _open("muscima_pp", "train", records)
  assert source.class_names[-1] == "unused"
  assert len(source.class_names) == 5


def test_left_out_classes_are_gone_and_the_others_renumbered(records):
  whole = _open("deepscores", "train", records)
  part = _open(
    "deepscores", "train", records, leave_out=("augmentationDot", "brace")
  )
  assert part.class_names == ("noteheadBlack", "gClef")
  kept = np.isin(whole.box_index().labels, [0, 2])
  np.testing.assert_array_equal(
    part.box_index().boxes_yxyx, whole.box_index().boxes_yxyx[kept]
  )
  names = [part.class_names[i] for i in part.box_index().labels]
  assert names == [whole.class_names[i] for i in whole.box_index().labels[kept]]


def _with_vocabulary(records, folder, builder, vocabulary):
  """A copy of records that says which vocabulary its names are of."""
  shutil.copytree(records / builder, folder / builder)
  (path,) = (folder / builder).rglob("metadata.json")
  facts = json.loads(path.read_text())
  path.write_text(json.dumps(facts | {"vocabulary": vocabulary}))
  return folder


def test_classes_in_common_with_another_vocabulary(records, tmp_path):
  copy = _with_vocabulary(records, tmp_path, "deepscores", "deepscores_v1")
  whole = _open("deepscores", "train", copy)
  part = _open(
    "deepscores",
    "train",
    copy,
    leave_out=("brace",),
    common_with="muscima_v1",
  )
  assert whole.class_names == (
    "noteheadBlack",
    "augmentationDot",
    "gClef",
    "brace",
  )
  common = vocabulary.common_classes("deepscores_v1", "muscima_v1")
  left = tuple(n for n in common.names if n != common.of_a["brace"])
  assert part.class_names == left
  index, of_whole = part.box_index(), whole.box_index()
  kept = of_whole.labels != 3
  np.testing.assert_array_equal(index.boxes_yxyx, of_whole.boxes_yxyx[kept])
  names = [part.class_names[i] for i in index.labels]
  assert names == [
    common.of_a[whole.class_names[i]] for i in of_whole.labels[kept]
  ]
  assert part.unmapped_boxes == {}  # `brace` was left out, not unmapped


def test_boxes_of_unmapped_classes_are_counted(records, tmp_path):
  copy = _with_vocabulary(records, tmp_path, "muscima_pp", "muscima_v2")
  whole = _open("muscima_pp", "train", copy)
  part = _open("muscima_pp", "train", copy, common_with="deepscores_v1")
  common = vocabulary.common_classes("muscima_v2", "deepscores_v1")
  assert part.class_names == common.names
  want = collections.Counter(
    whole.class_names[i] for i in whole.box_index().labels
  )
  mapped = {n: k for n, k in want.items() if n in common.of_a}
  assert sum(mapped.values()) == len(part.box_index().labels) > 0
  assert part.unmapped_boxes == {n: want[n] for n in want.keys() - mapped}
  assert part.unmapped_boxes


def test_names_of_no_vocabulary_cannot_be_mapped(records, tmp_path):
  copy = _with_vocabulary(records, tmp_path, "deepscores", "")
  with pytest.raises(
    InputError, match=r"deepscores/.*: its class names belong"
  ):
    _open("deepscores", "train", copy, common_with="muscima_v1")


def test_a_window_is_the_same_part_of_the_page(train_source):
  page = train_source.image(0)
  part = train_source.image_window(0, 10, 20, 30, 40)
  np.testing.assert_array_equal(part, page[10:40, 20:60])


def test_a_copy_for_a_worker_reads_the_same(train_source):
  copy = pickle.loads(pickle.dumps(train_source))
  np.testing.assert_array_equal(copy.image(0), train_source.image(0))


@pytest.mark.parametrize(
  "change, message",
  [
    ({"builder": "deepscoes"}, "data.builder: no builder 'deepscoes'"),
    ({"builder": "../x"}, "data.builder: no builder"),
    ({"builder_config": "x"}, "data.builder_config: .* known: dense_2017"),
    ({"split": "tset"}, r"no split 'tset'; it has test, train, val"),
    ({"split": "train+x"}, r"no split 'x'"),
    ({"data_dir": "nowhere"}, "nowhere.*: no prepared records"),
    ({"leave_out": ("stem",)}, "data.leave_out: .* has no class 'stem'"),
  ],
  ids=lambda x: str(x) if isinstance(x, dict) else "",
)
def test_errors_name_the_key(records, change, message):
  arguments = {"builder": "deepscores", "split": "train", "data_dir": records}
  with pytest.raises(InputError, match=message):
    _open(**{**arguments, **change})


def test_the_stored_boxes_are_those_of_the_records(records):
  stored = _open("deepscores", "train", records).box_index()
  read = _open("deepscores", "train[:100%]", records).box_index()
  assert stored.filenames == read.filenames
  for name in ("boxes_yxyx", "labels", "page", "page_hw"):
    np.testing.assert_array_equal(getattr(stored, name), getattr(read, name))


@pytest.mark.parametrize(
  "damage", ["gone", "cut short", "of other pages", "no array"]
)
def test_without_stored_boxes_the_records_are_read(records, tmp_path, damage):
  shutil.copytree(records, tmp_path / "copy")
  (path,) = (tmp_path / "copy").rglob("deepscores/**/box_index/train")
  if damage == "gone":
    shutil.rmtree(path)
  elif damage == "cut short":
    whole = (path / "labels.npy").read_bytes()
    (path / "labels.npy").write_bytes(whole[:-4])
  elif damage == "no array":
    whole = (path / "labels.npy").read_bytes()
    (path / "labels.npy").write_bytes(whole.replace(b"'descr'", b"'descr(("))
  else:
    shutil.rmtree(path)
    shutil.copytree(path.parent / "val", path)
  want = _open("deepscores", "train", records)
  have = _open("deepscores", "train", tmp_path / "copy")
  for a, b in zip(
    want.labels_and_boxes(1), have.labels_and_boxes(1), strict=True
  ):
    np.testing.assert_array_equal(a, b)


def test_records_name_no_files_of_other_folders(records, tmp_path):
  folder = tmp_path / "1.0.0"
  shutil.copytree(_open("deepscores", "train", records).folder, folder)
  path = folder / "dataset_info.json"
  info = json.loads(path.read_text())
  for split in info["splits"]:
    split["filepathTemplate"] = f"../{split['filepathTemplate']}"
  path.write_text(json.dumps(info))
  with pytest.raises(InputError, match="names files of another folder"):
    sources.open_records(folder, "train")


@pytest.mark.parametrize("name", ["labels", "boxes_yxyx", "pixel_labels"])
def test_features_of_other_types_are_damaged(records, tmp_path, name):
  folder = tmp_path / "1.0.0"
  shutil.copytree(_open("deepscores", "train", records).folder, folder)
  path = folder / "features.json"
  content = json.loads(path.read_text())
  features = content["featuresDict"]["features"]
  features[name] = features["image/height"]
  path.write_text(json.dumps(content))
  with pytest.raises(InputError, match=f"feature {name} is of another type"):
    sources.open_records(folder, "train")


def test_stored_boxes_of_unknown_classes_are_refused(records, tmp_path):
  shutil.copytree(records, tmp_path / "copy")
  (path,) = (tmp_path / "copy").rglob("deepscores/**/box_index/train")
  np.save(path / "labels.npy", np.load(path / "labels.npy") + 9)
  source = _open("deepscores", "train", tmp_path / "copy")
  with pytest.raises(InputError, match="boxes of unknown classes"):
    source.box_index()


def test_split_expressions(records):
  both = _open("deepscores", "train+val", records)
  assert len(both) == 4
  first = _open("deepscores", "train[:1]", records)
  assert len(first) == 1


# Caption: what someone else's features.json says of a feature.
HOSTILE = {
  "a module of his": {"pythonClassName": "payload.Feature"},
  "as protobuf writes names, too": {"python_class_name": "payload.Feature"},
  "a module of ours": {"pythonClassName": "dwd_jax.main.Feature"},
  "deep inside": {"content": [{"pythonClassName": "payload.Feature"}]},
  "no text": {"pythonClassName": ["payload.Feature"]},
}


@pytest.mark.parametrize("caption", HOSTILE)
def test_records_run_no_code(records, tmp_path, monkeypatch, caption):
  folder = tmp_path / "records"
  shutil.copytree(_open("muscima_pp", "train", records).folder, folder)
  ran = tmp_path / "ran"
  code = f"import pathlib; pathlib.Path({str(ran)!r}).touch()"
  (tmp_path / "payload.py").write_text(code)
  monkeypatch.syspath_prepend(tmp_path)
  path = folder / "features.json"
  features = json.loads(path.read_text())
  features["featuresDict"]["features"]["image"] |= HOSTILE[caption]
  path.write_text(json.dumps(features))
  line = r"features\.json: names .*would be run"
  with pytest.raises(InputError, match=line):
    sources.open_records(folder, "train")
  with pytest.raises(InputError, match=line):
    symbols_records.class_names_of(folder)
  assert not ran.exists()


@pytest.mark.parametrize(
  "text", ["", "[]", '{"type": "payload.X"}', "[" * 9999]
)
def test_features_of_other_forms_are_damaged(records, tmp_path, text):
  folder = tmp_path / "records"
  shutil.copytree(_open("muscima_pp", "train", records).folder, folder)
  (folder / "features.json").write_text(text)
  with pytest.raises(
    InputError, match=r"damaged or missing records \(features"
  ):
    sources.open_records(folder, "train")


@pytest.mark.parametrize(
  "text", ["", "[]", "{}", "[" * 9999, '{"class_names": 3}', "\xff"]
)
def test_metadata_of_other_forms_are_damaged(records, tmp_path, text):
  folder = tmp_path / "records"
  shutil.copytree(_open("muscima_pp", "train", records).folder, folder)
  (folder / "metadata.json").write_text(text, encoding="latin1")
  for read in (
    lambda: sources.open_records(folder, "train"),
    lambda: symbols_records.class_names_of(folder),
  ):
    with pytest.raises(InputError, match=r"missing records \(metadata\.json: "):
      read()


@pytest.mark.parametrize("damage", ["truncated", "a byte changed", "gone"])
def test_damaged_records_name_their_folder(records, tmp_path, damage):
  shutil.copytree(records, tmp_path / "copy")
  (path,) = (tmp_path / "copy").rglob("deepscores-train.array_record*")
  whole = path.read_bytes()
  if damage == "gone":
    path.unlink()
  elif damage == "truncated":
    path.write_bytes(whole[: len(whole) // 2])
  else:
    path.write_bytes(whole[:100] + bytes(20) + whole[120:])
  with pytest.raises(InputError, match=r"dense_2017/2\.0\.0: damaged") as e:
    source = _open("deepscores", "train", tmp_path / "copy")
    for i in range(len(source)):
      source.image(i)
  assert "\n" not in str(e.value)
