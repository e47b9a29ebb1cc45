"""1 x 1 convolutions as products equal convolutions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from dwd_jax.models import layers

_NUMBERS = {"dimension_numbers": ("NHWC", "HWIO", "NHWC")}


@pytest.mark.parametrize(
  ("kernel", "stride", "pad"),
  [(1, 1, 0), (1, 2, 0), (1, 1, 1), (3, 1, 1), (3, 2, 1)],
  ids=["plain", "strided", "padded", "3 x 3", "3 x 3, strided"],
)
def test_value_and_gradients_are_those_of_a_convolution(kernel, stride, pad):
  rng = np.random.default_rng(0)
  x = jnp.asarray(rng.normal(size=(2, 7, 6, 3)), jnp.float32)
  w = jnp.asarray(rng.normal(size=(kernel, kernel, 3, 5)), jnp.float32)
  sides = ((pad, pad), (pad, pad))

  def loss(conv, x, w):
    return jnp.sin(conv(x, w, (stride, stride), sides, **_NUMBERS)).sum()

  ours, wanted = (
    jax.value_and_grad(loss, (1, 2))(conv, x, w)
    for conv in (layers.conv_general_dilated, lax.conv_general_dilated)
  )
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
    ours,
    wanted,
  )


def test_it_is_a_product_on_a_cpu():
  x, w = jnp.ones((1, 4, 4, 2)), jnp.ones((1, 1, 2, 3))
  program = str(
    jax.make_jaxpr(layers.conv_general_dilated, static_argnums=(2, 3))(
      x, w, (1, 1), ((0, 0), (0, 0))
    )
  )
  assert ("dot_general" in program) == (jax.default_backend() == "cpu")
