"""What a device can do and what a process needs: matmul ceiling, memory."""

import concurrent.futures
import ctypes
import multiprocessing
import pathlib
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax

from benchmarks import common
from dwd_jax.train import stepper

_MIB = 2**20


def _side(backend: str) -> int:
  """Side of a product large enough to be bound by arithmetic."""
  return 2048 if backend == "cpu" else 8192


def _rate(multiply: Callable[[], Any], side: int, repeats: int) -> float:
  """FLOP/s of a product of square matrices; the best of a few."""
  multiply()
  seconds = []
  for _ in range(repeats):
    start = time.perf_counter()
    multiply()
    seconds.append(time.perf_counter() - start)
  return 2 * side**3 / min(seconds)


def jax_ceiling(dtype: str) -> float:
  """FLOP/s of a large matrix product in JAX, see `stepper.matmul_ceiling`."""
  return stepper.matmul_ceiling(dtype, _side(jax.default_backend()))


def torch_ceiling(dtype: str, repeats: int = 10) -> float:
  """The same in PyTorch; the fastest of `repeats` counts."""
  import torch  # pyright: ignore[reportMissingImports]

  on_gpu = torch.cuda.is_available()
  if on_gpu:
    torch.set_float32_matmul_precision("high")
  side = _side("gpu" if on_gpu else "cpu")
  device = "cuda" if on_gpu else "cpu"
  x = torch.full((side, side), 0.5, dtype=getattr(torch, dtype), device=device)

  def multiply():
    torch.matmul(x, x)
    if on_gpu:
      torch.cuda.synchronize()

  return _rate(multiply, side, repeats)


def compiled_memory(compiled: Any) -> dict[str, float]:
  """Memory of a compiled function in MiB, by XLA's buffer assignment.

  Returns:
    Arguments, outputs, outputs that reuse an argument's memory, temporary
    arrays, and what all of it needs at once.
  """
  found = compiled.memory_analysis()
  parts = {
    "arguments": found.argument_size_in_bytes,
    "outputs": found.output_size_in_bytes,
    "aliased": found.alias_size_in_bytes,
    "temporaries": found.temp_size_in_bytes,
  }
  total = sum(parts.values()) - 2 * parts["aliased"]
  return {k: v / _MIB for k, v in (parts | {"total": total}).items()}


def _steps_in_process(make: Callable[..., Any], kwargs: Any, steps: int) -> Any:
  """Runs in a process of its own, see `peak_memory`."""
  jax.device_count()  # starts JAX, which reads configs for both frameworks
  before = common.memory_mib("VmRSS")
  step = make(**kwargs)
  step()  # compiles
  try:  # what the compiler used is given back and forgotten
    ctypes.CDLL(None).malloc_trim(0)
    pathlib.Path("/proc/self/clear_refs").write_text("5")
    whole = False
  except (OSError, AttributeError):
    whole = True
  for _ in range(steps):
    step()
  return {
    "before_mib": before,
    "peak_mib": common.memory_mib("VmHWM"),
    "peak_includes_compiler": whole,
    **_on_gpu(make),
  }


def _on_gpu(make: Callable[..., Any]) -> dict[str, float]:
  """The most bytes that arrays of a GPU took, as its allocator counts."""
  if "torch" in make.__module__:
    import torch  # pyright: ignore[reportMissingImports]

    if torch.cuda.is_available():
      return {"gpu_peak_mib": torch.cuda.max_memory_allocated() / _MIB}
    return {}
  stats = jax.devices()[0].memory_stats() or {}
  if "peak_bytes_in_use" not in stats:
    return {}
  return {"gpu_peak_mib": stats["peak_bytes_in_use"] / _MIB}


def peak_memory(
  make: Callable[..., Callable[[], Any]], steps: int = 3, **kwargs: Any
) -> dict[str, Any]:
  """Peak memory of a few steps in a process of their own (Linux).

  Args:
    make: of a module; returns a function that does a step and waits.
    steps: after the first, which compiles and does not count.
    **kwargs: of `make`.

  Returns:
    MiB resident before anything was made (interpreter, imports, JAX's client)
    and at most during the steps; on a GPU also the most that arrays took.
  """
  context = multiprocessing.get_context("spawn")
  with concurrent.futures.ProcessPoolExecutor(1, context) as pool:
    return pool.submit(_steps_in_process, make, kwargs, steps).result()


def summary(seconds: list[float], batch_size: int) -> dict[str, float]:
  """Median and smallest seconds of a step, examples a second (median)."""
  median = statistics.median(seconds)
  return {
    "median_s": median,
    "min_s": min(seconds),
    "examples_per_second": batch_size / median,
  }
