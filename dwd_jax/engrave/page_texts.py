"""Texts that verovio does not lay out: margins, prose, digits beside heads.

`PageTexts` draws them on an engraved page where nothing else is, `text_page`
makes a page that holds nothing but text.
"""

import random
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

from dwd_jax.engrave import outlines, words
from dwd_jax.engrave.music_fonts import MusicFont
from dwd_jax.engrave.outlines import Bounds
from dwd_jax.engrave.text_faces import Face, Faces
from dwd_jax.engrave.text_outlines import TextSetter
from dwd_jax.engrave.verovio_svg import UNITS_PER_SPACE, Group, Mark, Page

_SPACE = float(UNITS_PER_SPACE)
_HEADS = (0xE0A2, 0xE0A3, 0xE0A4)
_BESIDE = 0.12  # of the noteheads, on a page with fingers beside them


class PageTexts:
  """Draws on one page."""

  def __init__(
    self,
    page: Page,
    faces: Faces,
    rng: random.Random,
    size: tuple[float, float],
  ):
    """Prepares a page.

    Args:
      page: changed by what is drawn.
      faces: of its score.
      size: width and height of the page, in its units.
    """
    self.page = page
    self._text = TextSetter(page.music, page.defs, faces)
    self._faces = faces
    self._rng = rng
    self._width, self._height = size
    self._taken = np.array([m.bounds for m in page.marks]).reshape(-1, 4)
    # Fingers stand on the lines of a staff, too.
    self._lines = np.array(
      [page.groups[m.group].cls == "staff" for m in page.marks], bool
    )

  def margins(self) -> None:
    """A page number, a running title, a plate number, lines of a publisher."""
    rng = self._rng
    left, right = 3 * _SPACE, self._width - 3 * _SPACE
    top, bottom = self._ends()
    places = {"left": left, "right": right, "middle": self._width / 2}
    anchors = {"left": "start", "right": "end", "middle": "middle"}
    lines = []
    number = str(rng.choice((rng.randrange(2, 60), rng.randrange(2, 400))))
    number = rng.choice(
      (number, number, number, f"- {number} -", f"({number})")
    )
    side = rng.choice(("left", "right", "middle"))
    above = rng.random() < 0.7
    if rng.random() < 0.7:
      lines.append((above, side, number))
    if rng.random() < 0.25:
      lines.append((True, "middle" if side != "middle" else "left",
                    rng.choice((words.title, words.author))(rng)))  # fmt: skip
    if rng.random() < 0.5:
      lines.append((False, rng.choice(("middle", "middle", "left", "right")),
                    words.plate(rng)))  # fmt: skip
    if rng.random() < 0.3:
      lines.append((False, rng.choice(("left", "middle")), words.imprint(rng)))
    for is_top, at, text in lines:
      face = self._face()
      size = rng.uniform(1.3, 2.6) * _SPACE
      y = rng.uniform(1.2 * size, max(top - 0.5 * size, 1.3 * size))
      if not is_top:
        y = rng.uniform(bottom + 1.2 * size, self._height - 0.5 * size)
      self._line(text, (places[at], y), size, face, anchors[at])

  def prose(self) -> None:
    """Verses or sentences below the last staff, if there is room."""
    bottom = self._ends()[1] + 3 * _SPACE
    if self._height - bottom < 12 * _SPACE:
      return
    area = (4 * _SPACE, bottom, self._width - 4 * _SPACE,
            self._height - 4 * _SPACE)  # fmt: skip
    columns = self._rng.choice((1, 1, 2, 3))
    size = self._rng.uniform(1.6, 2.4) * _SPACE
    most = self._rng.randint(3, 14)
    for box in _columns(area, columns, 2 * _SPACE):
      self._paragraphs(box, size, self._face(), most)

  def fingers(self) -> None:
    """Digits of fingers beside noteheads, where there is room."""
    rng = self._rng
    style = self._faces.style({"fing"})
    face = self._faces.face({"fing"}, *style)
    size = rng.uniform(1.2, 1.9) * _SPACE
    for mark in [m for m in self.page.marks if m.code in _HEADS]:
      if rng.random() > _BESIDE:
        continue
      digit = rng.choice("12345")
      x0, y0, x1, y1 = mark.bounds
      gap = rng.uniform(0.2, 0.5) * _SPACE
      left = rng.random() < 0.7
      at = (x0 - gap if left else x1 + gap, (y0 + y1) / 2 + 0.34 * size)
      self._line(
        digit, at, size, face, "end" if left else "start", cls="fing", gap=0.1
      )

  def expressions(self) -> None:
    """Words behind letters of dynamics, as in `p dolce`."""
    rng = self._rng
    share = rng.choice((0.0, 0.1, 0.3))
    ends = {}  # of the letters of one sign, by its group
    for mark in self.page.marks:
      if mark.code and self.page.groups[mark.group].cls == "dynam":
        x1 = max(mark.bounds[2], ends.get(mark.group, (0.0, 0.0))[0])
        ends[mark.group] = x1, mark.matrix[5]
    for x, y in ends.values():
      if rng.random() < share:
        size = rng.uniform(1.6, 2.3) * _SPACE
        face = self._faces.face({"dir"}, False, True)
        x += rng.uniform(0.3, 0.8) * _SPACE
        self._line(
          words.direction(rng), (x, y), size, face, "start", cls="dir", gap=0.1
        )

  def whole(self) -> None:
    """Fills an empty page: a title, then prose, verses, a list or a table."""
    rng = self._rng
    margin = rng.uniform(4, 12) * _SPACE
    y = margin + rng.uniform(0, 8) * _SPACE
    if rng.random() < 0.6:
      size = rng.uniform(2.5, 6) * _SPACE
      y += size
      self._line(
        words.title(rng), (self._width / 2, y), size, self._face("pgHead"),
        "middle",
      )  # fmt: skip
      for _ in range(rng.choice((0, 1, 1, 3))):
        size = rng.uniform(1.5, 3) * _SPACE
        y += 1.6 * size
        self._line(
          rng.choice((words.author, words.subtitle, words.imprint))(rng),
          (self._width / 2, y), size, self._face(), "middle",
        )  # fmt: skip
      y += rng.uniform(2, 6) * _SPACE
    area = (margin, y, self._width - margin, self._height - margin)
    size = rng.choice((rng.uniform(1.3, 1.9), rng.uniform(1.5, 3.2))) * _SPACE
    body = self._face()
    columns = rng.choice((1, 1, 1, 2, 2, 3))
    filled = rng.choice((1.0, 1.0, rng.random()))
    kind = rng.choice((self._paragraphs, self._paragraphs, self._index))
    for box in _columns(area, columns, 3 * _SPACE):
      end = box[1] + (box[3] - box[1]) * filled
      kind((box[0], box[1], box[2], end), size, body, 10_000)
    self.margins()

  def _paragraphs(
    self, box: Bounds, size: float, face: Face, most: int
  ) -> None:
    """Sentences or verses in a box, at most so many lines."""
    rng = self._rng
    language = words.language(rng)
    verses = rng.random() < 0.3
    justified = rng.random() < 0.6
    step = size * rng.uniform(1.1, 1.7)
    y, width = box[1] + size, box[2] - box[0]
    number, lines = 1, 0
    while y < box[3] and lines < most:
      heading = rng.random() < 0.12
      if heading:
        text = [words.subtitle(rng)]
      elif verses:
        text = [
          line
          for _ in range(rng.randint(2, 8))
          for line in self._wrapped(
            words.sentence(rng, language, rng.randint(4, 8)), size, face, width
          )
        ]
        if rng.random() < 0.6:
          text[0] = f"{number}. {text[0]}"
          number += 1
      else:
        text = [words.sentence(rng, language) for _ in range(rng.randint(1, 7))]
        text = list(self._wrapped(" ".join(text), size, face, width))
      own = self._face(bold=True) if heading else face
      for i, line in enumerate(text):
        if y > box[3] or lines >= most:
          break
        full = justified and not verses and i < len(text) - 1
        self._line(
          line, (box[0], y), size, own, "start",
          width=width if full else 0.0, most=width,
        )  # fmt: skip
        y += step
        lines += 1
      y += step * rng.choice((0.0, 0.5, 1.0))

  def _index(self, box: Bounds, size: float, face: Face, most: int) -> None:
    """A list of works: names, dots and numbers."""
    rng = self._rng
    y = box[1] + size
    dots = rng.choice((" .", ".", " ", " . ", "-"))
    numbered = rng.random() < 0.5
    for number in range(1, most):
      if y > box[3]:
        break
      name = rng.choice((words.title(rng), words.author(rng)))
      name = f"{number}. {name}" if numbered else name
      page = str(rng.randrange(1, 300))
      room = box[2] - box[0] - self._text.length(f"{name}{page}  ", size, face)
      count = int(room / max(self._text.length(dots, size, face), 1.0))
      if count > 0:
        self._line(name + dots * count, (box[0], y), size, face, "start")
        self._line(page, (box[2], y), size, face, "end", gap=0.0)
      y += size * rng.choice((1.3, 1.3, 1.3, 2.2))

  def _wrapped(
    self, text: str, size: float, face: Face, width: float
  ) -> Iterator[str]:
    """Lines of a paragraph that are at most so wide."""
    space = self._text.length(" ", size, face)
    line, length = "", 0.0
    for word in text.split():
      own = self._text.length(word, size, face)
      if line and length + space + own > width:
        yield line
        line, length = word, own
      else:
        line, length = f"{line} {word}".strip(), length + space + own
    yield line

  def _face(self, kind: str = "margin", bold: bool = False) -> Face:
    bold = bold or self._rng.random() < 0.2
    return self._faces.face({kind}, bold, self._rng.random() < 0.25)

  def _ends(self) -> tuple[float, float]:
    """Where the ink begins and ends on the page."""
    if not len(self._taken):
      return 0.0, self._height
    return float(self._taken[:, 1].min()), float(self._taken[:, 3].max())

  def _line(
    self,
    text: str,
    at: tuple[float, float],
    size: float,
    face: Face,
    anchor: str,
    *,
    cls: str = "margin",
    width: float = 0.0,
    most: float = 0.0,
    gap: float = 0.4,
  ) -> None:
    """Draws a line, unless it would touch something or leave the page.

    Args:
      cls: of its group.
      width: to justify it to; 0 = as it is.
      most: the width it is narrowed to.
      gap: to anything else, in staff spaces.
    """
    if most:
      length = self._text.length(text, size, face)
      face = face._replace(width=face.width * min(1.0, most / max(length, 1.0)))
    inked = self._text.line(text, at, size, face, anchor, width)
    others = self._taken[~self._lines] if cls == "fing" else self._taken
    bounds = outlines.union(item.bounds for item in inked) if inked else None
    if bounds is None or not self._is_free(bounds, others, gap * _SPACE):
      return
    groups, marks, body = self.page.groups, self.page.marks, self.page.body
    groups.append(Group(cls, 0, {}, [len(marks)]))
    span = (len(body), len(body) + len(inked))
    marks.append(Mark(0, "text", bounds, 0.0, len(groups) - 1, span, text=text))
    body += [item.drawn for item in inked]
    self._taken = np.concatenate([self._taken, [bounds]])
    self._lines = np.append(self._lines, False)

  def _is_free(
    self, bounds: Bounds, taken: Float[np.ndarray, "n 4"], gap: float
  ) -> bool:
    x0, y0, x1, y1 = bounds
    if x0 < 0 or y0 < 0 or x1 > self._width or y1 > self._height:
      return False
    return not np.any(
      (taken[:, 0] < x1 + gap)
      & (taken[:, 2] > x0 - gap)
      & (taken[:, 1] < y1 + gap)
      & (taken[:, 3] > y0 - gap)
    )


def _columns(area: Bounds, count: int, gap: float) -> Iterator[Bounds]:
  x0, y0, x1, y1 = area
  width = (x1 - x0 - gap * (count - 1)) / count
  for i in range(count):
    left = x0 + i * (width + gap)
    yield left, y0, left + width, y1


def text_page(
  faces: Faces, rng: random.Random, size: tuple[float, float], font: str
) -> Page:
  """A page of text alone; see `PageTexts`."""
  page = Page(MusicFont(font))
  PageTexts(page, faces, rng, size).whole()
  return page
