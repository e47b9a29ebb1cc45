"""dwd_jax: Deep Watershed Detection as pure functions in JAX.

`dwd_jax.detect(image)` finds the symbols of a page, see `dwd_jax.detect`.
"""

import importlib
from typing import Any

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
  """`dwd_jax.detect` without its import, which takes seconds, before need."""
  if name == "detect":
    return importlib.import_module("dwd_jax.detect")
  raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
