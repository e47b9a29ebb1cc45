"""Staves as symbols, as MUSCIMA++ v2.0 has them: no network looks for them.

Staves, their lines and the spaces between, above and below them follow from the
traced lines; groups of staves from the braces, brackets and lines before them.
"""

import dataclasses
import itertools
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from dwd_jax.core import vocabulary
from dwd_jax.imaging.staff_lines import Staff

NAMES = ("staff", "staffLine", "staffSpace", "staffGrouping")
SIGNS = ("brace", "bracket")  # before the staves of a group
_VOCABULARY = "muscima_v2"
_BARLINE = "barline"
_OUTER = 0.95  # staff spaces: height of the spaces above and below a staff
_BEFORE = 3.0  # staff spaces between a sign and the staves behind it
_AT_LEFT = 1.5  # staff spaces between a barline and the left end of its staves
_INSIDE = 0.5  # of the height of a staff, beside the sign


class StaffSymbol(NamedTuple):
  """A symbol of staves.

  Attributes:
    name: one of `NAMES`.
    box_yxyx: px, inside the page.
    staves: numbers of the staves that it belongs to, or is made of.
  """

  name: str
  box_yxyx: Float[np.ndarray, " 4"]
  staves: tuple[int, ...]


def names_for(class_names: Collection[str]) -> tuple[str, ...]:
  """Which of `NAMES` a detector lacks; () if its names are of another set."""
  of = vocabulary.first_with(class_names, vocabulary.VOCABULARIES)
  if of != _VOCABULARY:
    return ()
  return tuple(name for name in NAMES if name not in class_names)


def find(
  staves: Sequence[Staff],
  image_hw: tuple[int, int],
  signs: Mapping[str, Float[np.ndarray, "n 4"]],
) -> list[StaffSymbol]:
  """The symbols of the staves of a page.

  Args:
    staves: traced, upright or nearly so.
    image_hw: of the page, px.
    signs: boxes_yxyx of `brace`, `bracket` and `barline`, as detected; others
      do not count.

  Returns:
    Staff by staff its lines and spaces from above, and itself; then groups.
  """
  found = []
  for number, staff in enumerate(staves):
    lines = [
      dataclasses.replace(staff, lines_yx=(line,)).box_yxyx
      for line in staff.lines_yx
    ]
    found += [StaffSymbol("staffLine", box, (number,)) for box in lines]
    found += [
      StaffSymbol("staffSpace", box, (number,))
      for box in _spaces(lines, staff.space_px)
    ]
    found.append(StaffSymbol("staff", staff.box_yxyx, (number,)))
  found += _groupings(staves, signs)
  limits = np.tile(image_hw, 2)
  return [
    symbol._replace(box_yxyx=np.clip(symbol.box_yxyx, 0, limits))
    for symbol in found
  ]


def _spaces(
  lines: Sequence[Float[np.ndarray, " 4"]], space_px: float
) -> list[Float[np.ndarray, " 4"]]:
  """Boxes of the spaces, with the lines that bound them."""
  outer = _OUTER * space_px
  first, last = lines[0], lines[-1]
  found = [np.array([first[2] - outer, first[1], first[2], first[3]])]
  for upper, lower in itertools.pairwise(lines):
    both = np.stack([upper, lower])
    found.append(np.concatenate([both[:, :2].min(0), both[:, 2:].max(0)]))
  found.append(np.array([last[2], last[1], last[2] + outer, last[3]]))
  return found


def _groupings(
  staves: Sequence[Staff], signs: Mapping[str, Float[np.ndarray, "n 4"]]
) -> list[StaffSymbol]:
  """Braces and brackets with the barlines that begin their staves.

  A barline that begins other staves than a sign does is a group, too.
  """
  if not staves:
    return []
  boxes = np.stack([staff.box_yxyx for staff in staves])
  space = float(np.median([staff.space_px for staff in staves]))
  first = [
    (line, numbers)
    for line in signs.get(_BARLINE, ())
    if len(numbers := _beside(boxes, line, _AT_LEFT * space)) > 1
  ]
  joined, found = set(), []
  for name in SIGNS:
    for sign in signs.get(name, ()):
      numbers = _beside(boxes, sign, _BEFORE * space)
      if not len(numbers):
        continue
      parts = [sign]
      for i, (line, others) in enumerate(first):
        if np.array_equal(numbers, others):
          parts.append(line)
          joined.add(i)
      found.append(_group(parts, numbers))
  found += [
    _group([line], numbers)
    for i, (line, numbers) in enumerate(first)
    if i not in joined
  ]
  return found


def _beside(
  staves: Float[np.ndarray, "s 4"], sign: Float[np.ndarray, " 4"], reach: float
) -> Int[np.ndarray, " k"]:
  """Numbers of the staves that begin behind a sign, as far as it goes."""
  shared = np.minimum(staves[:, 2], sign[2]) - np.maximum(staves[:, 0], sign[0])
  along = shared >= _INSIDE * (staves[:, 2] - staves[:, 0])
  return np.flatnonzero(along & (np.abs(staves[:, 1] - sign[3]) <= reach))


def _group(
  parts: Sequence[Float[np.ndarray, " 4"]], numbers: Int[np.ndarray, " k"]
) -> StaffSymbol:
  whole = np.stack(parts)
  box = np.concatenate([whole[:, :2].min(0), whole[:, 2:].max(0)])
  return StaffSymbol("staffGrouping", box, tuple(numbers.tolist()))
