"""The network: pooling, upsampling, features, batch norm, heads."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
from scipy import ndimage

from dwd_jax.core.structs import Predictions
from dwd_jax.decode import watershed
from dwd_jax.decode.decode_config import DecodeConfig
from dwd_jax.models import dwd, layers, pixel_sampling
from dwd_jax.models.refinenet import RefineNet, upsample
from dwd_jax.models.resnet import STAGES, Block, ResNet

# Caption: height, width.
SIZES = {
  "even": (8, 12),
  "odd": (7, 9),
  "odd and even": (5, 6),
  "smaller than the window": (2, 3),
  "one pixel": (1, 1),
}
# Caption: ours, flax's, how many elements of an image are equal.
POOLS = {
  "5 x 5": (
    layers.max_pool_5x5,
    functools.partial(nn.max_pool, window_shape=(5, 5), padding="SAME"),
    5,  # the first of them gets the gradient
  ),
  "3 x 3, stride 2": (
    layers.max_pool_3x3_stride2,
    functools.partial(
      nn.max_pool,
      window_shape=(3, 3),
      strides=(2, 2),
      padding=((1, 1), (1, 1)),
    ),
    1,
  ),
}


_upsample = jax.jit(upsample, static_argnums=1)


def _distinct(shape, seed=0):
  """Values without ties, of both signs."""
  count = int(np.prod(shape))
  values = np.random.default_rng(seed).permutation(count) - count / 2
  return values.reshape(shape).astype(np.float32)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("pool", POOLS)
def test_pooling_equals_flax(pool, size):
  ours, flax_pool, ties = POOLS[pool]
  x = np.floor(_distinct((2, *SIZES[size], 3)) / ties)
  pooled = jax.eval_shape(flax_pool, x)
  weights = np.random.default_rng(1).normal(size=pooled.shape)

  @jax.jit
  def both(x, weights):
    found = [jax.vjp(pool, x) for pool in (ours, flax_pool)]
    return [(value, *gradient_of(weights)) for value, gradient_of in found]

  # One program for both: most of the time goes into compiling.
  (value, gradient), (wanted, wanted_gradient) = both(
    x, weights.astype(np.float32)
  )
  np.testing.assert_array_equal(value, wanted)
  np.testing.assert_allclose(gradient, wanted_gradient, atol=1e-5)


@pytest.mark.parametrize("factor", [1, 2, 4, 8])
def test_upsampling_equals_resize(factor):
  x = _distinct((2, 3, 5, 2, 3))
  shape = (2, 3 * factor, 5 * factor, 2, 3)
  wanted = jax.image.resize(x, shape, method="bilinear")
  found = _upsample(x, factor)
  np.testing.assert_allclose(found, wanted, atol=1e-4)


# Depth: parameters of torchvision 0.20's resnetN without `fc` (11,689,512;
# 21,797,672; 25,557,032; 44,549,160; 60,192,808 with it), less the 6,272
# weights of the two colour channels that are missing here.
PARAMETERS = {
  # Not in torchvision: without the second block of each stage.
  10: 11_689_512 - 513_000 - 6_272 - 6_270_720,
  18: 11_689_512 - 513_000 - 6_272,
  34: 21_797_672 - 513_000 - 6_272,
  50: 25_557_032 - 2_049_000 - 6_272,
  101: 44_549_160 - 2_049_000 - 6_272,
  152: 60_192_808 - 2_049_000 - 6_272,
}


@pytest.mark.parametrize("depth", STAGES)
def test_resnet_has_the_right_shapes_and_size(depth):
  net = ResNet(depth)
  image = jax.ShapeDtypeStruct((1, 64, 96, 1), jnp.float32)
  features, variables = jax.eval_shape(
    lambda x: net.init_with_output(jax.random.key(0), x, False), image
  )
  wide = 4 if depth >= 50 else 1
  assert [f.shape for f in features] == [
    (1, 64 // s, 96 // s, 16 * s * wide) for s in (4, 8, 16, 32)
  ]
  count = sum(x.size for x in jax.tree.leaves(variables["params"]))
  assert count == PARAMETERS[depth]


@pytest.mark.parametrize(
  "bottleneck", [False, True], ids=["basic", "bottleneck"]
)
def test_blocks_add_to_their_input(bottleneck):
  norm = functools.partial(nn.BatchNorm, use_running_average=False)
  block = Block(4, 1, bottleneck, norm, jnp.float32)
  x = _distinct((1, 6, 6, 16 if bottleneck else 4))
  variables = jax.eval_shape(lambda: block.init(jax.random.key(0), x))
  params = jax.tree.map(lambda v: np.ones(v.shape, v.dtype), variables)[
    "params"
  ]
  kernels = [v["kernel"].shape for v in params.values() if "kernel" in v]
  assert kernels == (
    [(1, 1, 16, 4), (3, 3, 4, 4), (1, 1, 4, 16)]
    if bottleneck
    else [(3, 3, 4, 4)] * 2
  )
  # Nothing comes from a branch that ends with a scale of 0 and a bias of 2.
  last = params["bn3" if bottleneck else "bn2"]
  last["scale"] *= 0
  last["bias"] += 1
  apply = jax.jit(functools.partial(block.apply, mutable=["batch_stats"]))
  y, _ = apply({"params": params}, x)
  np.testing.assert_array_equal(y, np.maximum(x + 2, 0))


def _model(**changes) -> dwd.DWDNet:
  fields = {
    "num_classes": 5,
    "num_groups": 2,
    "num_energy_levels": 6,
    "backbone_depth": 10,
    "backbone_width": 4,
    "filters": 4,
    "bn_momentum": 0.75,
    "decoder_norm": True,
  }
  return dwd.make_model(dwd.ModelConfig(**(fields | changes)))


GROUPS = np.array([0, 1, 1, 0, 1], np.int32)


def _made_up(shapes, seed=0):
  """Random variables; initialising for real takes longer."""
  rng = np.random.default_rng(seed)

  def value(path, x):
    if path[-1].key in ("scale", "var"):
      return rng.uniform(0.2, 0.6, x.shape).astype(x.dtype)
    spread = np.prod(x.shape[:-1]) ** -0.5 if x.ndim > 1 else 0.1
    return rng.normal(0, spread, x.shape).astype(x.dtype)

  return jax.tree_util.tree_map_with_path(value, shapes)


def _shapes(model):
  return jax.eval_shape(lambda: dwd.init_variables(model, 0, (32, 64)))


@pytest.fixture(scope="module")
def net():
  """(variables, apply for inference, apply for training), 32 x 64 px."""
  model = _model()
  variables = _made_up(_shapes(model))
  train = jax.jit(
    lambda v, x: model.apply(v, x, train=True, mutable=["batch_stats"])
  )
  return variables, jax.jit(lambda v, x: model.apply(v, x, train=False)), train


@pytest.fixture(scope="module")
def images():
  return np.random.default_rng(0).random((2, 32, 64, 1), np.float32)


def _moved(variables, by):
  """Other running averages."""
  return variables | {
    "batch_stats": jax.tree.map(lambda x: x + by, variables["batch_stats"])
  }


def test_outputs_lie_at_stride_4(net, images):
  variables, infer, _ = net
  out = infer(variables, images)
  assert out.energy_logits.shape == (2, 8, 16, 2, 6)
  assert out.log_sizes.shape == (2, 8, 16, 2, 2)
  assert out.class_features.shape == (2, 8, 16, 4)
  assert dwd.energy_logits_full(out).shape == (2, 32, 64, 2, 6)


def test_inference_takes_the_running_averages(net, images):
  variables, infer, _ = net
  both = infer(variables, images)
  other = infer(variables, np.stack([images[0], 1 - images[1]]))
  # The result for an image does not depend on the others of its batch.
  np.testing.assert_array_equal(both.energy_logits[0], other.energy_logits[0])
  assert np.abs(both.energy_logits[1] - other.energy_logits[1]).max() > 1e-3
  moved = infer(_moved(variables, 0.5), images)
  assert np.abs(both.energy_logits - moved.energy_logits).max() > 1e-3


def test_training_takes_the_statistics_of_the_batch(net, images):
  variables, _, train = net
  both, _ = train(variables, images)
  moved, _ = train(_moved(variables, 0.5), images)
  np.testing.assert_array_equal(both.energy_logits, moved.energy_logits)
  other, _ = train(variables, np.stack([images[0], 1 - images[1]]))
  assert np.abs(both.energy_logits[0] - other.energy_logits[0]).max() > 1e-3


def test_training_moves_the_running_averages(net, images):
  variables, _, train = net
  _, updates = train(variables, images)
  old = variables["batch_stats"]["backbone"]["stem_bn"]
  new = updates["batch_stats"]["backbone"]["stem_bn"]
  stem = jax.lax.conv_general_dilated(
    images,
    variables["params"]["backbone"]["stem"]["kernel"],
    (2, 2),
    ((3, 3), (3, 3)),
    dimension_numbers=("NHWC", "HWIO", "NHWC"),
  )
  stem = np.asarray(stem, np.float64)
  for key, value in (
    ("mean", stem.mean((0, 1, 2))),
    ("var", stem.var((0, 1, 2))),
  ):
    np.testing.assert_allclose(
      new[key], 0.75 * old[key] + 0.25 * value, rtol=1e-4, atol=1e-5
    )
  changed = jax.tree.map(
    lambda a, b: bool((a != b).any()),
    variables["batch_stats"],
    updates["batch_stats"],
  )
  assert all(jax.tree.leaves(changed))


def _names(tree):
  return {
    "/".join(part.key for part in path)
    for path, _ in jax.tree_util.tree_leaves_with_path(tree)
  }


def _refinenet_names(prefix, norm):
  for level in (1, 2, 3, 4):
    convs = [
      f"{unit}_conv{i}"
      for unit in ("in1", "in2", "pool", "out")
      for i in (1, 2)
    ]
    convs += ["adapt"] + ["fuse_fine", "fuse_coarse"] * (level < 4)
    for name in (f"{prefix}/level{level}_{conv}" for conv in convs):
      yield f"{name}/kernel"
      if norm:
        yield from (f"{name}_bn/bias", f"{name}_bn/scale")
      else:
        yield f"{name}/bias"


def _backbone_names():
  yield "backbone/stem/kernel"
  norms = ["backbone/stem_bn"]
  for stage in (1, 2, 3, 4):
    for block in (1, 2):
      name = f"backbone/stage{stage}_block{block}"
      yield from (f"{name}/conv{i}/kernel" for i in (1, 2))
      norms += [f"{name}/bn{i}" for i in (1, 2)]
      if stage > 1 and block == 1:
        yield f"{name}/downsample/kernel"
        norms.append(f"{name}/downsample_bn")
  yield from (f"{norm}/{k}" for norm in norms for k in ("bias", "scale"))


HEADS = {
  f"{head}_head/{k}"
  for head in ("energy", "size", "class")
  for k in ("bias", "kernel")
}


def test_names_of_parameters_are_stable():
  # Checkpoints and patterns of frozen parameters depend on them.
  shared = HEADS | {*_backbone_names(), *_refinenet_names("refinenet", True)}

  def names(**changes):
    return _names(_shapes(_model(backbone_depth=18, **changes))["params"])

  assert names() == shared
  positions = {
    f"position_head/{layer}/{k}"
    for layer in ("conv1", "conv2", "conv3", "hidden", "out")
    for k in ("bias", "kernel")
  }
  assert names(staff_positions=True) == shared | positions
  plain = HEADS | {*_backbone_names(), *_refinenet_names("refinenet", False)}
  assert names(decoder_norm=False) == plain
  separate = names(separate_decoders=True)
  assert separate == HEADS | {*_backbone_names()}.union(
    *(
      _refinenet_names(f"refinenet_{h}", True)
      for h in ("energy", "size", "class")
    )
  )


def test_energy_starts_as_on_a_sparse_page():
  start = jax.nn.softmax(dwd._energy_bias(2, 6)(None, (2, 6)))
  np.testing.assert_allclose(start[:, 0], 0.85, rtol=1e-5)
  np.testing.assert_allclose(start[:, 1:], 0.03, rtol=1e-5)


_class_logits = jax.jit(dwd.class_logits)


def test_heads_commute_with_upsampling(net, images):
  variables, infer, _ = net
  params = variables["params"]
  out = infer(variables, images)
  # One decoder: the input of all heads.
  fine = np.asarray(_upsample(out.class_features, 4))
  head = params["energy_head"]
  np.testing.assert_allclose(
    jax.jit(dwd.energy_logits_full)(out),
    np.einsum("bhwf,fge->bhwge", fine, head["kernel"]) + head["bias"],
    rtol=1e-4,
    atol=1e-4,
  )
  np.testing.assert_allclose(
    _class_logits(params, fine),
    _upsample(_class_logits(params, out.class_features), 4),
    rtol=1e-4,
    atol=1e-4,
  )


def test_an_energy_head_at_stride_2_tells_four_cells_of_each_pixel(net, images):
  variables, infer, _ = net
  bias = np.arange(4.0, dtype=np.float32).reshape(2, 2)[..., None, None]
  head = variables["params"]["energy_head"]
  cells = {
    "kernel": np.broadcast_to(
      np.asarray(head["kernel"])[:, None, None], (4, 2, 2, 2, 6)
    ),
    "bias": np.asarray(head["bias"]) + bias,
  }
  params = {**variables["params"], "energy_head": cells}
  model = _model(energy_stride=2)
  out = model.apply({**variables, "params": params}, images)
  coarse = infer(variables, images).energy_logits
  assert out.energy_logits.shape == (2, 16, 32, 2, 6)
  assert out.class_features.shape == (2, 8, 16, 4)
  for row, column in np.ndindex(2, 2):
    np.testing.assert_allclose(
      out.energy_logits[:, row::2, column::2],
      coarse + bias[row, column],
      rtol=1e-4,
      atol=1e-4,
    )
  # At every step the values of the full map are those of its pixels.
  full = dwd.energy_logits_full(out)
  assert full.shape == (2, 32, 64, 2, 6)
  for step in (2, 4):
    some = dwd.energy_logits_full(out, step)
    np.testing.assert_allclose(some, full[:, ::step, ::step], atol=1e-5)


def test_gathering_equals_upsampling_at_every_pixel():
  features = _distinct((2, 3, 5, 2))
  fine = _upsample(features, 4)
  page, y, x = (a.reshape(-1) for a in np.indices((2, 12, 20)))
  found = jax.jit(pixel_sampling.gather_bilinear)(features, y, x, page)
  np.testing.assert_allclose(found, fine.reshape(-1, 2), atol=1e-4)


def test_class_probabilities_are_those_of_the_own_group(net, images):
  variables, infer, _ = net
  features = infer(variables, images).class_features
  rng = np.random.default_rng(0)
  page, y, x = (rng.integers(0, n, 50) for n in (2, 32, 64))
  group = rng.integers(0, 2, 50)
  probs_at = functools.partial(
    pixel_sampling.class_probs_at, group_of_class=GROUPS
  )
  probs = np.asarray(
    jax.jit(probs_at)(
      variables["params"], features, page=page, y=y, x=x, group=group
    )
  )
  fine = np.asarray(_upsample(features, 4))
  logits = np.asarray(_class_logits(variables["params"], fine[page, y, x]))
  for g in (0, 1):
    rows = probs[group == g]
    np.testing.assert_array_equal(rows[:, g != GROUPS], 0)
    np.testing.assert_allclose(
      rows[:, g == GROUPS],
      scipy.special.softmax(logits[group == g][:, g == GROUPS], 1),
      rtol=1e-4,
    )


def test_maps_are_read_as_levels_and_pixels():
  level = np.zeros((1, 2, 2, 1, 4), np.float32)
  level[..., 2] = np.log(6)  # probabilities 1/9, 1/9, 6/9, 1/9
  predictions = Predictions(
    energy_logits=level,
    log_sizes=np.full((1, 2, 2, 1, 2), np.log(7), np.float32),
    class_features=np.zeros((1, 2, 2, 3), np.float32),
  )
  logits = jax.jit(dwd.energy_logits_full)(predictions)
  mean = watershed.levels_from_logits(logits, DecodeConfig())
  assert mean.shape == (1, 8, 8, 1)
  np.testing.assert_allclose(mean, (1 + 2 * 6 + 3) / 9, rtol=1e-5)
  likeliest = watershed.levels_from_logits(
    logits, DecodeConfig(method="threshold")
  )
  np.testing.assert_array_equal(likeliest, 2)
  first = np.zeros(1, np.int32)
  sizes = pixel_sampling.boxes_at(predictions, first, first, first, first)
  np.testing.assert_allclose(sizes, [[7, 7]], rtol=1e-5)


def test_bfloat16_keeps_parameters_and_outputs_in_float32():
  model = _model(dtype="bfloat16")
  variables = _shapes(model)
  image = jax.ShapeDtypeStruct((1, 32, 32, 1), jnp.float32)
  out, updates = jax.eval_shape(
    lambda v, x: model.apply(v, x, train=True, mutable=["batch_stats"]),
    variables,
    image,
  )
  for x in jax.tree.leaves((variables, out, updates)):
    assert x.dtype == jnp.float32
  text = str(
    jax.make_jaxpr(lambda v, x: model.apply(v, x, train=False))(
      variables, image
    )
  )
  assert text.count("bf16") > 100


@pytest.mark.parametrize("hw", [(33, 64), (64, 48), (16, 32)])
def test_odd_sizes_are_refused_with_the_remedy(hw):
  model = _model()
  with pytest.raises(ValueError, match=rf"{hw[0]} x {hw[1]} px: .* of 32"):
    jax.eval_shape(lambda: dwd.init_variables(model, 0, hw))


def test_decoder_pools_in_a_chain():
  # The original fed its second pooling from the wrong tensor. With residual
  # units switched off and convolutions that copy, a level adds up the maxima
  # over 1, 5 and (5 of 5) 9 pixels.
  decoder = RefineNet(filters=2)
  x = _distinct((1, 12, 12, 2))
  shapes = jax.eval_shape(lambda: decoder.init(jax.random.key(0), (x,)))

  def kernel(path, shape):
    value = np.zeros(shape.shape, np.float32)
    if path[-1].key == "kernel" and (
      "adapt" in str(path) or "pool" in str(path)
    ):
      value[shape.shape[0] // 2, shape.shape[1] // 2] = np.eye(2)
    return value

  variables = jax.tree_util.tree_map_with_path(kernel, shapes)
  ink = np.maximum(x, 0)
  wanted = ink + sum(
    ndimage.maximum_filter(ink, (1, n, n, 1), mode="constant") for n in (5, 9)
  )
  (found,) = jax.jit(decoder.apply)(variables, (x,))
  np.testing.assert_allclose(found, wanted, rtol=1e-5)
