"""What the comment of an annotation says of a symbol: position and onset.

A comment of the published files is a list of "key:value;", such as
"instance:#00020d;duration:8*2/3;rel_position:-4;". `rel_position` of noteheads
is LilyPond's staff-position: steps of half a staff space, 0 = the middle line,
upwards positive, as in `dwd_jax.core.structs`. Onsets are quarter notes, also
as fractions. Unknown keys are left alone.
"""

import math
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from dwd_jax.core.structs import NO_POSITION

_MAX_LENGTH = 1000  # of a comment; the rest is not read
_FARTHEST = 60  # steps from the middle line: 13 octaves are no music
_MAX_ONSET = 1e6
_NUMBER = re.compile(r"[-+]?\d{1,9}(\.\d{0,9})?")
_LEAST_STEPS = 2  # from the middle line, for a head to tell up from down
_STAFF_STEPS = 8  # height of a staff of five lines


class Noted(NamedTuple):
  """What a comment says.

  Attributes:
    position: `NO_POSITION` = nothing.
    onset: quarter notes; NaN = nothing.
    bad: a position or an onset that cannot be read.
  """

  position: int
  onset: float
  bad: bool


NOTHING = Noted(NO_POSITION, math.nan, False)


def read(comment: Any) -> Noted:
  """Reads a comment of any kind; what is no text says nothing."""
  if not isinstance(comment, str) or not comment:
    return NOTHING
  position, onset, bad = NO_POSITION, math.nan, False
  for part in comment[:_MAX_LENGTH].split(";"):
    key, _, text = part.partition(":")
    key, text = key.strip().lower(), text.strip()
    if not text:
      continue
    if key == "rel_position":
      value = _number(text)
      if value.is_integer() and abs(value) <= _FARTHEST:
        position = int(value)
      else:
        bad = True
    elif key in ("onset", "onset_beat"):
      onset = _number(text)
      if not 0 <= onset <= _MAX_ONSET:
        onset, bad = math.nan, True
  return Noted(position, onset, bad)


def _number(text: str) -> float:
  """A number or a fraction of two; NaN for anything else."""
  parts = text.split("/")
  if len(parts) > 2 or not all(_NUMBER.fullmatch(part) for part in parts):
    return math.nan
  values = [float(part) for part in parts]
  if len(values) == 1:
    return values[0]
  return values[0] / values[1] if values[1] else math.nan


def count_downwards(
  positions: Int[np.ndarray, " n"],
  boxes_yxyx: Float[np.ndarray, "n 4"],
  is_staff: Bool[np.ndarray, " n"],
) -> bool:
  """Whether the positions of a page contradict the boxes of its staves.

  Looks at symbols some steps from the middle line, each with the staff nearest
  to it; most of them decide.
  """
  staves = boxes_yxyx[is_staff].astype(np.float64)
  far = (positions != NO_POSITION) & (np.abs(positions) >= _LEAST_STEPS)
  if not len(staves) or not far.any():
    return False
  y, x = (boxes_yxyx[far].reshape(-1, 2, 2).mean(1)).T
  middle = staves[:, [0, 2]].mean(1)
  away = middle[:, None] - y  # upwards positive
  beside = (staves[:, 1, None] <= x) & (x <= staves[:, 3, None])
  away = np.where(beside, away, np.inf)
  nearest = np.abs(away).argmin(0), np.arange(away.shape[1])
  steps = away[nearest] * _STAFF_STEPS
  steps /= np.maximum(staves[:, 2] - staves[:, 0], 1.0)[nearest[0]]
  known = np.isfinite(steps)
  right = np.abs(steps - positions[far]) < _LEAST_STEPS
  turned = np.abs(steps + positions[far]) < _LEAST_STEPS
  return int((turned & known).sum()) > int((right & known).sum())


def columns(noted: Sequence[Noted]) -> tuple[np.ndarray, np.ndarray]:
  """Positions int32 [n] and onsets float32 [n] of annotations."""
  return (
    np.array([one.position for one in noted], np.int32),
    np.array([one.onset for one in noted], np.float32),
  )
