"""The evaluation's numbers and files, by hand."""

import json

import numpy as np
import pytest
from faster_coco_eval import COCO
from metric_helpers import judge

from dwd_jax.core import boxes as box_lib
from dwd_jax.core.structs import PageBoxes
from dwd_jax.evaluate import output_files
from dwd_jax.evaluate.page_store import Page
from dwd_jax.metrics import json_results
from dwd_jax.metrics.protocols import APTable

NAMES = ("notehead", "clef", "absent", "slash/name")
TABLE = APTable(
  ious=(0.5, 0.75),
  ap=np.array([[1.0, 0.5, np.nan, 0.0], [0.5, 0.0, np.nan, 0.0]]),
  num_objects=np.array([90, 9, 0, 100]),
)
NOTHING = APTable((0.5,), np.full((1, 4), np.nan), np.zeros(4, int))


FACTS = dict.fromkeys(k for k, v in json_results.SUMMARY.items() if v is None)


def _summary(table):
  inputs = json_results.SummaryInputs(table, judge([], []), NAMES)
  return json_results.summary(inputs, FACTS | {"ece": np.nan, "other": 1})


def test_summary_by_hand():
  numbers = _summary(TABLE)
  assert list(numbers) == list(json_results.SUMMARY)
  per_class = numbers["per_class"]
  expected = {
    "mAP": pytest.approx((0.75 + 0.25 + 0) / 3),
    "mAP_50": pytest.approx(0.5),
    "AP_by_iou": {
      "0.50": pytest.approx(0.5),
      "0.75": pytest.approx(0.5 / 3),
    },
    "AP_50_weighted": pytest.approx((90 * 1 + 9 * 0.5) / 199),
    "mAP_50_min10": pytest.approx(0.5),  # notehead 1.0, slash/name 0.0
    "num_objects": 199,
    "min_objects": 10,
    "ece": None,
  }
  assert {key: numbers[key] for key in expected} == expected
  assert per_class["notehead"] == {"AP": 0.75, "AP_50": 1.0, "num_objects": 90}
  assert per_class["absent"] == {"AP": None, "AP_50": None, "num_objects": 0}
  assert list(per_class) == list(NAMES)


def test_no_truth_gives_nulls_that_json_accepts():
  numbers = _summary(NOTHING)
  text = json.dumps(numbers, allow_nan=False)
  assert numbers["mAP"] is None
  assert numbers["AP_by_iou"] == {"0.50": None}
  assert numbers["AP_50_weighted"] is None
  assert "NaN" not in text


def test_ap_lists_have_the_original_lines():
  texts = json_results.ap_lists(TABLE, NAMES)
  assert list(texts) == ["res-0.5.txt", "res-0.75.txt"]
  assert texts["res-0.5.txt"] == (
    "notehead 1.000\nclef 0.500\nslash/name 0.000\n\n\n\n"
    "Mean Average Precision: 0.5"
  )
  assert texts["res-0.75.txt"].endswith(f": {0.5 / 3}")  # not rounded
  nothing = json_results.ap_lists(NOTHING, NAMES)["res-0.5.txt"]
  assert nothing == "\n\n\nMean Average Precision: nan"


def _page(name, boxes, labels, scores=None):
  return PageBoxes(
    filename=name,
    image_hw=(100, 200),
    boxes_yxyx=np.array(boxes, np.float32).reshape(-1, 4),
    labels=np.array(labels, np.int32),
    scores=None if scores is None else np.array(scores, np.float32),
  )


def test_coco_files_are_read_by_a_coco_tool(tmp_path):
  truth = [_page("b.png", [], []), _page("a.png", [[1, 2, 4, 8]], [3])]
  found = [
    _page("b.png", [[0, 0, 1, 1]], [0], [0.5]),
    _page(
      "a.png",
      [[1, 2, 4, 8], [1, 2, np.nan, 8]],
      [3, 3],
      [0.25, 0.75],
    ),
  ]
  paths = tmp_path / "truth.json", tmp_path / "predictions.json"
  with output_files.coco_files(tmp_path, NAMES) as add:
    for pair in zip(truth, found, strict=True):
      add(Page(*pair))
  coco = COCO(str(paths[0]))
  loaded = coco.loadRes(str(paths[1]))
  assert coco.imgs[2]["file_name"] == "a.png"
  assert (coco.imgs[2]["height"], coco.imgs[2]["width"]) == (100, 200)
  (row,) = loaded.loadAnns(loaded.getAnnIds(imgIds=[2]))
  assert row["bbox"] == [2, 1, 6, 3]  # x, y, width, height
  assert row["score"] == 0.25
  assert coco.cats[row["category_id"]]["name"] == "slash/name"
  (true,) = coco.loadAnns(coco.getAnnIds())
  assert true["bbox"] == row["bbox"]
  assert true["area"] == 18


def test_exact_results_give_back_the_boxes_to_the_last_bit():
  rng = np.random.default_rng(0)
  corners = rng.uniform(0, 3000, (200, 2))
  boxes = np.concatenate([corners, corners + rng.uniform(1, 400, (200, 2))], 1)
  page = _page("a.png", boxes, np.zeros(200, int), rng.random(200))
  exact = json_results.coco_results(page, 1, exact=True)
  read = json.loads(json.dumps(exact))
  xywh = np.array([row["bbox"] for row in read])
  back = np.asarray(box_lib.xywh_to_yxyx(xywh)).astype(np.float32)
  np.testing.assert_array_equal(back, page.boxes_yxyx)
  scores = np.array([row["score"] for row in read], np.float32)
  np.testing.assert_array_equal(scores, page.scores)
  rounded = json_results.coco_results(page, 1)
  assert all(round(v, 2) == v for row in rounded for v in row["bbox"])
