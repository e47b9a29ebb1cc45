r"""DeepScores (2017), the paper's values: ResNet-101, 480 px crops, scale 0.5.

    python -m dwd_jax.main --config=configs/deepscores.py \
      --workdir=runs/deepscores --config.data.manual_dir=PATH/TO/DeepScores_2017

Hardware: made for a GPU (the paper: one Titan Xp, batch 1). Run time: 100,000
steps; not measured by us. Score: not measured by us; the paper reports AP at
IoU 0.5 of 0.86 for noteheadBlack (Tuggener et al. 2018, table 1).
`--config=configs/deepscores.py:runlocal` is the same path in minutes, on a CPU.
"""

import ml_collections

from dwd_jax.train import recipes, settings


def get_config(arg: str = "") -> ml_collections.ConfigDict:
  """Returns the config; `arg` "runlocal" shrinks it to try it out."""
  c = settings.default()
  c.data.builder = "deepscores"
  c.data.builder_config = "dense_2017"
  c.data.nonempty_prob = 1.0
  c.targets.disc_center = "rounded"
  if arg == "runlocal":
    recipes.a_few_steps(c)
  return c
