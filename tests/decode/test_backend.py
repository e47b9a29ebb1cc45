"""What is chosen for CPUs and for accelerators."""

import jax
import numpy as np
import pytest

from dwd_jax.decode import backend, bits, pixel_lists


def test_the_host_of_an_accelerator_is_a_cpu(monkeypatch):
  monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
  assert not backend.on_cpu()
  with jax.default_device(jax.local_devices(backend="cpu")[0]):
    assert backend.on_cpu()


@pytest.mark.parametrize(
  ("count", "pixels", "expected"),
  [
    pytest.param(12, 1000, 12, id="all that fit"),
    pytest.param(12, 2**26 // 7, 6, id="equal parts"),
    pytest.param(7, 2**26 // 3, 1, id="one where there are none"),
    pytest.param(3, 2**27, 1, id="one that is too large"),
  ],
)
def test_planes_at_once(monkeypatch, count, pixels, expected):
  assert backend.planes_at_once(count, pixels) == 1  # on CPUs
  monkeypatch.setattr(backend, "on_cpu", lambda: False)
  assert backend.planes_at_once(count, pixels) == expected


def test_loops_run_whole_rounds_beyond_their_end(monkeypatch):
  def count():
    return backend.loop_while(lambda i: i < 5, lambda i: i + 1, 0)

  assert count() == 5
  monkeypatch.setattr(backend, "on_cpu", lambda: False)
  monkeypatch.setattr(backend, "_ROUNDS", 4)
  assert count() == 8


@pytest.mark.parametrize("n", [5, 8200])
def test_sums_and_paths_of_accelerators(monkeypatch, n):
  monkeypatch.setattr(backend, "on_cpu", lambda: False)
  counts = np.random.default_rng(n).integers(0, 33, n).astype(np.int32)
  sums = jax.jit(lambda counts: bits.exclusive_cumsum(counts))(counts)
  np.testing.assert_array_equal(sums, np.cumsum(counts) - counts)
  numbers = pixel_lists.first_numbers(n, n)
  parent = np.maximum(np.arange(numbers.room, dtype=np.int32) - 1, 0)
  roots = pixel_lists.jump_pointers(jax.numpy.asarray(parent), numbers)
  assert not np.asarray(roots)[:n].any()  # one path through all
