"""A layout of verovio's, drawn with the symbols of one writer of MUSCIMA++.

Each symbol of the layout becomes a cut one of its class at the same place of
the staff; strokes become cut strokes, stretched and sheared to where the layout
has them. Names are those of MUSCIMA++ v2.0. What nobody wrote is left out.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from dwd_jax.engrave import elements, hand_canvas, hand_extras, music_fonts
from dwd_jax.engrave.hand_canvas import Box, Canvas
from dwd_jax.engrave.hands import Hands, Symbol
from dwd_jax.engrave.labels import Found
from dwd_jax.engrave.outlines import union
from dwd_jax.engrave.strokes import Strokes
from dwd_jax.engrave.verovio_svg import UNITS_PER_SPACE, Group, Mark, Page

# Names of the layout, see `smufl_classes` (printed), whose glyphs are drawn
# around the middle of their boxes.
GLYPHS: dict[str, str] = {
  "noteheadBlack": "noteheadFull", "noteheadBlackSmall": "noteheadFullSmall",
  "noteheadHalf": "noteheadHalf", "noteheadHalfSmall": "noteheadHalf",
  "noteheadWhole": "noteheadWhole", "noteheadDoubleWhole": "noteheadWhole",
  "augmentationDot": "augmentationDot", "restWhole": "restWhole",
  "restHalf": "restHalf", "restQuarter": "restQuarter", "rest8th": "rest8th",
  "rest16th": "rest16th", "restLonga": "multiMeasureRest",
  "restDoubleWhole": "multiMeasureRest", "articAccentAbove":
  "articulationAccent", "articAccentBelow": "articulationAccent",
  "articStaccatoAbove": "articulationStaccato", "articStaccatoBelow":
  "articulationStaccato", "articTenutoAbove": "articulationTenuto",
  "articTenutoBelow": "articulationTenuto", "fermataAbove": "fermataAbove",
  "fermataBelow": "fermataBelow", "breathMark": "breathMark",
  "ornamentTrill": "ornamentTrill", "ornamentTurn": "ornament",
  "ornamentTurnInverted": "ornament", "ornamentMordent": "ornament",
  "legerLine": "legerLine", "gClef": "gClef", "gClefChange": "gClef",
  "fClef": "fClef", "fClefChange": "fClef", "cClefAlto": "cClef",
  "cClefAltoChange": "cClef", "cClefTenor": "cClef",
  "cClefTenorChange": "cClef",
}  # fmt: skip
# Drawn as high as in the layout, as wide as they were written.
_UPRIGHT = {"arpeggiato": "arpeggio", "brace": "brace"}
# Drawn into the box that the layout gives them.
STRETCHED: dict[str, str] = {
  "dynamicCrescendoHairpin": "dynamicCrescendoHairpin",
  "dynamicDiminuendoHairpin": "dynamicDiminuendoHairpin",
  "wiggleTrill": "wiggleTrill",
}  # fmt: skip
_ACCIDENTALS = {
  "Flat": ("accidentalFlat", 0.72),  # the note is at the height of its belly
  "Natural": ("accidentalNatural", 0.5),
  "Sharp": ("accidentalSharp", 0.5),
  "DoubleSharp": ("accidentalDoubleSharp", 0.5),
}
_SMALL = 0.75  # small symbols without a class of their own
_SHRUNK = {"noteheadHalfSmall", "gClefChange", "fClefChange"}
_FLAGS = {"8th": 1, "16th": 2, "32nd": 3, "64th": 4, "128th": 5}
_FLAG_NAMES = ("flag8th", "flag16th", "flag32nd", "flag64th", "flag64th")
_FLAG_STEP = 0.8  # staff spaces between the strokes of flags
_HEAVY = 0.3  # staff spaces: width of a heavy barline
_SLASH = 0.4  # staff spaces: wider marks of stems are slashes of grace notes
_TIME = {0xE080 + i: f"numeral{i}" for i in range(10)} | {
  0xE08A: "timeSigCommon", 0xE08B: "timeSigCutCommon",
}  # fmt: skip
_TUPLET = {0xE880 + i: f"numeral{i}" for i in range(10)}
_DOT = 0xE044
_LETTERS = {code: letter for letter, code in music_fonts.LETTERS.items()}
_WIDTH = 0.4  # staff spaces: of most upright lines, by which they are chosen
_JITTER = 0.05  # of sizes
_SLANT = 0.03
_TRIES = 6  # for a slur that bends the wanted way
_BEND = (0.6, 1.5)  # by which slurs may be made flatter or higher


def draw(
  page: Page,
  objects: Iterable[Found],
  hands: Hands,
  rng: np.random.Generator,
  hw: tuple[int, int],
  px_per_unit: float,
) -> Canvas:
  """Draws a page by one writer's hand.

  Args:
    page: the layout.
    objects: its symbols with the names of the vocabulary `printed`.
    hw: height and width of the page, px.
    px_per_unit: scale of the layout.

  Returns:
    The page with its symbols.
  """
  drawing = _Drawing(page, hands, rng, hw, px_per_unit)
  drawing.staves()
  drawing.barlines()
  for item in objects:
    drawing.object(item)
  drawing.compounds()
  hand_extras.add(
    drawing.canvas, hands, drawing.writer, rng, drawing.space, drawing.rows
  )
  return drawing.canvas


class _Drawing:
  """One page on its way."""

  def __init__(self, page, hands, rng, hw, px_per_unit):
    self.page: Page = page
    self.hands: Hands = hands
    self.rng: np.random.Generator = rng
    self.scale: float = px_per_unit
    self.space: float = px_per_unit * UNITS_PER_SPACE
    self.canvas = Canvas(*hw)
    self.writer = hands.writers[int(rng.integers(len(hands.writers)))]
    self.rows: list[hand_extras.StaffRow] = []
    self._stems = self._find_stems()
    self._keys: dict[int, list[Box | None]] = {}

  def _px(self, mark_bounds: tuple) -> np.ndarray:
    """Bounds x0, y0, x1, y1 in px."""
    return np.array(mark_bounds) * self.scale

  def _find_stems(self) -> dict[int, np.ndarray]:
    """Bounds of the stem of each note or chord, px, by its group."""
    found = {}
    for group in self.page.groups:
      if group.cls == "stem" and group.marks:
        mark = self.page.marks[group.marks[0]]
        if mark.tag == "path":
          found[group.parent] = self._px(mark.bounds)
    return found

  def _above(self, index: int, *classes: str) -> int:
    """The nearest group of one of some classes around a group, or -1."""
    while index >= 0 and self.page.groups[index].cls not in classes:
      index = self.page.groups[index].parent
    return index

  def staves(self) -> None:
    """Staff lines, as thick as on the pages of the writer."""
    thickness = self.hands.line_width(self.writer) * self.space
    for _, lines in Strokes(self.page).staves():
      bounds = np.array([self._px(line.bounds) for line in lines])
      for x0, y0, x1, y1 in bounds:
        self.canvas.line((y0 + y1) / 2, x0, x1, thickness)
      middle = (bounds[:, 1].min() + bounds[:, 3].max()) / 2
      self.rows.append(
        hand_extras.StaffRow(
          float(middle), float(bounds[:, 0].min()), float(bounds[:, 2].max())
        )
      )

  def object(self, item: Found) -> None:
    """A symbol of the layout that stands for itself."""
    name = item.name
    if name in GLYPHS:
      self._glyph(item)
    elif name in _UPRIGHT:
      self._upright(_UPRIGHT[name], self._px(item.bounds))
    elif name in STRETCHED:
      self._stretch(STRETCHED[name], self._px(item.bounds))
    elif name.startswith(("accidental", "key")) and item.marks[0].code:
      self._accidental(item)
    elif name.startswith("flag"):
      self._flag(item)
    elif name == "stem":
      self._upright("stem", self._px(item.bounds))
    elif name == "beam":
      self._beam(item)
    elif name in ("slur", "tie"):
      self._slur(item)

  def _place(
    self,
    name: str,
    x: float,
    y: float,
    anchor: tuple[float, float] = (0.5, 0.5),
    size: float = 1.0,
    note: Found | None = None,
  ) -> Box | None:
    """Draws a symbol of a class with a point of its box at (x, y), px.

    Args:
      anchor: the point, as shares of its width and height.
      note: a notehead or a rest, whose position and onset are kept.
    """
    symbol = self.hands.pick(name, self.writer, self.rng)
    if symbol is None:
      return None
    size *= self.space / symbol.staff_space
    wide, high = size * (1 + self.rng.normal(0, _JITTER, 2).clip(-0.1, 0.1))
    slant = float(self.rng.normal(0, _SLANT))
    high_px, wide_px = symbol.mask.shape
    at = anchor[0] * wide_px, anchor[1] * high_px
    matrix = hand_canvas.scaled((wide, high), at, (x, y), slant)
    if note is None:
      return self.canvas.paste(symbol, matrix)
    return self.canvas.paste(symbol, matrix, note.position, note.onset)

  def _stretch(self, name: str, bounds: np.ndarray) -> Box | None:
    """Draws a symbol of a class into bounds x0, y0, x1, y1, px."""
    wide, high = np.maximum(bounds[2:] - bounds[:2], 1.0)
    size = high / self.space, wide / self.space
    symbol = self.hands.pick(name, self.writer, self.rng, size)
    if symbol is None:
      return None
    high_px, wide_px = symbol.mask.shape
    matrix = hand_canvas.scaled(
      (wide / wide_px, high / high_px), (0, 0), (bounds[0], bounds[1])
    )
    return self.canvas.paste(symbol, matrix)

  def _glyph(self, item: Found) -> None:
    """A glyph around its middle; noteheads touch their stems."""
    x0, y0, x1, y1 = self._px(item.bounds)
    x, anchor = (x0 + x1) / 2, 0.5
    if item.name.startswith("notehead"):
      note = self._above(item.marks[0].group, "note")
      chord = self._above(item.marks[0].group, "chord")
      stem = self._stems.get(note, self._stems.get(chord))
      if stem is not None:
        middle = (stem[0] + stem[2]) / 2
        # Heads of another writer than the font's are narrower.
        anchor = 0.92 if x < middle else 0.08
        x = middle
    size = _SMALL if item.name in _SHRUNK else 1.0
    self._place(GLYPHS[item.name], x, (y0 + y1) / 2, (anchor, 0.5), size, item)

  def _accidental(self, item: Found) -> None:
    kind = item.name.removeprefix("accidental").removeprefix("key")
    small = kind.endswith("Small")
    name, anchor = _ACCIDENTALS.get(kind.removesuffix("Small"), ("", 0.0))
    if not name:
      return
    x0, _, x1, _ = self._px(item.bounds)
    y = item.marks[0].matrix[5] * self.scale
    size = _SMALL if small else 1.0
    box = self._place(name, (x0 + x1) / 2, y, (0.5, anchor), size)
    key = self._above(item.marks[0].group, "keySig")
    if key >= 0:
      self._keys.setdefault(key, []).append(box)

  def _flag(self, item: Found) -> None:
    """Flags of short notes are as many strokes."""
    x0, y0, _, y1 = self._px(item.bounds)
    name = item.name.removesuffix("Small")
    up = name.endswith("Up")
    size = _SMALL if item.name.endswith("Small") else 1.0
    count = _FLAGS[
      name.removeprefix("flag").removesuffix("Up" if up else "Down")
    ]
    for i, flag in enumerate(_FLAG_NAMES[:count]):
      away = i * _FLAG_STEP * self.space * size
      y = y0 + away if up else y1 - away
      direction = "Up" if up else "Down"
      anchor = (0.05, 0.0 if up else 1.0)
      self._place(f"{flag}{direction}", x0, y, anchor, size)

  def _beam(self, item: Found) -> None:
    """A beam, sheared to the slope of the layout's."""
    points = np.concatenate([self._outline(mark) for mark in item.marks])
    if len(points) < 4:
      return
    points = points[np.argsort(points[:, 0], kind="stable")]
    ends = np.stack([points[:2].mean(0), points[-2:].mean(0)])
    wide, climb = np.abs(ends[1] - ends[0])
    size = (climb / self.space + 0.5, wide / self.space)
    symbol = self.hands.pick("beam", self.writer, self.rng, size)
    if symbol is not None:
      self._along(symbol, ends, self.space / symbol.staff_space)

  def _along(self, symbol: Symbol, ends: np.ndarray, scale: float) -> None:
    """Draws a stroke from one point (x, y) to another, px."""
    own = hand_canvas.stroke_ends(symbol.mask)
    self.canvas.paste(symbol, hand_canvas.sheared(own, ends, scale))

  def _outline(self, mark: Mark) -> np.ndarray:
    """Points (x, y) of a shape, px."""
    element = elements.read(self.page.body[mark.drawn[0]], self.page.defs)
    if element is None or not element.lines:
      return np.zeros((0, 2))
    return np.concatenate(element.lines) * self.scale

  def _slur(self, item: Found) -> None:
    """A slur or tie that bends as the layout's does."""
    points = self._outline(item.marks[0])
    if not len(points):
      return
    left, right = points[points[:, 0].argmin()], points[points[:, 0].argmax()]
    ends = np.stack([left, right])
    wide = max(float(right[0] - left[0]), 1.0)
    middle = np.abs(points[:, 0] - ends[:, 0].mean()) < 0.15 * wide
    near = points[middle] if middle.any() else points
    wanted = float(ends[:, 1].mean() - near[:, 1].mean())
    size = ((abs(wanted) + self.space / 5) / self.space, wide / self.space)
    symbol = None
    for _ in range(_TRIES):
      symbol = self.hands.pick(item.name, self.writer, self.rng, size)
      if symbol is None or hand_canvas.bulge(symbol.mask) * wanted >= 0:
        break
    if symbol is None:
      return
    scale = self.space / symbol.staff_space
    own = hand_canvas.bulge(symbol.mask) * scale
    bend = np.clip(abs(wanted) / max(abs(own), 1e-3), *_BEND)
    sign = 1.0 if own * wanted >= 0 else -1.0
    self._along(symbol, ends, scale * float(bend) * sign)

  def barlines(self) -> None:
    """Barlines, repeats, and the lines at the beginning of systems."""
    for group in self.page.groups:
      if group.cls not in ("barLine", "system"):
        continue
      marks = [self.page.marks[i] for i in group.marks]
      lines = [m for m in marks if m.tag == "path"]
      dots = [m for m in marks if m.code == _DOT or m.tag == "ellipse"]
      spans = [(m.bounds[1], m.bounds[3]) for m in lines]
      for rows in hand_canvas.clusters(spans):
        self._barline(group, [lines[i] for i in rows], dots)

  def _barline(
    self, group: Group, lines: Sequence[Mark], dots: Sequence[Mark]
  ) -> None:
    """The lines of one barline, as far as they are connected."""
    bounds = [m.bounds for m in lines]
    drawn = []
    for columns in hand_canvas.clusters([(b[0], b[2]) for b in bounds]):
      bounds_px = self._px(union(bounds[i] for i in columns))
      heavy = bounds_px[2] - bounds_px[0] > _HEAVY * self.space
      drawn.append(
        self._upright("barlineHeavy" if heavy else "barline", bounds_px)
      )
    if group.cls == "system":
      return
    whole = self.canvas.box("measureSeparator", drawn)
    top, bottom = min(b[1] for b in bounds), max(b[3] for b in bounds)
    own = [
      self._place("repeatDot", *self._px((x0 + x1, y0 + y1)) / 2)
      for x0, y0, x1, y1 in (m.bounds for m in dots)
      if top < (y0 + y1) / 2 < bottom
    ]
    if own:
      self.canvas.box("repeat", [whole, *own])

  def _upright(self, name: str, bounds: np.ndarray) -> Box | None:
    """A line from top to bottom, as wide as its writer makes it.

    `bounds` are x0, y0, x1, y1, px.
    """
    x0, y0, x1, y1 = bounds
    size = (y1 - y0) / self.space, _WIDTH
    symbol = self.hands.pick(name, self.writer, self.rng, size)
    if symbol is None:
      return None
    scale = self.space / symbol.staff_space
    high_px, wide_px = symbol.mask.shape
    matrix = hand_canvas.scaled(
      (scale, (y1 - y0) / high_px), (wide_px / 2, 0), ((x0 + x1) / 2, y0)
    )
    return self.canvas.paste(symbol, matrix)

  def compounds(self) -> None:
    """Symbols that consist of several of the layout."""
    for boxes in self._keys.values():
      self.canvas.box("keySignature", boxes)
    tuplets: dict[int, list[Box | None]] = {}
    for index, group in enumerate(self.page.groups):
      marks = [self.page.marks[i] for i in group.marks]
      if not marks:
        continue
      if group.cls == "meterSig":
        self.canvas.box("timeSignature", self._codes(marks, _TIME))
      elif group.cls in ("tupletNum", "tupletBracket"):
        boxes = self._codes(marks, _TUPLET)
        if group.cls == "tupletBracket":
          bounds = self._px(union(m.bounds for m in marks))
          boxes = [self._stretch("tupleBracket", bounds)]
        whole = self._above(index, "tuplet")
        tuplets.setdefault(whole, []).extend(boxes)
      elif group.cls == "dynam":
        self._dynamic(marks)
      elif group.cls == "grpSym":
        self._bracket(marks)
      elif group.cls == "stem":
        self._slash(marks)
      elif group.cls in ("tempo", "dir"):
        self._text(group, marks)
    for boxes in tuplets.values():
      self.canvas.box("tuple", boxes)

  def _codes(
    self, marks: Sequence[Mark], names: dict[int, str]
  ) -> list[Box | None]:
    """Digits and signs at the places of the layout's."""
    return [
      self._place(names[m.code], *self._middle(m))
      for m in marks
      if m.code in names
    ]

  def _middle(self, mark: Mark) -> tuple[float, float]:
    x0, y0, x1, y1 = self._px(mark.bounds).tolist()
    return (x0 + x1) / 2, (y0 + y1) / 2

  def _dynamic(self, marks: Sequence[Mark]) -> None:
    """A dynamic as one writer has written it, or put together of letters."""
    signs = [m for m in marks if m.code]
    word = "".join(
      music_fonts.DYNAMICS.get(m.code, _LETTERS.get(m.code, "")) for m in signs
    )
    if not word:
      return
    x0, y0, x1, y1 = self._px(union(m.bounds for m in signs))
    symbol = self.hands.dynamics(word, self.writer, self.rng)
    if symbol is not None:
      high, wide = symbol.mask.shape
      scale = self.space / symbol.staff_space
      to = ((x0 + x1) / 2, (y0 + y1) / 2)
      matrix = hand_canvas.scaled((scale, scale), (wide / 2, high / 2), to)
      self.canvas.paste(symbol, matrix)
      return
    boxes, x = [], float(x0)
    for letter in word:
      name = f"dynamicLetter{letter.upper()}"
      box = self._place(name, x, (y0 + y1) / 2, (0.0, 0.5))
      if box is not None:
        # MUSCIMA++ boxes them twice.
        self.canvas.box(f"characterSmall{letter.upper()}", [box])
        boxes.append(box)
        x = box[3] + 0.1 * self.space
    self.canvas.box("dynamicsText", boxes)

  def _bracket(self, marks: Sequence[Mark]) -> None:
    """The bracket of some staves; braces are symbols by themselves."""
    if any(m.code == 0xE000 for m in marks) or all(
      m.tag == "path" for m in marks
    ):
      return
    self._upright("bracket", self._px(union(m.bounds for m in marks)))

  def _slash(self, marks: Sequence[Mark]) -> None:
    for mark in marks[1:]:
      wide = (mark.bounds[2] - mark.bounds[0]) / UNITS_PER_SPACE
      if wide >= _SLASH:
        self._place("graceNoteAcciaccatura", *self._middle(mark))

  def _text(self, group: Group, marks: Sequence[Mark]) -> None:
    """Words above or below a staff."""
    texts = [m for m in marks if m.tag == "text"]
    if not texts:
      return
    x0, y0, _, y1 = self._px(union(m.bounds for m in texts))
    name = "tempoText" if group.cls == "tempo" else "otherText"
    hand_extras.write(
      self.canvas, self.hands, self.writer, self.rng, self.space,
      name, texts[0].text, (float(x0), float(y0 + y1) / 2),
    )  # fmt: skip
