"""The detector that comes with the package: printed music.

python -m dwd_jax.main --config=configs/detector.py --workdir=runs/detector

The network of configs/engraved.py, trained on more pages and for longer, two
fifths of its crops as scans and photos show them. `python -m dwd_jax.export
--checkpoint=runs/detector --format=safetensors --out=FILE` makes a file of it.

Hardware: two CPU cores. Run time: 77 minutes beside other work (0.27 s a
step while it was alone). Score on the 120 test pages: mAP_50 0.965, COCO mAP
0.742; on three real DeepScores pages 0.973 and 0.683 (2026-11-30,
dwd_jax/predict/pretrained/README.md).
"""

import ml_collections

from dwd_jax.train import recipes, settings


def get_config() -> ml_collections.ConfigDict:
  """Returns the config of the packaged detector."""
  c = settings.default()
  recipes.generated_pages(c)
  # The weights in the package are older than these two.
  c.model.refinenet = "light"
  c.model.refine_boxes = False
  c.data.engrave.pages = 1000
  c.data.engrave.seed = 7  # other pages than those of configs/engraved.py
  # A grace note with a flag is boxed as a whole besides its notehead, and the
  # two share a centre; all other classes stay together.
  c.groups.num = 2
  c.groups.automatic = False
  c.groups.by_class = tuple(
    (f"graceNote{kind}Stem{way}", 1)
    for kind in ("Acciaccatura", "Appoggiatura")
    for way in ("Up", "Down")
  )
  # Larger than there, so that braces and long rests fit in.
  c.data.crop_hw = (192, 192)
  c.data.max_boxes = 160
  c.data.scale_jitter = 0.08  # as far as pages are off after normalisation
  c.data.degrade.scan_prob = 0.2
  c.data.degrade.photo_prob = 0.2
  c.train.batch_size = 8
  c.optimizer.warmup_steps = 200
  c.stages[-1].steps = 9000
  c.train.checkpoint_every = 500
  return c
