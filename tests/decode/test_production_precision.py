"""Float32 means float32 where levels are compared, at production's precision.

Other tests ask for the highest precision of all products (conftest.py). Here
the default holds, with which TPUs round factors to bfloat16; CPUs do not, so
the test does it for them.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend import core

from dwd_jax.decode import backend, votes, watershed
from dwd_jax.decode.decode_config import DecodeConfig
from dwd_jax.models.refinenet import upsample
from dwd_jax.objectives import losses

_HIGHEST = (jax.lax.Precision.HIGHEST,) * 2


@pytest.fixture(autouse=True)
def _production():
  with jax.default_matmul_precision("default"):
    yield


def _as_on_tpus(function, *args):
  """The result with factors rounded as on TPUs; how many products there are."""
  products = 0

  def run(jaxpr, consts, args):
    nonlocal products
    values = dict(zip(jaxpr.constvars, consts, strict=True))
    values |= dict(zip(jaxpr.invars, args, strict=True))

    def read(variables):
      return [v.val if hasattr(v, "val") else values[v] for v in variables]

    for eqn in jaxpr.eqns:
      inputs = read(eqn.invars)
      if eqn.primitive.name == "dot_general":
        products += 1
        if eqn.params["precision"] != _HIGHEST:
          inputs = [x.astype(jnp.bfloat16).astype(x.dtype) for x in inputs]
      if "jaxpr" in eqn.params:
        inner = eqn.params["jaxpr"]
        outputs = run(inner.jaxpr, inner.consts, inputs)
      else:
        outputs = eqn.primitive.bind(*inputs, **eqn.params)
        outputs = outputs if eqn.primitive.multiple_results else [outputs]
      values |= dict(zip(eqn.outvars, outputs, strict=True))
    return read(jaxpr.outvars)

  closed = jax.make_jaxpr(function)(*args)
  (result,) = run(closed.jaxpr, closed.consts, jax.tree.leaves(args))
  return np.asarray(result), products


def test_products_of_the_default_precision_are_rounded_here():
  x = np.array([[1.001, 2.003]], np.float32)
  found, products = _as_on_tpus(lambda a: a @ a.T, x)
  assert products == 1 and 1e-3 < abs(found - x @ x.T).item() < 0.1


def test_levels():
  logits = np.random.default_rng(0).normal(0, 3, (1, 6, 8, 1, 20))
  logits = logits.astype(np.float32)

  def levels(logits):
    found = watershed.levels_from_logits(logits, DecodeConfig())
    return upsample(found, 2)

  found, products = _as_on_tpus(levels, logits)
  p = np.exp(logits.astype(np.float64))
  expected = upsample((p @ np.arange(20.0)) / p.sum(-1), 2)
  assert products == 1
  np.testing.assert_allclose(found, expected, atol=1e-4)  # depths: 0.1


def test_smoothed_energy_loss():
  rng = np.random.default_rng(0)
  logits = rng.normal(0, 3, (50, 20)).astype(np.float32)
  labels = rng.integers(0, 20, 50)

  def loss(logits):
    return losses.softmax_cross_entropy(logits, labels, smoothing=0.7)

  found, products = _as_on_tpus(loss, logits)
  level = np.arange(20)
  target = np.exp(-0.5 * ((level - labels[:, None]) / 0.7) ** 2)
  target[:, 0] = 0
  target /= target.sum(1, keepdims=True)
  target[labels == 0] = level == 0
  log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
  assert products == 1
  np.testing.assert_allclose(found, -(target * log_p).sum(1), rtol=1e-5)


def _products(jaxpr):
  for eqn in jaxpr.eqns:
    if eqn.primitive.name == "dot_general":
      yield eqn.params["precision"]
    for inner in core.jaxprs_in_params(eqn.params):
      yield from _products(inner)


@pytest.mark.parametrize("on_cpu", [True, False])
@pytest.mark.parametrize("method", ["threshold", "watershed"])
def test_every_product_of_the_decode_is_exact(monkeypatch, method, on_cpu):
  monkeypatch.setattr(backend, "on_cpu", lambda: on_cpu)
  cfg = dataclasses.replace(DecodeConfig(), method=method, suppress_iou=0.5)

  def decode(logits, sizes):
    return watershed.decode(
      logits, sizes, lambda *at: votes.Likeliest(at[1] % 3, 3), cfg
    )

  shapes = [
    jax.ShapeDtypeStruct((2, 352, 384, 1, n), np.float32) for n in (20, 2)
  ]
  found = list(_products(jax.make_jaxpr(decode)(*shapes).jaxpr))
  assert set(found) <= {_HIGHEST}
  # Levels of the watershed; sums over earlier words, on CPUs only.
  assert bool(found) == (on_cpu or method == "watershed")
