r"""One's own pages with boxes: COCO, Pascal VOC, DOTA, YOLO or CSV.

    python -m dwd_jax.main --config=configs/boxes.py --workdir=runs/mine \
      --config.data.manual_dir=MY_DATA

Hardware: made for a GPU; run time and score of the whole recipe are not
measured by us. `--config=configs/boxes.py:runlocal` shrinks it to two CPU cores
and 300 steps. On 60 made-up pages (drawn shapes of 3 classes, 9 to 18 px, white
and coloured ground) it took 4.2 minutes of processor time (15 of wall time,
beside much other work) and reached mAP_50 0.988, COCO mAP 0.718 on 4 test pages
(2026-11-22): that it runs, not what it gives on photographs.

tfds_builders/boxes/README.md shows the layouts that are found. Whether
colours matter, and whether objects are dark or light, is printed; data.channels
and data.polarity change it. Set these first, for your images, as
--config.data.scales=(0.5,) and so on:

- data.scales, data.eval_scale: such that most objects are 9 to 40 px high and
  wide after scaling. Smaller ones are missed, larger ones need a larger
  crop. Many sizes: several scales, such as (0.5, 0.7, 1.0).
- data.crop_hw: at least three times the largest object, after scaling, in
  multiples of 32. Objects cut by every crop are not learned:
  data.leave_out=("name",) takes a class out of training and truth alike.
- data.max_boxes, decode.max_detections: more than a crop and a page hold.
- data.flip: True where a mirrored object is still one of its class.
- model.oriented: True for boxes of any angle, with
  data.builder_config="dota", whose files have four corners for each object.
- groups.num: 1; 2 or 3 where objects of different classes share a centre (one
  inside the other), which one energy plane can not keep apart.
"""

import ml_collections

from dwd_jax.train import recipes, settings


def get_config(arg: str = "") -> ml_collections.ConfigDict:
  """Returns the config; `arg` "runlocal" shrinks it to two CPU cores."""
  c = settings.default()
  c.data.builder = "boxes"
  c.data.builder_config = "auto"
  c.data.scales = (1.0,)
  c.data.eval_scale = 1.0
  c.data.rare_prob = 0.5
  recipes.adamw(c)
  c.model.backbone_depth = 50
  if arg == "runlocal":
    recipes.two_cores(c, combined_steps=250)
    c.train.checkpoint_every = 100
  return c
