"""Pages to measure: what is refused, what is left out."""

import dataclasses

import numpy as np
import pytest
from metric_helpers import measure

from dwd_jax.core.structs import PageBoxes
from dwd_jax.metrics import protocols


def page(name="p", n=2, scores=None, label=0):
  return PageBoxes(
    filename=name,
    image_hw=(100, 100),
    boxes_yxyx=np.tile(np.array([[1, 2, 3, 4]], np.float32), (n, 1)),
    labels=np.full(n, label, np.int32),
    scores=scores,
  )


SCORES = np.array([0.5, 0.25], np.float32)

REFUSED = {
  "a name twice in the truth": (
    [page(), page()],
    [],
    "a file name occurs twice",
  ),
  "detections without scores": ([page()], [page()], "need scores"),
  "label above the last class": ([page(label=3)], [], "outside 0 .. 2"),
  "label below zero": (
    [page()],
    [page(scores=SCORES, label=-1)],
    "outside 0 .. 2",
  ),
}


@pytest.mark.parametrize("caption", REFUSED)
def test_refused(caption):
  truth, found, message = REFUSED[caption]
  with pytest.raises(ValueError, match=message):
    measure(truth, found, 3, "coco")


NOT_FINITE = {
  "score NaN": lambda p: dataclasses.replace(
    p, scores=np.array([np.nan, 0.25], np.float32)
  ),
  "score infinite": lambda p: dataclasses.replace(
    p, scores=np.array([np.inf, 0.25], np.float32)
  ),
  "box NaN": lambda p: dataclasses.replace(
    p, boxes_yxyx=np.array([[1, 2, np.nan, 4], [1, 2, 3, 4]], np.float32)
  ),
}


@pytest.mark.parametrize("caption", NOT_FINITE)
def test_not_finite_is_left_out_with_a_warning(caption):
  broken = NOT_FINITE[caption](page(scores=SCORES))
  truth = [page(n=1)]
  with pytest.warns(UserWarning, match="p: 1 detections .* not finite"):
    table = measure(truth, [broken], 3, "voc")
  assert table.at(0.5)[0] == 1  # the other one is right


def test_best_score_first_across_pages():
  """Of equal scores, those of the page whose name is first."""
  wrong = np.array([[50, 50, 60, 60]], np.float32)
  truth = [page("b", n=1), page("a", n=1)]
  for first, second, ap in (("a", "b", 1.0), ("b", "a", 0.5)):
    right = page(first, n=1, scores=np.array([0.5]))
    false = dataclasses.replace(
      page(second, n=1, scores=np.array([0.5])), boxes_yxyx=wrong
    )
    table = measure(truth, [false, right], 3, "voc")
    assert table.at(0.5)[0] == ap / 2  # one of two is found


def test_mean_or_nan():
  assert protocols.mean_or_nan(np.array([0.25, np.nan, 0.75])) == 0.5
  assert np.isnan(protocols.mean_or_nan(np.array([np.nan])))
  assert np.isnan(protocols.mean_or_nan(np.array([])))
