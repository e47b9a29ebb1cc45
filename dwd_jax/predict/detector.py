"""Applies a trained network to pages."""

import dataclasses
import difflib
import itertools
from collections.abc import Callable, Iterable, Iterator

import jax
import numpy as np

from dwd_jax.checkpoints.weights import Weights
from dwd_jax.core.errors import InputError
from dwd_jax.core.structs import Array, Detections, PageBoxes, PageImage
from dwd_jax.models import dwd
from dwd_jax.predict import predict_pages, staff_sizes, tiling
from dwd_jax.predict import staves as staves_lib
from dwd_jax.predict.assemble import PagePrediction
from dwd_jax.predict.page_detections import PageDetections
from dwd_jax.predict.predict_config import PredictConfig
from dwd_jax.predict.staves import Staves

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
_PX_PER_SLOT = 256  # slots cost next to nothing, a further compilation does
# Symbols of a page with clefs to those of the page turned over, at least.
_LEAST_SHARE = 0.9


class Detector:
  """Detects symbols on pages: `PageImage` -> `PageDetections`.

  Attributes:
    min_score: detections below are dropped.
    reads_music: the detector was trained on pages with staves. Then pages are
      made upright, negatives positive, and nothing is found where no staff is.
    polarity: with which images become ink, see `dwd_jax.imaging.grey.to_ink`.
  """

  def __init__(
    self,
    trained: Weights,
    *,
    min_score: float | None = None,
    classes: Iterable[str] = (),
    batch_size: int = 1,
    without_staves: bool = False,
  ):
    """Loads the network onto the device.

    Args:
      min_score: 0..1; None = the threshold stored with the weights.
      classes: names of the classes to keep; none = all.
      batch_size: pages of one size, or tiles of a page, per call.
      without_staves: look for symbols on pages without staves, too.

    Raises:
      InputError: an unknown class, a score out of range.
    """
    self.weights = trained
    self.min_score = trained.threshold if min_score is None else min_score
    if not 0 <= self.min_score <= 1:
      raise InputError(f"min_score: {self.min_score:g} is not 0 to 1")
    self.reads_music = trained.staff_space_px > 0
    self.polarity = trained.polarity_of_pages
    self._insists = without_staves
    self._clef_labels = [
      i
      for i, name in enumerate(trained.class_names)
      if "clef" in name.casefold()
    ]
    self._classes = known_classes(classes, trained.class_names)
    self.cfg = PredictConfig(
      batch_size=batch_size,
      page_multiple=tiling.ALIGN_PX,
      staff_space_px=trained.staff_space_px,
      # Pages of users have any size, and each costs a compilation.
      sizes=_SIZES,
    )
    self._predict_fn = _WithSlots(trained)

  def page_image(self, name: str, ink: np.ndarray) -> PageImage:
    """A page as `pages` takes it; `ink` is uint8 [H, W], 255 = ink."""
    return PageImage(name, ink, self.weights.scale)

  def pages(
    self,
    pages: Iterable[PageImage],
    on_bad: Callable[[PageImage, InputError], None] | None = None,
  ) -> Iterator[tuple[PageDetections, PagePrediction | None]]:
    """Detects on pages one after another, with one batch in memory at a time.

    Args:
      pages: see `page_image`.
      on_bad: see `predict_pages.predict_pages`.

    Yields:
      Detections, and the prediction that they come from; None for a page on
      which nothing was looked for.
    """
    laid = self._laid(pages, on_bad)
    for looked_at, run in itertools.groupby(laid, self._is_looked_at):
      if looked_at:
        yield from self._predict(run, on_bad)
      else:
        yield from ((_nothing(page, self.weights), None) for page, _ in run)

  def __call__(self, name: str, ink: np.ndarray) -> PageDetections:
    """Detects on one page, see `page_image`."""
    return next(self.pages([self.page_image(name, ink)]))[0]

  def _laid(
    self,
    pages: Iterable[PageImage],
    on_bad: Callable[[PageImage, InputError], None] | None,
  ) -> Iterator[tuple[PageImage, Staves]]:
    for page in pages:
      with predict_pages.without_too_large([page], on_bad):
        yield page, self._staves(page.ink)

  def _staves(self, ink: np.ndarray) -> Staves:
    if not self.reads_music or ink.ndim != 2 or ink.dtype != np.uint8:
      return Staves()  # predict_pages reports the latter
    return staves_lib.find(ink)

  def _is_looked_at(self, laid: tuple[PageImage, Staves]) -> bool:
    return bool(not self.reads_music or self._insists or laid[1].staff_space_px)

  def _predict(
    self,
    laid: Iterable[tuple[PageImage, Staves]],
    on_bad: Callable[[PageImage, InputError], None] | None,
  ) -> Iterator[tuple[PageDetections, PagePrediction]]:
    """Predicts pages; see `_upright_again`."""
    waiting: dict[str, tuple[PageImage, Staves]] = {}

    def upright():
      for page, staves in laid:
        waiting[page.filename] = page, staves
        with predict_pages.without_too_large([page], on_bad):
          yield _upright(page, staves)

    for found in predict_pages.predict_pages(
      self._predict_fn, upright(), self.cfg, on_bad=on_bad
    ):
      name = found.detections.filename
      while (first := next(iter(waiting))) != name:
        del waiting[first]  # of a page that was left out
      page, staves = waiting.pop(name)
      with predict_pages.without_too_large([page], on_bad):
        yield self._upright_again(found, page, staves)

  def _upright_again(
    self, found: PagePrediction, page: PageImage, staves: Staves
  ) -> tuple[PageDetections, PagePrediction]:
    """Detections on a page, also on its head where it shows no clefs.

    Args:
      found: see `_with_other_sizes`.
    """
    found = self._with_other_sizes(found, page, staves)
    boxes = self._boxes(found)
    if staves.staff_space_px and len(boxes.labels) and not self._clefs(boxes):
      turned = staves.on_its_head(boxes.image_hw)
      again = predict_pages.predict_page(
        self._predict_fn, _upright(page, turned), self.cfg
      )
      again = self._with_other_sizes(again, page, turned)
      new = self._boxes(again)
      if self._clefs(new) and _as_sure(new, boxes):
        staves, found, boxes = turned, again, new
    return self._detections(found, boxes, page, staves), found

  def _with_other_sizes(
    self, found: PagePrediction, page: PageImage, staves: Staves
  ) -> PagePrediction:
    """Takes symbols on staves of other sizes from predictions at their scale.

    Args:
      found: at the scale of the first of `staves.spaces`.
    """
    if staves.pieces is None or len(staves.spaces) == 1:
      return found
    views = [found]
    for space in staves.spaces[1:]:
      scaled = dataclasses.replace(_upright(page, staves), staff_space_px=space)
      views.append(
        predict_pages.predict_page(self._predict_fn, scaled, self.cfg)
      )
    return found._replace(
      detections=staff_sizes.join(
        [view.detections for view in views], staves.spaces, staves.pieces
      ),
      overflow=any(view.overflow for view in views),
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
    assert boxes.scores is not None
    order = np.argsort(-boxes.scores, kind="stable")
    image_hw = (page.ink.shape[0], page.ink.shape[1])
    result = PageDetections(
      page=page.filename,
      image_hw=image_hw,
      boxes_yxyx=staves.boxes_back(boxes.boxes_yxyx[order], image_hw),
      labels=boxes.labels[order],
      scores=boxes.scores[order],
      class_names=self.weights.class_names,
      ink=255 - page.ink if staves.inverted else page.ink,
      staff_space_px=staves.staff_space_px or found.staff_space_px or 0.0,
      turned=staves.turned,
    )
    return result.keep(classes=self._classes) if self._classes else result


class _WithSlots:
  """Network and decode, with slots for as many objects as images have."""

  def __init__(self, trained: Weights):
    self._trained = trained
    self._model = dwd.make_model(trained.model)
    self._variables = jax.device_put(trained.variables)

  def __call__(self, image: Array) -> tuple[Detections, Array]:
    slots = image.shape[1] * image.shape[2] // _PX_PER_SLOT
    slots = max(slots, self._trained.decode.max_detections)
    found, levels = self._predict(image, slots)
    most = int(np.max(found.count))
    if most <= slots:
      return found, levels
    return self._predict(image, 1 << (most - 1).bit_length())  # rare

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


def _nothing(page: PageImage, trained: Weights) -> PageDetections:
  """The result of a page on which nothing was looked for."""
  return PageDetections(
    page=page.filename,
    image_hw=(page.ink.shape[0], page.ink.shape[1]),
    boxes_yxyx=np.zeros((0, 4), np.float32),
    labels=np.zeros(0, np.int32),
    scores=np.zeros(0, np.float64),
    class_names=trained.class_names,
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
