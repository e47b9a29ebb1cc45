"""Files of all pages: streamed in one pass, the same as if made at once."""

import csv
import importlib.util
import json
import weakref

import detect_helpers as helpers
import numpy as np
import pytest
from pyarrow import parquet

from dwd_jax.apps.detect import inputs, manifest, outputs, tables
from dwd_jax.core.errors import InputError
from dwd_jax.metrics import json_results
from dwd_jax.predict.page_detections import PageDetections
from dwd_jax.show.viewer import write as viewer

pytestmark = pytest.mark.filterwarnings("ignore:.*pictures of pages are miss")
SETTINGS = {"min_score": 0.25}


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
  monkeypatch.setattr(viewer, "PART_PAGES", 4)


def _pages(count, symbols=5):
  """Sources and results of made-up pages; the third is empty."""
  rng = np.random.default_rng(0)
  for i in range(count):
    many = 0 if i == 2 else symbols
    corner = rng.uniform(0, 80, (many, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(1, 20, (many, 2))], 1)
    name = f"=page {i} </script> ä"
    yield (
      inputs.Source(name, f"\udce9/{name}.png", i + 1, count),
      PageDetections(
        page=name,
        image_hw=(100, 120),
        boxes_yxyx=boxes.astype(np.float32),
        labels=rng.integers(0, len(helpers.CLASSES), many).astype(np.int32),
        scores=np.sort(rng.random(many))[::-1],
        class_names=helpers.CLASSES,
      ),
    )


def _write(out, pages):
  """What a merge does with the results of pages; returns their names."""
  pages = list(pages)
  outputs.check_folder(out, SETTINGS)
  outputs.claim_run(out, SETTINGS, len(pages))
  outputs.write_run(out, iter(pages), helpers.CLASSES, 0.25)
  names = [source.name for source, _ in pages]
  outputs.finish(out, SETTINGS, names, [])
  return names


def _files(folder):
  paths = sorted(p for p in folder.rglob("*") if not p.is_dir())
  return [p.relative_to(folder).as_posix() for p in paths]


def test_what_is_streamed_is_what_is_made_at_once(tmp_path, monkeypatch):
  monkeypatch.setattr(tables, "_GROUP_ROWS", 12)
  pages = list(_pages(6))
  _write(tmp_path, pages)
  rows = [r for i, (_, f) in enumerate(pages, 1) for r in f.to_coco(i)]
  assert (tmp_path / "predictions.json").read_text() == json.dumps(rows)
  images = [
    json_results.coco_image(i, f.page, f.image_hw)
    for i, (_, f) in enumerate(pages, 1)
  ]
  categories = json_results.coco_categories(helpers.CLASSES)
  content = json.dumps({"images": images, "categories": categories})
  assert (tmp_path / "coco_images.json").read_text() == content
  with (tmp_path / "detections.csv").open(encoding="utf8", newline="") as file:
    lines = list(csv.DictReader(file))
  expected = []
  for source, found in pages:
    for symbol in found:
      x, y, w, h = symbol["bbox"]
      box = [x, y, round(x + w, 2), round(y + h, 2)]
      row = [source.number, symbol["name"], symbol["score"], *box, 120, 100]
      expected.append(list(map(str, row)))
  assert [list(line.values())[2:] for line in lines] == expected
  table = parquet.ParquetFile(tmp_path / "detections.parquet")
  assert table.num_row_groups == 2  # of whole pages
  named = table.schema_arrow.field("name").type
  assert str(named).startswith("dictionary<values=string")
  same = table.read().to_pylist()
  assert len(same) == len(lines) == 25
  for line, row in zip(lines, same, strict=True):
    assert row["page"].startswith("=page") and line["page"] == f"'{row['page']}"
    assert row["file"] == f"?/{row['page']}.png"
    for key, value in row.items():
      assert line[key] == str(value) or line[key] == f"'{value}"


def test_no_pages_and_no_symbols(tmp_path):
  outputs.write_run(tmp_path, iter(()), helpers.CLASSES, 0.25)
  assert (tmp_path / "predictions.json").read_text() == "[]"
  assert parquet.read_table(tmp_path / "detections.parquet").num_rows == 0
  assert (tmp_path / "detections.csv").read_text().count("\n") == 1


def test_few_pages_are_in_memory_at_once(tmp_path):
  alive, most = weakref.WeakSet(), []

  def watched():
    for source, found in _pages(40):
      alive.add(found)
      most.append(len(alive))
      yield source, found
      del found

  outputs.write_run(tmp_path, watched(), helpers.CLASSES, 0.25)
  assert len(most) == 40 and max(most) <= 3


def test_a_run_that_fails_leaves_the_files_before(tmp_path):
  _write(tmp_path, _pages(2))
  before = {f: (tmp_path / f).read_bytes() for f in _files(tmp_path)}

  def broken():
    yield from _pages(3)
    raise OSError("lost")

  with pytest.raises(OSError, match="lost"):
    outputs.write_run(tmp_path, broken(), helpers.CLASSES, 0.25)
  assert {f: (tmp_path / f).read_bytes() for f in _files(tmp_path)} == before


def test_without_pyarrow_there_is_no_parquet(tmp_path, monkeypatch):
  _write(tmp_path, _pages(2))
  assert "detections.parquet" in _files(tmp_path)
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
  _write(tmp_path, _pages(2))
  assert "detections.parquet" not in _files(tmp_path)  # it would be old
  (tmp_path / "detections.parquet").write_text("of the user")
  _write(tmp_path, _pages(2))
  assert (tmp_path / "detections.parquet").read_text() == "of the user"
  monkeypatch.undo()
  with pytest.raises(
    InputError, match=r"detections\.parquet: is there already"
  ):
    _write(tmp_path, _pages(2))


def test_parts_of_a_larger_run_are_removed_and_only_those(tmp_path):
  _write(tmp_path, _pages(11))
  parts = [f"viewer/part-000{i}.js" for i in (1, 2, 3)]
  assert _files(tmp_path / "viewer") == [p.split("/")[1] for p in parts]
  (tmp_path / "viewer/part-0004.js").write_text("of the user")
  _write(tmp_path, _pages(5))
  assert _files(tmp_path / "viewer") == [
    "part-0001.js", "part-0002.js", "part-0004.js"
  ]  # fmt: skip
  with pytest.raises(InputError, match=r"part-0004\.js: is there already"):
    _write(tmp_path, _pages(13))
  _write(tmp_path, _pages(1))
  assert _files(tmp_path / "viewer") == ["part-0004.js"]
  (tmp_path / "viewer/part-0004.js").unlink()
  _write(tmp_path, _pages(5))
  outputs.remove(tmp_path)
  assert list(tmp_path.iterdir()) == []


def test_a_link_in_the_place_of_the_parts_is_not_followed(tmp_path):
  theirs = tmp_path / "theirs"
  theirs.mkdir()
  out = tmp_path / "out"
  out.mkdir()
  (out / "viewer").symlink_to(theirs)
  _write(out, _pages(2))  # needs no parts
  with pytest.raises(InputError, match="viewer: a link"):
    _write(out, _pages(9))
  assert list(theirs.iterdir()) == []


def test_a_manifest_of_strangers_removes_only_what_runs_write(tmp_path):
  out = tmp_path / "out"
  out.mkdir()
  names = ["notes.txt", "../notes.txt", "viewer/../notes.txt", "viewer/x.js"]
  (out / "viewer").mkdir()
  for name in names:
    (out / name).write_text("precious")
  manifest.write(
    out / manifest.NAME, SETTINGS, ["..", "../notes"], (), (), names
  )
  outputs.remove(out)
  assert all((out / name).read_text() == "precious" for name in names)


def test_the_files_of_an_older_manifest_are_known(tmp_path):
  (tmp_path / "detect.json").write_text(
    '{"settings": {"min_score": 0.25}, "pages": []}'
  )
  for name in ("index.html", "detections.csv"):
    (tmp_path / name).write_text("of an earlier version")
  _write(tmp_path, _pages(2))
  assert "page" in (tmp_path / "detections.csv").read_text(encoding="utf8")


def test_a_manifest_of_a_million_pages_can_be_read(tmp_path):
  names = [f"{'ä' * 57}{i:06d}" for i in range(1000)]  # 120 bytes, the most
  failed = [{"what": "\udce9", "reason": "broken"}]
  path = tmp_path / manifest.NAME
  manifest.write(path, SETTINGS, [*names, "z"], names, failed, ["index.html"])
  assert path.stat().st_size * 1000 < manifest._MAX_BYTES
  written = manifest.read(path)
  assert written.claimed == {*names, "z"}
  assert (written.failed, written.run_files) == (
    {"\udce9": "broken"}, {"index.html"}
  )  # fmt: skip
  content = json.loads(path.read_text(encoding="utf8"))
  assert content["pages"] == names and content["claimed"] == ["z"]
  assert content["settings"] == SETTINGS
