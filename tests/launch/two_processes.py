"""configs/smoke.py, shrunk to what two processes must agree on.

One stage, eight steps, one evaluation of two pages.
"""

import ml_collections

from configs import smoke


def get_config() -> ml_collections.ConfigDict:
  """Returns the config."""
  c = smoke.get_config()
  combined = c.stages[-1]
  combined.steps = 8
  c.stages = (combined,)
  c.train.eval_every = 0
  c.eval.overlays = 1
  c.eval.calibrate = False
  c.data.test_split = c.data.eval_split
  return c
