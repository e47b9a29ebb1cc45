"""Barriers and short messages among the processes of a run.

They use the coordinator of `jax.distributed`, not the devices, which would be
busy during waits of hours. With one process nothing happens.
"""

import collections
from typing import Any

import jax
from jax._src import distributed  # the key-value store has no public name

# A process may work for hours; the runtime notices those that are lost.
FOREVER_S = 30 * 24 * 3600
_FOREVER_MS = 1000 * FOREVER_S

_times: collections.Counter[str] = collections.Counter()


def client() -> Any:
  """The client of the coordinator; None with one process."""
  return distributed.global_state.client if jax.process_count() > 1 else None


def is_first() -> bool:
  """Whether this is process 0, which writes and prints."""
  return jax.process_index() == 0


def say(text: str) -> None:
  """Prints a line in process 0 only."""
  if is_first():
    print(text, flush=True)


def wait_for_all(name: str) -> None:
  """Waits until every process is here.

  All processes must pass places of one name equally often.
  """
  if jax.process_count() > 1:
    client().wait_at_barrier(_key(name), _FOREVER_MS)


def from_first(name: str, text: str) -> str:
  """Sends the text of process 0 to all; `name` as in `wait_for_all`."""
  if jax.process_count() == 1:
    return text
  key = _key(name)
  if is_first():
    client().key_value_set(key, text)
    return text
  return client().blocking_key_value_get(key, _FOREVER_MS)


def _key(name: str) -> str:
  """A unique key for this use of the name."""
  _times[name] += 1
  return f"dwd_jax/{name}/{_times[name]}"
