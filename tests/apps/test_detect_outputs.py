"""Files of all pages: streamed in one pass, the same as if made at once."""

import csv
import importlib.util
import json
import weakref

import detect_helpers as helpers
import numpy as np
import pytest
from pyarrow import parquet

from dwd_jax.apps.detect import (
  formats,
  inputs,
  manifest,
  obb_anns,
  outputs,
  tables,
)
from dwd_jax.core.errors import InputError
from dwd_jax.metrics import json_results
from dwd_jax.predict.page_detections import PageDetections
from dwd_jax.show.viewer import write as viewer
from tfds_builders import checks
from tfds_builders.boxes import boxes_parsing

pytestmark = pytest.mark.filterwarnings("ignore:.*pictures are miss")
SETTINGS = {"min_score": 0.25}
FACTS = formats.RunFacts(helpers.CLASSES, 0.25)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
  monkeypatch.setattr(viewer, "PART_PAGES", 4)


def _pages(count, symbols=5, oriented=False, plain=False):
  """Sources and results of made-up pages; the third is empty."""
  rng = np.random.default_rng(0)
  for i in range(count):
    many = 0 if i == 2 else symbols
    corner = rng.uniform(0, 80, (many, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(1, 20, (many, 2))], 1)
    name = f"=page {i} ä" if plain else f"=page {i} </script> ä"
    yield (
      inputs.Source(name, f"\udce9/{name}.png", i + 1, count),
      PageDetections(
        page=name,
        image_hw=(100, 120),
        boxes_yxyx=boxes.astype(np.float32),
        labels=rng.integers(0, len(helpers.CLASSES), many).astype(np.int32),
        scores=np.sort(rng.random(many))[::-1],
        class_names=helpers.CLASSES,
        oriented_yx=_inside(boxes) if oriented else None,
        positions=np.resize([2, -128], many) if oriented else None,
      ),
    )


def _inside(boxes_yxyx):
  """Corners on the sides of the boxes."""
  y0, x0, y1, x1 = boxes_yxyx.astype(np.float32).T
  part = 0.25 * (x1 - x0)
  corners = (y0, x0 + part, y1 - 1, x1, y1, x1 - part, y0 + 1, x0)
  return np.stack(corners, axis=1).reshape(-1, 4, 2)


def _write(out, pages, facts=None):
  """What a merge does with the results of pages; returns their names."""
  facts, pages = facts or FACTS, list(pages)
  outputs.check_folder(out, SETTINGS)
  names = [source.name for source, _ in pages]
  outputs.claim_run(out, SETTINGS, names, facts.formats)
  outputs.write_run(out, iter(pages), facts)
  outputs.finish(out, SETTINGS, names, [], optional=facts.formats)
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


ORIENTED = FACTS._replace(extras=("oriented", "position"))


def test_corners_and_positions_are_in_every_table(tmp_path):
  _write(tmp_path, _pages(3, oriented=True), ORIENTED)
  pages = [found for _, found in _pages(3, oriented=True)]
  rows = json.loads((tmp_path / "predictions.json").read_text())
  expected = np.concatenate([p.oriented_yx[..., ::-1] for p in pages])
  polygons = [row["segmentation"] for row in rows]
  np.testing.assert_allclose(
    np.reshape(polygons, (-1, 4, 2)), expected, atol=0.0051
  )
  names = [f"{axis}{i}" for i in (1, 2, 3, 4) for axis in "xy"]
  with (tmp_path / "detections.csv").open(encoding="utf8", newline="") as file:
    lines = list(csv.DictReader(file))
  table = parquet.read_table(tmp_path / "detections.parquet").to_pylist()
  for of in (lines, table):
    assert [[[float(row[n]) for n in names]] for row in of] == polygons
  wanted = [2, None, 2, None, 2] * 2
  assert [row.get("position") for row in rows] == wanted
  assert [row["position"] for row in table] == wanted
  as_text = ["" if p is None else str(p) for p in wanted]
  assert [row["position"] for row in lines] == as_text


def test_our_builder_reads_the_dota_files(tmp_path):
  facts = ORIENTED._replace(
    formats=("dota",), class_names=("clef G", *helpers.CLASSES[1:])
  )
  pages = list(_pages(3, oriented=True, plain=True))
  _write(tmp_path, pages, facts)
  for source, _ in pages:
    helpers.save(tmp_path / "images" / f"{source.name}.png", helpers.ink(0))
  report = checks.BuildReport()
  options = boxes_parsing.Options()
  data = boxes_parsing.read_data_set(tmp_path, "dota", options, report)
  read = {page.name: page for of in data.splits.values() for page in of}
  assert set(data.class_names) == {"clef_G", *helpers.CLASSES[1:]}
  for source, found in pages:
    rows = read[source.name].rows
    names = [data.class_names[label] for label in rows.labels]
    assert names == [name.replace("clefG", "clef_G") for name in found.names]
    np.testing.assert_allclose(rows.outlines_yx, found.oriented_yx, atol=0.0051)
  assert "difficult objects kept" not in report.counts  # it has a score
  _write(tmp_path, _pages(2))  # without corners, not asked for
  assert _files(tmp_path / "labelTxt") == []
  with pytest.raises(InputError, match=r"labelTxt.*: is there already"):
    (tmp_path / "labelTxt").mkdir()
    (tmp_path / "labelTxt" / f"{pages[0][0].name}.txt").write_text("truth")
    _write(tmp_path, pages, facts)


@pytest.mark.parametrize("oriented", [True, False])
def test_proposals_have_the_numbers_of_deepscores_v2(oriented, tmp_path):
  pages = list(_pages(4, oriented=oriented, plain=True))
  path = _annotations(tmp_path, [source.name for source, _ in pages[:3]])
  numbers = obb_anns.read_numbers(path, helpers.CLASSES)
  facts = FACTS._replace(formats=("obb_anns",), numbers=numbers)
  out = tmp_path / "out"
  with pytest.warns(UserWarning, match="1 pages are not in"):
    _write(out, pages, facts)
  content = json.loads((out / "proposals.json").read_text())
  assert content["annotation_set"] == "muscima++"
  cats = {"clefG": 7, "noteheadBlack": 9, "restQuarter": 8}
  expected = []
  for number, (_, found) in enumerate(pages[:3]):
    for symbol, box in zip(found, found.boxes_yxyx, strict=True):
      bbox = (
        np.reshape(symbol["oriented"], -1) if oriented else box[[1, 0, 3, 2]]
      )
      expected.append((cats[symbol["name"]], 410 + number, bbox))
  assert len(content["proposals"]) == len(expected) == 10
  for row, (cat, img, bbox) in zip(content["proposals"], expected, strict=True):
    assert (row["cat_id"], row["img_id"]) == (cat, img)
    assert 0 < row["score"] < 1
    np.testing.assert_allclose(row["bbox"], bbox, atol=0.011)


def _annotations(folder, names):
  """A file of DeepScoresV2; only its second set has all our classes."""
  classes = [("deepscores", "clefG"), ("muscima++", "clefG")]
  classes += [("muscima++", "restQuarter"), ("muscima++", "noteheadBlack")]
  content = {
    "annotation_sets": ["deepscores", "muscima++"],
    "categories": {
      str(i): {"name": name, "annotation_set": of, "color": 1}
      for i, (of, name) in enumerate(classes, 6)
    },
    "images": [
      {
        "id": i,
        "filename": f"{name}.png",
        "width": 120,
        "height": 100,
        "ann_ids": [],
      }
      for i, name in enumerate(names, 410)
    ],
    "annotations": {},
  }
  path = folder / "annotations.json"
  path.write_text(json.dumps(content), encoding="utf8")
  return path


def test_a_detector_of_other_classes_makes_no_proposals(tmp_path):
  path = _annotations(tmp_path, ["a"])
  with pytest.raises(InputError, match="none of its annotation sets has all"):
    obb_anns.read_numbers(path, ("clefG", "car"))


def test_no_pages_and_no_symbols(tmp_path):
  outputs.write_run(tmp_path, iter(()), FACTS)
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

  outputs.write_run(tmp_path, watched(), FACTS)
  assert len(most) == 40 and max(most) <= 3


def test_a_run_that_fails_leaves_the_files_before(tmp_path):
  _write(tmp_path, _pages(2))
  before = {f: (tmp_path / f).read_bytes() for f in _files(tmp_path)}

  def broken():
    yield from _pages(3)
    raise OSError("lost")

  with pytest.raises(OSError, match="lost"):
    outputs.write_run(tmp_path, broken(), FACTS)
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
