"""Pages with staves of several sizes: each symbol at the scale of its staff.

A reduced solo staff, or a photo in perspective, shows full-sized symbols that
are small by the scale of the page. Such a page is predicted at the scale of
each size, and of each prediction those symbols are taken that are nearest to a
staff of this size.
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from dwd_jax.core import boxes as box_lib
from dwd_jax.core.structs import PageBoxes, PageImage
from dwd_jax.imaging.staff_pieces import Pieces
from dwd_jax.predict.assemble import PagePrediction

_SAME = 1.16  # largest to smallest space of one size
# At either end, pieces that may be chance: their share, and their number.
_TAIL = 0.02
_CHANCE = 2
_MOST = 3


def sizes(pieces: Pieces, px: float) -> tuple[float, ...]:
  """The few staff spaces, px, that stand for those of all pieces.

  Args:
    px: the page's staff space.

  Returns:
    `px` alone if the spaces differ little, else 2 or 3, the most frequent
    first.
  """
  order = np.argsort(pieces.space)
  space, weight = pieces.space[order], pieces.weight[order]
  share = np.cumsum(weight) / weight.sum()
  kept = (share > _TAIL) & (share - weight / weight.sum() < 1 - _TAIL)
  kept[:_CHANCE] = kept[len(kept) - _CHANCE :] = False
  space, weight = space[kept], weight[kept]
  if not len(space) or space[-1] <= _SAME * space[0]:
    return (px,)
  same = _SAME
  while True:
    starts = [0]
    for i, value in enumerate(space):
      if value > same * space[starts[-1]]:
        starts.append(i)
    if len(starts) <= _MOST:
      break
    same *= 1.1
  parts = zip(
    np.split(space, starts[1:]), np.split(weight, starts[1:]), strict=True
  )
  found = [(float(w.sum()), float(np.average(s, weights=w))) for s, w in parts]
  return tuple(mean for _, mean in sorted(found, reverse=True))


def with_others(
  found: PagePrediction,
  page: PageImage,
  spaces: Sequence[float],
  pieces: Pieces | None,
  predict: Callable[[PageImage], PagePrediction],
) -> PagePrediction:
  """Takes symbols on staves of other sizes from predictions at their scale.

  Args:
    found: at the scale of the first of `spaces`.
    page: upright, as it was predicted.
    spaces: of `sizes`; `found` is returned if there is but one.
    pieces: of the page's staves; None if there are none.
  """
  if pieces is None or len(spaces) == 1:
    return found
  views = [found]
  for space in spaces[1:]:
    views.append(predict(dataclasses.replace(page, staff_space_px=space)))
  return found._replace(
    detections=join([view.detections for view in views], spaces, pieces),
    overflow=any(view.overflow for view in views),
    seconds=sum(view.seconds for view in views),
  )


def join(
  views: Sequence[PageBoxes], spaces: Sequence[float], pieces: Pieces
) -> PageBoxes:
  """Takes from each prediction the symbols on staves of its size.

  Args:
    views: detections at the scales of `spaces`, on the same page.
    spaces: of `sizes`.

  Returns:
    The symbols, best score first.
  """
  logs = np.log(spaces)
  size_of = np.abs(np.log(pieces.space)[:, None] - logs).argmin(1)
  parts = []
  for number, view in enumerate(views):
    centers = np.asarray(box_lib.centers_yx(view.boxes_yxyx))
    parts.append(view.keep(size_of[pieces.nearest(centers)] == number))
  return PageBoxes.concatenated(parts).by_score()
