"""A step of training: what it learns, and what it leaves alone."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import train_helpers as helpers

from dwd_jax.core.structs import Targets
from dwd_jax.models import dwd
from dwd_jax.objectives import box_losses, losses
from dwd_jax.train import optim, stages
from dwd_jax.train import step as step_lib

RATE = 3e-3


def _plan(*factors, balance=False, rate=RATE) -> step_lib.StepPlan:
  """A plan with the factors of energy, class and box losses; 0 = without."""
  used = {k: f for k, f in zip(stages.LOSSES, factors, strict=True) if f}
  stage = stages.Stage("s", 1, tuple(used), tuple(used.values()), balance)
  return step_lib.make_plan(stage, rate)


@pytest.fixture(scope="module")
def tiny():
  """(state, batch, compiled step); the state is not donated."""
  model = helpers.tiny_model()
  tx = optim.make_optimizer(helpers.OPTIMIZER)
  run = jax.jit(helpers.step_fn(model, tx))
  return helpers.tiny_state(model, tx), helpers.tiny_batch(), run


def test_twenty_steps_on_one_batch_lower_all_losses(tiny):
  state, batch, run = tiny
  plan = step_lib.make_plan(helpers.COMBINED, RATE)
  history = []
  for _ in range(20):
    state, metrics = run(state, batch, plan)
    history.append(metrics.compute())
  first, last = history[0], history[-1]
  for name in stages.LOSSES:
    assert last[f"loss_{name}"] < 0.8 * first[f"loss_{name}"], name
  assert last["loss_refinement"] < 0.8 * first["loss_refinement"]
  assert last["class_accuracy"] > first["class_accuracy"]
  assert int(state.step) == 20
  # The newest first: the last five values of each loss.
  wanted = [[m[f"loss_{k}"] for m in history[:-6:-1]] for k in stages.LOSSES]
  np.testing.assert_allclose(state.loss_history, wanted, rtol=1e-6)
  # Divided by their means, the losses of step 1 are their factors.
  np.testing.assert_allclose(first["loss"], 2 + 1 + 1, rtol=1e-5)


# Caption: factors of energy, class and box; heads that may move.
TRAINED = {
  "energy alone": ((1, 0, 0), {"energy_head"}),
  "class alone": ((0, 1, 0), {"class_head"}),
  "box alone": ((0, 0, 1), {"size_head", "refinement_head"}),
  "class and box": (
    (0, 1, 2),
    {"class_head", "size_head", "refinement_head"},
  ),
}


@pytest.mark.parametrize("caption", TRAINED)
def test_a_stage_trains_its_own_heads_and_the_trunk(tiny, caption):
  state, batch, run = tiny
  factors, heads = TRAINED[caption]
  after, metrics = run(state, batch, _plan(*factors))
  moved = {
    name
    for name in state.params
    if any(
      (a != b).any()
      for a, b in zip(
        jax.tree.leaves(state.params[name]),
        jax.tree.leaves(after.params[name]),
        strict=True,
      )
    )
  }
  assert moved == heads | {"backbone", "refinenet"}
  values = metrics.compute()
  wanted = sum(
    f * values[f"loss_{k}"] for f, k in zip(factors, stages.LOSSES, strict=True)
  )
  np.testing.assert_allclose(values["loss"], wanted, rtol=1e-5)


def test_the_learning_rate_is_an_input(tiny):
  state, batch, run = tiny
  still, _ = run(state, batch, _plan(1, 1, 1, rate=0.0))
  jax.tree.map(np.testing.assert_array_equal, state.params, still.params)
  assert (  # batch norm has seen the batch all the same
    still.batch_stats["backbone"]["stem_bn"]["mean"]
    != state.batch_stats["backbone"]["stem_bn"]["mean"]
  ).any()
  once, _ = run(state, batch, _plan(1, 1, 1, rate=1e-3))
  twice, _ = run(state, batch, _plan(1, 1, 1, rate=2e-3))
  small, large = (
    jax.tree.map(np.subtract, x.params["refinenet"], state.params["refinenet"])
    for x in (once, twice)
  )
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(2 * a, b, rtol=1e-2, atol=1e-6),
    small,
    large,
  )


def test_a_step_is_a_function(tiny):
  state, batch, run = tiny
  results = [run(state, batch, _plan(2, 1, 1, balance=True)) for _ in range(2)]
  jax.tree.map(np.testing.assert_array_equal, *results)


def test_padded_boxes_change_nothing(tiny):
  state, batch, run = tiny
  rng = np.random.default_rng(0)
  garbage = np.where(
    batch.box_mask[..., None],
    batch.boxes_yxyx,
    rng.uniform(5, 60, batch.boxes_yxyx.shape),
  ).astype(np.float32)
  labels = np.where(batch.box_mask, batch.labels, 3).astype(np.int32)
  corners = np.where(
    batch.box_mask[..., None, None], batch.oriented_yx, rng.random((4, 2))
  ).astype(np.float32)
  dirty = batch.replace(boxes_yxyx=garbage, labels=labels, oriented_yx=corners)
  plan = _plan(1, 1, 1)
  jax.tree.map(
    np.testing.assert_array_equal,
    run(state, batch, plan),
    run(state, dirty, plan),
  )


def test_pages_without_symbols_train_without_nan(tiny):
  state, batch, run = tiny
  empty = batch.replace(
    image=0 * batch.image,
    boxes_yxyx=0 * batch.boxes_yxyx,
    labels=0 * batch.labels,
    box_mask=batch.box_mask & False,
    oriented_yx=0 * batch.oriented_yx,
  )
  for _ in range(3):
    state, metrics = run(state, empty, _plan(2, 1, 1, balance=True))
    values = metrics.compute()
    assert values["loss_class"] == values["loss_box"] == 0
  for x in jax.tree.leaves((state.params, state.batch_stats, values)):
    assert np.isfinite(x).all()


NONE = np.nan
# Caption: losses, history (newest first), balance, factors, total.
SUMS = {
  "plain": ((4, 2, 6), [[1, 1]] * 3, False, (2, 1, 0), 2 * 4 + 2),
  "balanced from the first step": (
    (4, 2, 6),
    [[NONE, NONE]] * 3,
    True,
    (2, 1, 1),
    2 + 1 + 1,
  ),
  "divided by the mean of the window": (
    # Means with the new value, without the oldest: 3, 4, 4.
    (4, 2, 6),
    [[2, 9], [6, 9], [2, 9]],
    True,
    (2, 1, 1),
    2 * 4 / 3 + 2 / 4 + 6 / 4,
  ),
  "a window that is not full": (
    (4, 2, 6),
    [[2, NONE], [6, NONE], [2, NONE]],
    True,
    (2, 1, 1),
    2 * 4 / 3 + 2 / 4 + 6 / 4,
  ),
  "a loss of 0": ((4, 0, 6), [[NONE, NONE]] * 3, True, (2, 1, 1), 2 + 0 + 1),
  "an infinite loss that is not trained": (
    (4, 2, np.inf),
    [[NONE, NONE]] * 3,
    True,
    (2, 1, 0),
    2 + 1,
  ),
}


@pytest.mark.parametrize("caption", SUMS)
def test_combine(caption):
  values, history, balance, factors, wanted = SUMS[caption]
  history = jnp.asarray(history, jnp.float32)
  plan = _plan(*factors, balance=balance)

  def total(values):
    return step_lib.combine(values, history, plan)

  values = jnp.asarray(values, jnp.float32)
  (loss, after), gradient = jax.value_and_grad(total, has_aux=True)(values)
  np.testing.assert_allclose(loss, wanted, rtol=1e-5)
  np.testing.assert_array_equal(after[:, 0], values)
  np.testing.assert_array_equal(after[:, 1:], history[:, :-1])
  # The means are no part of the gradient: it is factor / mean.
  means = np.maximum(np.nanmean(after, 1), 1e-8) if balance else 1
  np.testing.assert_allclose(gradient, np.array(factors) / means, rtol=1e-5)


@pytest.mark.parametrize("kind", ["mse", "smooth_l1", "log_l1"])
def test_a_size_head_that_runs_wild_untrained_does_no_harm(kind):
  sizes = jnp.full((1, 4, 4, 1, 2), 8.0)
  zeros = jnp.zeros((1, 4, 4, 1), jnp.int32)
  maps = Targets(energy=zeros, classes=zeros, sizes_px=sizes, owner=zeros)
  cfg = dataclasses.replace(losses.LossConfig(), size_loss=kind)

  def total(log_sizes):
    size_loss, _ = box_losses.size_loss(log_sizes, maps, cfg)
    values = jnp.stack([1.0, 1.0, size_loss])
    return step_lib.combine(values, jnp.full((3, 5), NONE), _plan(1, 1, 0))[0]

  loss, gradient = jax.value_and_grad(total)(jnp.full(sizes.shape, 500.0))
  assert loss == 2
  np.testing.assert_array_equal(gradient, 0)


def test_plans_follow_the_order_of_the_losses():
  stage = stages.Stage("s", 1, ("box", "energy"), (3.0, 2.0), balance=True)
  plan = step_lib.make_plan(stage, 0.5)
  np.testing.assert_array_equal(plan.factors, [2, 0, 3])
  assert plan.balance
  assert plan.learning_rate == 0.5


def test_bytes_and_floats_are_the_same_image():
  grey = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
  for image in (grey, grey / np.float32(255)):
    seen = dwd.network_input(image)
    np.testing.assert_allclose(seen, grey / 255, rtol=1e-6)


def test_rematerialisation_changes_no_result(tiny):
  state, batch, run = tiny
  plan = _plan(1, 1, 1)
  model = helpers.tiny_model(remat=True)
  cfg = dataclasses.replace(helpers.LOSSES, remat=True)
  tx = optim.make_optimizer(helpers.OPTIMIZER)
  step = jax.jit(helpers.step_fn(model, tx, cfg))
  lowered = step.lower(state, batch, plan)
  # What is computed again is kept apart from the first time.
  assert "optimization_barrier" in lowered.as_text()
  (wanted, metrics), (after, found) = (
    run(state, batch, plan),
    lowered.compile()(state, batch, plan),
  )
  for key, value in metrics.compute().items():
    np.testing.assert_allclose(found.compute()[key], value, rtol=1e-4)
  for x, a, b in zip(
    *map(jax.tree.leaves, (state.params, wanted.params, after.params)),
    strict=True,
  ):
    # adam's first step is the sign of the gradient: where that is noise,
    # anything up to twice the rate.
    assert np.mean(np.abs(a - b) > 1e-4 * np.abs(a - x).max()) < 1e-3


@pytest.mark.slow
def test_bfloat16_learns_as_float32(tiny):
  start, _, whole = tiny
  tx = optim.make_optimizer(helpers.OPTIMIZER)
  half = jax.jit(helpers.step_fn(helpers.tiny_model(dtype="bfloat16"), tx))
  plan = _plan(2, 1, 1, rate=1e-3)
  batches = [helpers.tiny_batch(seed=i) for i in range(20)]
  means = {}
  for dtype, run in (("float32", whole), ("bfloat16", half)):
    state, losses = start, []
    for i in range(40):
      state, metrics = run(state, batches[i % len(batches)], plan)
      losses.append(float(metrics.compute()["loss"]))
    assert all(x.dtype == np.float32 for x in jax.tree.leaves(state.params))
    assert np.mean(losses[-10:]) < 0.85 * np.mean(losses[:10])
    means[dtype] = np.mean(losses)
  assert abs(means["bfloat16"] / means["float32"] - 1) < 0.01, means
