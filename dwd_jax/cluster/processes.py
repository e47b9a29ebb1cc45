"""Barriers and short messages among the processes of a run.

They use the coordinator of `jax.distributed`, not the devices, which would be
busy during waits of hours. With one process nothing happens.
"""

import collections
import io
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax._src import distributed  # the key-value store has no public name

# A process may work for hours; the runtime notices those that are lost.
FOREVER_S = 30 * 24 * 3600
_FOREVER_MS = 1000 * FOREVER_S
_PIECE = 1 << 20  # bytes; gRPC messages are limited to 4 MiB

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


def to_first(
  name: str, arrays: Mapping[str, np.ndarray]
) -> list[dict[str, np.ndarray]]:
  """Collects arrays of numbers and text in process 0; others get an empty list.

  `name` is as in `wait_for_all`.
  """
  key = _key(name)
  if not is_first():
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **dict(arrays))
    data = buffer.getvalue()
    prefix = f"{key}/{jax.process_index()}"
    pieces = range(0, len(data), _PIECE)
    for i, start in enumerate(pieces):
      client().key_value_set_bytes(
        f"{prefix}/{i}", data[start : start + _PIECE]
      )
    client().key_value_set(f"{prefix}/pieces", str(len(pieces)))
    return []
  return [dict(arrays)] + [
    _received(f"{key}/{i}") for i in range(1, jax.process_count())
  ]


def _received(prefix: str) -> dict[str, np.ndarray]:
  count = int(client().blocking_key_value_get(f"{prefix}/pieces", _FOREVER_MS))
  data = b""
  for i in range(count):
    data += client().blocking_key_value_get_bytes(f"{prefix}/{i}", _FOREVER_MS)
    client().key_value_delete(f"{prefix}/{i}")
  with np.load(io.BytesIO(data), allow_pickle=False) as found:
    return {name: found[name] for name in found.files}


def _key(name: str) -> str:
  """A unique key for this use of the name."""
  _times[name] += 1
  return f"dwd_jax/{name}/{_times[name]}"
