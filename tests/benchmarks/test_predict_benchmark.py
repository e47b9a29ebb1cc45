"""Benchmark of whole pages: it runs, and its peer is the same network."""

import dataclasses
import importlib.util

import cv2
import jax
import numpy as np
import pytest

from benchmarks import predict, predict_scene
from dwd_jax.models import dwd


def _page():
  """A few symbols on a page that needs padding."""
  image = np.full((60, 70), 255, np.uint8)
  boxes = np.array([[10, 10, 18, 20], [30, 40, 42, 46]], np.float32)
  for top, left, bottom, right in boxes.astype(int):
    image[top:bottom, left:right] = 0
  return predict_scene.Page(cv2.imencode(".png", image)[1].tobytes(), boxes)


def test_a_page_is_measured_and_the_peer_agrees():
  peer = "torch" if importlib.util.find_spec("torch") else ""
  row = predict.measure_page("18x4x4", _page(), peer, False, 1)
  assert row["page_px"] == [64, 128]
  assert row["objects"] == row["detections"] == 2
  ours = row["jax"]
  assert 0 < ours["network_s"] < ours["seconds_per_page"] * 2
  shares = [ours[f"share_of_{part}"] for part in ("reading", "network")]
  assert sum(shares) + ours["share_of_decode"] == pytest.approx(1)
  assert ("torch" in row) == ("page_times_faster" in row) == bool(peer)


def test_an_engraved_page_has_its_boxes_where_the_ink_is():
  page = predict_scene.engraved_page(400, 500)
  ink = predict.read(page.png).ink
  assert ink.shape == (400, 500)
  assert len(page.boxes_yxyx) > 10
  for top, left, bottom, right in page.boxes_yxyx.round().astype(int):
    assert ink[top : bottom + 1, left : right + 1].max() > 100


# Caption: changes of the default decoder of the benchmark.
NETWORKS = {
  "basic blocks, batch norm in the decoder": ("18x4x4", {}),
  "bottlenecks, two groups": ("50x4x4", {"num_groups": 2}),
  "the paper's decoder": (
    "18x4x4",
    {"decoder_norm": False, "class_hidden": 0},
  ),
}


@pytest.mark.parametrize("network", NETWORKS)
def test_torch_gives_the_same_maps(network):
  torch = pytest.importorskip("torch")
  from benchmarks import torch_network

  spec, changes = NETWORKS[network]
  cfg = dataclasses.replace(predict.network_config(spec), **changes)
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
