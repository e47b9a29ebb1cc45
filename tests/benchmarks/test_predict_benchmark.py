"""Benchmark of whole pages: it runs, and its peer is the same network."""

import dataclasses
import importlib.util
from typing import Any

import cv2
import jax
import numpy as np
import pytest

from benchmarks import predict, predict_scene
from dwd_jax.core import structs
from dwd_jax.models import dwd

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def compile_quickly():
  """Nothing here runs long enough for optimised code to pay."""
  before = jax.config.read("jax_disable_most_optimizations")
  jax.config.update("jax_disable_most_optimizations", True)
  yield
  jax.config.update("jax_disable_most_optimizations", before)


def _page():
  """A few symbols on a page that needs padding."""
  image = np.full((60, 70), 255, np.uint8)
  boxes = np.array([[10, 10, 18, 20], [30, 40, 42, 46]], np.float32)
  for top, left, bottom, right in boxes.astype(int):
    image[top:bottom, left:right] = 0
  return predict_scene.Page(cv2.imencode(".png", image)[1].tobytes(), boxes)


@pytest.fixture(scope="module")
def subject():
  """The paper's decoder on a narrow backbone."""
  page = _page()
  image = predict.network_image(predict.read(page.png))
  return predict_scene.untrained("10x4x256", image, page.boxes_yxyx)


def test_a_page_is_measured_and_the_peer_agrees(subject):
  peer = "torch" if importlib.util.find_spec("torch") else ""
  row = predict.measure_page(lambda *_: subject, _page(), peer, False, 1)
  assert row["page_px"] == [64, 128]
  assert row["objects"] == row["detections"] == 2
  for name in ["jax"] + ["torch"] * bool(peer):
    for part in ("reading", "network", "decode"):
      share = row[name][f"{part}_s"] / row[name]["seconds_per_page"]
      assert row[name][f"share_of_{part}"] == pytest.approx(share)
      assert share > 0
  assert ("torch" in row) == ("page_times_faster" in row) == bool(peer)
  if peer:
    assert row["agree"] == {"torch": 1.0}


def test_an_untrained_network_leaves_the_maps_of_the_page(subject):
  image = predict.network_image(predict.read(_page().png))
  own = subject.network(subject.weights, image)
  assert np.std(own.energy_logits) == pytest.approx(0.1, rel=0.1)
  assert np.abs(own.log_sizes).max() < 0.3
  logits = dwd.class_logits(subject.variables["params"], own.class_features)
  assert 1 < np.std(logits) < 6


class _FixedPeer:
  """Finds the same whatever the image; `network` gives maps NCHW."""

  def __init__(self, torch, maps, found):
    self._maps = tuple(
      torch.from_numpy(x.reshape(*x.shape[:3], -1)).permute(0, 3, 1, 2)
      for x in maps
    )
    self._found = found

  def network(self, image):
    del image
    return self._maps

  def detect(self, image):
    del image
    return self._found


def test_a_peer_that_finds_something_else_stops_the_run():
  torch = pytest.importorskip("torch")
  from benchmarks import torch_predict

  shapes = ((1, 2, 3, 1, 20), (1, 2, 3, 1, 2), (1, 2, 3, 8))
  rng = np.random.default_rng(0)
  maps = [rng.normal(size=shape).astype(np.float32) for shape in shapes]
  boxes = np.array([[1, 1, 9, 9], [20, 5, 30, 25]], np.float32)
  labels, scores = np.array([3, 4]), np.array([0.9, 0.5], np.float32)
  peers: Any = {"it": _FixedPeer(torch, maps, (boxes, labels, scores))}
  image = np.zeros((1, 8, 12, 1), np.float32)

  def check(maps, boxes, labels, scores):
    ours = structs.PageBoxes("page", (8, 12), boxes, labels, scores)
    wanted = structs.Predictions(*maps)
    return torch_predict.check(peers, image, wanted, ours)

  assert check(maps, boxes, labels, scores) == {"it": 1.0}
  for other in (
    (boxes + 1, labels, scores),
    (boxes, labels[::-1], scores),
    (boxes, labels, scores + 0.02),
  ):
    with pytest.raises(ValueError, match="agree"):
      check(maps, *other)
  with pytest.raises(ValueError, match="maps differ"):
    check([maps[0], maps[1] * 1.1, maps[2]], boxes, labels, scores)


def test_an_engraved_page_has_its_boxes_where_the_ink_is():
  page = predict_scene.engraved_page(400, 500)
  ink = predict.read(page.png).ink
  assert ink.shape == (400, 500)
  assert len(page.boxes_yxyx) > 10
  for top, left, bottom, right in page.boxes_yxyx.round().astype(int):
    assert ink[top : bottom + 1, left : right + 1].max() > 100


def test_torch_gives_the_same_maps():
  """Bottlenecks and batch norm everywhere; the rest is measured above."""
  torch = pytest.importorskip("torch")
  from benchmarks import torch_network

  cfg = predict_scene.network_config("50x4x4")
  cfg = dataclasses.replace(cfg, num_groups=2)
  model = dwd.make_model(cfg)
  variables = predict_scene.random_variables(model)
  image = np.random.default_rng(1).random((2, 32, 64, 1), np.float32)
  wanted = jax.jit(model.apply)(variables, image)
  net = torch_network.from_variables(cfg, variables)
  for fold in (False, True):
    net = torch_network.fold_norms(net) if fold else net.eval()
    norms = [m for m in net.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert bool(norms) != fold
    with torch.no_grad():
      found = net(torch.from_numpy(image).permute(0, 3, 1, 2))
      logits = net.class_logits(found[2].permute(0, 2, 3, 1))
    found = [x.permute(0, 2, 3, 1).numpy() for x in found]
    for ours, theirs in (
      (wanted.energy_logits, found[0]),
      (wanted.log_sizes, found[1]),
      (wanted.class_features, found[2]),
      (
        dwd.class_logits(variables["params"], wanted.class_features),
        logits.numpy(),
      ),
    ):
      theirs = theirs.reshape(ours.shape)
      # Random networks have large maps; a rounding error is of their size.
      np.testing.assert_allclose(theirs, ours, atol=1e-5 * np.abs(ours).max())
