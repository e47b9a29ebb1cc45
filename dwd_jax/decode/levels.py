"""Energy levels from the logits of a network."""

import jax
import jax.numpy as jnp
from jaxtyping import Float

from dwd_jax.core import structs
from dwd_jax.decode import decode_config as config_lib


def from_logits(
  energy_logits: Float[structs.Array, "*n E"], cfg: config_lib.DecodeConfig
) -> Float[jax.Array, "*n"]:
  """Energy level of each pixel: the mean of the softmax, or the likeliest.

  Take it at the stride of the network's heads and upsample the levels, not the
  logits: a sixteenth of the work, and trained networks lose no AP.

  Args:
    energy_logits: over E levels.
    cfg: `energy` says which.
  """
  logits = jnp.asarray(energy_logits, jnp.float32)
  if not cfg.mean_energy:
    return jnp.argmax(logits, -1).astype(jnp.float32)
  level = jnp.arange(logits.shape[-1], dtype=jnp.float32)
  weight = jnp.exp(logits - logits.max(-1, keepdims=True))
  return (weight @ level) / weight.sum(-1)
