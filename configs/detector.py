"""The detector that comes with the package: printed music.

python -m dwd_jax.main --config=configs/detector.py --workdir=runs/detector \
  --config.data.engrave.fonts=Leipzig,Bravura,Leland,Gootville,FONTS \
  --config.data.engrave.scores=SCORES

All symbols of the page, oriented boxes and places on the staff, on generated
pages in many fonts, half of them of real music, half of the crops as scans and
photos show them. FONTS and SCORES are folders of your own; without the flags,
verovio's fonts and random music. The training goes on from the packaged
detector, as far as its parameters fit. `python -m dwd_jax.export
--checkpoint=runs/detector --format=safetensors --out=FILE` makes a file of it.

Hardware: two CPU cores. Run time: 92 minutes beside other work, and 7 to
generate the pages. Score on 40 pages of another engraver: mAP_50 0.964, COCO
mAP 0.751; on the 121 test pages, all 158 classes, 0.826 and 0.606 (2026-12-01,
dwd_jax/predict/pretrained/README.md).
"""

import ml_collections

from dwd_jax.train import recipes, settings

# What lies along or across other symbols, and shares centres with them. A grace
# note with a flag is boxed as a whole besides its notehead.
_LONG = (
  *("beam", "slur", "tie", "dynamicCrescendoHairpin"),
  *("dynamicDiminuendoHairpin", "ottavaBracket", "tupletBracket"),
  *("keyboardPedalLine", "wiggleTrill"),
  *("tremolo1", "tremolo2", "tremolo3", "tremolo4", "tremolo5"),
  *(
    f"graceNote{kind}Stem{way}"
    for kind in ("Acciaccatura", "Appoggiatura")
    for way in ("Up", "Down")
  ),
)
_UPRIGHT = (
  *("stem", "barlineSingle", "barlineDouble", "barlineFinal"),
  *("repeatLeft", "repeatRight", "repeatRightLeft", "legerLine"),
)


def get_config() -> ml_collections.ConfigDict:
  """Returns the config of the packaged detector."""
  c = settings.default()
  recipes.generated_pages(c)
  c.pretraining.level = "packaged"
  c.data.engrave.pages = 2400
  c.data.engrave.seed = 7  # other pages than those of configs/engraved.py
  c.data.engrave.vocabulary = "printed"
  c.data.engrave.shares = {"train": 93, "val": 2, "test": 5}
  c.model.oriented = True
  c.model.staff_positions = True
  c.groups.num = 3
  c.groups.automatic = False
  c.groups.by_class = (
    *((name, 1) for name in _LONG),
    *((name, 2) for name in _UPRIGHT),
  )
  c.targets.large_share = 0.5
  # Parallel beams are 7 px apart, ledger lines 9.
  c.model.energy_stride = 2
  # Long things have several peaks. A grace note overlaps its flag by half.
  c.decode.suppress_iou = 0.6
  # Blank paper, which wide crops rarely show, has faint energy.
  c.decode.energy_cutoff = 5.0
  c.decode.min_seed_level = 8.0
  c.decode.smooth = 2
  # Larger than there, and wide: braces fit in, and most slurs and wedges.
  c.data.crop_hw = (256, 640)
  c.data.max_boxes = 640
  c.data.scale_jitter = 0.1  # as far as pages are off after normalisation
  c.data.degrade.scan_prob = 0.35
  c.data.degrade.photo_prob = 0.15
  c.data.degrade.strength = 1.4
  c.data.synthetic.prob = 0.2
  c.losses.class_pixels = 1024
  c.train.batch_size = 2
  c.optimizer.warmup_steps = 200
  c.optimizer.learning_rate = 2e-3
  c.stages[-1].steps = 5600
  c.train.checkpoint_every = 500
  return c
