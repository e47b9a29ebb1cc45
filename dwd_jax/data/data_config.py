"""`config.data`: where pages come from, and how they become crops."""

import dataclasses
from dataclasses import field
from typing import ClassVar, Literal

from dwd_jax.core import vocabulary
from dwd_jax.core.errors import InputError
from dwd_jax.data.degraded_crops import DegradeConfig
from dwd_jax.data.synthetic import SyntheticConfig
from dwd_jax.models.dwd import SIZE_MULTIPLE


@dataclasses.dataclass(frozen=True)
class EngraveConfig:
  """Generated pages, made before the records are built.

  They are written to `data.manual_dir`, "" = WORKDIR/data/engraved. A config
  file may set further options of `dwd_jax.engrave.generate`.

  Attributes:
    pages: number of pages to generate; 0 = none.
    seed: seed of the random scores.
    workers: number of processes that generate pages; 0 = one for every core.
    vocabulary: names of the classes: deepscores_v1, or deepscores_v2 or
      printed, which have more; muscima_v2 for `data.engrave.hands`; "" =
      deepscores_v1.
    width: width of a page, px; 0 = 1050.
    height: height of a page, px; 0 = 1485.
    staff_space: mean distance of two staff lines, px, 4..60; 0 = 9.
    fonts: names of verovio's music fonts and folders of others, separated by
      commas; "" = Leipzig,Bravura,Leland,Gootville.
    variation: of the sizes of symbols and the thickness of lines, 0..1: 0 =
      those of the font, 1 = as print varies.
    pixel_labels: also writes the class of every pixel; without it,
      `pretraining.level=semseg` takes the ink in boxes.
    handwriting: strength of an unsteady hand that draws everything, 0..3: 0 =
      engraved, 1 = tidy.
    hands: file of symbols cut from handwriting (python -m
      tfds_builders.muscima_pp.muscima_pp_hands), which then draw the pages;
      "" = none.
    scores: folder of MusicXML, MEI or kern files that half of the scores are
      taken from; "" = all are random.
    degrade: all pages look scanned, or photographed; "" = clean.
    strength: strength of `data.engrave.degrade`, 0..2: 1 = as real scans and
      photos, 2 = as the worst.
  """

  MORE_KEYS: ClassVar[bool] = True  # checked where pages are made

  pages: int = 0
  seed: int = 0
  workers: int = 0
  vocabulary: Literal[
    "", "deepscores_v1", "deepscores_v2", "printed", "muscima_v2"
  ] = ""
  width: int = 0
  height: int = 0
  staff_space: float = 0.0
  fonts: str = ""
  variation: float = 1.0
  pixel_labels: bool = False
  handwriting: float = 0.0
  hands: str = ""
  scores: str = ""
  degrade: Literal["", "scan", "photo"] = ""
  strength: float = 1.0


@dataclasses.dataclass(frozen=True)
class BuilderOptions:
  """Options of the builders.

  Each names the builders that know it; others refuse it. Empty, 0 or False is
  the builder's default.

  Attributes:
    merge_val_test: deepscores: the pages of `val` become part of `test`, as in
      the paper; there is no `val` then.
    masks: muscima_pp: keeps the mask of every object.
    official_split: muscima_pp, and symbols by its masks: the official test
      pages, independent (of writers in no other split) or dependent; "" =
      independent, with `heldout` as a further split.
    legacy_exclusions: muscima_pp: leaves out the objects that the original code
      leaves out.
    class_names: boxes: names of all classes, in the order of their ids; () = as
      found in the files.
    skip_difficult: boxes: leaves out objects that are marked as difficult.
    keep_splits: boxes: splits that the files lack (val, test) are not taken
      from the training pages.
    voc_pixels: boxes: how Pascal VOC files count pixels: devkit = from 1, the
      last one included; edges = from 0; "" = by file.
    per_class: symbols: most symbols of a class; 0 = 200.
    context_px: symbols: width of the margin around a symbol, px; 0 = 32.
    max_symbol_px: symbols: those with a longer side are skipped, px; 0 = 400.
    symbol_only: symbols: leaves out the boxes of neighbours.
  """

  merge_val_test: bool = False
  masks: bool = False
  official_split: str = ""
  legacy_exclusions: bool = False
  class_names: tuple[str, ...] = ()
  skip_difficult: bool = False
  keep_splits: bool = False
  voc_pixels: str = ""
  per_class: int = 0
  context_px: int = 0
  max_symbol_px: int = 0
  symbol_only: bool = False


@dataclasses.dataclass(frozen=True)
class MixConfig:
  """Further records in the training, such as generated pages.

  Attributes:
    path: folder of their records (with dataset_info.json), of which the split
      train is taken; classes are matched by name; "" = none.
    prob: share of the training crops that are taken from them, 0..1.
  """

  path: str = ""
  prob: float = 0.0

  def __post_init__(self):
    if not 0 <= self.prob <= 1:
      raise InputError(f"config: data.mix.prob is {self.prob}; use 0..1")
    if bool(self.path) != (self.prob > 0):
      raise InputError(
        f"config: data.mix.path is {self.path!r} and data.mix.prob"
        f" {self.prob:g}; set both, or neither"
      )


@dataclasses.dataclass(frozen=True)
class DataConfig:
  """Where pages come from, and how they become crops.

  Attributes:
    builder: what reads the original files: name of a folder of tfds_builders/,
      such as deepscores or boxes.
    builder_config: edition of the data set, one of those that the builder
      knows, such as 300dpi_2017; "" = its first.
    manual_dir: folder of the original files.
    data_dir: folder of the prepared records; "" = WORKDIR/data.
    polarity: which tone objects have in the pictures of this data set, and in
      those that the detector will get: dark = darker than what is around them,
      as ink on paper; light = lighter; keep = some darker, some lighter. The
      network sees pictures with dark objects as negatives, others as they are.
      auto = decided once for all pictures, by staff lines, else by what is in
      the boxes and around them. May be changed without building the records
      again.
    channels: what the network sees: 1 = grey values, 3 = colours, as they are,
      whatever `data.polarity`; auto = by the pictures of data sets of any kind
      (`data.builder=boxes`): 3 where pixels of one tone have different colours,
      which paper and print have not. Records keep colours that matter, so 1 may
      be chosen without building them again.
    kind: what the pictures are: document = print, handwriting, drawings, which
      stand upright; photo = of cells, parts, the ground from above, which may
      lie any way: training crops are mirrored and turned by quarters, and vary
      in brightness, contrast, hue, focus and noise. auto = photo where pictures
      of a data set of any kind (`data.builder=boxes`) have colours that matter,
      or neither staves nor one tone of paper.
    train_split: split that the network is trained on, also a part of it, such
      as train[:10], or another list of the data set, such as train100.
    eval_split: split that is evaluated during and after the training, and on
      which scores are calibrated.
    test_split: split that is evaluated once, after the training, and on which
      nothing is tuned; "" = none.
    crop_hw: (height, width) of a training crop after scaling, px; multiples of
      32.
    scales: scales of training crops, in pixels of the crop for one of the page;
      each crop draws one of them.
    scale_jitter: largest random change of a crop's scale, as a share of it,
      below 1; 0.1 = up to 10 % larger or smaller.
    normalise_staff_space: scales training pages so that all have the staff
      space `data.staff_space_px` at `data.eval_scale`; those without staves
      stay.
    eval_scale: scale of pages in evaluations, in pixels that the network sees
      for one of the page.
    staff_space_px: distance of two staff lines at `data.eval_scale`, px; 0 =
      measured on the training pages.
    flip: mirrors half of the crops from left to right; wrong for most music
      symbols.
    min_visible: least share of the area of a box inside of a crop, 0..1; boxes
      with less are left out; 0 = all that show at all stay, as in the original.
    max_boxes: most boxes of a training crop; if it has more, those nearest to
      its centre are kept, and a warning names the page.
    nonempty_prob: share of the crops (without those of `data.rare_prob`) that
      show a symbol of their page, 0..1; the others lie anywhere on it.
    corner_prob: share of these others that lie at the top left corner of their
      page instead, 0..1; 0.3 in the original.
    redraw_empty: of these others, one that shows nothing is replaced by a crop
      of another page, as in the original.
    rare_prob: share of the crops that show a symbol of a class drawn by
      `data.rare_power`, of any page, 0..1.
    rare_power: how much rare classes are preferred, 0..1: P(class) ~ count **
      (1 - rare_power); 0 = as frequent as in the pages, 1 = all classes alike.
    workers: number of processes that read crops; 0 = threads of the main
      process.
    leave_out: names of classes whose boxes are left out of training and truth
      alike, such as objects larger than any crop (staffLine).
    common_with: a vocabulary, such as muscima_v2: only the classes that the
      data set has in common with it are kept, see `python -m
      dwd_jax.core.vocabulary A B`; "" = all.
    max_pages: number of pages to evaluate, the first ones; 0 = all.
  """

  builder: str = ""
  builder_config: str = ""
  manual_dir: str = ""
  data_dir: str = ""
  polarity: Literal["auto", "dark", "light", "keep"] = "auto"
  channels: Literal["auto", "1", "3"] = "auto"
  kind: Literal["auto", "document", "photo"] = "auto"
  train_split: str = "train"
  eval_split: str = "val"
  test_split: str = "test"
  engrave: EngraveConfig = field(default_factory=EngraveConfig)
  synthetic: SyntheticConfig = field(default_factory=SyntheticConfig)
  degrade: DegradeConfig = field(default_factory=DegradeConfig)
  mix: MixConfig = field(default_factory=MixConfig)
  options: BuilderOptions = field(default_factory=BuilderOptions)
  crop_hw: tuple[int, int] = (480, 480)
  scales: tuple[float, ...] = (0.5,)
  scale_jitter: float = 0.0
  normalise_staff_space: bool = False
  eval_scale: float = 0.5
  staff_space_px: float = 0.0
  flip: bool = False
  min_visible: float = 0.4
  max_boxes: int = 512
  nonempty_prob: float = 0.9
  corner_prob: float = 0.0
  redraw_empty: bool = False
  rare_prob: float = 0.0
  rare_power: float = 0.5
  workers: int = 0
  leave_out: tuple[str, ...] = ()
  common_with: str = ""
  max_pages: int = 0

  def __post_init__(self):
    if any(size < 1 or size % SIZE_MULTIPLE for size in self.crop_hw):
      raise InputError(
        f"config: data.crop_hw {self.crop_hw}: use multiples of {SIZE_MULTIPLE}"
      )
    for key in (
      "nonempty_prob",
      "corner_prob",
      "rare_prob",
      "rare_power",
      "min_visible",
    ):
      value = getattr(self, key)
      if not 0 <= value <= 1:
        raise InputError(f"config: data.{key} is {value}; use 0..1")
    for key, least in (("max_boxes", 1), ("workers", 0), ("max_pages", 0)):
      value = getattr(self, key)
      if value < least:
        raise InputError(f"config: data.{key} is {value}; use {least} or more")
    if not self.scales or not all(scale > 0 for scale in self.scales):
      raise InputError(
        f"config: data.scales is {self.scales}; use one or more factors above 0"
      )
    if not 0 <= self.scale_jitter < 1:
      raise InputError(
        f"config: data.scale_jitter is {self.scale_jitter}; use 0 to below 1"
      )
    if not self.eval_scale > 0:
      raise InputError(
        f"config: data.eval_scale is {self.eval_scale}; use a factor above 0"
      )
    known = ("", *vocabulary.VOCABULARIES)
    if self.common_with not in known:
      raise InputError(
        f"config: data.common_with is {self.common_with!r}; use one of {known}"
      )
