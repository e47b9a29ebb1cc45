"""The section `data` of `configs/default.py`; not a config itself."""

import ml_collections


def get_data() -> ml_collections.ConfigDict:
  """`config.data` with its defaults."""
  c = ml_collections.ConfigDict()
  c.builder = ""  # folder of tfds_builders/: deepscores, boxes, ...
  c.builder_config = ""  # "" = the builder's first
  c.manual_dir = ""  # folder with the original files
  c.data_dir = ""  # prepared records; "" = WORKDIR/data
  c.train_split = "train"
  c.eval_split = "val"  # watched during the training
  # Evaluated once at the end, never tuned on; "" = not at all.
  c.test_split = "test"
  c.engrave = _engrave()
  c.synthetic = _synthetic()
  c.degrade = _degrade()
  c.options = options()
  c.crop_hw = (480, 480)  # height, width in px after scaling
  c.scales = (0.5,)  # one is drawn for each training crop
  c.scale_jitter = 0.0  # of each crop's scale, up or down, 0.1 = 10 %
  c.normalise_staff_space = False  # training pages to data.staff_space_px
  c.eval_scale = 0.5
  # Distance of two staff lines as the network sees it, px; 0 = that of the
  # training pages, measured.
  c.staff_space_px = 0.0
  c.flip = False  # horizontal; wrong for most music symbols
  c.min_visible = 0.4  # a box cut by the crop stays if this much area does
  c.max_boxes = 512  # padded boxes of a training crop
  c.nonempty_prob = 0.9  # crops drawn around a symbol instead of anywhere
  c.rare_prob = 0.0  # crops drawn around a symbol of a class drawn by rarity
  # P(class) ~ count ** (1 - rare_power): 0 = as frequent as its objects are,
  # 1 = every class alike.
  c.rare_power = 0.5
  c.workers = 0  # worker processes of the loader; 0 = in the main process
  # Class names whose boxes are left out of training and truth alike, for
  # example objects that are larger than any crop (staffLine).
  c.leave_out = ()
  # A vocabulary (muscima_v2 ...): the classes are then those that the data set
  # has in common with it; `python -m dwd_jax.core.vocabulary A B` shows which.
  c.common_with = ""
  c.max_pages = 0  # evaluate only the first pages; 0 = all
  return c


def _engrave() -> ml_collections.ConfigDict:
  # Generated pages: written to `manual_dir` ("" = WORKDIR/data/engraved) before
  # the records are built.
  c = ml_collections.ConfigDict()
  c.pages = 0  # 0 = no generation
  c.seed = 0
  c.workers = 0  # 0 = one for every core
  c.vocabulary = ""  # "" = deepscores_v1; deepscores_v2 has more classes
  c.width = 0  # of a page, px; 0 = 1050
  c.height = 0  # px; 0 = 1485
  c.staff_space = 0.0  # distance of two staff lines, px; 0 = 9
  c.pixel_labels = False  # classes by pixel, too; for semseg
  c.handwriting = 0.0  # drawn by an unsteady hand: 1, up to 3
  c.degrade = ""  # scan, photo: all pages as these show them
  c.strength = 1.0  # of that, 0..2; see `degrade` below
  return c


def _degrade() -> ml_collections.ConfigDict:
  # Training crops as scans and photos show them, with boxes moved alike; the
  # rest stays clean.
  c = ml_collections.ConfigDict()
  c.scan_prob = 0.0  # skew, worn ink, specks, paper, JPEG, thresholds
  c.photo_prob = 0.0  # perspective, curl, light, blur, noise
  c.strength = 1.0  # 0..2; 1 = as real ones, 2 = as the worst
  return c


def _synthetic() -> ml_collections.ConfigDict:
  # Images of single symbols in training crops, for rare classes.
  c = ml_collections.ConfigDict()
  # no; up: a strip over the upper edge; full: a crop of nothing but symbols;
  # paste: in free places, where there is a staff at the same height of it.
  c.layout = "no"
  c.prob = 0.5  # of the crops, how many get symbols
  c.per_row = 12  # most symbols of a strip, of a row, of a crop (paste)
  c.draw = "uniform"  # uniform: every class alike; inverse: by 1 / frequency
  c.path = ""  # symbol records; "" = objects of the training pages
  return c


def options() -> ml_collections.ConfigDict:
  """`config.data.options`, of the builder."""
  # Of the builder; what another builder does not know must stay as it is here:
  # empty, 0 or False = the builder's default.
  c = ml_collections.ConfigDict()
  c.merge_val_test = False  # deepscores: `test` is both, as in the paper
  c.masks = False  # muscima_pp: keep the masks of the objects
  c.official_split = ""  # muscima_pp: independent (of the writer), dependent
  c.legacy_exclusions = False  # muscima_pp: drop what the original dropped
  c.class_names = ()  # boxes: the classes and their order; () = as found
  c.skip_difficult = False  # boxes: without objects marked as difficult
  c.keep_splits = False  # boxes: absent splits are not made from train
  c.voc_pixels = ""  # boxes: devkit (from 1, inclusive), edges (from 0)
  c.per_class = 0  # symbols: most symbols of a class
  c.context_px = 0  # symbols: paper on every side of a symbol
  c.max_symbol_px = 0  # symbols: larger ones are skipped
  c.symbol_only = False  # symbols: no boxes of the neighbours
  return c
