"""Samples of pages: their AP is that of pages that are there several times."""

import dataclasses

import numpy as np
import pytest

from dwd_jax.core.structs import PageBoxes
from dwd_jax.metrics import bootstrap, protocols


def _pages(rng, count=7):
  """Truth and detections of a class, with hits and misses."""
  for i in range(count):
    n = int(rng.integers(0, 9))
    near = 30.0 * np.arange(n)[:, None] + np.zeros(2)
    boxes = np.concatenate([near, near + 20], 1)
    truth = PageBoxes(f"{i}", (400, 400), boxes, np.zeros(n, int))
    found = dataclasses.replace(
      truth,
      boxes_yxyx=boxes + rng.choice([0, 2, 9], (n, 1)),
      scores=rng.random(n),
    )
    yield truth, found


def _meter(pages):
  meter = protocols.Meter(1, protocols.COCO)
  for truth, found in pages:
    meter.add(truth, found)
  return meter


@pytest.mark.parametrize("seed", range(4))
def test_ap_of_samples_is_that_of_repeated_pages(seed):
  pages = [*_pages(np.random.default_rng(seed))]
  weights = bootstrap.draw(len(pages), samples=20, seed=seed)
  assert (weights.sum(1) == len(pages)).all()
  objects = np.array([len(truth.labels) for truth, _ in pages])
  page, right = _meter(pages).of_class(0)
  ap = bootstrap.average_precision(page, right, objects, weights)
  for sample, got in zip(weights, ap, strict=True):
    repeated = [
      tuple(dataclasses.replace(side, filename=f"{i}-{k}") for side in pages[i])
      for i, times in enumerate(sample)
      for k in range(times)
    ]
    expected = _meter(repeated).table().ap[:, 0]
    np.testing.assert_allclose(got, expected, atol=1e-12)


def test_samples_without_objects_or_detections():
  objects, weights = np.array([0, 2]), np.array([[2, 0], [0, 2]])
  nothing = np.zeros((10, 0), bool)
  ap = bootstrap.average_precision(np.zeros(0, int), nothing, objects, weights)
  assert np.isnan(ap[0]).all()
  assert (ap[1] == 0).all()
  assert bootstrap.interval(ap[:, 0]) is None  # unknown in half of them


def test_many_detections_have_fewer_samples():
  assert bootstrap.num_samples(4, 9) == 0
  assert bootstrap.num_samples(5, 0) == bootstrap.num_samples(5, 20_000) == 500
  assert bootstrap.num_samples(5, 50_000) == 200
  assert bootstrap.num_samples(5, 10**9) == 100


def test_an_interval_covers_95_percent():
  found = bootstrap.interval(np.arange(1001.0))
  assert found == pytest.approx((25, 975))
  assert found.without_0
  assert not bootstrap.interval(np.arange(-100.0, 900)).without_0
