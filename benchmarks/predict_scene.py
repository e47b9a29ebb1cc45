"""For `benchmarks.predict`: pages, and networks that find something there."""

import dataclasses
import importlib
import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import verovio
from lxml import etree  # pyright: ignore[reportAttributeAccessIssue]

from benchmarks import common
from benchmarks.common import NUM_CLASSES
from dwd_jax.core.structs import Array, Params, Predictions
from dwd_jax.decode.decode_config import DecodeConfig
from dwd_jax.engrave import dataset, engraver
from dwd_jax.models import compiling, dwd
from dwd_jax.objectives import targets
from dwd_jax.train import run_evaluation, setup

# Standard deviations of what an untrained network adds to the page's own maps,
# and of its class logits: 3 makes some classes likely, as training does.
_SPREAD = {"energy_head": 0.1, "size_head": 0.02, "class_head": 3.0}
_TAGS = ("ymin", "xmin", "ymax", "xmax")


class Page(NamedTuple):
  """A page as a PNG file, and its boxes [n, 4] in pixels."""

  png: bytes
  boxes_yxyx: np.ndarray


class Subject(NamedTuple):
  """A network to measure.

  Attributes:
    net: the network.
    network: its `apply`, compiled.
    variables: "params" and "batch_stats"; of an untrained network also
      "truth", maps of the page that are added to its own.
    decode: settings of the decode.
    group_of_class: energy group of each class.
  """

  net: dwd.DWDNet
  network: Any
  variables: dict[str, Any]
  decode: DecodeConfig
  group_of_class: np.ndarray

  @property
  def weights(self) -> dict[str, Any]:
    """What the network alone needs."""
    return {k: v for k, v in self.variables.items() if k != "truth"}

  @property
  def model(self) -> Any:
    """The network; if it is untrained, with the truth added."""
    return WithTruth(self.net) if "truth" in self.variables else self.net

  def maps(self, image: np.ndarray) -> Predictions:
    """What the decode is given."""
    found = self.network(self.weights, image)
    truth = self.variables.get("truth")
    return found if truth is None else add_truth(found, truth)


@dataclasses.dataclass(frozen=True)
class Given:
  """No network: its maps are `variables["maps"]`, for the decode alone."""

  def apply(
    self, variables: Params, image: Array, train: bool = False
  ) -> Predictions:
    """As `dwd.DWDNet.apply`."""
    del image, train
    return variables["maps"]


@dataclasses.dataclass(frozen=True)
class WithTruth:
  """A network that adds the maps `variables["truth"]` to its own."""

  model: dwd.DWDNet

  @property
  def cfg(self) -> dwd.ModelConfig:
    """The configuration of the network."""
    return self.model.cfg

  def apply(
    self, variables: Params, image: Array, train: bool = False
  ) -> Predictions:
    """As `dwd.DWDNet.apply`."""
    found: Any = self.model.apply(variables, image, train=train)
    return add_truth(found, variables["truth"])


def add_truth(found: Any, truth: dict[str, Any]) -> Any:
  """Adds the maps of a page to those of a network."""
  return found.replace(
    energy_logits=found.energy_logits + truth["energy"],
    log_sizes=found.log_sizes + truth["log_sizes"],
  )


def engraved_page(height: int, width: int) -> Page:
  """The same page for the same size."""
  task = engraver.EngraveTask(0, dataset.DEFAULT_FONTS, width, height)
  made = engraver.engrave(task, verovio.toolkit())[0]
  boxes = [
    [float(item.findtext(f"bndbox/{tag}") or 0) for tag in _TAGS]
    for item in etree.fromstring(made.xml).iterfind("object")
  ]
  scale = np.array([height, width] * 2)
  return Page(made.png, (np.array(boxes) * scale).astype(np.float32))


def random_variables(model: dwd.DWDNet) -> dict[str, Any]:
  """As deep networks start, with statistics of batches that are not trivial.

  Drawn on the host: JAX would compile a sampler for every shape.
  """
  rng = np.random.default_rng(0)

  def draw(path, x):
    name = path[-1].key
    if name in ("scale", "var"):
      value = rng.uniform(0.7, 1.0, x.shape)
    elif name in ("bias", "mean"):
      value = rng.normal(0, 0.1, x.shape)
    else:
      value = rng.normal(0, (2 / np.prod(x.shape[:-1])) ** 0.5, x.shape)
    return value.astype(np.float32)

  shapes = jax.eval_shape(lambda: dwd.init_variables(model, 0, (64, 64)))
  return dict(jax.tree_util.tree_map_with_path(draw, shapes))


def network_config(spec: str) -> dwd.ModelConfig:
  """DEPTHxWIDTHxFILTERS -> configuration, see `common.network_keys`."""
  return dwd.ModelConfig(num_classes=NUM_CLASSES, **common.network_keys(spec))


def trained(config_name: str, workdir: str) -> Subject:
  """The newest checkpoint of a run.

  Args:
    config_name: the file of configs/ that the run was started with.
    workdir: of the run.
  """
  config = importlib.import_module(f"configs.{config_name}").get_config()
  run = setup.setup(config, pathlib.Path(workdir))
  state = run_evaluation.restore(run)
  return Subject(
    run.model,
    _compiled(run.model),
    {"params": state.params, "batch_stats": state.batch_stats},
    run.settings.decode,
    np.array(run.group_of_class, np.int32),
  )


def untrained(spec: str, image: np.ndarray, boxes_yxyx: np.ndarray) -> Subject:
  """Random weights whose maps hardly change those of a page.

  Rounding errors are in proportion to a network's maps, and those of a random
  one may be large: they would decide which boxes come out.

  Args:
    spec: see `network_config`.
    image: [1, H, W, 1], the padded page.
    boxes_yxyx: boxes in its pixels.
  """
  net = dwd.make_model(network_config(spec))
  variables = random_variables(net)
  network = _compiled(net)
  found = network(variables, image)
  variables["params"] = _quiet(variables["params"], found)
  variables["truth"] = _truth(image, boxes_yxyx)
  groups = np.zeros(NUM_CLASSES, np.int32)
  return Subject(net, network, variables, DecodeConfig(), groups)


def _compiled(net: dwd.DWDNet) -> Any:
  """The network alone, compiled as by `predict_pages.make_predict_fn`."""
  return jax.jit(net.apply, compiler_options=compiling.options(net))


def _truth(image: np.ndarray, boxes_yxyx: np.ndarray) -> dict[str, jax.Array]:
  """Energy logits and logarithms of sizes that give the boxes, at stride 4."""
  hw = (image.shape[1], image.shape[2])
  groups = np.zeros(NUM_CLASSES, np.int32)
  cfg = targets.TargetConfig(disc_center="exact", class_overlap="nearest")
  count = len(boxes_yxyx)

  @jax.jit
  def render(boxes):
    labels, mask = np.zeros((1, count), np.int32), np.ones((1, count), bool)
    return targets.render(boxes, labels, mask, groups, hw, cfg)

  maps = render(boxes_yxyx[None])
  # The pixel beside the middle of each 4 x 4 block.
  at_heads = jax.tree.map(
    lambda x: x[:, 2 :: dwd.STRIDE, 2 :: dwd.STRIDE], maps
  )
  level = at_heads.energy[..., None].astype(jnp.float32)
  steps = jnp.arange(cfg.num_energy_levels, dtype=jnp.float32)
  sizes = jnp.where(at_heads.sizes_px > 0, at_heads.sizes_px, 12.0)
  return {
    # Of a softmax around the level; linear in it, as the upsampling is.
    "energy": steps * (2 * level - steps),
    "log_sizes": jnp.log(sizes),
  }


def _quiet(params: Params, found: Predictions) -> Params:
  """Scales the heads, so that random maps do not hide the truth."""
  params = dict(params)
  sample = found.class_features[:, ::8, ::8]
  for head, out in (
    ("energy_head", found.energy_logits),
    ("size_head", found.log_sizes),
    ("class_head", dwd.class_logits(params, sample)),
  ):
    bias = jnp.asarray(params[head]["bias"])
    # Many channels that are never negative add up to a constant.
    base = jnp.mean(out, tuple(range(out.ndim - bias.ndim)))
    factor = _SPREAD[head] / jnp.maximum(jnp.std(out - base), 1e-6)
    kernel = params[head]["kernel"] * factor
    params[head] = {"kernel": kernel, "bias": (bias - base) * factor}
  return params
