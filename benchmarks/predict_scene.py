"""For `benchmarks.predict`: a page, and a network that knows its boxes."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import verovio
from lxml import etree  # pyright: ignore[reportAttributeAccessIssue]

from dwd_jax import targets
from dwd_jax.engrave import dataset, engraver
from dwd_jax.models import dwd
from dwd_jax.structs import Array, Params, Predictions

NUM_CLASSES = 124
_NOISE = 0.1  # standard deviation of the network's share in its maps
_TAGS = ("ymin", "xmin", "ymax", "xmax")


class Page(NamedTuple):
  """A page as it lies in a file, and its boxes [n, 4] in pixels."""

  png: bytes
  boxes_yxyx: np.ndarray


@dataclasses.dataclass(frozen=True)
class WithTruth:
  """A network that adds the maps `variables["truth"]` to its own."""

  model: dwd.DWDNet

  def apply(
    self, variables: Params, image: Array, train: bool = False
  ) -> Predictions:
    """As `dwd.DWDNet.apply`."""
    found: Any = self.model.apply(variables, image, train=train)
    truth = variables["truth"]
    return found.replace(
      energy_logits=found.energy_logits + truth["energy"],
      log_sizes=found.log_sizes + truth["log_sizes"],
    )


def engraved_page(height: int, width: int) -> Page:
  """The same page for the same size."""
  task = engraver.Task(0, dataset.DEFAULT_FONTS, width, height)
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


def variables_of(
  model: dwd.DWDNet,
  network: Callable[[Params, Array], Predictions],
  image: np.ndarray,
  boxes_yxyx: np.ndarray,
) -> dict[str, Any]:
  """Random weights, and the truth of the page in "truth".

  Args:
    model: the network.
    network: how to run it.
    image: [1, H, W, 1], the padded page.
    boxes_yxyx: boxes in its pixels.
  """
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
  variables = random_variables(model)
  variables["params"] = _quiet(variables, network(variables, image))
  variables["truth"] = {
    # Of a softmax around the level; linear in it, as the upsampling is.
    "energy": steps * (2 * level - steps),
    "log_sizes": jnp.log(sizes / 12.0),
  }
  return variables


def _quiet(variables: Params, found: Predictions) -> Params:
  """Scales the heads, so that random maps do not hide the truth."""
  params = dict(variables["params"])
  for head, out in (
    ("energy_head", found.energy_logits),
    ("size_head", found.log_sizes),
  ):
    spread = jnp.std(out - jnp.asarray(params[head]["bias"]))
    kernel = params[head]["kernel"] * (_NOISE / jnp.maximum(spread, 1e-6))
    bias = params[head]["bias"] * (head == "size_head")
    params[head] = {"kernel": kernel, "bias": bias}
  return params
