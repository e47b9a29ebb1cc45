"""Oriented boxes and staff positions on their way from records to batches."""

import cv2
import numpy as np
import pytest

from dwd_jax.core import boxes as boxes_lib
from dwd_jax.core.errors import InputError
from dwd_jax.core.structs import NO_POSITION
from dwd_jax.data import pipeline, sources
from dwd_jax.data.synthetic import open_synthetic
from dwd_jax.imaging import oriented_boxes, tiled_tiff
from dwd_jax.train.settings import default

NAMES = ("beam", "notehead", "rest")
HW = (400, 500)


def _record(**changes):
  """Slanted bars in rows, each with its oriented box and a position."""
  ink = np.zeros(HW, np.uint8)
  corners = []
  for i, (y, x) in enumerate(np.mgrid[40:380:60, 50:480:80].reshape(2, -1).T):
    box = cv2.boxPoints(
      ((float(x), float(y)), (44.0, 12.0), float(7 * (i % 9) - 28))
    )
    cv2.fillConvexPoly(ink, np.rint(box * 256).astype(int), 255, shift=8)
    corners.append(box[:, ::-1])
  corners = np.array(corners, np.float32)
  n = len(corners)
  return {
    "image": tiled_tiff.encode_page(ink),
    "image/height": HW[0],
    "image/width": HW[1],
    "image/filename": b"bars.png",
    "boxes_yxyx": np.concatenate([corners.min(1), corners.max(1)], 1),
    "labels": np.arange(n, dtype=np.int64) % 3,
    "oriented_yx": corners,
    "positions": np.arange(n, dtype=np.int32) - 8,
  } | changes


def _source(record, **kwargs):
  return sources.PageSource(
    [record], name="bars", split="train", class_names=NAMES, **kwargs
  )


@pytest.fixture
def cfg():
  cfg = default().data
  cfg.crop_hw, cfg.scales, cfg.max_boxes = (160, 192), (0.8,), 60
  return cfg


def _batches(source, cfg, count=3, **kwargs):
  loader = pipeline.train_loader(
    source,
    cfg,
    batch_size=2,
    seed=0,
    synthetic=open_synthetic(source, cfg),
    process_index=0,
    process_count=1,
    **{"oriented": True, "positions": True, **kwargs},
  )
  batches = [next(loader) for _ in range(count)]
  loader.close()
  return batches


def _contrast(image, corners):
  """How much more ink an oriented box without its rim has than the paper."""
  middle = corners.mean(0)
  inner = (corners - middle) * [0.75, 0.75] + middle
  mask = np.zeros(image.shape, np.uint8)
  points = np.rint((inner[:, ::-1] - 0.5) * 256).astype(int)
  cv2.fillConvexPoly(mask, points, 1, shift=8)
  inside = image[mask > 0]
  return np.percentile(inside, 25) - np.median(image) if len(inside) else 255


@pytest.mark.parametrize(
  "change",
  [
    {},
    {"flip": True, "scale_jitter": 0.4},
    {"degrade.scan_prob": 1.0},
    {"degrade.photo_prob": 1.0, "flip": True},
    {"synthetic.layout": "full", "synthetic.prob": 1.0},
  ],
  ids=lambda change: " ".join(map(str, change)) or "plain",
)
def test_oriented_boxes_lie_on_their_ink(cfg, change):
  cfg.update_from_flattened_dict(change)
  seen = 0
  for batch in _batches(_source(_record()), cfg):
    assert batch.oriented_yx.shape == (2, 60, 4, 2)
    assert batch.oriented_yx.dtype == np.float32
    assert not batch.oriented_yx[~batch.box_mask].any()
    for image, mask, boxes, corners in zip(
      batch.image[..., 0],
      batch.box_mask,
      batch.boxes_yxyx,
      batch.oriented_yx,
      strict=True,
    ):
      for box, own in zip(boxes[mask], corners[mask], strict=True):
        sides = np.hypot(*np.diff([*own, own[0]], axis=0).T)
        assert abs(sides[0] - sides[2]) + abs(sides[1] - sides[3]) < 0.2
        around = np.array([*own.min(0), *own.max(0)])
        inside = np.all(around >= 0) and np.all(around[2:] <= cfg.crop_hw)
        if inside:  # otherwise the upright box is cut, not this one
          np.testing.assert_allclose(around, box, atol=3)
          assert _contrast(image, own) > 30
          seen += 1
  assert seen > 10


def test_positions_go_with_their_boxes(cfg):
  record = _record()
  cfg.crop_hw, cfg.scales = (448, 512), (1.0,)
  (batch,) = _batches(_source(record, leave_out=("rest",)), cfg, 1)
  assert batch.positions.dtype == np.int32
  assert (batch.positions[~batch.box_mask] == NO_POSITION).all()
  for corners, positions, mask in zip(
    batch.oriented_yx, batch.positions, batch.box_mask, strict=True
  ):
    rows = np.arange(len(record["labels"])) % 3 != 2
    assert mask.sum() == rows.sum()
    assert positions[mask].tolist() == record["positions"][rows].tolist()
    apart = corners[mask].mean(1) - record["oriented_yx"][rows].mean(1)
    np.testing.assert_allclose(apart, apart[:1].repeat(len(apart), 0), atol=0.1)


def test_pasted_symbols_have_no_known_position(cfg):
  cfg.synthetic.update({"layout": "full", "prob": 1.0})
  for batch in _batches(_source(_record()), cfg, 1):
    assert batch.box_mask.any()
    assert (batch.positions == NO_POSITION).all()


def test_crops_have_what_is_asked_for(cfg):
  for asked in ({"oriented": False}, {"positions": False}):
    (batch,) = _batches(_source(_record()), cfg, 1, **asked)
    assert (batch.oriented_yx is None) == ("oriented" in asked)
    assert (batch.positions is None) == ("positions" in asked)


def test_pages_have_what_the_records_have(cfg):
  record = _record()
  source = _source(record, leave_out=("beam",))
  (page,) = pipeline.read_eval_pages(source, cfg)
  rows = record["labels"] != 0
  np.testing.assert_array_equal(
    page.truth.oriented_yx, record["oriented_yx"][rows]
  )
  np.testing.assert_array_equal(page.truth.positions, record["positions"][rows])
  for name in ("oriented_yx", "positions"):
    del record[name]
  (page,) = pipeline.read_eval_pages(_source(record), cfg)
  assert page.truth.oriented_yx is None and page.truth.positions is None


def test_records_without_the_feature_are_named(cfg):
  for name, key in (
    ("oriented_yx", "model.oriented"),
    ("positions", "model.staff_positions"),
  ):
    record = _record()
    del record[name]
    source = _source(record, folder="some/where")
    with pytest.raises(
      InputError, match=rf"some/where: records without {name}, which {key}=True"
    ):
      _batches(source, cfg)


@pytest.mark.parametrize(
  "damage",
  [
    {"oriented_yx": np.zeros((2, 4, 2), np.float32)},
    {"positions": np.zeros(3, np.int32)},
    {"oriented_yx": np.full((36, 4, 2), np.nan, np.float32)},
  ],
)
def test_rows_that_do_not_fit_are_damage(damage):
  source = _source(_record(**damage), folder="some/where")
  with pytest.raises(InputError, match=r"some/where: damaged .* of page 0"):
    source[0]


def test_a_quadrilateral_becomes_the_rectangle_around_it():
  kite = np.array([[[0, 0], [0, 10], [6, 12], [5, 1]]], np.float32)
  (found,) = oriented_boxes.rectangles(kite)
  sides = np.diff([*found, found[0]], axis=0)
  assert abs(sides[0] @ sides[1]) < 1e-3
  assert all(
    cv2.pointPolygonTest(found, tuple(map(float, p)), True) > -1e-3
    for p in kite[0]
  )
  upright = boxes_lib.corners_yx(np.array([[1, 2, 5, 9]], np.float32))
  np.testing.assert_array_equal(oriented_boxes.rectangles(upright), upright)
