"""Two saved evaluations: what they say of each other, and which are refused."""

import json
import pathlib
import shutil

import eval_helpers
import pytest
from eval_helpers import HOSTILE

from dwd_jax import compare as program
from dwd_jax.core.errors import InputError
from dwd_jax.evaluate.compare import compare_files, crops
from dwd_jax.metrics import bootstrap


def _change(path, change):
  content = eval_helpers.read(path)
  content = change(content) or content
  path.write_text(json.dumps(content))
  return content


def _without_clefs(rows):
  return [row for row in rows if row["category_id"] != 2]


def _oriented(rows):
  """Only the first detector has corners."""
  for row in rows:
    x, y, width, height = row["bbox"]
    corners = [(0, 0), (width, 0), (width, height), (0, height)]
    row["segmentation"] = [[v for i, j in corners for v in (x + i, y + j)]]


@pytest.fixture(scope="module")
def evaluations(tmp_path_factory):
  """Evaluations of two runs; the second finds no clefs. Nobody changes them."""
  first = tmp_path_factory.mktemp("runs") / "a"
  eval_helpers.evaluate(first / "eval", eval_helpers.pages(6))
  second = shutil.copytree(first, first.with_name("b")) / "eval"
  kept = _change(second / "val/predictions.json", _without_clefs)
  _change(first / "eval/val/predictions.json", _oriented)
  _change(second / "val.json", lambda s: s.update(num_detections=len(kept)))
  _change(
    second / "val/report.json",
    lambda r: r["saved"].update(num_detections=len(kept)),
  )
  return [str(first / "eval/val.json"), str(second / "val")]


@pytest.fixture(scope="module")
def compared(evaluations, tmp_path_factory):
  out = tmp_path_factory.mktemp("compared")
  said = []
  compare_files.write(evaluations, out, say=said.append)
  return out, eval_helpers.read(out / "comparison.json"), said


def test_the_numbers_are_those_of_the_evaluations(compared, evaluations):
  _, data, said = compared
  folder = evaluations[0].removesuffix(".json")
  summary = eval_helpers.read(pathlib.Path(evaluations[0]))
  report = eval_helpers.read(pathlib.Path(folder) / "report.json")
  assert (data["a"]["name"], data["b"]["name"]) == ("a", "b")
  for key in ("mAP", "mAP_50", "AP_50_weighted", "recall", "f1"):
    assert data["totals"][key]["a"] == summary[key]
  for name, row in data["per_class"].items():
    assert row["AP"]["a"] == summary["per_class"][name]["AP"]
  counts = data["counts"]
  found = [counts["both"] + counts[f"{s}_only"] for s in "ab"]
  wrong = [counts["wrong_both"] + counts[f"wrong_{s}"] for s in "ab"]
  assert found[0] == report["point"]["num_right"]
  assert found[0] + wrong[0] == report["point"]["num_detections"]
  for key in counts:
    assert counts[key] == sum(row[key] for row in data["per_class"].values())
    assert counts[key] == sum(page[key] for page in data["pages"])
  assert said[0].startswith(f"mAP: {summary['mAP']:.3f}, ")
  assert "95 % of samples" in said[0]


def test_differences_are_told_from_noise(compared):
  _, data, _ = compared
  clefs, others = data["per_class"]["clef"], data["per_class"]["notehead"]
  assert clefs["AP"]["sure"]
  assert clefs["AP"]["interval"][1] < 0
  assert clefs["AP"]["b"] == clefs["both"] == clefs["b_only"] == 0
  assert clefs["a_only"] > 0
  assert others["AP"] == {
    "a": others["AP"]["a"],
    "b": others["AP"]["a"],
    "difference": 0,
    "interval": [0, 0],
    "sure": False,
  }
  assert data["totals"]["mAP"]["sure"]
  low, high = data["totals"]["mAP"]["interval"]
  assert low <= data["totals"]["mAP"]["difference"] <= high


def test_the_page_shows_where_they_differ(compared, evaluations):
  out, data, _ = compared
  text = (out / "index.html").read_text()
  assert HOSTILE not in text
  assert text.count("<script") == 1
  count = sum(text.count(f'<rect class="{k}"') for k in ("a_only", "wrong_a"))
  counts = data["counts"]
  assert 0 < count <= counts["a_only"] + counts["wrong_a"]
  assert "<title>clef, found by a only</title>" in text
  assert 'href="data:image/png;base64,' in text
  assert "a/eval/val/index.html#page=page%20" in text
  table = (out / "classes.tex").read_text()
  assert r"\multicolumn{2}{c}{a} & \multicolumn{2}{c}{b}" in table


def test_a_detector_does_not_differ_from_itself(evaluations, tmp_path):
  compare_files.write([evaluations[0]] * 2, tmp_path, ["x", "y"], say=len)
  data = eval_helpers.read(tmp_path / "comparison.json")
  assert {v["difference"] for v in data["totals"].values()} == {0}
  assert not any(data["counts"][k] for k in ("a_only", "b_only", "wrong_a"))
  assert "There are no differences" in (tmp_path / "index.html").read_text()


def _mirrored(rows):
  """Boxes of all classes but noteheads slope the other way."""
  for row in rows:
    left, _, width, _ = row["bbox"]
    polygon = row["segmentation"][0]
    if row["category_id"] != 1:
      polygon[::2] = [2 * left + width - x for x in polygon[::2]]


def test_oriented_boxes_are_compared_where_both_have_them(compared, tmp_path):
  first = tmp_path / "a"
  known = eval_helpers.pages(6, oriented=True)
  eval_helpers.evaluate(first / "eval", known, viewer_pages=0)
  second = shutil.copytree(first, first.with_name("b"))
  _change(second / "eval/val/predictions.json", _mirrored)
  out = tmp_path / "out"
  said = []
  paths = [str(side / "eval/val.json") for side in (first, second)]
  compare_files.write(paths, out, say=said.append)
  data = eval_helpers.read(out / "comparison.json")
  summary = eval_helpers.read(first / "eval/val.json")
  for key in ("mAP", "mAP_50"):
    of_rotated = data["totals"][f"{key}_rotated"]
    assert of_rotated["a"] == summary["rotated"][key]
    assert data["totals"][key]["difference"] == 0
  total = data["totals"]["mAP_rotated"]
  assert total["difference"] < 0 and total["sure"]
  assert total["interval"][0] <= total["difference"] <= total["interval"][1]
  for name, row in data["per_class"].items():
    for key in ("AP_rotated", "AP_50_rotated"):
      assert row[key]["a"] == summary["per_class"][name][key]
  assert data["per_class"]["notehead"]["AP_rotated"]["difference"] == 0
  assert data["per_class"]["clef"]["AP_rotated"]["difference"] < 0
  text = (out / "index.html").read_text()
  assert "oriented difference .50" in text
  assert "mAP of oriented boxes at IoU 0.5" in text
  assert any(line.startswith("mAP_rotated: ") for line in said)
  # The truth of the other evaluations has none.
  folder, without, _ = compared
  assert "mAP_rotated" not in without["totals"]
  assert "AP_rotated" not in without["per_class"]["clef"]
  assert "oriented" not in (folder / "index.html").read_text()

  def turn(truth):
    polygon = truth["annotations"][0]["segmentation"][0]
    polygon[:] = polygon[2:] + polygon[:2]

  _change(second / "eval/val/truth.json", turn)
  with pytest.raises(InputError, match="of other true boxes on"):
    compare_files.write(paths, out, say=len)


def test_few_pages_have_no_intervals(evaluations, tmp_path, monkeypatch):
  monkeypatch.setattr(bootstrap, "MIN_PAGES", 7)
  monkeypatch.setattr(crops, "most_different", lambda *_: [])
  compare_files.write(evaluations, tmp_path, say=len)
  data = eval_helpers.read(tmp_path / "comparison.json")
  assert data["samples"] == 0
  assert data["totals"]["mAP"]["interval"] is None
  assert "6 pages are too few" in (tmp_path / "index.html").read_text()


def _other_truth(truth):
  truth["annotations"][0]["bbox"][0] += 1


def _other_page(truth):
  truth["images"][0]["file_name"] = "z.png"


def _other_class(truth):
  truth["categories"][0]["name"] = "z"


# Caption: file of the second evaluation, its change, what the message says.
REFUSED = {
  "another data set": (
    "val.json",
    lambda s: s.update(dataset="other"),
    "of the dataset 'other'",
  ),
  "another split": (
    "val.json",
    lambda s: s.update(split="test"),
    "of the split 'test'",
  ),
  "other classes": ("val/truth.json", _other_class, "of other classes"),
  "other pages": (
    "val/truth.json",
    _other_page,
    r"of other pages, such as 'page 0\.png'",
  ),
  "other boxes": (
    "val/truth.json",
    _other_truth,
    r"of other true boxes on 'page 0\.png'",
  ),
  "damaged": ("val/truth.json", lambda _: [1], r"truth\.json: damaged"),
}


@pytest.mark.parametrize("caption", REFUSED)
def test_what_cannot_be_compared_is_named(caption, evaluations, tmp_path):
  name, change, message = REFUSED[caption]
  shutil.copytree(pathlib.Path(evaluations[1]).parent, tmp_path / "eval")
  _change(tmp_path / "eval" / name, change)
  with pytest.raises(InputError, match=message) as e:
    compare_files.write(
      [evaluations[0], str(tmp_path / "eval/val.json")], tmp_path / "out"
    )
  assert "\n" not in str(e.value)
  assert not (tmp_path / "out").exists()


def test_the_program(evaluations, tmp_path, capsys, monkeypatch):
  monkeypatch.chdir(tmp_path)
  three = [*evaluations, evaluations[0]]
  assert program.main([*three, "--names=x,y,z", "--out=t"]) == 0
  assert [p.name for p in (tmp_path / "t").iterdir()] == ["classes.tex"]
  assert "only two evaluations make a page" in capsys.readouterr().out
  for args, message in (
    (three[:1], "one evaluation is nothing to compare"),
    ([three[0], three[0], "--names=x"], "--names: 1 different names, 2 eval"),
    ([three[0], "nothing"], "nothing: no evaluation; name the file W/eval/"),
    ([three[0], "x.json"], "x.json: cannot be read"),
    ([three[0], three[0].removesuffix("/eval/val.json")], "a/eval/val.json"),
  ):
    assert program.main(args) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
