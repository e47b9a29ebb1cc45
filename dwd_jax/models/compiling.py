"""How XLA is told to compile a network."""

import functools
from typing import Any

import jax

_WIDE = 128  # filters
# Convolutions by Eigen instead of YNNPACK: an experimental option.
_WITHOUT_YNNPACK = {
  "xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_REDUCE"
}


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
  if cfg is None or cfg.filters < _WIDE or jax.default_backend() != "cpu":
    return {}
  return dict(_WITHOUT_YNNPACK) if _known() else {}


def training_options() -> dict[str, str]:
  """Options for the compilation of a training step.

  On CPUs, Eigen's convolutions make a whole step faster than YNNPACK's, narrow
  or wide: gradients of the weights suit them better
  (benchmarks/train_step.py).

  Returns:
    `compiler_options` of `jax.jit`; empty = XLA's defaults.
  """
  if jax.default_backend() != "cpu" or not _known():
    return {}
  return dict(_WITHOUT_YNNPACK)


@functools.cache
def _known() -> bool:
  """Whether this version of XLA has the option."""
  try:
    jax.jit(lambda x: x, compiler_options=_WITHOUT_YNNPACK).lower(0.0).compile()
  except jax.errors.JaxRuntimeError:
    return False
  return True
