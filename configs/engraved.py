"""Generated pages: the embedded default, no download.

    python -m dwd_jax.main --config=configs/engraved.py --workdir=runs/engraved

Hardware: two CPU cores. Score on the 28 test pages: mAP_50 0.869, COCO mAP
0.564 (2026-11-30). With model.refinenet=light, whose steps take 8 % less:
5 minutes (generation 13 s, training 4 minutes, evaluation of 48 pages 30 s),
mAP_50 0.845, COCO mAP 0.552; as scans mAP_50 0.803, as photos 0.807
(2026-11-26, benchmarks/results/).
"""

import ml_collections

from dwd_jax.train import recipes, settings


def get_config() -> ml_collections.ConfigDict:
  """Returns the config of the embedded default."""
  c = settings.default()
  recipes.generated_pages(c)
  return c
