"""An engraved page drawn as if by hand: nothing straight, no two alike.

Every outline becomes many short lines whose points move: all of them in a field
of slow waves (the hand and the paper), those of an element together (a notehead
leans, a stem slants, a beam climbs) and against each other (a trembling pen).
Boxes come from the moved points, so they fit as before.
"""

import dataclasses

import numpy as np
from jaxtyping import Float

from dwd_jax.engrave import corners, elements, labels, verovio_svg
from dwd_jax.engrave.verovio_svg import UNITS_PER_SPACE as _SPACE

MAX_STRENGTH = 3.0
_STEP = 0.5 * _SPACE  # longest straight piece
# At strength 1, in staff spaces or as a share.
_PAGE_WAVES = ((60.0, 0.5), (14.0, 0.12), (4.0, 0.04))  # length, height
_OWN_WAVES = ((1.6, 0.05), (0.7, 0.02))
_OFFSET = 0.07
_TURN = 0.07  # radians
_MOST_LIFT = 0.3  # of the ends of a long element, by turning it
_STRETCH = 0.08
_SLANT = 0.12
_PEN = 0.35  # of the width of a stroke


def write(
  page: verovio_svg.Page,
  objects: list[labels.Found],
  rng: np.random.Generator,
  strength: float,
) -> tuple[verovio_svg.Page, list[labels.Found]]:
  """Draws a page by hand.

  Args:
    page: as engraved; not changed.
    strength: 1 = a tidy writer, up to `MAX_STRENGTH`.

  Returns:
    The new page and its symbols, with new bounds.
  """
  hand = _Hand(page, rng, strength)
  marks = [hand.mark(i, mark) for i, mark in enumerate(page.marks)]
  drawn = dataclasses.replace(page, marks=marks, body=hand.body)
  place = {id(mark): i for i, mark in enumerate(page.marks)}
  found = []
  for item in objects:
    rows = [place[id(mark)] for mark in item.marks]
    found.append(
      item._replace(
        bounds=hand.bounds(rows, item.bounds) or item.bounds,
        marks=tuple(marks[i] for i in rows),
        corners=hand.rectangle(rows, item),
      )
    )
  return drawn, found


class _Hand:
  """The state of one page's drawing; `body` as in `verovio_svg.Page`."""

  def __init__(
    self, page: verovio_svg.Page, rng: np.random.Generator, strength: float
  ):
    self._page, self._rng, self._strength = page, rng, strength
    self._waves = _Waves(rng, _PAGE_WAVES, strength)
    self._before: dict[int, np.ndarray] = {}  # points by element of the body
    self._after: dict[int, np.ndarray] = {}
    self._width: dict[int, float] = {}
    texts = {
      i: mark
      for mark in page.marks
      for i in range(*mark.drawn)
      if mark.tag == "text"
    }
    staff_lines = {
      i
      for mark in page.marks
      if page.groups[mark.group].cls == "staff"
      for i in range(*mark.drawn)
    }
    self.body = [
      self._text(drawn, texts[i])
      if i in texts
      else self._element(i, drawn, i in staff_lines)
      for i, drawn in enumerate(page.body)
    ]

  def mark(self, index: int, mark: verovio_svg.Mark) -> verovio_svg.Mark:
    """A mark with its new bounds."""
    bounds = self.bounds([index], mark.bounds)
    return dataclasses.replace(mark, bounds=bounds) if bounds else mark

  def bounds(
    self, marks: list[int], old: tuple[float, float, float, float]
  ) -> tuple[float, float, float, float] | None:
    """Where the ink of some marks in a rectangle moved; None if no ink."""
    low = np.array(old[:2]) - corners.SLACK
    high = np.array(old[2:]) + corners.SLACK
    lows, highs = [], []
    for index in marks:
      mark = self._page.marks[index]
      if mark.tag == "text":
        shift = self._shift(mark)
        lows.append(np.maximum(np.array(mark.bounds[:2]), low) + shift)
        highs.append(np.minimum(np.array(mark.bounds[2:]), high) + shift)
        continue
      for i in range(*mark.drawn):
        if i not in self._before:
          continue
        before, after = self._before[i], self._after[i]
        inside = corners.inside(before, old)
        if inside.any():
          lows.append(after[inside].min(0) - self._width[i] / 2)
          highs.append(after[inside].max(0) + self._width[i] / 2)
    if not lows:
      return None
    x0, y0 = np.min(lows, 0).tolist()
    x1, y1 = np.max(highs, 0).tolist()
    return x0, y0, x1, y1

  def rectangle(self, marks: list[int], item: labels.Found) -> corners.Corners:
    """The oriented box of a symbol, drawn by some marks."""
    points = []
    for index in marks:
      mark = self._page.marks[index]
      if mark.tag == "text":
        points.append(corners.of_bounds(mark.bounds) + self._shift(mark))
        continue
      for i in range(*mark.drawn):
        if i in self._before:
          kept = corners.inside(self._before[i], item.bounds)
          points.append(elements.spread(self._after[i][kept], self._width[i]))
    points = [p for p in points if len(p)]
    return corners.around(points) if points else item.corners

  def _shift(self, mark: verovio_svg.Mark) -> np.ndarray:
    """Offset of a text, which only moves with the page."""
    x0, y0, x1, y1 = mark.bounds
    return self._waves(np.array([[(x0 + x1) / 2, (y0 + y1) / 2]]))[0]

  def _text(self, drawn: str, mark: verovio_svg.Mark) -> str:
    x, y = self._shift(mark)
    return f'<g transform="translate({x:.2f},{y:.2f})">{drawn}</g>'

  def _element(self, index: int, drawn: str, of_staff: bool) -> str:
    element = elements.read(drawn, self._page.defs)
    if element is None or not element.lines:
      return drawn
    if all(len(points) == 2 for points in element.lines):
      # A line that is no longer straight would be filled.
      element.attributes["fill"] = "none"
    lines = [
      elements.subdivide(points, closed, _STEP)
      for points, closed in zip(element.lines, element.closed, strict=True)
    ]
    before = np.concatenate(lines)
    # The pieces of a staff line must meet.
    after = before if of_staff else self._own(before)
    after = after + self._waves(before)
    element.lines = np.split(after, np.cumsum([len(x) for x in lines])[:-1])
    if element.stroke and not of_staff:
      element.stroke *= 1 + self._strength * _PEN * self._rng.uniform(-0.5, 1)
      element.attributes.setdefault("stroke-linecap", "round")
    element.attributes.setdefault("stroke-linejoin", "round")
    self._before[index], self._after[index] = before, after
    self._width[index] = element.stroke
    return element.to_svg()

  def _own(self, points: Float[np.ndarray, "n 2"]) -> np.ndarray:
    """Moves one element: it leans, stretches and trembles."""
    rng, strength = self._rng, self._strength
    middle = (points.min(0) + points.max(0)) / 2
    reach = max(float(np.ptp(points, axis=0).max()) / 2, 1e-6)
    most = min(1.0, _MOST_LIFT * _SPACE / (_TURN * reach))
    turn, slant = rng.normal(0, strength * most, 2) * (_TURN, _SLANT)
    wide, high = 1 + rng.normal(0, strength * most * _STRETCH, 2)
    lean = np.array([[wide, turn], [-turn + slant, high]])
    offset = rng.normal(0, strength * _OFFSET * _SPACE, 2)
    waves = _Waves(rng, _OWN_WAVES, strength)
    return (points - middle) @ lean + middle + offset + waves(points)


class _Waves:
  """A smooth field of displacements: sums of sines in random directions."""

  def __init__(self, rng: np.random.Generator, waves, strength: float):
    lengths, heights = np.array(waves).T
    angle = rng.uniform(0, 2 * np.pi, (len(waves), 2, 2))
    turns = 2 * np.pi / (lengths * _SPACE)
    self._k = turns[:, None, None, None] * np.stack(
      [np.cos(angle), np.sin(angle)], -1
    )  # wave, sine, of x or y, direction
    self._phase = rng.uniform(0, 2 * np.pi, angle.shape)
    self._height = heights[:, None, None] * _SPACE * strength / 2

  def __call__(
    self, points: Float[np.ndarray, "n 2"]
  ) -> Float[np.ndarray, "n 2"]:
    waves = np.sin(np.einsum("wsad,nd->nwsa", self._k, points) + self._phase)
    return (waves * self._height).sum((1, 2))
