"""Boxes that a detector finds on pages without, and how sure they are."""

import dataclasses
import io
import pathlib
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from dwd_jax.apps.adapt.pages import Pages
from dwd_jax.core import files
from dwd_jax.core.box_index import BoxIndex
from dwd_jax.core.errors import InputError
from dwd_jax.core.structs import PageBoxes, PageImage
from dwd_jax.metrics import matching
from dwd_jax.metrics.calibration import Calibration
from dwd_jax.predict import assemble
from dwd_jax.predict.predict_config import PredictConfig
from dwd_jax.predict.predict_pages import PredictFn, predict_pages
from dwd_jax.train.adapt_config import AdaptConfig


@dataclasses.dataclass(frozen=True)
class PseudoBoxes:
  """Boxes of all pages but those kept aside, which have none.

  Attributes:
    sure: False for boxes that may be objects or not.
    oriented_yx: as in `structs.PageBoxes`.
    positions: as in `structs.PageBoxes`.
  """

  index: BoxIndex
  sure: Bool[np.ndarray, " n"]
  oriented_yx: Float[np.ndarray, "n 4 2"] | None = None
  positions: Int[np.ndarray, " n"] | None = None


def find(
  predict_fn: PredictFn,
  pages: Pages,
  held_out: Collection[int],
  calibration: Calibration,
  *,
  cfg: AdaptConfig,
  predict: PredictConfig,
) -> tuple[PseudoBoxes, dict[str, float]]:
  """Predicts all pages at all scales.

  Args:
    held_out: numbers of the pages kept aside.

  Returns:
    Boxes, and metrics: `agreement` of the scales on the pages kept aside (F1 of
    the detections above the detector's threshold, those at the first scale
    against each other), boxes and ignored boxes of a page of the others.
  """
  predict = dataclasses.replace(predict, scales=(1.0,), normalise="off")
  by_scale = [
    _at_scale(predict_fn, pages, scale, calibration, predict)
    for scale in (1.0, *cfg.scales)
  ]
  found: list[PageBoxes] = []
  hits = total = 0
  for i, views in enumerate(zip(*by_scale, strict=True)):
    if i in held_out:
      more = _agreement(views, calibration.point.threshold, cfg.min_iou)
      hits, total = hits + more[0], total + more[1]
      found.append(views[0].keep(np.zeros(0, np.int64)))
    else:
      fused = assemble.fuse(views, cfg.min_iou)
      found.append(fused.at_least(cfg.ignore_score))
  made = _joined(pages, found, cfg.min_score)
  used = len(pages) - len(held_out)
  return made, {
    "agreement": hits / max(total, 1),
    "pseudo_boxes": int(made.sure.sum()) / used,
    "ignored_boxes": int((~made.sure).sum()) / used,
  }


def _at_scale(
  predict_fn: PredictFn,
  pages: Pages,
  scale: float,
  calibration: Calibration,
  predict: PredictConfig,
) -> Iterator[PageBoxes]:
  images = (
    PageImage(name, pages.ink(i), scale) for i, name in enumerate(pages.names)
  )
  for found in predict_pages(predict_fn, images, predict):
    yield calibration.apply(found.detections.finite())


def _agreement(
  views: Sequence[PageBoxes], min_score: float, min_iou: float
) -> tuple[int, int]:
  """Twice the matches of the first view with each other, and all boxes."""
  first, *others = (view.at_least(min_score).upright() for view in views)
  hits = [matching.match(first, other, min_iou).hit.sum() for other in others]
  counts = [len(first.labels) + len(other.labels) for other in others]
  return 2 * int(sum(hits)), sum(counts)


def _joined(
  pages: Pages, found: Sequence[PageBoxes], min_score: float
) -> PseudoBoxes:
  boxes = PageBoxes.concatenated(found)
  assert boxes.scores is not None
  counts = [len(page.labels) for page in found]
  index = BoxIndex(
    boxes_yxyx=boxes.boxes_yxyx.astype(np.float32),
    labels=boxes.labels.astype(np.int32),
    page=np.repeat(np.arange(len(found), dtype=np.int32), counts),
    page_hw=np.array(pages.page_hw, np.int32),
    filenames=pages.names,
  )
  return PseudoBoxes(
    index,
    sure=boxes.scores >= min_score,
    oriented_yx=boxes.oriented_yx,
    positions=boxes.positions,
  )


_OF_INDEX = ("boxes_yxyx", "labels", "page", "page_hw", "filenames")
_FURTHER = ("sure", "oriented_yx", "positions")


def save(path: pathlib.Path, boxes: PseudoBoxes) -> None:
  """Writes boxes to a file."""
  data = io.BytesIO()
  arrays = {name: getattr(boxes.index, name) for name in _OF_INDEX}
  arrays |= {name: getattr(boxes, name) for name in _FURTHER}
  known = {name: x for name, x in arrays.items() if x is not None}
  np.savez_compressed(data, **known)
  files.write_atomic(path, data.getvalue())


def load(path: pathlib.Path, pages: Pages) -> PseudoBoxes:
  """Reads what `save` wrote.

  Raises:
    InputError: it is missing, damaged or of other pages.
  """
  try:
    data = io.BytesIO(path.read_bytes())
    with np.load(data, allow_pickle=False) as saved:
      arrays: dict[str, Any] = dict(saved)
    of_index = {name: arrays.pop(name) for name in _OF_INDEX}
    of_index["filenames"] = tuple(of_index["filenames"].tolist())
    found = PseudoBoxes(BoxIndex(**of_index), **arrays)
  except Exception as e:  # damage raises many types
    raise InputError(
      f"{path}: missing or damaged ({type(e).__name__}); start anew in another"
      " --workdir"
    ) from None
  had = found.index.filenames, tuple(map(tuple, found.index.page_hw.tolist()))
  if had != (pages.names, pages.page_hw):
    raise InputError(
      f"{path}: of other pages than those in adapt.pages now; put those back,"
      " or start anew in another --workdir"
    )
  return found
