"""Tiny networks with objects on their maps, and programs without dwd_jax."""

import dataclasses
import json
import subprocess
import sys

import calibration_helpers
import jax
import numpy as np
import onnxruntime

from dwd_jax.apps.export import onnx_network
from dwd_jax.checkpoints.weights import Weights
from dwd_jax.core.structs import PageImage
from dwd_jax.decode.contradictions import Contradictions
from dwd_jax.decode.decode_config import DecodeConfig
from dwd_jax.metrics import calibration as score_map
from dwd_jax.models import dwd
from dwd_jax.predict import predict_pages
from dwd_jax.predict.predict_config import PredictConfig

NAMES = ("clefG", "rest", "Ünïcode name", "dot", "dotSmall")
GROUPS = (0, 1, 0, 0, 1)
# The two kinds of networks that the default configs have had.
WITH_OFFSETS = {
  "center_offsets": True,
  "class_hidden": 7,
  "num_groups": 2,
  "energy_stride": 2,
}
WITHOUT = {"center_offsets": False, "class_hidden": 0, "num_groups": 1}


def variables_of(cfg, seed=0):
  """Variables of a network, none of them at its first value."""
  model = dwd.make_model(cfg)
  shapes = jax.eval_shape(lambda: dwd.init_variables(model, 0, (32, 32)))
  rng = np.random.default_rng(seed)

  def draw(path, x):
    noise = rng.normal(size=x.shape)
    if path[-1].key in ("var", "scale"):
      noise = np.exp(0.2 * noise)
    elif path[-1].key == "kernel":
      noise *= np.sqrt(1 / np.prod(x.shape[:-1]))
    return (noise if x.ndim > 1 else 0.5 * noise).astype(np.float32)

  return jax.tree_util.tree_map_with_path(draw, dict(shapes))


def _with_objects(variables, cfg):
  """Heads scaled so that there is something on the maps of `page()`."""
  ink = np.pad(1 - page() / np.float32(255), ((0, 38), (0, 8)))
  session = onnxruntime.InferenceSession(
    onnx_network.network(variables, cfg, "")
  )
  names = [output.name for output in session.get_outputs()]
  maps = dict(
    zip(names, session.run(None, {"image": ink[None, ..., None]}), strict=True)
  )
  params = dict(variables["params"])
  # Head: its output, its mean, its standard deviation.
  for head, (name, mean, std) in {
    "energy_head": ("energy_logits", 0, 4),
    "size_head": ("log_sizes", np.log(9), 0.3),
    "offset_head": ("offsets", 0, 1),
  }.items():
    if name in maps:
      gain = std / maps[name].std((0, 1, 2))
      bias = mean - gain * (maps[name].mean((0, 1, 2)) - params[head]["bias"])
      kernel = params[head]["kernel"] * gain
      params[head] = {
        "kernel": kernel.astype(np.float32),
        "bias": bias.astype(np.float32),
      }
  features = maps["class_features"]
  first = "class_hidden" if cfg.class_hidden else "class_head"
  gain = np.float32(4 / features.std())
  params[first] = {**params[first], "kernel": params[first]["kernel"] * gain}
  return {**variables, "params": params}


def tiny(calibrated=True, decode=None, **options):
  """A detector that nobody trained, and that finds many things everywhere."""
  cfg = dwd.ModelConfig(
    num_classes=len(NAMES),
    num_energy_levels=20,
    backbone_depth=10,
    backbone_width=4,
    filters=6,
    decoder_norm=True,
    **options,
  )
  variables = _with_objects(variables_of(cfg), cfg)
  calibration = calibration_helpers.calibration(
    score_map.ScoreMap(1.5, 0.8, 0.25, np.array([0.0, -0.5, 0.1, 0.0, 1.0])),
    0.1,
    Contradictions(
      counts=np.full(len(NAMES), 99),
      shares=0.2 * np.eye(len(NAMES)),
      apart=np.eye(len(NAMES), k=1, dtype=bool),
    ),
  )
  return Weights(
    variables,
    NAMES,
    GROUPS if cfg.num_groups > 1 else (0,) * len(NAMES),
    cfg,
    decode or DecodeConfig(energy_cutoff=3.0, min_seed_level=3.0),
    scale=1.0,
    staff_space_px=9.0,
    calibration=calibration if calibrated else None,
    about={"name": "tiny"},
  )


def page(hw=(90, 120), seed=0):
  """A grey page, dark strokes on bright paper, uint8 [H, W]."""
  rng = np.random.default_rng(seed)
  grey = np.full(hw, 255, np.uint8)
  for _ in range(60):
    y, x = rng.integers(0, hw)
    height, width = rng.integers(2, 14, 2)
    grey[y : y + height, x : x + width] = rng.integers(0, 90)
  return grey


def wanted(weights, grey, min_score):
  """What dwd_jax finds on a page: (name, probability, box), best first.

  With the corners of oriented boxes, if the detector knows them.
  """
  fn = predict_pages.make_predict_fn(
    dwd.make_model(weights.model),
    weights.decode,
    np.asarray(weights.group_of_class, np.int32),
    weights.class_names,
  )
  found = predict_pages.predict_page(
    lambda image: fn(weights.variables, image),
    PageImage("page", 255 - grey, 1.0),
    PredictConfig(normalise="off"),
  ).detections
  if weights.calibration:
    found = weights.calibration.apply(found)
  keep = np.flatnonzero(found.scores >= min_score)
  keep = keep[np.argsort(-found.scores[keep], kind="stable")]
  shapes = [found.boxes_yxyx, found.oriented_yx]
  shapes = [values for values in shapes if values is not None]
  return [
    (NAMES[found.labels[i]], found.scores[i], *(values[i] for values in shapes))
    for i in keep
  ]


def check_same(found, expected, atol_px=1e-3):
  """The same objects, in the order of their scores but for rounding."""
  assert len(found) == len(expected) > 10

  def table(rows):
    values = [
      (NAMES.index(name), *np.ravel(box), score, *np.ravel(corners))
      for name, score, box, *corners in rows
    ]
    return np.array(sorted(values, key=lambda v: np.round(v[:3], 1).tolist()))

  ours, theirs = table(found), table(expected)
  np.testing.assert_array_equal(ours[:, 0], theirs[:, 0])
  np.testing.assert_allclose(ours[:, 1:5], theirs[:, 1:5], atol=atol_px)
  np.testing.assert_allclose(ours[:, 5], theirs[:, 5], atol=1e-4)
  np.testing.assert_allclose(ours[:, 6:], theirs[:, 6:], atol=20 * atol_px)
  scores = [row[1] for row in found]
  assert scores == sorted(scores, reverse=True)


_BLOCK = """
import json, sys
class Block:
  def find_spec(self, name, path=None, target=None):
    if name.partition(".")[0] in {blocked!r}:
      raise ImportError(f"{{name}} is blocked")
sys.meta_path.insert(0, Block())
sys.path.insert(0, {folder!r})
"""


def run_alone(folder, code, blocked, *args):
  """Runs code in a process that cannot import some packages.

  Returns:
    What it prints, read as JSON.
  """
  start = _BLOCK.format(blocked=set(blocked), folder=str(folder))
  done = subprocess.run(
    [sys.executable, "-I", "-W", "error", "-c", start + code, *map(str, args)],
    capture_output=True,
    text=True,
    check=False,
  )
  assert not done.returncode, done.stderr
  return json.loads(done.stdout)


def with_decode(weights, **options):
  """The weights with other settings of the decode."""
  decode = dataclasses.replace(weights.decode, **options)
  return dataclasses.replace(weights, decode=decode)
