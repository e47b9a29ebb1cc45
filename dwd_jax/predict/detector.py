"""Applies a trained network to pages."""

import difflib
import functools
from collections.abc import Callable, Iterable, Iterator

import jax
import numpy as np

from dwd_jax.checkpoints.weights import Weights
from dwd_jax.core.errors import InputError
from dwd_jax.core.structs import PageImage
from dwd_jax.models import dwd
from dwd_jax.predict import predict_pages
from dwd_jax.predict.assemble import PagePrediction
from dwd_jax.predict.page_detections import PageDetections
from dwd_jax.predict.predict_config import PredictConfig


class Detector:
  """Detects symbols on pages: `PageImage` -> `PageDetections`.

  Attributes:
    min_score: detections below are dropped.
  """

  def __init__(
    self,
    trained: Weights,
    *,
    min_score: float | None = None,
    classes: Iterable[str] = (),
    batch_size: int = 1,
  ):
    """Loads the network onto the device.

    Args:
      min_score: 0..1; None = the threshold stored with the weights.
      classes: names of the classes to keep; none = all.
      batch_size: pages of one size, or tiles of a page, per call.

    Raises:
      InputError: an unknown class, a score out of range.
    """
    self.weights = trained
    self.min_score = trained.threshold if min_score is None else min_score
    if not 0 <= self.min_score <= 1:
      raise InputError(f"min_score: {self.min_score:g} is not 0 to 1")
    self._classes = known_classes(classes, trained.class_names)
    self.cfg = PredictConfig(
      batch_size=batch_size,
      # Fewer sizes than in an evaluation: each costs a compilation.
      page_multiple=128,
      staff_space_px=trained.staff_space_px,
    )
    predict_fn = predict_pages.make_predict_fn(
      dwd.make_model(trained.model),
      trained.decode,
      np.asarray(trained.group_of_class, np.int32),
    )
    self._predict_fn = functools.partial(
      predict_fn, jax.device_put(trained.variables)
    )

  def page_image(self, name: str, ink: np.ndarray) -> PageImage:
    """A page as `pages` takes it; `ink` is uint8 [H, W], 255 = ink."""
    return PageImage(name, ink, self.weights.scale)

  def pages(
    self,
    pages: Iterable[PageImage],
    on_bad: Callable[[PageImage, InputError], None] | None = None,
  ) -> Iterator[tuple[PageDetections, PagePrediction]]:
    """Detects on pages one after another, with one batch in memory at a time.

    Args:
      pages: see `page_image`.
      on_bad: see `predict_pages.predict_pages`.

    Yields:
      Detections, and the prediction that they come from.
    """
    inks: dict[str, np.ndarray] = {}

    def remembered():
      for page in pages:
        inks[page.filename] = page.ink
        yield page

    for found in predict_pages.predict_pages(
      self._predict_fn, remembered(), self.cfg, on_bad=on_bad
    ):
      name = found.detections.filename
      while (first := next(iter(inks))) != name:
        del inks[first]  # of a page that was left out
      yield self._detections(found, inks.pop(name)), found

  def __call__(self, name: str, ink: np.ndarray) -> PageDetections:
    """Detects on one page, see `page_image`."""
    return next(self.pages([self.page_image(name, ink)]))[0]

  def _detections(
    self, found: PagePrediction, ink: np.ndarray
  ) -> PageDetections:
    trained, boxes = self.weights, found.detections.finite()
    if trained.calibration is not None:
      boxes = trained.calibration.apply(boxes)
    boxes = boxes.at_least(self.min_score)
    assert boxes.scores is not None
    order = np.argsort(-boxes.scores, kind="stable")
    result = PageDetections(
      page=boxes.filename,
      image_hw=boxes.image_hw,
      boxes_yxyx=boxes.boxes_yxyx[order],
      labels=boxes.labels[order],
      scores=boxes.scores[order],
      class_names=trained.class_names,
      ink=ink,
      staff_space_px=found.staff_space_px or 0.0,
    )
    return result.keep(classes=self._classes) if self._classes else result


def known_classes(
  wanted: Iterable[str], class_names: tuple[str, ...]
) -> tuple[str, ...]:
  """Checks names of classes; raises InputError for an unknown one."""
  wanted = tuple(wanted)
  for name in wanted:
    if name not in class_names:
      near = difflib.get_close_matches(name, class_names, 3, 0.5)
      hint = f"did you mean {' or '.join(near)}?" if near else "see its card"
      raise InputError(f"classes: the detector knows no '{name}'; {hint}")
  return wanted
