"""dwd_jax: Deep Watershed Detection as pure functions in JAX.

`dwd_jax.detect(image)` finds the symbols of a page, see `dwd_jax.detect`.
"""

import importlib
from typing import Any

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
  """Imports `dwd_jax.detect` on first use, since that takes seconds."""
  if name == "detect":
    return importlib.import_module("dwd_jax.detect")
  raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
