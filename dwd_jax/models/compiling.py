"""How XLA is told to compile a network, and where compiled code is kept."""

import functools
import os
import pathlib
from typing import Any

import jax

_WIDE = 128  # filters
# Convolutions by Eigen instead of YNNPACK: an experimental option.
_WITHOUT_YNNPACK = (
  "xla_cpu_experimental_ynn_fusion_type",
  "LIBRARY_FUSION_TYPE_REDUCE",
)
# In the order that needs the least memory, not the one with the most to do at
# once.
_LEAST_MEMORY = (
  "xla_cpu_scheduler_type",
  "CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED",
)


def keep(folder: pathlib.Path, least_s: float = 1.0) -> None:
  """Keeps compiled code for the next start.

  Args:
    folder: made if missing; JAX_COMPILATION_CACHE_DIR of the environment goes
      first.
    least_s: what is compiled faster is not kept.
  """
  if os.environ.get("JAX_COMPILATION_CACHE_DIR"):
    return
  jax.config.update("jax_compilation_cache_dir", str(folder))
  jax.config.update("jax_persistent_cache_min_compile_time_secs", least_s)


def options(model: Any) -> dict[str, str]:
  """Options for the compilation of a network's prediction.

  On CPUs, YNNPACK runs narrow convolutions a third faster than Eigen, and
  wide ones, as the paper's, slower (benchmarks/predict.py measures whole
  pages). Results differ by rounding only.

  Args:
    model: a `DWDNet`; anything else without `cfg` is compiled as usual.

  Returns:
    `compiler_options` of `jax.jit`; empty = XLA's defaults.
  """
  cfg = getattr(model, "cfg", None)
  if cfg is None or cfg.filters < _WIDE:
    return {}
  return _on_cpus(_WITHOUT_YNNPACK)


def training_options() -> dict[str, str]:
  """Options for the compilation of a training step.

  On CPUs, Eigen's convolutions make a whole step faster than YNNPACK's, narrow
  or wide: gradients of the weights suit them better. Ordered for memory, a step
  needs a quarter to a third less of it and takes as long, within 3 %
  (benchmarks/train_step.py).

  Returns:
    `compiler_options` of `jax.jit`; empty = XLA's defaults.
  """
  return _on_cpus(_WITHOUT_YNNPACK, _LEAST_MEMORY)


def _on_cpus(*options: tuple[str, str]) -> dict[str, str]:
  """Those that this version of XLA knows; on other devices none."""
  if jax.default_backend() != "cpu":
    return {}
  return {name: value for name, value in options if _known(name, value)}


@functools.cache
def _known(name: str, value: str) -> bool:
  """Whether this version of XLA has the option."""
  try:
    jax.jit(lambda x: x, compiler_options={name: value}).lower(0.0).compile()
  except jax.errors.JaxRuntimeError:
    return False
  return True
