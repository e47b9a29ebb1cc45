"""Pages as scans and photos show them, their boxes moved by the same map."""

from dwd_jax.imaging.degrade.plan import (
  MAX_STRENGTH,
  RECIPES,
  STAFF_SPACES_PX,
  Plan,
  check,
  on_image,
  sample,
)

__all__ = [
  "MAX_STRENGTH",
  "RECIPES",
  "STAFF_SPACES_PX",
  "Plan",
  "check",
  "on_image",
  "sample",
]
