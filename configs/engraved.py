"""Generated pages: the embedded default, no download.

    python -m dwd_jax.main --config=configs/engraved.py --workdir=runs/engraved

Hardware: two CPU cores. Run time: 8 minutes. Score on the 29 test pages: mAP_50
0.807, COCO mAP 0.636 (2026-11-30, benchmarks/results/).
"""

import ml_collections

from dwd_jax.train import recipes, settings


def get_config() -> ml_collections.ConfigDict:
  """Returns the config of the embedded default."""
  c = settings.default()
  recipes.generated_pages(c)
  return c
