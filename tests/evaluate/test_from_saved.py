"""Saved detections measured anew: the numbers of the network, and bad files."""

import json
import math
import shutil

import eval_helpers
import jax
import pytest

from dwd_jax.core.errors import InputError
from dwd_jax.evaluate import from_saved
from dwd_jax.evaluate.from_saved import reevaluate


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
  """Folder of an evaluation; nobody may change it."""
  out_dir = tmp_path_factory.mktemp("eval")
  eval_helpers.evaluate(out_dir)
  return out_dir


@pytest.fixture
def folder(evaluated, tmp_path):
  return shutil.copytree(evaluated, tmp_path / "eval")


def _assert_same(first, second):
  """Files of two evaluations, but for the time and what is only saved."""
  names = [p.relative_to(first) for p in first.rglob("*") if p.is_file()]
  assert names
  for name in names:
    if name.name in ("val.json", "report.json"):
      a, b = (eval_helpers.read(f / name) for f in (first, second))
      for content in (a, b):
        content.pop("seconds_per_page", None)
        content.pop("saved", None)
      assert a == b
    elif name.name not in ("predictions.json", "report.html"):
      assert (first / name).read_bytes() == (second / name).read_bytes(), name


# Each two of protocol, calibrated or not, and least score occur together. The
# saved files are measured in one way after the other.
STEPS = {
  True: [("coco", 0.05), ("voc", 0.41), ("legacy", 0.05), ("coco", 0.41)],
  False: [("coco", 0.41), ("voc", 0.05), ("legacy", 0.41)],
}


@pytest.mark.parametrize("calibrated", STEPS)
def test_the_files_are_those_of_the_network(calibrated, tmp_path):
  calibration = eval_helpers.calibration() if calibrated else None
  pages = eval_helpers.pages(oriented=True)
  options = {"calibration": calibration, "dataset": "muscima_pp"}
  if not calibrated:  # a detector without corners and positions
    options["finds"] = eval_helpers.pages()
  saved = tmp_path / "saved"
  before = eval_helpers.evaluate(saved, pages, protocol="legacy", **options)
  for protocol, min_score in STEPS[calibrated]:
    network = tmp_path / f"{protocol} {min_score}"
    expected = eval_helpers.evaluate(
      network, pages, protocol=protocol, min_score=min_score, **options
    )
    got = reevaluate(
      saved, "val", protocol=protocol, min_score=min_score, viewer_pages=-1
    )
    assert got["seconds_per_page"] == before["seconds_per_page"]
    assert list(got) == list(expected)
    assert got["protocol"] == protocol
    assert got == eval_helpers.read(saved / "val.json")
    if min_score > 0.3 and calibrated:
      # Precision and so on are those of all detections, in both.
      assert expected["threshold"] < min_score
    _assert_same(network, saved)
    for name in ("mAP", "mAP_50", "AP_by_iou", "per_class"):
      assert got[name] == expected[name]  # exactly
    assert ("position_accuracy" in got) == calibrated
    if calibrated:
      assert got["position_accuracy"] == expected["position_accuracy"]
      assert 0.3 < got["position_accuracy"] < 1
    oriented = calibrated and protocol != "legacy"
    assert ("rotated" in got) == oriented
    text = (saved / "val" / "report.html").read_text()
    assert f"<dd>{protocol}</dd>" in text
    assert ("mAP of oriented boxes" in text) == oriented
    assert ("right places on the staff" in text) == calibrated
    if oriented:
      assert got["rotated"] == expected["rotated"]  # exactly
      assert 0 < got["rotated"]["mAP"] < got["mAP"]


def test_a_higher_score_loses_nothing(folder):
  first = eval_helpers.read(folder / "val.json")
  kept = (folder / "val" / "predictions.json").read_bytes()
  high = reevaluate(folder, "val", min_score=0.5)
  assert high["num_detections"] < first["num_detections"]
  assert (folder / "val" / "predictions.json").read_bytes() == kept
  assert reevaluate(folder, "val", min_score=0.05) == first


def test_nothing_is_compiled_and_no_page_is_needed(folder):
  shutil.rmtree(folder / "val" / "pages")
  compiled = []

  def listen(event, duration, **_):
    if "compile" in event:
      compiled.append((event, duration))

  jax.monitoring.register_event_duration_secs_listener(listen)
  try:
    jax.jit(lambda x: x + 1)(1.0)
    assert compiled  # it is heard
    compiled.clear()
    reevaluate(folder, "val", protocol="voc", viewer_pages=-1)
  finally:
    jax.monitoring.clear_event_listeners()
  assert not compiled
  assert '<a href="index.html#page' not in (
    (folder / "val" / "report.html").read_text()
  )


def test_files_of_an_older_version_have_no_report(folder):
  first = eval_helpers.read(folder / "val.json")
  for name in ("report.json", "report.html", "index.html"):
    (folder / "val" / name).unlink()
  assert reevaluate(folder, "val") == first
  report = eval_helpers.read(folder / "val" / "report.json")
  assert report["reliability"] == {}
  assert report["sizes"]["staff_spaces"] is None
  text = (folder / "val" / "report.html").read_text()
  assert "Unknown: older evaluations did not save it." in text


def test_facts_of_another_data_set_are_kept(folder):
  path = folder / "val.json"
  summary = eval_helpers.read(path)
  more = {"vocabularies": ["", "x"], "unmapped_detections": {"stem": 3}}
  path.write_text(json.dumps(summary | more))
  assert reevaluate(folder, "val") == summary | more
  text = (folder / "val" / "report.html").read_text()
  assert "3 detections of other classes are left out" in text


def test_a_score_below_the_saved_one_is_refused(folder):
  with pytest.raises(
    InputError, match=r"min_score is 0\.01, .*predictions\.json .* from 0\.05"
  ):
    reevaluate(folder, "val", min_score=0.01)
  for score in (math.nan, 1.5):
    with pytest.raises(InputError, match=r"eval\.min_score is"):
      reevaluate(folder, "val", min_score=score)


def test_an_unknown_protocol_is_refused(folder):
  with pytest.raises(InputError, match=r"eval\.protocol: 'cocoa' is unknown"):
    reevaluate(folder, "val", protocol="cocoa")  # pyright: ignore


def _change(path, change):
  content = eval_helpers.read(path)
  change(content)
  path.write_text(json.dumps(content))


def _set(*keys, value):
  def change(content):
    for key in keys[:-1]:
      content = content[key]
    content[keys[-1]] = value

  return change


# Caption: file, change of its content (None: it is missing; bytes: instead of
# it), what the message says.
BAD = {
  "no summary": ("val.json", None, r"val\.json: cannot be read"),
  "no truth": ("val/truth.json", None, r"truth\.json: cannot be read"),
  "no detections": ("val/predictions.json", None, r"ions\.json: cannot be"),
  "half a file": ("val/predictions.json", b'[{"image_id": 1', r"damaged \("),
  "not UTF-8": ("val/truth.json", b'{"images": "\xff"}', r"json: damaged \("),
  "deeply nested": ("val/truth.json", b"[" * 200000, r"truth.json: damaged"),
  "another summary": ("val.json", _set("calibrated", value=3), r"calibrated"),
  "a summary cut short": (
    "val.json",
    lambda content: content.pop("ece"),
    r"val\.json: damaged \(.* missing required field `ece`\)",
  ),
  "a page twice": (
    "val/truth.json",
    _set("images", 1, "file_name", value="page 0.png"),
    r"truth\.json: damaged \(a page occurs twice\)",
  ),
  "strange ids": (
    "val/truth.json",
    _set("images", 0, "id", value=9),
    r"ids do",
  ),
  "a page of no size": (
    "val/truth.json",
    _set("images", 0, "height", value=0),
    r"damaged \(size of page 0\.png\)",
  ),
  "no classes": (
    "val/truth.json",
    _set("categories", value=[]),
    r"class names",
  ),
  "a box of no page": (
    "val/predictions.json",
    _set(0, "image_id", value=99),
    r"predictions\.json: damaged \(a box of no page\)",
  ),
  "a box of no class": (
    "val/truth.json",
    _set("annotations", 0, "category_id", value=0),
    r"truth\.json: damaged \(a box of no class\)",
  ),
  "a class beyond 64 bits": (
    "val/predictions.json",
    _set(0, "category_id", value=2**63),
    r"predictions\.json: damaged \(",
  ),
  "a box beyond floats": (
    "val/predictions.json",
    _set(0, "bbox", value=[1e300, 1, 2, 3]),
    r"a box larger than any page",
  ),
  "text for a box": (
    "val/predictions.json",
    _set(0, "bbox", value=["1", 2, 3, 4]),
    r"predictions\.json: damaged \(",
  ),
  "one box with corners": (
    "val/predictions.json",
    _set(0, "segmentation", value=[[1.5] * 8]),
    r"a box without segmentation",
  ),
  "a polygon of three corners": (
    "val/truth.json",
    _set("annotations", 0, "segmentation", value=[[1] * 6]),
    r"truth\.json: damaged \(",
  ),
  "a score above 1": (
    "val/predictions.json",
    _set(0, "score", value=1.5),
    r"a score outside 0\.\.1",
  ),
  "detections of another evaluation": (
    "val/predictions.json",
    lambda content: content.pop(),
    r"val: its files are not of one evaluation",
  ),
  "a damaged report": ("val/report.json", b"{}", r"report\.json: damaged"),
}


@pytest.mark.parametrize("caption", BAD)
def test_what_is_damaged_is_named_with_the_remedy(caption, folder):
  name, change, message = BAD[caption]
  if change is None:
    (folder / name).unlink()
  elif isinstance(change, bytes):
    (folder / name).write_bytes(change)
  else:
    _change(folder / name, change)
  with pytest.raises(InputError, match=message) as e:
    reevaluate(folder, "val")
  assert "--mode=eval with the same config and workdir" in str(e.value)
  assert "\n" not in str(e.value)


def test_what_is_too_large_is_refused(folder, monkeypatch):
  monkeypatch.setattr(from_saved, "_MAX_BYTES", 1 << 10)
  with pytest.raises(InputError, match=r"measured again; evaluate without"):
    reevaluate(folder, "val")
