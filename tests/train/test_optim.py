"""Optimizers against plain NumPy; schedules; what stays still."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dwd_jax.core.errors import InputError
from dwd_jax.train import optim, stages
from dwd_jax.train import state as state_lib

PARAMS = {
  "backbone": {
    "stem": {"kernel": np.array([[0.5, -1.0], [2.0, 0.1]])},
    "stem_bn": {"scale": np.array([1.0, 0.9]), "bias": np.array([0.3, -0.2])},
  },
  "energy_head": {"kernel": np.array([[0.7]]), "bias": np.array([-0.4])},
}
LEAVES = [
  "backbone/stem/kernel",
  "backbone/stem_bn/bias",
  "backbone/stem_bn/scale",
  "energy_head/bias",
  "energy_head/kernel",
]


def _flat(tree) -> dict[str, np.ndarray]:
  names = jax.tree.leaves(optim.path_names(tree))
  return dict(zip(names, map(np.asarray, jax.tree.leaves(tree)), strict=True))


def _gradients(seed):
  rng = np.random.default_rng(seed)
  return jax.tree.map(
    lambda x: rng.normal(0, 2, x.shape).astype(np.float32), PARAMS
  )


def _train(cfg, steps=4, frozen=(), rate=0.1, gradients=_gradients):
  """Parameters after a few steps, as `train_step` takes them."""
  tx = optim.make_optimizer(cfg, frozen)
  params = jax.tree.map(jnp.asarray, PARAMS)
  state = tx.init(params)
  for step in range(steps):
    updates, state = tx.update(gradients(step), state, params)
    params = optax.apply_updates(
      params, jax.tree.map(lambda u: -rate * u, updates)
    )
  return _flat(params)


class Rmsprop:
  """Tieleman and Hinton 2012, decay 0.9, epsilon within the root."""

  def __init__(self, start=0.0):
    self.mean = start

  def __call__(self, g):
    self.mean = 0.9 * self.mean + 0.1 * g**2
    return g / np.sqrt(self.mean + 1e-8)


class Adam:
  """Kingma and Ba 2015, algorithm 1."""

  def __init__(self):
    self.t, self.m, self.v = 0, 0.0, 0.0

  def __call__(self, g):
    self.t += 1
    self.m = 0.9 * self.m + 0.1 * g
    self.v = 0.999 * self.v + 0.001 * g**2
    m, v = self.m / (1 - 0.9**self.t), self.v / (1 - 0.999**self.t)
    return m / (np.sqrt(v) + 1e-8)


class Momentum:
  """Sutskever et al. 2013, without Nesterov's step: momentum 0.8."""

  def __init__(self):
    self.trace = 0.0

  def __call__(self, g):
    self.trace = g + 0.8 * self.trace
    return self.trace


RULES = {"rmsprop": Rmsprop, "adam": Adam, "sgd": Momentum}


def _config(name="sgd", **changes):
  fields = {"l2": 0.0, "rmsprop_decay": 0.9, "momentum": 0.8} | changes
  return optim.OptimizerConfig(name, **fields)


def _numpy(rule, steps=4, rate=0.1, l2=0.0, decay=0.0, gradients=_gradients):
  """The same in plain NumPy, parameter by parameter."""
  out = {}
  for name, x in _flat(PARAMS).items():
    update = rule()
    kernel = name.endswith("kernel")
    for step in range(steps):
      g = _flat(gradients(step))[name] + l2 * x * kernel
      x = x - rate * (update(g) + decay * x * kernel)
    out[name] = x
  return out


def _assert_equal(found, wanted, rtol=5e-5):
  assert list(found) == list(wanted) == LEAVES
  for name, x in found.items():
    np.testing.assert_allclose(x, wanted[name], rtol, atol=1e-6, err_msg=name)


# Caption: changes of the config, the same as arguments of `_numpy`.
PENALTIES = {
  "bare": ({}, {}),
  "L2 on kernels, in the gradient": ({"l2": 0.3}, {"l2": 0.3}),
  "decoupled decay of kernels": ({"weight_decay": 0.3}, {"decay": 0.3}),
}


@pytest.mark.parametrize("caption", PENALTIES)
@pytest.mark.parametrize("name", RULES)
def test_optimizers_equal_numpy(name, caption):
  changes, same = PENALTIES[caption]
  _assert_equal(_train(_config(name, **changes)), _numpy(RULES[name], **same))


def test_rmsprop_may_start_as_in_tensorflow_1():
  found = _train(_config("rmsprop", rmsprop_start=1.0))
  _assert_equal(found, _numpy(lambda: Rmsprop(1.0)))
  with pytest.raises(InputError, match=r"rmsprop_start is -1.*use 0 or more"):
    _config("rmsprop", rmsprop_start=-1.0)


def _norm(tree):
  return np.sqrt(sum((x**2).sum() for x in jax.tree.leaves(tree)))


def test_long_gradients_are_clipped_and_short_ones_kept():
  def clipped(step):
    g = _gradients(step)
    return jax.tree.map(lambda x: x * np.float32(min(1, limit / _norm(g))), g)

  norms = [_norm(_gradients(step)) for step in range(4)]
  limit = (min(norms) + max(norms)) / 2  # some are longer, some shorter
  found = _train(_config(clip_norm=float(limit)))
  _assert_equal(found, _numpy(Momentum, gradients=clipped))
  assert (
    np.abs(found["energy_head/bias"] - PARAMS["energy_head"]["bias"]) > 0.01
  )


def test_clipping_leaves_the_penalty_alone():
  found = _train(_config(clip_norm=1e-6, l2=0.5), steps=1)
  kernel = PARAMS["energy_head"]["kernel"]
  np.testing.assert_allclose(
    found["energy_head/kernel"], kernel * (1 - 0.1 * 0.5), rtol=1e-5
  )


# Caption: patterns, parameters that do not move.
FROZEN = {
  "nothing": ((), set()),
  "the backbone": (("^backbone/",), set(LEAVES[:3])),
  "batch norm and a head": (("_bn/", "^energy"), set(LEAVES[1:])),
}


@pytest.mark.parametrize("caption", FROZEN)
@pytest.mark.parametrize("name", RULES)
def test_frozen_parameters_do_not_move(name, caption):
  patterns, still = FROZEN[caption]
  # Neither gradient nor penalties move them.
  found = _train(_config(name, l2=0.1, weight_decay=0.1), frozen=patterns)
  start = _flat(PARAMS)
  same = {
    k for k, x in found.items() if np.array_equal(x, start[k].astype("f4"))
  }
  assert same == still
  free = _numpy(RULES[name], l2=0.1, decay=0.1)
  for key in set(LEAVES) - still:
    np.testing.assert_allclose(found[key], free[key], 5e-5, err_msg=key)


def test_a_pattern_that_freezes_nothing_is_an_error():
  with pytest.raises(
    InputError, match=r"'resnet' matches no parameter; .*backbone/stem/kernel"
  ):
    _train(_config(), frozen=("resnet",))


def _stage(steps=100, rate=0.0):
  return stages.Stage("s", steps, ("box",), (1.0,), learning_rate=rate)


def _rates(stage, steps, **changes):
  cfg = optim.OptimizerConfig(learning_rate=0.4, **changes)
  return optim.learning_rate(cfg, stage, np.array(steps))


def test_constant_rates():
  np.testing.assert_allclose(_rates(_stage(), [0, 50, 99]), 0.4)
  np.testing.assert_allclose(_rates(_stage(rate=0.1), [0, 50, 99]), 0.1)


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_warm_up_rises_evenly_and_never_starts_at_zero(schedule):
  found = _rates(_stage(), range(11), schedule=schedule, warmup_steps=10)
  np.testing.assert_allclose(found, 0.4 * np.arange(1, 12) / 11, rtol=1e-5)


def test_short_stages_warm_up_for_a_quarter():
  found = _rates(_stage(8), range(4), warmup_steps=100)
  np.testing.assert_allclose(found, 0.4 * np.array([1, 2, 3, 3]) / 3, rtol=1e-5)


def test_cosine_falls_to_zero_at_the_end_of_the_stage():
  found = _rates(_stage(), range(10, 101), schedule="cosine", warmup_steps=10)
  wanted = 0.4 * 0.5 * (1 + np.cos(np.pi * np.arange(91) / 90))
  np.testing.assert_allclose(found, wanted, atol=1e-6)


# Caption: schedule, warm-up, the same in optax.
SCHEDULES = {
  "constant": ("constant", 0, optax.constant_schedule(0.4)),
  "warm-up": ("constant", 9, optax.linear_schedule(0.04, 0.4, 9)),
  "cosine": ("cosine", 0, optax.cosine_decay_schedule(0.4, 100)),
  "warm-up, cosine": (
    "cosine",
    9,
    optax.warmup_cosine_decay_schedule(0.04, 0.4, 9, 100),
  ),
}


@pytest.mark.parametrize("caption", SCHEDULES)
def test_rates_are_those_of_optax_and_of_the_host(caption):
  schedule, warmup, same = SCHEDULES[caption]
  steps = np.arange(120)  # a stage may get more steps than it was planned for
  found = _rates(_stage(), steps, schedule=schedule, warmup_steps=warmup)
  assert isinstance(found, np.ndarray) and found.dtype == np.float32
  wanted = np.broadcast_to(same(steps), steps.shape)
  np.testing.assert_allclose(found, wanted, atol=1e-7)


def test_unknown_names_are_errors():
  with pytest.raises(InputError, match=r"schedule is 'step'; use one of"):
    _rates(_stage(), [0], schedule="step")
  with pytest.raises(InputError, match=r"optimizer\.name is 'lion'; use"):
    optim.make_optimizer(_config("lion"))


@pytest.mark.parametrize("reset", [True, False])
@pytest.mark.parametrize("name", RULES)
def test_stages_start_with_or_without_fresh_optimizer_state(name, reset):
  tx = optim.make_optimizer(_config(name))
  params = jax.tree.map(jnp.asarray, PARAMS)
  _, used = tx.update(_gradients(0), tx.init(params), params)
  before = state_lib.TrainState(
    step=jnp.asarray(7),
    params=params,
    batch_stats={"mean": jnp.ones(2)},
    opt_state=used,
    loss_history=jnp.ones((3, 5)),
    ema_params={},
    skipped=jnp.zeros(2, jnp.int32),
  )
  after = state_lib.start_stage(before, tx, reset)
  jax.tree.map(
    np.testing.assert_array_equal,
    after.opt_state,
    tx.init(params) if reset else used,
  )
  assert np.isnan(after.loss_history).all()
  kept = [(s.step, s.params, s.batch_stats) for s in (before, after)]
  jax.tree.map(np.testing.assert_array_equal, *kept)


def test_optimizer_state_has_one_structure_whatever_is_frozen():
  # A checkpoint of one stage is read before the next stage is known.
  params = jax.tree.map(jnp.asarray, PARAMS)
  for name in RULES:
    structures = {
      jax.tree.structure(optim.make_optimizer(_config(name), f).init(params))
      for f in ((), ("backbone",), ("backbone", "head"))
    }
    assert len(structures) == 1
