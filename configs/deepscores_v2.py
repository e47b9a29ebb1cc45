r"""DeepScoresV2 (dense): 135 classes that fit into a crop, oriented boxes.

    python -m dwd_jax.main --config=configs/deepscores_v2.py \
      --workdir=runs/deepscores_v2 --config.data.manual_dir=PATH/TO/ds2_dense

Hardware: made for a GPU; run time and score are not measured by us.
`--config=configs/deepscores_v2.py:runlocal` is the same path in minutes, on a
CPU. `--config.data.builder_config=dense_muscima` trains on the other set of
annotations, `complete` on the big set.
"""

import ml_collections

from dwd_jax.train import recipes, settings


def get_config(arg: str = "") -> ml_collections.ConfigDict:
  """Returns the config; `arg` "runlocal" shrinks it to try it out."""
  c = settings.default()
  c.data.builder = "deepscores_v2"
  c.data.builder_config = "dense"
  # Wider than any crop, as in muscima_pp.py.
  c.data.leave_out = ("staff",)
  c.data.rare_prob = 0.5
  recipes.adamw(c)
  c.model.oriented = True
  if arg == "runlocal":
    recipes.a_few_steps(c)
  return c
