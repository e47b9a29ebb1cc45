"""Calibration of a checkpoint: made, kept, read, applied in an evaluation."""

import dataclasses
import json

import numpy as np
import pytest
from metric_helpers import judge

from dwd_jax.core.errors import InputError
from dwd_jax.core.structs import PageBoxes
from dwd_jax.decode.contradictions import Contradictions
from dwd_jax.metrics import calibration as calibration_lib
from dwd_jax.metrics.calibration import ScoreMap
from dwd_jax.metrics.reliability import Judged, OperatingPoint

NAMES = ("notehead", "clef", "rest")
MADE_WITH = {"dataset": "made_up", "scales": [0.5], "decode": {"smooth": 1}}
PLAIN = calibration_lib.Calibration(
  score_map=ScoreMap(1.5, 0.25, -0.125, np.array([0.5, 0.0, -2.0])),
  point=OperatingPoint(0.375, 0.75, np.nan, 0.5),
  ece_raw=0.25,
  ece=0.0625,
  num_pages=3,
  num_objects=40,
  num_detections=50,
  made_with=MADE_WITH,
)


def pages(num_pages=4, per_page=200):
  """Truth and detections: the score is right half as often as it says."""
  rng = np.random.default_rng(0)
  truth, found = [], []
  for i in range(num_pages):
    boxes = np.zeros((per_page, 4), np.float32)
    boxes[:, 0] = boxes[:, 1] = 20 * np.arange(per_page)
    boxes[:, 2:] = boxes[:, :2] + 10
    labels = rng.integers(0, 3, per_page)
    scores = rng.random(per_page)
    right = rng.random(per_page) < scores / 2
    hw = (20 * per_page, 20 * per_page)
    truth.append(PageBoxes(f"{i}.png", hw, boxes[right], labels[right]))
    found.append(PageBoxes(f"{i}.png", hw, boxes, labels, scores))
  return truth, found


def make(truth, found):
  raw = judge(truth, found).judged()
  return calibration_lib.make(raw, len(truth), len(NAMES), MADE_WITH)


def same(a, b):
  for field in vars(a):
    one, two = getattr(a, field), getattr(b, field)
    if field == "score_map":
      np.testing.assert_array_equal(one.offsets, two.offsets)
      one, two = one[:3], two[:3]
    if field == "made_with":
      assert one == two
    else:
      np.testing.assert_array_equal(one, two)


def test_it_comes_back_as_it_was_written(tmp_path):
  assert calibration_lib.read(tmp_path, NAMES) is None
  calibration_lib.write(tmp_path, PLAIN, NAMES)
  found = calibration_lib.read(tmp_path, NAMES)
  assert found is not None
  same(found, PLAIN)
  assert [p.name for p in tmp_path.iterdir()] == ["calibration.json"]
  content = json.loads((tmp_path / "calibration.json").read_text())
  assert content["recall"] is None
  assert content["score_map"]["offsets"] == {"notehead": 0.5, "rest": -2.0}


def test_one_made_of_pages_comes_back_to_the_last_bit(tmp_path):
  truth, found = pages()
  made = make(truth, found)
  calibration_lib.write(tmp_path, made, NAMES)
  read = calibration_lib.read(tmp_path, NAMES)
  assert read is not None
  same(read, made)
  np.testing.assert_array_equal(
    read.apply(found[0]).scores, made.apply(found[0]).scores
  )


def test_scores_become_probabilities():
  truth, found = pages()
  made = make(truth, found)
  assert (made.num_pages, made.num_detections) == (4, 800)
  assert made.num_objects == sum(len(page.labels) for page in truth)
  assert made.ece_raw == pytest.approx(0.25, abs=0.03)
  assert made.ece < 0.05
  after = made.apply(found[0])
  assert after.scores is not None
  assert found[0].scores is not None
  assert np.abs(after.scores - found[0].scores / 2).mean() < 0.05
  np.testing.assert_array_equal(after.boxes_yxyx, found[0].boxes_yxyx)
  assert "ECE 0.2" in made.describe()
  assert f"threshold {made.point.threshold:.3f}" in made.describe()


def _contradicting():
  """A page, also with a second clef upon each object, less probable."""
  truth, found = (part[0] for part in pages(1))
  twice = found.keep(np.repeat(np.arange(len(found.labels)), 2))
  twice.labels[1::2] = NAMES.index("clef")
  twice.scores[1::2] *= 0.5
  return truth, found, twice


def test_contradictions_are_dropped_and_kept_with_the_checkpoint(tmp_path):
  (_, found, twice), shares = _contradicting(), np.zeros((3, 3))
  known = Contradictions(np.full(3, 99), shares, shares > 0)
  made = dataclasses.replace(PLAIN, contradictions=known)
  calibration_lib.write(tmp_path, made, NAMES)
  read = calibration_lib.read(tmp_path, NAMES)
  assert read is not None
  assert len(PLAIN.apply(twice).labels) == 2 * len(found.labels)
  for after in (made.apply(twice), read.apply(twice)):
    np.testing.assert_array_equal(after.boxes_yxyx, found.boxes_yxyx)


# Caption: pages to make it from.
FEW = {
  "no pages": lambda: ([], []),
  "one page": lambda: pages(1),
  "pages without detections": lambda: (pages(2)[0], pages(2, 0)[1]),
  "pages without truth": lambda: (pages(2, 0)[0], pages(2)[1]),
}


@pytest.mark.parametrize("caption", FEW)
def test_few_pages_give_something_that_can_be_kept(caption, tmp_path):
  made = make(*FEW[caption]())
  calibration_lib.write(tmp_path, made, NAMES)
  read = calibration_lib.read(tmp_path, NAMES)
  assert read is not None
  same(read, made)
  assert 0 <= read.point.threshold <= 1


def _without(key):
  def change(content):
    del content[key]

  return change


def _with(key, value, section=None):
  def change(content):
    (content[section] if section else content)[key] = value

  return change


# Caption: what is done to the content; a text replaces it.
DAMAGED = {
  "cut off": '{"score_map": {"a": 1.0,',
  "empty": "",
  "no object": "[]",
  "not UTF-8": b"\xff\xfe{",
  "no threshold": _without("threshold"),
  "no map": _without("score_map"),
  "a threshold of text": _with("threshold", "high"),
  "a threshold above 1": _with("threshold", 1.5),
  "a slope that is not finite": _with("a", float("nan"), "score_map"),
  "a slope that falls": _with("b", -1.0, "score_map"),
  "a class nobody knows": _with("offsets", {"banana": 1.0}, "score_map"),
  "offsets in a list": _with("offsets", [1.0], "score_map"),
  "a count of text": _with("num_pages", "many"),
  "contradictions without content": _with("contradictions", {}),
}


@pytest.mark.parametrize("caption", DAMAGED)
def test_damage_is_one_line_that_names_file_and_remedy(caption, tmp_path):
  change = DAMAGED[caption]
  path = tmp_path / "calibration.json"
  if callable(change):
    calibration_lib.write(tmp_path, PLAIN, NAMES)
    content = json.loads(path.read_text())
    change(content)
    change = json.dumps(content)
  path.write_bytes(change if isinstance(change, bytes) else change.encode())
  with pytest.raises(InputError) as caught:
    calibration_lib.read(tmp_path, NAMES)
  message = str(caught.value)
  assert message.startswith(f"{path}: damaged (")
  assert message.endswith("remove this file, --mode=eval makes it anew")
  assert "\n" not in message


def judged(scores, correct, page):
  labels = np.zeros(len(scores), np.int64)
  return Judged(
    np.asarray(scores, np.float64),
    np.asarray(correct, bool),
    labels,
    np.asarray(page, np.int64),
    num_objects=len(scores),
  )


def test_a_calibration_that_makes_scores_worse_is_not_kept(tmp_path):
  # On two pages everything is right, on three nothing, whatever the score: what
  # is fitted on some says the wrong thing of the others.
  page = np.repeat(np.arange(5), 12)
  correct = np.isin(page, (0, 2))
  raw = judged(np.full(60, 0.4), correct, page)
  made = calibration_lib.make(raw, 5, len(NAMES), {"split": "val"})
  assert made.ece > made.ece_raw
  scores = made.score_map(raw.scores, raw.labels)
  np.testing.assert_allclose(scores, raw.scores, atol=1e-9)
  said = made.describe("images")
  assert said.startswith("Scores stay as they are: on 5 images (60 det")
  calibration_lib.write(tmp_path, made, NAMES)
  again = calibration_lib.read(tmp_path, NAMES)
  assert again is not None and again.describe("images") == said


def test_nothing_found_is_said_without_nan():
  made = calibration_lib.make(judged([], [], []), 3, len(NAMES), {})
  assert "nan" not in made.describe()
  assert "ECE - -> -" in made.describe()
