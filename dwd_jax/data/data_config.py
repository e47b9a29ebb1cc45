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

  They lie in `data.manual_dir`, "" = WORKDIR/data/engraved. A config file may
  set further options of `dwd_jax.engrave.generate`.

  Attributes:
    pages: how many; 0 = none are made.
    seed: of the random scores.
    workers: processes; 0 = one for every core.
    vocabulary: names of the classes; "" = deepscores_v1, deepscores_v2 has
      more.
    width: of a page, px; 0 = 1050.
    height: of a page, px; 0 = 1485.
    staff_space: distance of two staff lines, px; 0 = 9.
    pixel_labels: classes by pixel, too; pretraining by semseg needs them.
    handwriting: strength of an unsteady hand: 1, up to 3; 0 = engraved.
    degrade: all pages as a scan or a photo shows them; "" = clean.
    strength: of that, 0..2, see `data.degrade.strength`.
  """

  MORE_KEYS: ClassVar[bool] = True  # checked where pages are made

  pages: int = 0
  seed: int = 0
  workers: int = 0
  vocabulary: Literal["", "deepscores_v1", "deepscores_v2"] = ""
  width: int = 0
  height: int = 0
  staff_space: float = 0.0
  pixel_labels: bool = False
  handwriting: float = 0.0
  degrade: Literal["", "scan", "photo"] = ""
  strength: float = 1.0


@dataclasses.dataclass(frozen=True)
class BuilderOptions:
  """Options of the builders.

  What the builder at hand does not know stays as it is here: empty, 0 or False
  is the builder's default.

  Attributes:
    merge_val_test: deepscores: `test` is both, as in the paper.
    masks: muscima_pp: keep the masks of the objects.
    official_split: muscima_pp: the test pages by independent or dependent
      writers.
    legacy_exclusions: muscima_pp: drop what the original dropped.
    class_names: boxes: the classes and their order; () = as found.
    skip_difficult: boxes: without objects marked as difficult.
    keep_splits: boxes: absent splits are not made from train.
    voc_pixels: boxes: Pascal VOC's pixels count from 1, inclusive (devkit), or
      from 0 (edges).
    per_class: symbols: most symbols of a class.
    context_px: symbols: paper on every side of a symbol, px.
    max_symbol_px: symbols: larger ones are skipped, px.
    symbol_only: symbols: no boxes of the neighbours.
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
class DataConfig:
  """Where pages come from, and how they become crops.

  Attributes:
    builder: folder of tfds_builders/, such as deepscores or boxes
    builder_config: of the builder; "" = its first.
    manual_dir: folder of the original files.
    data_dir: folder of the prepared records; "" = WORKDIR/data.
    train_split: pages of the training.
    eval_split: watched during the training.
    test_split: evaluated once at the end, never tuned on; "" = not at all.
    crop_hw: height and width of a training crop after scaling, px; multiples
      of 32.
    scales: one is drawn for each training crop: its pixels per page pixel.
    scale_jitter: of each crop's scale, up or down; 0.1 = 10 %.
    normalise_staff_space: training pages are scaled to `data.staff_space_px`.
    eval_scale: scale of pages that are evaluated.
    staff_space_px: distance of two staff lines as the network sees it, px; 0 =
      that of the training pages, measured.
    flip: mirror crops from left to right; wrong for most music symbols.
    min_visible: a box cut by the crop stays if this share of its area does.
    max_boxes: padded boxes of a training crop.
    nonempty_prob: of crops to be drawn around a symbol instead of anywhere.
    rare_prob: of crops to be drawn around a symbol of a class drawn by rarity.
    rare_power: P(class) ~ count ** (1 - rare_power); 0 = as frequent as its
      objects are, 1 = every class alike.
    workers: processes of the loader; 0 = in the main process.
    leave_out: class names whose boxes are left out of training and truth alike,
      such as objects larger than any crop (staffLine).
    common_with: a vocabulary, such as muscima_v2: the classes are then those
      that the data set has in common with it, see `python -m
      dwd_jax.core.vocabulary A B`; "" = all.
    max_pages: only the first pages are evaluated; 0 = all.
  """

  builder: str = ""
  builder_config: str = ""
  manual_dir: str = ""
  data_dir: str = ""
  train_split: str = "train"
  eval_split: str = "val"
  test_split: str = "test"
  engrave: EngraveConfig = field(default_factory=EngraveConfig)
  synthetic: SyntheticConfig = field(default_factory=SyntheticConfig)
  degrade: DegradeConfig = field(default_factory=DegradeConfig)
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
    if not self.eval_scale > 0:
      raise InputError(
        f"config: data.eval_scale is {self.eval_scale}; use a factor above 0"
      )
    known = ("", *vocabulary.VOCABULARIES)
    if self.common_with not in known:
      raise InputError(
        f"config: data.common_with is {self.common_with!r}; use one of {known}"
      )
