"""Whether the objects of a data set are dark on light or light on dark.

It is decided once for the whole set, from a sample of its training pages: where
staves are found, by the tone of their lines; else by comparing what is in the
boxes with what is around them; without such boxes, by the tone of most pixels.
"""

import collections
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, UInt8

from dwd_jax.core import threads
from dwd_jax.core.errors import InputError
from dwd_jax.imaging import grey, staff_space
from tfds_builders import checks

_SAMPLE = 32  # pages
_WITH_STAVES = 0.25  # share of them; above, the set is music
_SURE_STAVES = 0.2  # confidence of light staff lines
_AGREE = 0.8  # share of the pages; below, the set is mixed
_BOXES = 48  # of a page
_SIDE_PX = 64  # more pixels of a side are not looked at
_LEAST_MARGIN_PX = 3
_LEAST_CONTRAST = 4.0  # of 255; less says nothing, and is hardly seen
STRETCH = (
  "stretch the tones of the files, as 16 bits are read with white at the end of"
  " their range"
)


class Decision(NamedTuple):
  """The polarity of a data set.

  Attributes:
    polarity: one of `grey.POLARITIES`.
    reason: "" = it was given.
    is_music: there are staves.
    faint: on how many images objects are hardly seen; "" = on few or none.
  """

  polarity: str
  reason: str
  is_music: bool = False
  faint: str = ""

  def __str__(self) -> str:
    """One line."""
    faint = f"; {self.faint}: {STRETCH}" if self.faint else ""
    return f"Polarity {self.polarity}: {self.reason}{faint}"


class Evidence(NamedTuple):
  """What one page says.

  Attributes:
    staves: "dark" or "light" staff lines; "" = no staff.
    contrast: median over its boxes, grey value inside less grey value around;
      None = no box with anything around it.
    bright: share of bright pixels.
    visible: median over its boxes, most that grey values inside differ from
      those around; None as for `contrast`.
  """

  staves: str
  contrast: float | None
  bright: float
  visible: float | None = None


def of_data_set(
  data_set: checks.DataSet,
  read_page: Callable[[checks.PageFiles], object],
  workers: int = 1,
) -> Decision:
  """Decides by a sample of the training pages.

  Args:
    data_set: if it names its polarity, that is it.
    read_page: reads a page, see `base.Parser`; pages with an `InputError` are
      left to the build.
    workers: threads.
  """
  if data_set.polarity:
    return Decision(data_set.polarity, "")

  def look(page: checks.PageFiles) -> Evidence | None:
    try:
      parsed = read_page(page)
      if not isinstance(parsed, checks.ParsedPage):
        parsed = next((part for _, part in parsed), None)  # pyright: ignore
    except InputError:
      return None
    return parsed and evidence(255 - parsed.ink, parsed.boxes_yxyx)

  found = threads.in_order(look, checks.sample(data_set, _SAMPLE), workers)
  return decide([e for e in found if e is not None])


def evidence(
  tones: UInt8[np.ndarray, "H W"], boxes_yxyx: Float[np.ndarray, "n 4"]
) -> Evidence:
  """Looks at one page; 255 = white."""
  bright = np.count_nonzero(tones > 127) / max(tones.size, 1)
  contrast, visible = _contrasts(tones, boxes_yxyx)
  return Evidence(_staves(tones), contrast, bright, visible)


def decide(found: Sequence[Evidence]) -> Decision:
  """The polarity that the evidence of all pages gives."""
  staves = [e.staves for e in found if e.staves]
  if len(staves) > _WITH_STAVES * len(found):
    polarity, others = _most(staves)
    reason = f"{polarity} staff lines on {len(staves) - others} pages"
    if others:
      reason += (
        f"; on {others} they are {_other(polarity)}, which is learned as it is:"
        " invert these images"
      )
    return Decision(polarity, reason, is_music=True)
  decided = _by_tones(found)
  return decided._replace(faint=_faint(found))


def _by_tones(found: Sequence[Evidence]) -> Decision:
  """The polarity of pictures that are not music."""
  contrasts = [e.contrast for e in found if e.contrast is not None]
  tones = [
    "dark" if c < 0 else "light" for c in contrasts if abs(c) > _LEAST_CONTRAST
  ]
  if tones:
    polarity, others = _most(tones)
    count = f"{len(tones) - others} of {len(tones)}"
    reason = (
      f"objects are {polarity}er than what is around them on {count} images"
    )
    if len(tones) - others < _AGREE * len(tones):
      return Decision(
        "keep",
        f"{reason}, so pictures stay as stored; data.polarity=dark or light"
        " decides otherwise",
      )
    return Decision(polarity, reason)
  bright = np.mean([e.bright for e in found]) if found else 1.0
  polarity = "dark" if bright >= 0.5 else "light"
  return Decision(
    polarity, f"most pixels are {'bright' if bright >= 0.5 else 'dark'}"
  )


def _faint(found: Sequence[Evidence]) -> str:
  """See `Decision`."""
  visible = [e.visible for e in found if e.visible is not None]
  faint = sum(value < _LEAST_CONTRAST for value in visible)
  if 2 * faint <= len(visible):
    return ""
  return (
    f"on {faint} of {len(visible)} images objects differ by less than"
    f" {_LEAST_CONTRAST:g} of 255 tones from what is around them"
  )


def _most(votes: Sequence[str]) -> tuple[str, int]:
  """The more frequent vote, and the number of the others."""
  counts = collections.Counter(votes)
  best = max(("dark", "light"), key=counts.__getitem__)
  return best, len(votes) - counts[best]


def _other(polarity: str) -> str:
  return "light" if polarity == "dark" else "dark"


def _staves(tones: UInt8[np.ndarray, "H W"]) -> str:
  dark = staff_space.estimate(grey.to_ink(tones, "dark"))
  if dark is not None and dark.confidence >= _SURE_STAVES:
    return "dark"
  light = staff_space.estimate(grey.to_ink(tones, "light"))
  if light is not None and light.confidence >= _SURE_STAVES:
    return "light"
  return "dark" if dark is not None else ""


def _contrasts(
  tones: UInt8[np.ndarray, "H W"], boxes_yxyx: Float[np.ndarray, "n 4"]
) -> tuple[float | None, float | None]:
  """`contrast` and `visible` of `Evidence`.

  What is in other boxes is not around a box.
  """
  low, high = np.floor(boxes_yxyx[:, :2]), np.ceil(boxes_yxyx[:, 2:])
  corners = np.concatenate([low, high], axis=1).astype(int).tolist()
  free = np.ones(tones.shape, bool)
  for y0, x0, y1, x1 in corners:
    free[y0:y1, x0:x1] = False
  at = np.linspace(0, len(corners) - 1, min(_BOXES, len(corners)))
  found = [_of_box(tones, free, corners[i]) for i in at.astype(int)]
  found = [value for value in found if value is not None]
  if not found:
    return None, None
  contrast, visible = np.median(found, axis=0).tolist()
  return contrast, visible


def _of_box(
  tones: UInt8[np.ndarray, "H W"],
  free: Bool[np.ndarray, "H W"],
  box: Sequence[int],
) -> tuple[float, float] | None:
  """Mean difference of a box to what is around it, and the largest."""
  y0, x0, y1, x1 = box
  margin = max(_LEAST_MARGIN_PX, max(y1 - y0, x1 - x0) // 2)
  step = 1 + max(y1 - y0, x1 - x0) // _SIDE_PX
  around = np.s_[
    max(y0 - margin, 0) : y1 + margin : step,
    max(x0 - margin, 0) : x1 + margin : step,
  ]
  ring = tones[around][free[around]]
  inside = tones[y0:y1:step, x0:x1:step]
  if not (ring.size and inside.size):
    return None
  # Single hot pixels do not count.
  extremes = np.percentile(inside, (2, 98)) - np.median(ring)
  return float(inside.mean() - ring.mean()), float(np.abs(extremes).max())
