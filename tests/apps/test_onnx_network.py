"""The network as ONNX equals the network, for images of any size."""

import functools

import export_helpers as helpers
import jax
import numpy as np
import onnxruntime
import pytest

from dwd_jax.apps.export import onnx_network
from dwd_jax.apps.export.standalone import detector_pages
from dwd_jax.models import box_refinement, dwd, staff_positions

# Caption: what the network is made of.
NETWORKS = {
  "basic blocks, offsets, groups": {
    **helpers.WITH_OFFSETS,
    "depth": 10,
  },
  "bottlenecks, no hidden layer": {**helpers.WITHOUT, "depth": 50},
  "a decoder for each head": {
    **helpers.WITH_OFFSETS,
    "depth": 10,
    "separate_decoders": True,
    "refinenet": "dwd2018",
  },
  "no norm in the decoder": {
    **helpers.WITHOUT,
    "depth": 10,
    "decoder_norm": False,
    "refinenet": "lin2017",
  },
}


def _session(data):
  return onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("caption", NETWORKS)
def test_onnx_runtime_computes_what_jax_does(caption):
  options = {"decoder_norm": True, **NETWORKS[caption]}
  cfg = dwd.ModelConfig(
    num_classes=5,
    backbone_depth=options.pop("depth"),
    backbone_width=4,
    filters=6,
    **options,
  )
  variables = helpers.variables_of(cfg)
  apply = jax.jit(functools.partial(dwd.make_model(cfg).apply, train=False))
  session = _session(onnx_network.network(variables, cfg, "a text"))
  names = [output.name for output in session.get_outputs()]
  assert ("offsets" in names) == cfg.center_offsets
  shapes = [(1, 64, 96, 1)]
  if caption == "basic blocks, offsets, groups":
    # One file is for several sizes and numbers of images.
    shapes.append((2, 32, 64, 1))
  for shape in shapes:
    image = np.random.default_rng(1).random(shape).astype(np.float32)
    expected = apply(variables, image)
    found = session.run(None, {"image": image})
    for name, value in zip(names, found, strict=True):
      wanted = np.asarray(getattr(expected, name))
      scale = max(1, np.abs(wanted).max())
      np.testing.assert_allclose(value, wanted, atol=1e-4 * scale, err_msg=name)

  head = _session(onnx_network.class_head(variables, cfg, "a text"))
  features = np.random.default_rng(2).normal(size=(9, 6)).astype(np.float32)
  logits = head.run(None, {"features": features})[0]
  expected = dwd.class_logits(variables["params"], features)
  np.testing.assert_allclose(logits, expected, atol=1e-4)


@pytest.mark.parametrize("num_values", [5, 10])
def test_onnx_runtime_refines_as_jax_does(num_values):
  head, rng = (
    box_refinement.RefinementHead(num_values),
    np.random.default_rng(0),
  )
  shapes = {"windows": (7, 16, 16), "features": (7, 6), "log_sides": (7, 2)}
  given = {k: rng.random(v).astype(np.float32) for k, v in shapes.items()}
  params = jax.jit(head.init)(jax.random.key(1), *given.values())["params"]
  params = jax.tree.map(lambda x: rng.normal(0, 0.2, x.shape), params)
  params = jax.tree.map(np.float32, params)
  variables = {"params": {box_refinement.NAME: params}}
  cfg = dwd.ModelConfig(num_classes=5, filters=6)
  session = _session(onnx_network.refinement_head(variables, cfg, "a text"))
  found = session.run(None, given)[0]
  wanted = jax.jit(box_refinement.values)(variables["params"], *given.values())
  assert found.shape == (7, num_values)
  np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_onnx_runtime_reads_positions_as_jax_does():
  head = staff_positions.PositionHead()
  columns = np.random.default_rng(0).random((7, *staff_positions.COLUMN))
  columns = columns.astype(np.float32)
  params = jax.jit(head.init)(jax.random.key(1), columns)["params"]
  variables = {"params": {staff_positions.NAME: params}}
  cfg = dwd.ModelConfig(num_classes=5, staff_positions=True)
  session = _session(onnx_network.position_head(variables, cfg, "a text"))
  logits = session.run(None, {"columns": columns})[0]
  wanted = jax.jit(staff_positions.logits)(variables["params"], columns)
  np.testing.assert_allclose(logits, wanted, atol=1e-4)


def test_positions_end_the_rows_of_exported_detectors():
  card = {
    "calibration": None,
    "contradictions": None,
    "threshold": 0.1,
    "class_names": ["head", "rest"],
  }
  boxes = np.array([[0, 0, 4, 4], [50, 50, 60, 60], [10, 0, 14, 4]])
  given = boxes, np.array([0, 0, 1]), np.array([0.5, 0.9, 0.8])
  plain = detector_pages.finish(given, (20, 20), card)
  assert plain == [
    ("rest", 0.8, (10.0, 0.0, 14.0, 4.0)),
    ("head", 0.5, (0.0, 0.0, 4.0, 4.0)),
  ]
  ends = detector_pages.finish((*given, [-3, 0, -128]), (20, 20), card)
  assert ends == [(*plain[0], None), (*plain[1], -3)]
