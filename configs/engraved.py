"""Generated pages: the embedded default, no download.

    python -m dwd_jax.main --config=configs/engraved.py --workdir=runs/engraved

Hardware: two CPU cores. Run time: 5 minutes (generation 13 s, training 4
minutes, evaluation of 48 pages 30 s). Score on the 28 test pages: mAP_50 0.845,
COCO mAP 0.552, noteheadBlack AP_50 0.980; as scans mAP_50 0.803, as photos
0.807 (2026-11-26, benchmarks/results/).
"""

import ml_collections

from configs import default, recipes


def get_config() -> ml_collections.ConfigDict:
  """Returns the config of the embedded default."""
  c = default.get_config()
  c.data.builder = "deepscores"
  c.data.builder_config = "dense_2017"
  c.data.engrave.pages = 240
  c.data.scales = (1.0,)
  c.data.eval_scale = 1.0
  recipes.adamw(c)
  recipes.two_cores(c, combined_steps=1000)
  c.data.rare_prob = 0.9
  c.data.rare_power = 0.8
  # What helped in `python -m benchmarks.ablation`: docs/results.md.
  c.data.synthetic.layout = "full"
  c.data.synthetic.prob = 0.5
  c.data.degrade.scan_prob = 0.15
  c.data.degrade.photo_prob = 0.15
  c.train.checkpoint_every = 250
  return c
