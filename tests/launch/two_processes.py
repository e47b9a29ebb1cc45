"""configs/smoke.py, shrunk to what two processes must agree on.

One stage of eight steps; what takes long to compile is left out.
"""

import ml_collections

from configs import smoke


def get_config() -> ml_collections.ConfigDict:
  """Returns the config."""
  c = smoke.get_config()
  combined = c.stages[-1]
  combined.steps = 8
  c.stages = (combined,)
  c.train.checkpoint_every = 3
  c.train.eval_every = 0
  c.train.fsdp = 2  # parameters are spread over the two processes
  c.groups.num = 1
  c.model.center_offsets = False
  c.model.class_hidden = 0
  c.targets.energy_strides = (1,)
  c.targets.size_strides = (1,)
  c.eval.calibrate = False
  return c
