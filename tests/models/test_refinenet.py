"""RefineNet against the figure of the paper and the code of the original.

Lin et al. 2017, figure 2 and section 3.2, and lib/models/RefineNet.py of the
original DWD (commit 050d77b), written down as tables and as plain functions.
"""

import collections
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dwd_jax.models import dwd
from dwd_jax.models.refinenet import STRUCTURES, RefineNet, head_input

# Version: (side of the kernel, inputs, outputs): number of convolutions after
# the features of ResNet-101 with 256 filters.
ADAPTED = {(1, c, 256): 1 for c in (256, 512, 1024, 2048)}
CONVOLUTIONS = {
  # Of each level: 2 + 1 residual units, 2 poolings; 2 in three fusions.
  "light": ADAPTED | {(3, 256, 256): 4 * (6 + 2) + 3 * 2},
  "lin2017": {
    **{(1, c, 256): 1 for c in (256, 512, 1024)},
    (1, 2048, 512): 1,
    # RefineNet-4: 2 + 1 units, 2 poolings. RefineNet-3: 2 on its output.
    (3, 512, 512): 6 + 2 + 4,
    (3, 512, 256): 1,
    # RefineNet-3: 2 + 1 units, 1 in the fusion, 2 poolings. The others: 4 + 1
    # units, 2 in the fusion, 2 poolings; at the end 2 units more.
    (3, 256, 256): (6 + 1 + 2) + 2 * (10 + 2 + 2) + 4,
  },
  # The first block: 2 + 1 units, 2 in the fusion, 2 poolings. The others: 4 + 1
  # units, 4 in the fusion, 2 poolings.
  "dwd2018": ADAPTED | {(3, 256, 256): (6 + 2 + 2) + 3 * (10 + 4 + 2)},
}


@functools.cache
def _shapes(version, filters=256, channels=(256, 512, 1024, 2048)):
  features = tuple(
    jax.ShapeDtypeStruct((1, 2 << i, 2 << i, c), jnp.float32)
    for i, c in zip(range(len(channels))[::-1], channels, strict=True)
  )
  net = RefineNet(filters, version=version)
  init = functools.partial(net.init, jax.random.key(0))
  return features, jax.eval_shape(init, features)["params"]


@pytest.mark.parametrize("version", STRUCTURES)
def test_convolutions_are_those_of_the_paper_or_the_original(version):
  _, params = _shapes(version)
  kernels = [conv["kernel"].shape for conv in params.values()]
  found = collections.Counter((k[0], *k[2:]) for k in kernels)
  assert found == CONVOLUTIONS[version]
  # Neither has batch norm, all convolutions have biases.
  assert {frozenset(conv) for conv in params.values()} == {
    frozenset(("kernel", "bias"))
  }


class _Plain:
  """The parts of the blocks, written down once more."""

  def __init__(self, params):
    self._params, self.used = params, set()

  def conv(self, x, name):
    self.used.add(name)
    kernel = self._params[name]["kernel"]
    y = jax.lax.conv_general_dilated(
      x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    return y + self._params[name]["bias"]

  def unit(self, x, name):
    y = self.conv(nn.relu(x), f"{name}_conv1")
    return x + self.conv(nn.relu(y), f"{name}_conv2")

  def pooled(self, x, name):
    """Chained residual pooling."""
    first = nn.relu(x)
    pool = functools.partial(nn.max_pool, window_shape=(5, 5), padding="SAME")
    one = self.conv(pool(first), f"{name}_conv1")
    two = self.conv(pool(one), f"{name}_conv2")
    return first + one + two


def _up(x):
  b, h, w, c = x.shape
  return jax.image.resize(x, (b, 2 * h, 2 * w, c), "bilinear")


def _lin2017(p, features):
  """Figure 2, from the coarsest block of three to the finest."""
  *_, third = features
  x = p.conv(third, "level3_adapt")
  x = p.unit(p.unit(x, "level3_in1"), "level3_in2")
  # A single input goes through the fusion without changes.
  coarse = p.unit(p.pooled(x, "level3_pool"), "level3_out")
  for level in (2, 1):
    name = f"level{level}"
    x = p.conv(features[level - 1], f"{name}_adapt")
    x = p.unit(p.unit(x, f"{name}_in1"), f"{name}_in2")
    c = p.unit(p.unit(coarse, f"{name}_coarse1"), f"{name}_coarse2")
    x = p.conv(x, f"{name}_fuse_fine") + _up(p.conv(c, f"{name}_fuse_coarse"))
    coarse = p.unit(p.pooled(x, f"{name}_pool"), f"{name}_out")
  # Two further units before the prediction.
  return p.unit(p.unit(coarse, "level1_out2"), "level1_out3")


def _dwd2018(p, features):
  """RefineBlock: two units side by side, each with a convolution."""
  coarse = None
  for level in (3, 2, 1):
    name = f"level{level}"
    # slim's convolutions end with a ReLU unless they are told not to.
    h = nn.relu(p.conv(features[level - 1], f"{name}_adapt"))
    x = sum(
      p.conv(p.unit(h, f"{name}_in{i}"), f"{name}_fuse_fine{i}") for i in (1, 2)
    )
    if coarse is not None:
      for i in (1, 2):
        c = p.unit(coarse, f"{name}_coarse{i}")
        x = x + _up(p.conv(c, f"{name}_fuse_coarse{i}"))
    coarse = p.unit(p.pooled(x, f"{name}_pool"), f"{name}_out")
  return coarse


PLAIN = {"lin2017": _lin2017, "dwd2018": _dwd2018}


@pytest.mark.parametrize("version", PLAIN)
def test_blocks_are_connected_as_in_the_paper_or_the_original(version):
  shapes, params = _shapes(version, filters=2, channels=(3, 4, 5))
  rng = np.random.default_rng(0)

  def draw(x):
    return rng.normal(0, 0.3, x.shape).astype(np.float32)

  params, features = jax.tree.map(draw, (params, shapes))
  net, plain = RefineNet(2, version=version), _Plain(params)
  # One program: most of the time goes into compiling.
  found, wanted = jax.jit(
    lambda p, x: (net.apply({"params": p}, x), PLAIN[version](plain, x))
  )(params, features)
  assert [x.shape[1] for x in found] == [8, 4, 2]
  np.testing.assert_allclose(found[0], wanted, rtol=1e-4, atol=1e-5)
  assert plain.used == set(params)


def test_heads_of_the_original_take_the_maps_as_they_are():
  x = np.array([-1.0, 2.0], np.float32)
  np.testing.assert_array_equal(head_input(x, "dwd2018"), x)
  for version in ("light", "lin2017"):
    np.testing.assert_array_equal(head_input(x, version), [0, 2])


@functools.cache
def _outputs(train, **changes):
  """(shapes of the variables, shapes of the predictions) of a network."""
  net = dwd.make_model(
    dwd.ModelConfig(
      num_classes=3,
      num_groups=2,
      num_energy_levels=6,
      backbone_depth=10,
      backbone_width=4,
      filters=4,
      **changes,
    )
  )
  variables = jax.eval_shape(lambda: dwd.init_variables(net, 0, (32, 32)))
  image = jax.ShapeDtypeStruct((1, 64, 96, 1), jnp.float32)
  found, _ = jax.eval_shape(
    functools.partial(dwd.apply, net, train=train), variables, image
  )
  return variables, found


DEEP = {"deep_energy_strides": (8, 32), "deep_size_strides": (16,)}


def test_coarser_levels_have_heads_in_training_only():
  variables, trained = _outputs(True, **DEEP)
  shapes = jax.tree.map(jnp.shape, trained)
  assert shapes.deep_energy == {8: (1, 8, 12, 2, 6), 32: (1, 2, 3, 2, 6)}
  assert shapes.deep_sizes == {16: (1, 4, 6, 2, 2)}
  _, predicted = _outputs(False, **DEEP)
  assert predicted.deep_energy is predicted.deep_sizes is None
  without, _ = _outputs(True)
  more = set(variables["params"]) - set(without["params"])
  assert more == {"energy_head_8", "energy_head_32", "size_head_16"}


def test_a_detector_does_without_the_heads_of_the_training():
  variables, _ = _outputs(True, **DEEP)
  without, _ = _outputs(True)
  cfg = dwd.ModelConfig(num_classes=3, **DEEP)
  cfg, kept = dwd.for_inference(cfg, variables)
  assert cfg == dwd.ModelConfig(num_classes=3)
  assert jax.tree.structure(kept) == jax.tree.structure(dict(without))
