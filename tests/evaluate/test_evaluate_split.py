"""The files of an evaluation, their contract, and the odd cases."""

import dataclasses
import io
import json
import re
import sys
import types

import cv2
import numpy as np
import pytest
import staff_helpers
from faster_coco_eval import COCO, COCOeval_faster

from dwd_jax.core import boxes as box_lib
from dwd_jax.core.errors import InputError
from dwd_jax.core.structs import Detections, PageBoxes, PageImage
from dwd_jax.data.pipeline import EvalPage
from dwd_jax.evaluate import evaluate_split as evaluate_lib
from dwd_jax.evaluate.from_saved import reevaluate
from dwd_jax.imaging import page_windows
from dwd_jax.metrics import calibration as calibration_lib
from dwd_jax.metrics import json_results
from dwd_jax.metrics.calibration import ScoreMap
from dwd_jax.metrics.protocols import PROTOCOLS
from dwd_jax.metrics.reliability import OperatingPoint
from dwd_jax.predict import batches
from dwd_jax.predict.predict_config import PredictConfig
from dwd_jax.show import drawing, progress

NAMES = ("notehead", "clef", "rare")
CONTRACT = [
  "dataset",
  "split",
  "num_pages",
  "num_objects",
  "num_detections",
  "protocol",
  "mAP",
  "mAP_50",
  "AP_by_iou",
  "per_class",
  "seconds_per_page",
  "checkpoint_step",
]
SLOTS = 64


def eval_page(name, boxes, labels, hw=(200, 300)):
  boxes = np.array(boxes, np.float32).reshape(-1, 4)
  ink = np.zeros(hw, np.uint8)
  for y0, x0, y1, x1 in boxes.astype(int):
    ink[y0:y1, x0:x1] = 255
  return EvalPage(
    image=PageImage(name, ink, 0.5),
    truth=PageBoxes(name, hw, boxes, np.array(labels, np.int32)),
  )


def window_of(page):
  return page_windows.page_window(page.truth.image_hw, 0.5, 64)


def seen(page):
  """The page as the network sees it."""
  return page_windows.cut(page.image.ink, window_of(page))


class FakeNetwork:
  """Finds what it is told to, by the image; a clock of its own runs.

  A call takes 2 s, the first of each shape 102 s.
  """

  def __init__(self, answers):
    self._answers = {seen(p).tobytes(): rows for p, rows in answers}
    self._shapes = set()
    self.calls, self.clock_s = 0, 0.0

  def __call__(self, image):
    self.calls += 1
    self.clock_s += 2 if image.shape in self._shapes else 102
    self._shapes.add(image.shape)
    rows = self._answers[image[0].tobytes()]  # (score, label, box in the image)
    n = len(rows)
    boxes = np.zeros((1, SLOTS, 4), np.float32)
    labels, scores = np.zeros((1, SLOTS), np.int32), np.zeros((1, SLOTS))
    for i, (score, label, box) in enumerate(rows):
      boxes[0, i], labels[0, i], scores[0, i] = box, label, score
    found = Detections(
      boxes_yxyx=boxes,
      labels=labels,
      scores=scores.astype(np.float32),
      valid=np.arange(SLOTS)[None] < n,
      count=np.array([n]),
    )
    levels = np.zeros((*image.shape[:3], 1), np.float32)
    for _, _, (y0, x0, y1, x1) in rows:
      if np.isfinite([y0, x0, y1, x1]).all():
        levels[0, int(y0 + y1) // 2, int(x0 + x1) // 2] = 19
    return found, levels


def perfect(page):
  """What a perfect network answers, with scores 0.9, 0.8, ..."""
  boxes = window_of(page).to_output(page.truth.boxes_yxyx)
  return [
    (0.9 - 0.1 * i, label, box)
    for i, (label, box) in enumerate(zip(page.truth.labels, boxes, strict=True))
  ]


def two_pages():
  first = eval_page("a.png", [[20, 20, 40, 44], [80, 90, 100, 120]], [0, 1])
  second = eval_page("b.png", [[60, 20, 80, 44]], [0])
  return first, second


def run(tmp_path, answers, **kwargs):
  network = FakeNetwork(answers)
  options = {"dataset": "made_up", "split": "val", "log": None} | kwargs
  return evaluate_lib.evaluate(
    network, [p for p, _ in answers], NAMES, out_dir=tmp_path, **options
  )


def strict_json(path):
  def refuse(name):
    raise AssertionError(f"{path.name} holds {name}, which is not JSON")

  return json.loads(path.read_text(), parse_constant=refuse)


@pytest.fixture(scope="module")
def perfect_run(tmp_path_factory):
  """Folder and result of an evaluation without errors; nobody may change it."""
  folder = tmp_path_factory.mktemp("perfect")
  answers = [(p, perfect(p)) for p in two_pages()]
  return folder, run(folder, answers, checkpoint_step=77)


def test_summary_keeps_the_contract(perfect_run):
  folder, result = perfect_run
  summary = strict_json(folder / "val.json")
  assert summary == result.metrics
  assert list(summary)[: len(CONTRACT)] == CONTRACT
  assert list(summary) == list(json_results.SUMMARY)
  assert summary["dataset"] == "made_up"
  assert summary["split"] == "val"
  assert summary["protocol"] == "coco"
  assert summary["checkpoint_step"] == 77
  counts = [summary[f"num_{k}"] for k in ("pages", "objects", "detections")]
  assert counts == [2, 3, 3]
  assert summary["mAP"] == summary["mAP_50"] == pytest.approx(1)
  assert list(summary["AP_by_iou"]) == [
    f"{i / 100:.2f}" for i in range(50, 100, 5)
  ]
  assert summary["per_class"]["notehead"] == {
    "AP": pytest.approx(1),
    "AP_50": pytest.approx(1),
    "num_objects": 2,
  }
  assert summary["per_class"]["rare"]["AP"] is None
  assert summary["mAP_50_min10"] is None  # no class has ten objects
  assert summary["AP_50_weighted"] == pytest.approx(1)
  assert summary["seconds_per_page"] > 0


def test_a_number_of_the_summary_is_a_function_and_an_entry(
  tmp_path, monkeypatch
):
  missed = "num_missed", lambda of: int(of.outcomes.missed().sum())
  monkeypatch.setitem(json_results.SUMMARY, *missed)  # pyright: ignore
  first, second = two_pages()
  run(tmp_path, [(first, perfect(first)), (second, [])])
  assert strict_json(tmp_path / "val.json")["num_missed"] == 1
  assert reevaluate(tmp_path, "val", min_score=0.85)["num_missed"] == 2


def test_files_lie_beside_the_summary_and_in_the_split(tmp_path):
  answers = [(p, perfect(p)) for p in two_pages()]
  run(tmp_path, answers, overlays=1, viewer_pages=1)
  lists = {f"res-{i / 100:g}.txt" for i in range(50, 100, 5)}
  assert {p.name for p in tmp_path.iterdir()} == (
    lists | {"val.json", "predictions.json", "val"}
  )
  assert {p.name for p in (tmp_path / "val").iterdir()} == lists | {
    "predictions.json",
    "truth.json",
    "classes.tex",
    "a-overlay.png",
    "a-energy.png",
    "reliability.png",
    "report.html",
    "report.json",
    "index.html",
    "pages",
  }
  assert [p.name for p in (tmp_path / "val/pages").iterdir()] == ["a.jpg"]
  assert "Precision: 1.0" in (tmp_path / "res-0.5.txt").read_text()


def test_pictures_are_returned_as_written(perfect_run):
  folder, result = perfect_run
  assert set(result.pictures) == {"reliability"} | {
    f"{stem}-{kind}" for stem in "ab" for kind in ("overlay", "energy")
  }
  for name, picture in result.pictures.items():
    read = cv2.imread(str(folder / "val" / f"{name}.png"))
    assert read is not None
    np.testing.assert_array_equal(read[..., ::-1], picture)
  assert result.pictures["a-energy"].shape == (100, 150, 3)


def test_splits_do_not_overwrite_each_other(tmp_path):
  first, second = two_pages()
  run(tmp_path, [(first, perfect(first))], split="val")
  before = {p: p.read_bytes() for p in (tmp_path / "val").iterdir()}
  before[tmp_path / "val.json"] = (tmp_path / "val.json").read_bytes()
  run(tmp_path, [(second, [])], split="test")
  assert {p: p.read_bytes() for p in before} == before
  assert strict_json(tmp_path / "test.json")["mAP"] == 0
  # Beside the summaries lie the lists of the split evaluated last.
  assert "Precision: 0.0" in (tmp_path / "res-0.5.txt").read_text()
  assert "Precision: 1.0" in (tmp_path / "val" / "res-0.5.txt").read_text()


def test_a_coco_tool_gets_the_same_map_from_the_files(tmp_path):
  answers = [(p, perfect(p)) for p in two_pages()]
  jitter = np.array([0.6, -0.4, 0.3, 0.9], np.float32)
  answers = [(p, [(s, c, b + jitter) for s, c, b in r]) for p, r in answers]
  summary = run(tmp_path, answers).metrics
  truth = COCO(str(tmp_path / "val" / "truth.json"))
  found = truth.loadRes(str(tmp_path / "val" / "predictions.json"))
  tool = COCOeval_faster(truth, found, iouType="bbox")
  tool.evaluate()
  tool.accumulate()
  tool.summarize()
  assert 0.1 < summary["mAP"] < 0.9
  assert tool.stats[0] == pytest.approx(summary["mAP"], abs=1e-9)
  assert tool.stats[1] == pytest.approx(summary["mAP_50"], abs=1e-9)


def _no_pages():
  return []


def _no_truth():
  page = eval_page("a.png", [], [])
  return [(page, [(0.9, 0, (1, 1, 5, 5))])]


def _no_detections():
  return [(p, []) for p in two_pages()]


def _nothing_at_all():
  return [(eval_page("a.png", [], []), [])]


# Caption: answers, mAP, number of detections.
ODD = {
  "no pages": (_no_pages, None, 0),
  "no truth": (_no_truth, None, 1),
  "no detections": (_no_detections, 0.0, 0),
  "neither truth nor detections": (_nothing_at_all, None, 0),
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("caption", ODD)
def test_odd_splits_have_defined_results(caption, protocol, tmp_path):
  answers, mean_ap, num_detections = ODD[caption]
  run(tmp_path, answers(), protocol=protocol)
  summary = strict_json(tmp_path / "val.json")
  assert summary["mAP"] == summary["mAP_50"] == mean_ap
  assert summary["num_detections"] == num_detections
  strict_json(tmp_path / "predictions.json")


def test_scores_and_boxes_that_are_not_finite_are_named_and_left_out(tmp_path):
  first, _ = two_pages()
  broken = [(np.nan, 0, (1, 1, 5, 5)), (0.7, 0, (np.nan, 1, 5, 5))]
  with pytest.warns(UserWarning, match=r"a\.png: 2 detections .* not finite"):
    run(tmp_path, [(first, perfect(first) + broken)])
  summary = strict_json(tmp_path / "val.json")
  assert summary["num_detections"] == 2
  assert summary["mAP_50"] == pytest.approx(1)
  assert len(strict_json(tmp_path / "predictions.json")) == 2


def test_min_score_leaves_out_the_unsure(tmp_path):
  first, _ = two_pages()
  rows = [*perfect(first), (0.04, 0, (1, 1, 5, 5)), (0.05, 0, (9, 1, 14, 5))]
  summary = run(tmp_path, [(first, rows)]).metrics
  assert summary["num_detections"] == 3  # the score on the limit counts
  assert summary["min_score"] == 0.05


def _made_up_calibration(raw, num_pages):
  """A map with p = s / (2 + s) and the threshold 0.3."""
  assert len(raw.scores) > 0
  # logit(p) = log(s) - log(2)
  score_map = ScoreMap(1.0, 1e-9, -np.log(2), np.zeros(len(NAMES)))
  return calibration_lib.Calibration(
    score_map=score_map,
    point=OperatingPoint(0.3, 1.0, 1.0, 1.0),
    ece_raw=0.0,
    ece=0.0,
    num_pages=num_pages,
    num_objects=0,
    num_detections=0,
    made_with={},
  )


def test_calibrated_scores_are_those_of_every_file(tmp_path):
  first, second = two_pages()  # scores 0.9 and 0.8; 0.9
  wrong = [(0.2, 2, (1, 1, 9, 9)), (0.06, 2, (20, 20, 29, 29))]
  answers = [(first, perfect(first) + wrong), (second, perfect(second))]
  raw = run(tmp_path / "raw", answers)
  result = run(tmp_path, answers, calibration=_made_up_calibration)
  assert raw.calibration is None
  assert result.calibration is not None
  # A stored calibration serves as well as one that is made.
  stored = run(tmp_path / "stored", answers, calibration=result.calibration)
  assert stored.calibration is result.calibration
  for key in set(result.metrics) - {"seconds_per_page"}:
    assert stored.metrics[key] == result.metrics[key]
  summary = strict_json(tmp_path / "val.json")
  found = strict_json(tmp_path / "predictions.json")
  score = {0.9: 0.9 / 2.9, 0.8: 0.8 / 2.8, 0.2: 0.2 / 2.2}
  assert [row["score"] for row in found] == pytest.approx(
    [score[0.9], score[0.8], score[0.2], score[0.9]]
  )  # 0.06 / 2.06 is below min_score
  assert summary["mAP"] == raw.metrics["mAP"] == pytest.approx(1)
  assert summary["calibrated"] is True
  assert raw.metrics["calibrated"] is False
  # All detections: 0.9 and 0.8 are right, 0.2 and 0.06 wrong, in bins of 1/15.
  assert (
    summary["ece_raw"]
    == raw.metrics["ece"]
    == pytest.approx((0.1 + 0.1 + 0.2 + 0.2 + 0.06) / 5)
  )
  assert summary["threshold"] == 0.3
  assert [summary[k] for k in ("precision", "recall", "f1")] == pytest.approx(
    [1, 2 / 3, 0.8]  # two of 0.31, but 0.29 is below
  )
  assert [raw.metrics[k] for k in ("threshold", "precision", "f1")] == [
    None
  ] * 3


def test_overlays_show_what_a_user_gets(tmp_path):
  first, _ = two_pages()
  wrong = (0.2, 0, (60, 60, 70, 70))
  answers = [(first, [*perfect(first), wrong])]
  raw = run(tmp_path, answers).pictures["a-overlay"]
  shown = run(tmp_path, answers, calibration=_made_up_calibration).pictures[
    "a-overlay"
  ]

  def has(picture, rgb):
    height, width = first.truth.image_hw
    below = picture[-height * picture.shape[1] // width :]  # of the legend
    return bool((below == rgb).all(-1).any())

  assert has(raw, drawing.WRONG_RGB)
  assert not has(raw, drawing.MISSED_RGB)
  assert not has(shown, drawing.WRONG_RGB)
  assert has(shown, drawing.MISSED_RGB)  # 0.8 / 2.8 is below the threshold


def test_pictures_have_the_tones_and_the_pixels_of_their_file(tmp_path):
  first, _ = two_pages()  # the network sees them at half their size
  image = dataclasses.replace(first.image, polarity="light")
  light = dataclasses.replace(first, image=image)
  found = run(
    tmp_path, [(light, [])], dataset="boxes", overlays=1, viewer_pages=1
  )
  picture = found.pictures["a-overlay"][-4 * 200 :]
  assert picture.shape == (4 * 200, 4 * 300, 3)  # enlarged, for the names
  shown = cv2.resize(first.image.ink, None, fx=4, fy=4)
  drawn = (picture.min(axis=-1) != picture.max(axis=-1)).any()
  assert drawn and np.mean(picture[..., 0] == shown) > 0.9
  energy = found.pictures["a-energy"]
  assert np.median(energy) == 0 and energy.max() == 255
  page = cv2.imread(str(tmp_path / "val/pages/a.jpg"))
  assert np.median(page) < 5


def test_overflowing_pages_are_listed(tmp_path, monkeypatch):
  first, second = two_pages()
  network = FakeNetwork([(p, perfect(p)) for p in (first, second)])

  def too_many(image):
    found, levels = network(image)
    if np.array_equal(image[0, ..., 0], seen(second)):
      found = found.replace(count=np.array([SLOTS + 1]))
    return found, levels

  with pytest.warns(UserWarning, match=r"b\.png: 65 objects found"):
    result = evaluate_lib.evaluate(
      too_many,
      [first, second],
      NAMES,
      out_dir=tmp_path,
      dataset="made_up",
      split="val",
      log=None,
    )
  assert result.metrics["overflowing_pages"] == ["b.png"]


def test_legacy_shifts_by_a_pixel_and_leaves_out_large_muscima_objects(
  tmp_path,
):
  small, large = [20, 20, 24, 24], [30, 30, 40, 430]
  page = eval_page("a.png", [small, large], [0, 1], hw=(100, 500))
  answers = [(page, perfect(page))]
  clean = run(tmp_path, answers, protocol="voc").metrics
  legacy = run(
    tmp_path, answers, protocol="legacy", dataset="muscima_pp"
  ).metrics
  assert clean["AP_by_iou"]["0.95"] == pytest.approx(1)
  assert clean["num_objects"] == 2
  assert legacy["num_objects"] == 1
  # 5 x 5 px shifted by (1, 1): IoU 16 / 34.
  assert legacy["AP_by_iou"]["0.50"] == 0
  kept = run(tmp_path, answers, protocol="legacy", dataset="deepscores").metrics
  assert kept["num_objects"] == 2
  # 11 x 401 px shifted by (1, 1): IoU 0.83.
  assert kept["per_class"]["clef"]["AP_50"] == pytest.approx(1)
  assert kept["mAP_50"] == pytest.approx(1 / 2)


# Caption: page sizes -> calls; each timed call takes 2 s by the fake clock.
TIMED = {
  "the first page of each padded size is left out": (
    [(200, 300), (200, 300), (400, 300), (200, 300)],
    4,
  ),
  "a single page runs again to be timed": ([(200, 300)], 2),
  "so does the last of pages that all differ": ([(200, 300), (400, 300)], 3),
}


@pytest.mark.parametrize("caption", TIMED)
def test_seconds_per_page_leave_out_the_compilation(
  caption, tmp_path, monkeypatch
):
  sizes, calls = TIMED[caption]
  pages = [eval_page(f"{i}.png", [], [], hw=hw) for i, hw in enumerate(sizes)]
  network = FakeNetwork([(p, []) for p in pages])
  clock = types.SimpleNamespace(perf_counter=lambda: network.clock_s)
  monkeypatch.setattr(evaluate_lib, "time", clock)
  monkeypatch.setattr(batches, "time", clock)
  result = evaluate_lib.evaluate(
    network,
    pages,
    NAMES,
    out_dir=tmp_path,
    dataset="made_up",
    split="val",
    overlays=0,
    log=None,
  )
  assert result.metrics["seconds_per_page"] == 2
  assert network.calls == calls


def test_progress_is_lines_without_a_terminal(tmp_path, monkeypatch):
  monkeypatch.setattr(progress, "_LOG_EVERY_S", 0)
  lines = []
  run(tmp_path, _no_detections(), log=lines.append, num_pages=2)
  assert [re.sub(r" [^ ]+ (pages/s|s left)", r" N \1", x) for x in lines] == [
    "evaluate val: 1 of 2 pages, N pages/s, N s left",
    "evaluate val: 2 of 2 pages, N pages/s, N s left",
    "evaluate val: 2 pages done",
  ]


def test_progress_is_a_bar_on_a_terminal(tmp_path, monkeypatch):
  class Terminal(io.StringIO):
    def isatty(self):
      return True

  terminal, lines = Terminal(), []
  monkeypatch.setattr(sys, "stderr", terminal)
  run(tmp_path, _no_detections(), log=lines.append, num_pages=2)
  assert "evaluate val: 100%" in terminal.getvalue()
  assert not lines


def test_unknown_protocol_is_an_input_error(tmp_path):
  with pytest.raises(InputError, match=r"eval\.protocol: 'cocoa' is unknown"):
    run(tmp_path, [], protocol="cocoa")


def _squares(image):
  """Finds squares; those 9 px large are of class 0, others of class 1."""
  ink = np.asarray(image[0, ..., 0])
  solid = cv2.erode((ink > ink.max() / 2).astype(np.uint8), None)
  count, _, stats, _ = cv2.connectedComponentsWithStats(
    cv2.erode(solid, np.ones((3, 3), np.uint8))
  )
  left, top, width, height = stats[1:, :4].T
  found = Detections(
    boxes_yxyx=np.zeros((1, SLOTS, 4), np.float32),
    labels=np.zeros((1, SLOTS), np.int32),
    scores=np.zeros((1, SLOTS), np.float32),
    valid=np.arange(SLOTS)[None] < count - 1,
    count=np.array([count - 1]),
  )
  boxes = np.stack([top - 2, left - 2, top + height + 2, left + width + 2], 1)
  found.boxes_yxyx[0, : count - 1] = boxes
  found.labels[0, : count - 1] = np.abs(height + 4 - 9) > 1
  found.scores[0, : count - 1] = 0.9
  return found, np.zeros((*image.shape[:3], 1), np.float32)


def test_staves_of_each_size_are_predicted_at_their_scale():
  ink = np.zeros((1000, 600), np.uint8)
  ink[:560] = staff_helpers.staves(12, (560, 600), thickness=2)
  ink[560:] = staff_helpers.staves(7, (440, 600))
  boxes = [(y, x, y + 12, x + 12) for y in (84, 216) for x in (90, 300, 480)]
  boxes += [(y, x, y + 7, x + 7) for y in (609, 686) for x in (90, 300, 480)]
  for y0, x0, y1, x1 in boxes:
    ink[y0:y1, x0:x1] = 255
  page = EvalPage(
    image=PageImage("two sizes.png", ink, 1.0),
    truth=PageBoxes(
      "two sizes.png",
      ink.shape,
      np.array(boxes, np.float32),
      np.zeros(len(boxes), np.int32),
    ),
  )
  cfg = PredictConfig(staff_space_px=9.0, normalise="exact")
  predicted = evaluate_lib.predict_all(
    _squares, [page], cfg, boxes=io.BytesIO()
  )
  ((truth, found),) = predicted.pages
  assert len(found.labels) == len(boxes)
  assert not found.labels.any()
  iou = box_lib.pairwise_iou(truth.boxes_yxyx, found.boxes_yxyx)
  assert np.asarray(iou).max(1).min() > 0.5
