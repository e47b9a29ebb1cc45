"""How the decode divides its work: on CPUs, and on accelerators.

The algorithm is one. On CPUs the time follows the entries that are touched:
lists go in chunks that stay in the cache, and loops end as soon as they can. On
accelerators every kernel, and even more every loop whose end the host has to
ask for, takes longer than thousands of entries: a list is one step, what has a
bound runs up to it, and other loops ask every few rounds.
"""

from collections.abc import Callable
from typing import Any

import jax

_ROUNDS = 2  # of a loop for each question of the host, on accelerators
# Pixels that accelerators decode at once, some 10 bytes each.
_MOST_PX = 2**26


def on_cpu() -> bool:
  """Whether what is traced now runs on a CPU."""
  config: Any = jax.config
  device = config.jax_default_device
  if device is None:
    return jax.default_backend() == "cpu"
  return getattr(device, "platform", device) == "cpu"


def planes_at_once(count: Any, pixels: int) -> int:
  """How many planes are decoded as one, a divisor of `count`.

  Args:
    count: number of planes; 1 at once if it is not known when tracing.
    pixels: of each plane.
  """
  if on_cpu() or not isinstance(count, int):
    return 1
  most = max(1, min(count, _MOST_PX // pixels))
  return next(n for n in range(most, 0, -1) if count % n == 0)


def take(column: jax.Array, index: jax.Array) -> jax.Array:
  """`column[index]` for indices of 0 or more; those beyond it mean the last.

  Without a case for negative indices XLA makes one kernel of reads whose
  indices come from other reads.
  """
  return column.at[index].get(mode="clip", wrap_negative_indices=False)


def loop_while(
  unfinished: Callable[[Any], jax.Array],
  round_: Callable[[Any], Any],
  state: Any,
) -> Any:
  """`jax.lax.while_loop`, which asks after every few rounds on accelerators.

  Args:
    round_: leaves a finished state as it is.
  """
  if on_cpu():
    return jax.lax.while_loop(unfinished, round_, state)

  def rounds(state):
    return jax.lax.fori_loop(0, _ROUNDS, lambda _, old: round_(old), state)

  return jax.lax.while_loop(unfinished, rounds, state)
