"""Updates: accumulation, skipped steps, the running mean of parameters."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy_task as toy

from dwd_jax.train import optim
from dwd_jax.train import state as state_lib
from dwd_jax.train import step as step_lib

TX = optim.make_optimizer(optim.OptimizerConfig("sgd", l2=0.0))
PLAN = step_lib.make_plan(toy.stages(1)[0], 0.1)


def _state(ema=False):
  return state_lib.new_state(toy.variables(), TX, 5, ema)


def _update(state, batch, plan=PLAN, **options):
  return step_lib.train_step(
    state,
    batch,
    plan,
    losses_fn=toy.losses_fn,
    tx=TX,
    cfg=step_lib.UpdateConfig(**options),
  )


def _batch(size=8, seed=0, scale=1.0):
  x = np.random.default_rng(seed).normal(size=(size, 1)).astype(np.float32)
  return {"x": jnp.asarray(x), "y": jnp.asarray(scale * toy.SLOPE * x)}


@pytest.mark.parametrize("parts", [2, 4, 8])
def test_parts_of_a_batch_make_the_gradient_of_the_whole(parts):
  # The loss is a plain mean, so its parts average to it.
  whole, metrics = _update(_state(), _batch())
  after, found = jax.jit(_update, static_argnames="accumulate")(
    _state(), _batch(), accumulate=parts
  )
  np.testing.assert_allclose(toy.slope(after), toy.slope(whole), rtol=1e-6)
  a, b = metrics.compute(), found.compute()
  assert a.keys() == b.keys()
  for key in ("loss", "gradient_norm", "loss_energy", "mean_energy"):
    np.testing.assert_allclose(b[key], a[key], rtol=1e-5)
  # Batch statistics are updated once for each part.
  wanted = 1 - 0.9**parts
  np.testing.assert_allclose(
    after.batch_stats["line"]["mean"], wanted, rtol=1e-6
  )
  assert int(after.step) == 1


def test_a_batch_must_make_equal_parts():
  with pytest.raises(ValueError, match="batch of 8 does not make 3 parts"):
    _update(_state(), _batch(), accumulate=3)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_skipped_step_changes_nothing_but_the_counters(value):
  state, _ = _update(_state(ema=True), _batch(), ema_decay=0.9)
  bad = _batch() | {"y": jnp.full((8, 1), value)}
  after, metrics = _update(state, bad, ema_decay=0.9)
  kept = dataclasses.replace(after, step=state.step, skipped=state.skipped)
  jax.tree.map(np.testing.assert_array_equal, kept, state)
  assert int(after.step) == 2
  np.testing.assert_array_equal(after.skipped, [1, 1])
  assert np.isnan(metrics.compute()["loss"])
  # Merged with a good step, only that one counts.
  more, good = _update(after, _batch(), ema_decay=0.9)
  np.testing.assert_array_equal(more.skipped, [1, 0])
  merged = metrics.merge(good).compute()
  np.testing.assert_allclose(merged["loss"], good.compute()["loss"])


def test_an_update_that_is_not_finite_is_skipped():
  # Loss and gradient are finite.
  after, _ = _update(_state(), _batch(), PLAN.replace(learning_rate=3e38))
  assert toy.slope(after) == 0
  np.testing.assert_array_equal(after.skipped, [1, 1])


def test_exploding_losses_are_skipped_once_there_is_a_mean():
  state = _state()
  huge = _batch(scale=1000.0)
  after, _ = _update(state, huge, max_loss_ratio=100.0)
  np.testing.assert_array_equal(after.skipped, [0, 0])  # no mean yet
  for seed in range(5):
    state, _ = _update(state, _batch(seed=seed), max_loss_ratio=100.0)
  skipped, _ = _update(state, huge, max_loss_ratio=100.0)
  np.testing.assert_array_equal(skipped.skipped, [1, 1])
  assert toy.slope(skipped) == toy.slope(state)
  taken, _ = _update(state, huge, max_loss_ratio=0.0)
  assert toy.slope(taken) != toy.slope(state)
  # It is an outlier that is skipped, not a new level for ever.
  levels = [int(skipped.skipped[1])]
  for _ in range(6):
    skipped, _ = _update(skipped, huge, max_loss_ratio=100.0)
    levels.append(int(skipped.skipped[1]))
  assert 0 in levels


def test_a_loss_that_is_not_trained_may_explode():
  def losses_fn(params, batch_stats, batch, train=True):
    del train
    losses, stats, metrics = toy.losses_fn(params, batch_stats, batch)
    return losses.at[1].set(batch["y"].max() ** 20), stats, metrics

  state = _state()
  for scale in (*[1e-3] * 6, 10.0):
    state, _ = step_lib.train_step(
      state,
      _batch(scale=scale),
      PLAN,
      losses_fn=losses_fn,
      tx=TX,
      cfg=step_lib.UpdateConfig(max_loss_ratio=1e12),
    )
  np.testing.assert_array_equal(state.skipped, [0, 0])


def test_the_running_mean_follows_parameters_and_statistics():
  state, decay = _state(ema=True), 0.5
  mean = stats = 0.0
  for step in range(20):
    state, _ = _update(state, _batch(seed=step), ema_decay=decay)
    rate = 1 - min(decay, (1 + step) / (10 + step))
    mean += rate * (toy.slope(state) - mean)
    # As they are: statistics of other parameters would not belong to the mean.
    stats += rate * (float(state.batch_stats["line"]["mean"][0]) - stats)
  used = state_lib.eval_variables(state)
  found = float(used["params"]["line"]["kernel"][0, 0])
  np.testing.assert_allclose(found, mean, rtol=1e-5)
  assert found != toy.slope(state)
  found = float(used["batch_stats"]["line"]["mean"][0])
  np.testing.assert_allclose(found, stats, rtol=1e-5)
  assert found != float(state.batch_stats["line"]["mean"][0])
  without, _ = _update(_state(), _batch())
  assert without.ema_params == {}
  used = state_lib.eval_variables(without)
  assert used["params"] is without.params
  assert used["batch_stats"] is without.batch_stats


# Caption: a loss that is 0 at 0 and its gradient there too much.
STEEP = {"a long gradient": lambda x: 1e6 * x, "not finite": jnp.sqrt}


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("caption", STEEP)
def test_gradients_of_frozen_parameters_do_not_count(caption, parts):
  frozen = ("^other/",)
  cfg = optim.OptimizerConfig("sgd", l2=0.0, clip_norm=1e-3)
  tx = optim.make_optimizer(cfg, frozen)
  variables = toy.variables()
  variables["params"]["other"] = {"kernel": jnp.zeros((1, 1))}

  def losses_fn(params, batch_stats, batch, train=True):
    losses, stats, metrics = toy.losses_fn(params, batch_stats, batch, train)
    other = STEEP[caption](params["other"]["kernel"]).sum()
    return losses.at[0].add(other), stats, metrics

  after, metrics = step_lib.train_step(
    state_lib.new_state(variables, tx, 5),
    _batch(),
    PLAN,
    losses_fn=losses_fn,
    tx=tx,
    cfg=step_lib.UpdateConfig(accumulate=parts),
    frozen=frozen,
  )
  np.testing.assert_array_equal(after.skipped, [0, 0])
  _, alone = _update(_state(), _batch())
  np.testing.assert_allclose(
    metrics.compute()["gradient_norm"],
    alone.compute()["gradient_norm"],
    rtol=1e-6,
  )
  # As long as the limit: the norm was that of the one trained parameter.
  np.testing.assert_allclose(toy.slope(after), 0.1 * 1e-3, rtol=1e-5)
  np.testing.assert_array_equal(after.params["other"]["kernel"], 0)


def test_a_flat_update_differs_by_rounding_only(monkeypatch):
  monkeypatch.setattr(step_lib, "_ROW", 2)
  tx = optim.make_optimizer(
    optim.OptimizerConfig("adam", l2=0.1, weight_decay=0.01, clip_norm=1.0),
    frozen=("b/bias",),
  )
  rng = np.random.default_rng(0)
  shapes = {"a": (3, 4), "b": (2, 2, 1, 3), "c": (5,)}
  params = {
    key: {"kernel": rng.normal(size=shape), "bias": rng.normal(size=shape[-1:])}
    for key, shape in shapes.items()
  }
  params = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), params)
  seen = {"a": {"mean": jnp.ones((2, 3))}}

  def losses_fn(params, batch_stats, batch, train=True):
    del train
    loss = sum(jnp.sum(x**4) for x in jax.tree.leaves(params))
    losses = jnp.stack([loss * batch.mean(), jnp.ones(()), jnp.ones(())])
    return losses, jax.tree.map(lambda x: 0.9 * x, batch_stats), {}

  def two_steps(flat):
    variables = {"params": params, "batch_stats": seen}
    state = state_lib.new_state(variables, tx, 5, ema=True)
    for _ in range(2):
      state, metrics = step_lib.train_step(
        state,
        jnp.ones((2, 1)),
        PLAN,
        losses_fn=losses_fn,
        tx=tx,
        cfg=step_lib.UpdateConfig(ema_decay=0.9),
        frozen=("b/bias",),
        flat_update=flat,
      )
    return state, metrics.compute()

  wanted, found = jax.jit(lambda: (two_steps(False), two_steps(True)))()
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), wanted, found
  )
  assert jax.tree.map(jnp.shape, wanted) == jax.tree.map(jnp.shape, found)
