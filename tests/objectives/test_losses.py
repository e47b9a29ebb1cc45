"""Losses against values computed elsewhere, and their odd cases."""

import dataclasses
import functools

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.special
import scipy.stats
from hypothesis import strategies as st

from dwd_jax.core.structs import Predictions, Targets
from dwd_jax.models import refinenet
from dwd_jax.objectives import (
  box_losses,
  class_loss,
  detection_loss,
  losses,
  targets,
)

CFG = losses.LossConfig()
# Compiled whole: one by one, their operations take longer and more memory.
_cross_entropy = jax.jit(losses.softmax_cross_entropy, static_argnums=(2, 3))
_energy_loss = jax.jit(losses.energy_loss, static_argnums=(2, 3, 4))
_size_loss = jax.jit(box_losses.size_loss, static_argnums=(2, 3, 4))
_optax = jax.jit(optax.softmax_cross_entropy_with_integer_labels)


def _logits(shape, seed=0, spread=3.0):
  return np.random.default_rng(seed).normal(0, spread, shape).astype(np.float32)


# Caption: logits, label, gamma, loss. By hand: three classes of which the true
# one has probability 1/2, 1/4 and 1/2 (ln 2 = 0.693147, ln 4 = 1.386294).
BY_HAND = {
  "cross-entropy, p = 1/2": ([2, 1, 1], 0, 0.0, 0.693147),
  "cross-entropy, p = 1/4": ([2, 1, 1], 1, 0.0, 1.386294),
  "focal, gamma 2, p = 1/2": ([2, 1, 1], 0, 2.0, 0.25 * 0.693147),
  "focal, gamma 2, p = 1/4": ([2, 1, 1], 1, 2.0, 0.5625 * 1.386294),
  "focal, gamma 1, p = 1/4": ([2, 1, 1], 2, 1.0, 0.75 * 1.386294),
}


@pytest.mark.parametrize("caption", BY_HAND)
def test_cross_entropy_by_hand(caption):
  weights, label, gamma, wanted = BY_HAND[caption]
  logits = np.log(np.float32([weights]))
  loss = _cross_entropy(logits, np.array([label]), gamma)
  np.testing.assert_allclose(loss, [wanted], rtol=1e-5)


def test_cross_entropy_equals_scipy_and_optax():
  logits = _logits((4, 5, 7), spread=10.0)
  labels = np.random.default_rng(1).integers(0, 7, (4, 5))
  loss = _cross_entropy(logits, labels)
  log_p = scipy.special.log_softmax(logits.astype(np.float64), -1)
  np.testing.assert_allclose(
    loss,
    -np.take_along_axis(log_p, labels[..., None], -1)[..., 0],
    rtol=1e-5,
    atol=1e-6,
  )
  np.testing.assert_allclose(
    loss,
    _optax(logits, labels),
    rtol=1e-5,
    atol=1e-6,
  )


@pytest.mark.parametrize("gamma", [0.5, 1.0, 1.5, 2.0])
def test_focal_loss_equals_its_formula(gamma):
  logits = _logits((50, 6))
  labels = np.random.default_rng(1).integers(0, 6, 50)
  p = scipy.special.softmax(logits.astype(np.float64), -1)[
    np.arange(50), labels
  ]
  np.testing.assert_allclose(
    _cross_entropy(logits, labels, gamma),
    -((1 - p) ** gamma) * np.log(p),
    rtol=1e-3,
    atol=1e-6,
  )


@pytest.mark.parametrize("gamma", [0.5, 1.0, 1.5, 2.0])
@pytest.mark.parametrize("smoothing", [0.0, 0.5])
def test_sure_predictions_have_finite_gradients(gamma, smoothing):
  logits = np.float32([[80.0, 0, 0], [0, 80.0, 0], [0, 0, 0]])
  labels = np.array([0, 1, 2])

  def mean(logits):
    return losses.softmax_cross_entropy(logits, labels, gamma, smoothing).mean()

  loss, gradient = jax.jit(jax.value_and_grad(mean))(logits)
  assert np.isfinite(loss)
  assert np.isfinite(gradient).all()
  assert np.abs(gradient[2]).max() > 0.01


def _smooth_targets(levels, smoothing):
  """The targets, read from the gradient: softmax - target."""

  def total(logits):
    labels = jnp.arange(levels)
    return losses.softmax_cross_entropy(logits, labels, 0.0, smoothing).sum()

  zeros = np.zeros((levels, levels), np.float32)
  return 1 / levels - np.asarray(jax.jit(jax.grad(total))(zeros))


@pytest.mark.parametrize("smoothing", [0.3, 1.0, 2.5])
def test_smooth_targets_are_a_gaussian_without_background(smoothing):
  found = _smooth_targets(8, smoothing)
  np.testing.assert_allclose(found.sum(1), 1, rtol=1e-5)
  np.testing.assert_allclose(found[0], np.eye(8)[0], atol=1e-6)
  for level in range(1, 8):
    density = scipy.stats.norm.pdf(np.arange(1, 8), level, smoothing)
    np.testing.assert_allclose(
      found[level], [0, *(density / density.sum())], atol=1e-6
    )


def test_weighted_mean():
  values, weights = jnp.array([1.0, 2, 50]), jnp.array([1.0, 3, 0])
  np.testing.assert_allclose(losses.weighted_mean(values, weights), 7 / 4)
  assert losses.weighted_mean(values, jnp.zeros(3)) == 0


def _maps(energy=None, classes=None, sizes=None, owner=None) -> Targets:
  """Targets with some maps given, the others empty."""
  given = next(m for m in (energy, classes, sizes) if m is not None)
  shape = np.shape(given)[:4]

  def or_fill(value, fill, shape=shape, dtype=np.int32):
    return np.full(shape, fill if value is None else value, dtype)

  return Targets(
    energy=or_fill(energy, 0),
    classes=or_fill(classes, 0),
    sizes_px=or_fill(sizes, 0, (*shape, 2), np.float32),
    owner=or_fill(owner, -1),
  )


def test_energy_loss_is_the_mean_over_pixels():
  energy = np.random.default_rng(0).integers(0, 4, (2, 8, 8, 2))
  logits = _logits((2, 8, 8, 2, 4))
  loss, metrics = _energy_loss(logits, energy, CFG)
  per_pixel = _optax(logits, energy)
  np.testing.assert_allclose(loss, per_pixel.mean(), rtol=1e-5)
  assert metrics["energy_recall"] == 0  # no level reaches 5 of 3


def test_recall_is_the_share_of_centres_that_the_decode_finds():
  energy = np.zeros((1, 8, 8, 1), np.int32)
  energy[0, 1:4, 1:4] = 5  # the rim of a disc does not count
  energy[0, 2, 2], energy[0, 5, 5] = 19, 19
  logits = np.zeros((1, 8, 8, 1, 20), np.float32)
  logits[..., 0] = 3.0  # nothing is the likeliest everywhere
  logits[0, 2, 2, 0, 10:] = 2.5  # and yet much energy is expected there
  _, metrics = _energy_loss(logits, energy, CFG)
  assert metrics["energy_recall"] == 0.5
  nothing = np.zeros_like(energy)
  assert _energy_loss(logits, nothing, CFG)[1]["energy_recall"] == 0


# Caption: how, and which of the strides' losses result.
REDUCTIONS = {"mean": np.mean, "min": np.min}


@pytest.mark.parametrize("how", REDUCTIONS)
def test_strides_take_every_nth_pixel(how):
  energy = np.random.default_rng(0).integers(0, 4, (2, 16, 16, 1))
  logits = _logits((2, 16, 16, 1, 4))
  loss, _ = _energy_loss(logits, energy, CFG, (1, 4, 8), how)
  per_pixel = np.asarray(_optax(logits, energy))
  wanted = [per_pixel[:, ::s, ::s].mean() for s in (1, 4, 8)]
  np.testing.assert_allclose(loss, REDUCTIONS[how](wanted), rtol=1e-5)


@pytest.mark.parametrize("strides", [(2,), (6, 8), (8, 16)])
def test_energy_is_computed_only_where_a_stride_looks(strides):
  energy = np.random.default_rng(0).integers(0, 4, (2, 32, 32, 1))
  energy = energy.astype(np.int32)
  coarse = _logits((2, 8, 8, 1, 4))
  cfg = detection_loss.DetectionConfig(
    targets.TargetConfig(energy_strides=strides), CFG, (0,)
  )

  def ours(coarse):
    found = Predictions(coarse, jnp.zeros((2, 8, 8, 1, 2)), coarse[:, :, :, 0])
    loss_fn = detection_loss.LOSSES["energy"]
    return loss_fn({}, found, _maps(energy), 0, cfg)[0]

  def at_every_pixel(coarse):
    logits = refinenet.upsample(coarse, 4)
    return losses.energy_loss(logits, energy, CFG, strides)[0]

  program = jax.jit(
    lambda x: [jax.value_and_grad(fn)(x) for fn in (ours, at_every_pixel)]
  )
  (loss, gradient), (wanted, wanted_gradient) = program(coarse)
  np.testing.assert_allclose(loss, wanted, rtol=1e-6)
  np.testing.assert_allclose(gradient, wanted_gradient, atol=1e-6)
  shapes = str(jax.make_jaxpr(ours)(coarse))
  assert "[2,32,32,1,4]" not in shapes


@pytest.mark.parametrize("how", REDUCTIONS)
def test_levels_with_heads_count_as_much_as_the_final_map(how):
  rng = np.random.default_rng(0)
  energy = rng.integers(0, 4, (2, 32, 32, 1)).astype(np.int32)
  sizes = np.zeros((2, 32, 32, 1, 2), np.float32)
  sizes[:, 4::8, 12, 0] = (9, 5)  # stride 16 has no pixel of a disc
  final = Predictions(
    _logits((2, 8, 8, 1, 4)), _logits((2, 8, 8, 1, 2)), np.zeros((2, 8, 8, 1))
  )
  found = final.replace(
    deep_energy={s: _logits((2, 32 // s, 32 // s, 1, 4)) for s in (8, 32)},
    deep_sizes={s: _logits((2, 32 // s, 32 // s, 1, 2)) for s in (8, 16)},
  )
  cfg = detection_loss.DetectionConfig(
    targets.TargetConfig(stride_reduction=how),
    dataclasses.replace(CFG, size_loss="log_l1"),
    (0,),
  )

  @jax.jit
  def program(maps, *predictions):
    return [
      [detection_loss.LOSSES[k]({}, p, maps, 0, cfg) for k in ("energy", "box")]
      for p in predictions
    ]

  unknown = rng.random(energy.shape) < 0.3
  # Positions are of boxes: no maps.
  maps = _maps(energy, sizes=sizes).replace(
    unknown=unknown, positions=np.zeros((2, 3), np.int32)
  )
  deeply, alone = program(maps, found, final)
  (energy_loss, by_level), (size_loss, more) = deeply
  (only_final, _), (only_final_size, _) = alone
  deep = []
  for stride, logits in found.deep_energy.items():
    middle = np.s_[:, stride // 2 :: stride, stride // 2 :: stride]
    per_pixel = np.asarray(_optax(logits, energy[middle]))
    deep.append(per_pixel[~unknown[middle]].mean())
  of_levels = [only_final, *deep]
  np.testing.assert_allclose(energy_loss, REDUCTIONS[how](of_levels), rtol=1e-5)
  np.testing.assert_allclose(
    [by_level[f"energy_stride_{s}"] for s in (4, 8, 32)], of_levels, rtol=1e-5
  )
  # The pixels of the middle of cells at stride 8 whose column is the second.
  at_8 = np.abs(found.deep_sizes[8][:, :, 1, 0] - np.log([9, 5])).sum(-1).mean()
  both_levels = [only_final_size, at_8]
  np.testing.assert_allclose(size_loss, REDUCTIONS[how](both_levels), rtol=1e-4)
  np.testing.assert_allclose(more["size_stride_8"], at_8, rtol=1e-4)


def test_balanced_energy_weighs_symbols_like_paper():
  energy = np.zeros((1, 8, 8, 1), int)
  energy[0, 2, 2:5] = 3
  logits = _logits((1, 8, 8, 1, 4))
  cfg = dataclasses.replace(CFG, energy_weights="balanced")
  loss, _ = _energy_loss(logits, energy, cfg)
  per_pixel = np.asarray(_optax(logits, energy))
  wanted = (per_pixel[energy > 0].mean() + per_pixel[energy == 0].mean()) / 2
  np.testing.assert_allclose(loss, wanted, rtol=1e-5)
  # Without any symbol it is the plain mean.
  loss, _ = _energy_loss(logits, energy * 0, cfg)
  plain, _ = _energy_loss(logits, energy * 0, CFG)
  np.testing.assert_allclose(loss, plain, rtol=1e-5)


def test_balanced_energy_balances_every_plane():
  energy = np.zeros((2, 8, 8, 2), int)
  energy[0, 2, 2:5, 0] = 3
  energy[1, :, :6, 1] = 2  # a plane that is mostly discs
  logits = _logits((2, 8, 8, 2, 4))
  cfg = dataclasses.replace(CFG, energy_weights="balanced")
  loss, _ = _energy_loss(logits, energy, cfg)
  per_pixel = np.asarray(_optax(logits, energy))
  parts = [
    per_pixel[..., g][(energy[..., g] > 0) == foreground].mean()
    for g in range(2)
    for foreground in (True, False)
  ]
  np.testing.assert_allclose(loss, np.mean(parts), rtol=1e-5)


# Caption: option, loss of errors of (2, 0.5) px at a size of (8, 4) px.
SIZE_LOSSES = {
  "mse": 2**2 + 0.5**2,
  "smooth_l1": (2 - 0.5) + 0.5 * 0.5**2,
  "log_l1": np.log(10 / 8) + np.log(4.5 / 4),
}


@pytest.mark.parametrize("kind", SIZE_LOSSES)
def test_size_loss_by_hand(kind):
  sizes = np.zeros((1, 4, 4, 1, 2), np.float32)
  sizes[0, 1, 1:3, 0] = (8, 4)
  predicted = np.full((1, 4, 4, 1, 2), 99.0)
  predicted[0, 1, 1, 0] = (10, 4.5)
  predicted[0, 1, 2, 0] = (8, 4)  # this one is right
  cfg = dataclasses.replace(CFG, size_loss=kind)
  loss, metrics = _size_loss(
    np.log(predicted).astype(np.float32), _maps(sizes=sizes), cfg
  )
  np.testing.assert_allclose(loss, SIZE_LOSSES[kind] / 2, rtol=1e-4)
  np.testing.assert_allclose(metrics["size_error_px"], 2.5 / 4, rtol=1e-4)


def test_offset_loss_by_hand():
  sizes = np.zeros((1, 4, 4, 1, 2), np.float32)
  sizes[0, 1, 1:3, 0] = (8, 4)
  offsets = np.zeros_like(sizes)
  offsets[0, 1, 1, 0] = (1.5, -0.5)
  maps = _maps(sizes=sizes).replace(offsets_px=offsets)
  predicted = np.full_like(sizes, 99.0)  # what is said elsewhere is no matter
  predicted[0, 1, 1, 0] = (-0.5, 0.5)
  predicted[0, 1, 2, 0] = 0
  loss, metrics = jax.jit(box_losses.offset_loss)(predicted, maps)
  # Errors of 2 px in a height of 8 and 1 px in a width of 4; two pixels.
  np.testing.assert_allclose(loss, (2 / 8 + 1 / 4) / 2, rtol=1e-6)
  np.testing.assert_allclose(metrics["offset_error_px"], 3 / 4, rtol=1e-6)


@pytest.mark.parametrize("how", REDUCTIONS)
def test_strides_without_a_disc_do_not_count(how):
  sizes = np.zeros((1, 8, 8, 1, 2), np.float32)
  sizes[0, 1, 1, 0] = (8, 4)  # stride 8 sees the pixel (0, 0) only
  predicted = np.full((1, 8, 8, 1, 2), np.log(5), np.float32)
  both, _ = _size_loss(predicted, _maps(sizes=sizes), CFG, (1, 8), how)
  fine, _ = _size_loss(predicted, _maps(sizes=sizes), CFG)
  assert fine > 1
  np.testing.assert_allclose(both, fine)


@pytest.mark.parametrize("kind", SIZE_LOSSES)
def test_wild_sizes_elsewhere_do_not_matter(kind):
  sizes = np.zeros((1, 4, 4, 1, 2), np.float32)
  sizes[0, 1, 1, 0] = (8, 4)
  predicted = np.zeros((1, 4, 4, 1, 2), np.float32)
  predicted[0, 3, 3] = 1000.0  # exp overflows
  cfg = dataclasses.replace(CFG, size_loss=kind)

  def loss_fn(log_sizes, maps):
    return box_losses.size_loss(log_sizes, maps, cfg)

  (loss, metrics), gradient = jax.jit(
    jax.value_and_grad(loss_fn, has_aux=True)
  )(predicted, _maps(sizes=sizes))
  assert np.isfinite(loss)
  assert np.isfinite(metrics["size_error_px"])
  assert np.isfinite(gradient).all()
  assert np.count_nonzero(gradient) == 2


@st.composite
def _masks(draw):
  size = draw(st.integers(1, 300))
  share = draw(st.sampled_from([0.0, 0.01, 0.3, 0.9, 1.0]))
  seed = draw(st.integers(0, 1000))
  return np.random.default_rng(seed).random(size) < share


@hypothesis.settings(deadline=None, derandomize=True, max_examples=60)
@hypothesis.given(_masks(), st.sampled_from([1, 2, 7, 64, 300]))
def test_selected_pixels_are_all_or_evenly_thinned(mask, budget):
  # Compiled for a few sizes only; more elements that are False change nothing.
  padded = np.zeros(300, bool)
  padded[: mask.size] = mask
  index, valid = _select(padded, budget)
  assert index.shape == valid.shape == (budget,)
  chosen = np.asarray(index)[np.asarray(valid)]
  np.testing.assert_array_equal(np.asarray(index)[~np.asarray(valid)], 300)
  wanted = np.flatnonzero(mask)
  assert len(chosen) == min(budget, len(wanted))
  assert len(set(chosen)) == len(chosen)
  assert set(chosen) <= set(wanted)
  if len(wanted) > budget:
    ranks = np.sort(np.searchsorted(wanted, chosen))
    gaps = np.diff([-1, *ranks, len(wanted)])
    assert gaps.max() <= -(-len(wanted) // budget)


_select = jax.jit(class_loss.select_pixels, static_argnums=1)


@pytest.mark.parametrize(
  "count, budget",
  [(4097, 4096), (1_500_000, 8192), (1_500_000, 65_535), (70_000, 65_535)],
)
def test_selection_is_exact_on_large_maps(count, budget):
  mask = np.arange(2_000_000) < count
  index, valid = _select(mask, budget)
  assert valid.all()
  # Pixel s of the selection is the first whose share is s / budget: whole
  # numbers, computed with Python's.
  wanted = [-(-s * count // budget) for s in range(budget)]
  np.testing.assert_array_equal(np.sort(index), wanted)


def _class_loss(cfg, **changes):
  given = {
    "logits": _logits((6, 3)),
    "classes": np.array([1, 1, 1, 2, 3, 0]),
    "owners": np.array([0, 0, 1, 2, 2, 5]),
    "valid": np.array([True, True, True, True, False, True]),
  } | changes
  run = functools.partial(class_loss.class_loss, cfg=cfg, num_boxes=6)
  of_one_image = {key: value[None] for key, value in given.items()}
  return given, jax.jit(run)(**of_one_image)


# Caption: option, weights of the first four pixels (the fifth is not valid,
# the sixth is background): classes 0 0 0 1, objects 0 0 1 2.
CLASS_WEIGHTS = {
  "none": (1, 1, 1, 1),
  "by_class": (1 / 3, 1 / 3, 1 / 3, 1),
  "by_object": (1 / 2, 1 / 2, 1, 1),
}


@pytest.mark.parametrize("gamma", [0.0, 2.0])
@pytest.mark.parametrize("option", CLASS_WEIGHTS)
def test_class_loss_weighs_pixels(option, gamma):
  cfg = dataclasses.replace(CFG, class_weights=option, class_focal_gamma=gamma)
  given, (loss, metrics) = _class_loss(cfg)
  labels = np.array([0, 0, 0, 1])
  p = scipy.special.softmax(given["logits"].astype(np.float64), -1)
  p = p[np.arange(4), labels]
  weights = np.array(CLASS_WEIGHTS[option])
  wanted = ((1 - p) ** gamma * -np.log(p) * weights).sum() / weights.sum()
  np.testing.assert_allclose(loss, wanted, rtol=1e-5)
  right = (given["logits"][:4].argmax(-1) == labels) * weights
  np.testing.assert_allclose(
    metrics["class_accuracy"], right.sum() / weights.sum(), rtol=1e-5
  )
  assert metrics["class_pixels"] == 4


HW = (32, 64)


def _scene(groups, boxes=8, seed=0):
  """Targets of two images with overlapping boxes, and made-up features."""
  rng = np.random.default_rng(seed)
  centers = rng.uniform(-2, [HW[0] + 2, HW[1] + 2], (2, boxes, 2))
  sizes = rng.uniform(4, 14, (2, boxes, 2))
  boxes_yxyx = np.concatenate([centers - sizes / 2, centers + sizes / 2], -1)
  labels = rng.integers(0, 5, (2, boxes)).astype(np.int32)
  mask = np.ones((2, boxes), bool)
  mask[1, boxes // 2 :] = False
  group_of_class = np.arange(5, dtype=np.int32) % groups
  render = functools.partial(
    targets.render,
    group_of_class=group_of_class,
    hw=HW,
    cfg=targets.TargetConfig(),
  )
  maps = jax.jit(render)(boxes_yxyx.astype(np.float32), labels, mask)
  head = {"kernel": _logits((6, 5), 1, 1.0), "bias": _logits((5,), 2, 1.0)}
  features = _logits((2, HW[0] // 4, HW[1] // 4, 6), 3, 1.0)
  return maps, {"class_head": head}, features, group_of_class


# Caption: options of the class loss.
CLASS_OPTIONS = {
  "plain": {},
  "by class": {"class_weights": "by_class"},
  "by object": {"class_weights": "by_object"},
  "focal, by object": {"class_weights": "by_object", "class_focal_gamma": 2.0},
}


@pytest.mark.parametrize("caption", CLASS_OPTIONS)
@pytest.mark.parametrize("groups", [1, 3])
def test_sparse_class_loss_equals_the_dense_one(groups, caption):
  maps, params, features, group_of_class = _scene(groups)
  cfg = losses.LossConfig(**CLASS_OPTIONS[caption])

  @functools.partial(jax.jit, static_argnums=0)
  def both(loss, params, features):
    def value(params, features):
      # Neither energy nor sizes enter the class loss.
      predictions = Predictions(
        energy_logits=jnp.zeros((2, 8, 16, groups, 2)),
        log_sizes=jnp.zeros((2, 8, 16, groups, 2)),
        class_features=features,
      )
      return loss(params, predictions, maps, cfg, group_of_class, 8)

    return jax.value_and_grad(value, argnums=(0, 1), has_aux=True)(
      params, features
    )

  sparse = both(class_loss.sparse_class_loss, params, features)
  dense = both(class_loss.dense_class_loss, params, features)
  assert sparse[0][0] > 0.1
  for a, b in zip(jax.tree.leaves(sparse), jax.tree.leaves(dense), strict=True):
    np.testing.assert_allclose(
      a, b, rtol=1e-5, atol=1e-5 * float(np.abs(b).max())
    )


def test_a_small_budget_is_an_unbiased_looking_sample():
  maps, params, features, group_of_class = _scene(3)
  predictions = Predictions(
    energy_logits=jnp.zeros((2, 8, 16, 3, 2)),
    log_sizes=jnp.zeros((2, 8, 16, 3, 2)),
    class_features=jnp.asarray(features),
  )

  @functools.partial(jax.jit, static_argnums=0)
  def loss(budget):
    cfg = losses.LossConfig(class_pixels=budget)
    return class_loss.sparse_class_loss(
      params, predictions, maps, cfg, group_of_class, 8
    )

  (all_, metrics), (some, fewer) = loss(4096), loss(64)
  assert fewer["class_pixels"] == 128 < metrics["class_pixels"]
  np.testing.assert_allclose(some, all_, rtol=0.25)


@jax.jit
def _step_losses(boxes_yxyx, labels, mask):
  """All losses and their gradients for made-up outputs of the three heads."""
  group_of_class = np.array([0, 0, 1], np.int32)
  maps = targets.render(
    boxes_yxyx, labels, mask, group_of_class, HW, targets.TargetConfig()
  )
  cfg = detection_loss.DetectionConfig(targets.TargetConfig(), CFG, (0, 0, 1))
  h, w = HW[0] // 4, HW[1] // 4
  predictions = Predictions(
    energy_logits=jnp.asarray(_logits((1, h, w, 2, 20))),
    log_sizes=jnp.asarray(_logits((1, h, w, 2, 2), spread=1.0)),
    class_features=jnp.asarray(_logits((1, h, w, 4))),
  )
  params = {"class_head": {"kernel": jnp.ones((4, 3)), "bias": jnp.arange(3.0)}}

  def total(params, predictions):
    values, _ = detection_loss.compute_losses(
      params, predictions, maps, labels.shape[1], cfg
    )
    return values.sum(), values

  return jax.value_and_grad(total, (0, 1), has_aux=True)(params, predictions)


def test_pages_without_symbols_give_no_class_and_no_size_loss():
  (_, values), gradients = _step_losses(
    np.zeros((1, 4, 4), np.float32),
    np.zeros((1, 4), np.int32),
    np.zeros((1, 4), bool),
  )
  assert values[0] > 0
  np.testing.assert_array_equal(values[1:], 0)
  for gradient in jax.tree.leaves(gradients):
    assert np.isfinite(gradient).all()
  np.testing.assert_array_equal(gradients[1].log_sizes, 0)


def test_padded_boxes_never_matter():
  boxes = np.zeros((1, 4, 4), np.float32)
  boxes[0, :2] = [[4, 4, 14, 20], [16, 40, 24, 50]]
  labels = np.array([[1, 2, 0, 0]], np.int32)
  mask = np.array([[True, True, False, False]])
  clean = _step_losses(boxes, labels, mask)
  boxes[0, 2:] = [[6, 6, 12, 12], [5, 8, 15, 16]]
  labels[0, 2:] = (2, 1)
  dirty = _step_losses(boxes, labels, mask)
  jax.tree.map(np.testing.assert_array_equal, clean, dirty)
  used = _step_losses(boxes, labels, np.ones((1, 4), bool))
  assert abs(used[0][0] - clean[0][0]) > 1e-3


@pytest.mark.parametrize("weights", ["none", "balanced"])
def test_pixels_that_are_unknown_do_not_count(weights):
  cfg = dataclasses.replace(CFG, energy_weights=weights)
  energy = np.random.default_rng(0).integers(0, 4, (2, 8, 8, 1))
  unknown = np.zeros(energy.shape, bool)
  unknown[:, 2:4] = True
  logits = _logits((2, 8, 8, 1, 4))
  args = energy, cfg, (1, 4), "mean"
  loss, _ = _energy_loss(logits, *args, unknown)
  other, _ = _energy_loss(
    np.where(unknown[..., None], 9.0, logits), *args, unknown
  )
  assert loss == other
  assert loss != _energy_loss(logits, *args)[0]
  nothing, _ = _energy_loss(logits, *args, np.ones_like(unknown))
  assert nothing == 0
