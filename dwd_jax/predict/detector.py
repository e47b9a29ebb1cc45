"""Applies a trained network to pages."""

import dataclasses
import difflib
from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypeVar

import jax
import numpy as np

from dwd_jax.checkpoints.weights import Weights
from dwd_jax.cluster import sharding
from dwd_jax.core import words
from dwd_jax.core.errors import InputError
from dwd_jax.core.structs import Array, Detections, PageBoxes, PageImage
from dwd_jax.imaging.staff_lines import Staff
from dwd_jax.models import dwd
from dwd_jax.predict import predict_pages, staff_sizes, tiling
from dwd_jax.predict import staves as staves_lib
from dwd_jax.predict.assemble import PagePrediction
from dwd_jax.predict.batches import (
  MAYBE_OUT_OF_MEMORY,
  Batcher,
  Result,
  too_large,
)
from dwd_jax.predict.page_detections import PageDetections
from dwd_jax.predict.predict_config import PredictConfig
from dwd_jax.predict.spelling import Spelling
from dwd_jax.predict.staves import Staves

T = TypeVar("T")
# Heights and widths of images, px: a page takes the one with the least paper
# around it, larger ones are tiled. A line of music, some lines, a photo; a page
# upright and across, and one of many or small staves. At 9 px a staff space the
# fourth holds A4 with staves of 6 mm or more.
_SIZES = (
  (256, 1280),
  (640, 1280),
  (1152, 1152),
  (1792, 1280),
  (1280, 1792),
  (2560, 1920),
)
_MOST_MPX = max(height * width for height, width in _SIZES) / 1e6
_PX_PER_SLOT = 256  # slots cost next to nothing, a further compilation does
# Symbols of a page with clefs to those of the page turned over, at least.
_LEAST_SHARE = 0.9


class Detector:
  """Detects symbols on pages: `PageImage` -> `PageDetections`.

  Attributes:
    class_names: of the detections.
    min_score: detections below are dropped.
    reads_music: the detector was trained on pages with staves. Then pages are
      made upright, negatives positive, and nothing is found where no staff is.
    polarity: with which images become ink, see `dwd_jax.imaging.grey.to_ink`.
    channels: of images: 1 = ink, 3 = colours.
    words: pages and symbols, or images and objects.
  """

  def __init__(
    self,
    trained: Weights,
    *,
    min_score: float | None = None,
    classes: Iterable[str] = (),
    batch_size: int = 1,
    without_staves: bool = False,
    names: str = "",
  ):
    """Loads the network onto the device.

    Args:
      min_score: 0..1; None = the threshold stored with the weights.
      classes: names of the classes to keep; none = all.
      batch_size: pages of one size, or tiles, per call and device.
      without_staves: look for symbols on pages without staves, too.
      names: the vocabulary of the class names, one of `spelling.NAMES`; "" =
        the detector's own names.

    Raises:
      InputError: an unknown class, a score out of range, a vocabulary that is
        unknown or into which the detector's classes cannot be translated.
    """
    self.weights = trained
    self.min_score = trained.threshold if min_score is None else min_score
    if not 0 <= self.min_score <= 1:
      raise InputError(f"min_score: {self.min_score:g} is not 0 to 1")
    self.reads_music = trained.staff_space_px > 0
    self.words = words.of(self.reads_music)
    self.polarity = trained.polarity_of_pages
    self.channels = trained.model.channels
    self._insists = without_staves
    self._clef_labels = [
      i
      for i, name in enumerate(trained.class_names)
      if "clef" in name.casefold()
    ]
    self._spelling = Spelling(trained.class_names, names) if names else None
    self.class_names = (self._spelling or trained).class_names
    self._classes = known_classes(classes, self.class_names)
    self.cfg = PredictConfig(
      batch_size=batch_size,
      max_mpx=max(8.0, batch_size * _MOST_MPX),
      devices=jax.local_device_count(),
      page_multiple=tiling.ALIGN_PX,
      staff_space_px=trained.staff_space_px,
      # Pages of users have any size, and each costs a compilation.
      sizes=_SIZES,
      channels=trained.model.channels,
    )
    self._network = _Network(trained)

  def page_image(self, name: str, ink: np.ndarray) -> PageImage:
    """A page as `pages` takes it; `ink` is uint8, see `PageImage`."""
    return PageImage(name, ink, self.weights.scale, polarity=self.polarity)

  def lay(self, page: PageImage) -> "Laid":
    """Looks for the staves of a page; threads may do that at once."""
    ink, staves = page.ink, Staves()
    if self.reads_music and ink.ndim == 2 and ink.dtype == np.uint8:
      staves = staves_lib.find(ink)  # else the prediction reports it
    if self.reads_music and not (self._insists or staves.staff_space_px):
      return Laid(page, staves, None)
    upright = _upright(page, staves)
    hw = ink.shape[0], ink.shape[1]
    return Laid(page, staves, upright, staves.traced(upright.ink, hw))

  def stream(
    self, pages: Iterable[tuple[T, "Laid | None"]]
  ) -> Iterator[tuple[T, PageDetections | InputError | None]]:
    """Detects on pages in their order, with two batches of them in memory.

    Args:
      pages: from `lay`, with what belongs to them; None = no page, the item
        comes out again in its place.

    Yields:
      Detections; an error of that page alone, with its cause; or None.
    """
    batcher = Batcher(
      self._network, self.cfg, more_slots=self._network.with_slots
    )
    items = (
      ((item, laid), None if laid is None else laid.upright)
      for item, laid in pages
    )
    for (item, laid), found in batcher.run(items):
      yield item, None if laid is None else self._of_page(laid, found)

  def _of_page(
    self, laid: "Laid", found: Result
  ) -> PageDetections | InputError:
    if isinstance(found, InputError):
      return found
    if found is None:
      return _nothing(laid.page, self.class_names)
    try:
      return self._upright_again(found, laid)
    except MAYBE_OUT_OF_MEMORY as e:
      return too_large(laid.page, e)

  def pages(self, pages: Iterable[PageImage]) -> Iterator[PageDetections]:
    """Detects on pages, see `page_image`; raises InputError for a bad one."""
    for _, found in self.stream((None, self.lay(page)) for page in pages):
      if isinstance(found, InputError):
        raise found.__cause__ or found
      assert found is not None
      yield found

  def __call__(self, name: str, ink: np.ndarray) -> PageDetections:
    """Detects on one page, see `page_image`."""
    return next(self.pages([self.page_image(name, ink)]))

  def _upright_again(
    self, found: PagePrediction, laid: "Laid"
  ) -> PageDetections:
    """Detections on a page, also on its head where it shows no clefs.

    Args:
      found: at the scale of the first of `staves.spaces`.
    """
    page, staves, traced = laid.page, laid.staves, laid.traced
    found = self._with_other_sizes(found, page, staves)
    boxes = self._boxes(found)
    if staves.staff_space_px and len(boxes.labels) and not self._clefs(boxes):
      turned = staves.on_its_head(boxes.image_hw)
      again = self._prediction(_upright(page, turned))
      again = self._with_other_sizes(again, page, turned)
      new = self._boxes(again)
      if self._clefs(new) and _as_sure(new, boxes):
        staves, found, boxes = turned, again, new
        traced = tuple(staff.upside_down() for staff in traced[::-1])
    result = self._detections(found, boxes, page, staves)
    return dataclasses.replace(result, staves=traced)

  def _prediction(self, page: PageImage) -> PagePrediction:
    return predict_pages.predict_page(
      self._network, page, self.cfg, more_slots=self._network.with_slots
    )

  def _with_other_sizes(
    self, found: PagePrediction, page: PageImage, staves: Staves
  ) -> PagePrediction:
    if len(staves.spaces) < 2:
      return found
    return staff_sizes.with_others(
      found,
      _upright(page, staves),
      staves.spaces,
      staves.pieces,
      self._prediction,
    )

  def _clefs(self, boxes: PageBoxes) -> int:
    """Clefs in the left half of a page, where an upright page has them."""
    left = boxes.boxes_yxyx[:, [1, 3]].mean(1) < boxes.image_hw[1] / 2
    return int((left & np.isin(boxes.labels, self._clef_labels)).sum())

  def _boxes(self, found: PagePrediction) -> PageBoxes:
    """Detections with calibrated scores, from the least score on."""
    boxes = found.detections.finite()
    if self.weights.calibration is not None:
      boxes = self.weights.calibration.apply(boxes)
    return boxes.at_least(self.min_score)

  def _detections(
    self,
    found: PagePrediction,
    boxes: PageBoxes,
    page: PageImage,
    staves: Staves,
  ) -> PageDetections:
    left_out = None
    if self._spelling is not None:
      boxes, left_out = self._spelling.apply(boxes, staves.pieces)
    boxes = boxes.by_score()
    assert boxes.scores is not None
    image_hw = (page.ink.shape[0], page.ink.shape[1])
    oriented = boxes.oriented_yx
    result = PageDetections(
      page=page.filename,
      image_hw=image_hw,
      boxes_yxyx=staves.boxes_back(boxes.boxes_yxyx, image_hw),
      labels=boxes.labels,
      scores=boxes.scores,
      class_names=self.class_names,
      ink=255 - page.ink if staves.inverted else page.ink,
      staff_space_px=staves.staff_space_px or found.staff_space_px or 0.0,
      turned=staves.turned,
      oriented_yx=None
      if oriented is None
      else staves.points_back(oriented, image_hw),
      positions=boxes.positions,
      left_out=left_out,
      words=self.words,
      polarity=page.polarity,
    )
    return result.keep(classes=self._classes) if self._classes else result


class Laid(NamedTuple):
  """A page and its staves.

  Attributes:
    upright: the page as it is predicted; None = nothing is looked for.
    traced: the lines of the staves, on the page as it came.
  """

  page: PageImage
  staves: Staves
  upright: PageImage | None
  traced: tuple[Staff, ...] = ()


class _Network:
  """Network and decode, with slots for as many objects as images have."""

  def __init__(self, trained: Weights):
    self._trained = trained
    self._model = dwd.make_model(trained.model)
    self._variables = sharding.on_local_devices(trained.variables)

  def __call__(self, image: Array) -> tuple[Detections, Array]:
    slots = image.shape[1] * image.shape[2] // _PX_PER_SLOT
    return self._predict(image, max(slots, self._trained.decode.max_detections))

  def with_slots(self, image: Array, most: int) -> tuple[Detections, Array]:
    """The same with at least so many slots; that is rarely needed."""
    return self._predict(image, 1 << (most - 1).bit_length())

  def _predict(self, image: Array, slots: int) -> tuple[Detections, Array]:
    decode = dataclasses.replace(self._trained.decode, max_detections=slots)
    groups = np.asarray(self._trained.group_of_class, np.int32)
    predict_fn = predict_pages.make_predict_fn(
      self._model, decode, groups, self._trained.class_names
    )
    return predict_fn(self._variables, image)


def _upright(page: PageImage, staves: Staves) -> PageImage:
  return dataclasses.replace(
    page,
    ink=staves.applied(page.ink),
    staff_space_px=staves.spaces[0] if staves.spaces else None,
  )


def _as_sure(new: PageBoxes, old: PageBoxes) -> bool:
  """Whether a page shows as many symbols; on its head it shows fewer."""
  assert new.scores is not None and old.scores is not None
  return bool(new.scores.sum() >= _LEAST_SHARE * old.scores.sum())


def _nothing(page: PageImage, class_names: tuple[str, ...]) -> PageDetections:
  """The result of a page on which nothing was looked for."""
  return PageDetections(
    page=page.filename,
    image_hw=(page.ink.shape[0], page.ink.shape[1]),
    boxes_yxyx=np.zeros((0, 4), np.float32),
    labels=np.zeros(0, np.int32),
    scores=np.zeros(0, np.float64),
    class_names=class_names,
    ink=page.ink,
    without_staves=True,
  )


def known_classes(
  wanted: Iterable[str], class_names: tuple[str, ...]
) -> tuple[str, ...]:
  """Checks names of classes; raises InputError for an unknown one."""
  wanted = tuple(wanted)
  for name in wanted:
    if name not in class_names:
      near = difflib.get_close_matches(name, class_names, 3, 0.5)
      near = near or [n for n in class_names if n.startswith(f"{name},")]
      hint = f"did you mean {' or '.join(near)}?" if near else "see its card"
      if any("," in n for n in near):
        hint += " In --classes, double quotes keep its comma"
      raise InputError(f"classes: the detector knows no '{name}'; {hint}")
  return wanted
