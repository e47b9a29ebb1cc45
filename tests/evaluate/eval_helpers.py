"""Whole evaluations without a network to train: pages and what is found."""

import json

import numpy as np
from staff_helpers import staves

from dwd_jax.core.structs import (
  NO_POSITION,
  Detections,
  PageBoxes,
  PageImage,
)
from dwd_jax.data.pipeline import EvalPage
from dwd_jax.evaluate import evaluate_split as evaluate_lib
from dwd_jax.imaging import page_windows
from dwd_jax.metrics.calibration import Calibration, ScoreMap
from dwd_jax.metrics.reliability import OperatingPoint
from dwd_jax.predict.predict_config import PredictConfig

HOSTILE = '</script><b onload="x()">&\'é'
NAMES = ("notehead", "clef", HOSTILE, "rare")
_SLOTS = 64


def pages(count=4, names=None, oriented=False):
  """Pages with 12 symbols each, at places with fractions of pixels.

  All but the last have staves, of 9 px. Where boxes are oriented, noteheads
  have places on the staff.
  """
  rng = np.random.default_rng(5)
  made = []
  for i in range(count):
    corners = np.stack([np.arange(12) // 4, np.arange(12) % 4], 1) * 55.0
    corners = corners + rng.uniform(2, 9, (12, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(9, 30, (12, 2))], 1)
    boxes = boxes.astype(np.float32)
    ink = np.zeros((320, 400), np.uint8)
    if i < count - 1:
      ink = staves(9, ink.shape)
    for y0, x0, y1, x1 in boxes.round().astype(int):
      ink[y0:y1, x0:x1] = 255
    name = names[i] if names else f"page {i}.png"
    labels = rng.integers(0, 3, 12).astype(np.int32)
    made.append(
      EvalPage(
        PageImage(name, ink, 1.0),
        PageBoxes(
          filename=name,
          image_hw=ink.shape,
          boxes_yxyx=boxes,
          labels=labels,
          oriented_yx=_turned(boxes) if oriented else None,
          positions=_positions(labels) if oriented else None,
        ),
      )
    )
  return made


def _positions(labels):
  """Of noteheads: -4, -3, ..."""
  steps = np.arange(len(labels)) - 4
  return np.where(labels == 0, steps, NO_POSITION).astype(np.int32)


def _turned(boxes_yxyx):
  """Corners on the sides of boxes, float32 [n, 4, 2]."""
  y0, x0, y1, x1 = np.asarray(boxes_yxyx).T
  dy, dx = 0.2 * (y1 - y0), 0.3 * (x1 - x0)
  corners = y0, x0 + dx, y0 + dy, x1, y1, x1 - dx, y1 - dy, x0
  return np.stack(corners, 1).reshape(-1, 4, 2).astype(np.float32)


class Finder:
  """Finds the symbols of pages that it knows, with errors of all kinds."""

  def __init__(self, known):
    self._known = {}
    for page in known:
      ink = page.image.ink
      window = page_windows.page_window(ink.shape, 1.0, 64)
      image = page_windows.cut(ink, window)
      self._known[image.tobytes()] = page.truth
    self._rng = np.random.default_rng(7)

  def __call__(self, image):
    true, rng = self._known[image[0].tobytes()], self._rng
    rows = np.concatenate([np.arange(11), [0, 3, 5]])  # one missed, some twice
    n = len(rows) + 2
    shift = rng.choice([0.3, 1.0, 6.0], (len(rows), 1), p=(0.5, 0.3, 0.2))
    boxes = true.boxes_yxyx[rows] + shift * rng.uniform(-1, 1, (len(rows), 4))
    wrong = rng.random(len(rows)) < 0.2
    labels = np.where(wrong, rng.integers(0, 4, len(rows)), true.labels[rows])
    corner = rng.uniform(0, 170, (2, 2))
    found = Detections(
      boxes_yxyx=np.zeros((1, _SLOTS, 4), np.float32),
      labels=np.zeros((1, _SLOTS), np.int32),
      scores=np.zeros((1, _SLOTS), np.float32),
      valid=np.arange(_SLOTS)[None] < n,
      count=np.array([n]),
    )
    found.boxes_yxyx[0, :n] = np.concatenate(
      [boxes, np.concatenate([corner, corner + 9], 1)]
    )
    found.labels[0, :n] = np.append(labels, [0, 3])
    found.scores[0, :n] = rng.random(n)
    if true.oriented_yx is not None:
      corners = _turned(found.boxes_yxyx[0])[None]
      places = np.full((1, _SLOTS), NO_POSITION, np.int32)
      steps = rows - 4 + (np.arange(len(rows)) % 3 == 0)  # a third is wrong
      places[0, : len(rows)] = np.where(labels == 0, steps, NO_POSITION)
      found = found.replace(oriented_yx=corners, positions=places)
    return found, np.zeros((*image.shape[:3], 1), np.float32)


def calibration(threshold=0.2):
  """Probabilities that are lower than the scores, by class."""
  return Calibration(
    score_map=ScoreMap(1.1, 0.8, -0.3, np.array([0.2, -0.1, 0.0, 0.4])),
    point=OperatingPoint(threshold, 0.9, 0.9, 0.9),
    ece_raw=0.1,
    ece=0.05,
    num_pages=4,
    num_objects=48,
    num_detections=64,
    made_with={},
  )


def evaluate(out_dir, known=None, **options):
  """An evaluation; the same detections every time. -> its summary.

  `finds` are the pages as the detector knows them, if not as they are.
  """
  known = pages() if known is None else known
  given = {
    "dataset": "made_up",
    "split": "val",
    "log": None,
    "overlays": 0,
    "viewer_pages": -1,
    "calibration": calibration(),
    "checkpoint_step": 7,
  } | options
  result = evaluate_lib.evaluate(
    Finder(given.pop("finds", known)),
    known,
    NAMES,
    PredictConfig(staff_space_px=9.0, normalise=given.pop("normalise", "auto")),
    out_dir=out_dir,
    **given,
  )
  return result.metrics


def read(path):
  """Strict JSON."""

  def refuse(name):
    raise AssertionError(f"{path.name} holds {name}, which is not JSON")

  return json.loads(path.read_text(), parse_constant=refuse)
