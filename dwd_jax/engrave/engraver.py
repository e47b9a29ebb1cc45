"""One score -> its pages: verovio, boxes, raster. Runs in a worker process."""

import dataclasses
import pathlib
import random
import zlib
from collections import Counter
from collections.abc import Mapping

import numpy as np
import pyvips
import verovio

from dwd_jax.engrave import (
  bare_strokes,
  font_files,
  hand_page,
  hands,
  handwriting,
  label_image,
  labels,
  music_files,
  music_fonts,
  onsets,
  page_degradation,
  page_spacing,
  page_texts,
  print_look,
  smufl_classes,
  verovio_svg,
)
from dwd_jax.engrave.deepscores_folder import Annotated, annotation_xml
from dwd_jax.engrave.mei_score import ScoreWriter
from dwd_jax.engrave.rarities import Rarities
from dwd_jax.engrave.strokes import Strokes
from dwd_jax.engrave.text_faces import Faces
from dwd_jax.engrave.text_fonts import TextFont

# Measures that more than fill a page of 1050 x 1485 px at 9 px per staff space;
# what does not fit is not drawn.
_MEASURES = {
  "solo": 62, "percussion": 75, "piano": 26, "duo": 18, "quartet": 10,
  "choir": 10, "band": 11, "reduced_solo": 18, "orchestra": 5,
  "closed_choir": 18, "tablature": 30, "one_line": 34,
}  # fmt: skip
_CLOSER = 1.8  # times as many, in layouts that hands draw
_STANDARD_AREA = 1050 * 1485 / 9**2
_STAFF_SPACES = 9.5  # height of a staff of an orchestra with its share of air
_NOTES = 400  # more than fill such a page with music from files


@dataclasses.dataclass(frozen=True)
class EngraveTask:
  """One score to engrave; decides everything on its pages.

  Fields before `index` are arguments of `dataset.generate`.

  Attributes:
    fonts: names of verovio's music fonts, and paths of others.
    index: number of the score; with the seed it decides all that is random.
    path: a music file, of which an excerpt is taken; "" = a random score.
    stem: beginning of the page names.
    text_fonts: fields of `TextFont`s that texts may be set in.
  """

  seed: int
  fonts: tuple[str, ...]
  width: int = 1050
  height: int = 1485
  staff_space: float = 9.0
  jitter: float = 0.0
  variation: float = 0.0
  vocabulary: str = "deepscores_v1"
  weights: dict[str, float] = dataclasses.field(default_factory=dict)
  pixel_labels: bool = False
  handwriting: float = 0.0
  hands: str = ""
  degrade: str = ""
  strength: float = 1.0
  text_fonts: tuple[tuple, ...] = ()
  index: int = 0
  path: str = ""
  stem: str = ""


@dataclasses.dataclass(frozen=True)
class EngravedPage:
  """A finished page.

  Attributes:
    name: without extension.
    counts: objects per class.
    labels: PNG of the label image, b"" if none was asked for.
    staff_space: distance of two staff lines, px; None if all staves have a
      single line.
    lost: symbols that a degradation moved off the page.
  """

  name: str
  png: bytes
  xml: bytes
  counts: dict[str, int]
  labels: bytes = b""
  staff_space: float | None = None
  lost: int = 0


def engrave(task: EngraveTask, toolkit: verovio.toolkit) -> list[EngravedPage]:
  """Engraves a score.

  Returns:
    Its pages, the same for equal tasks, whatever was engraved before.

  Raises:
    ValueError: verovio cannot read the file, or finds no symbols.
  """
  score = _Score(task)
  if page := score.text_page():
    return [page]
  most, mei = score.lay_out(toolkit)
  numbers = range(1, min(most, toolkit.getPageCount()) + 1)
  drawings = [toolkit.renderToSVG(number) for number in numbers]
  starts = onsets.of_score(mei or toolkit.getMEI())
  pages = [
    page
    for number, svg in zip(numbers, drawings, strict=True)
    if (page := score.page(number, svg, starts))
  ]
  if not pages:
    raise ValueError("no symbols on its pages")
  return pages


class _Score:
  """A score on its way to its pages; all that is random is drawn in order."""

  def __init__(self, task: EngraveTask):
    self.task = task
    self.words = smufl_classes.get(task.vocabulary)
    self.weights = Rarities({**self.words.rates, **task.weights})
    self.rng = random.Random(f"{task.seed}/{task.index}")
    self.texts = random.Random(f"texts {task.seed}/{task.index}")
    self.font = _font(self.rng, task)
    self.space = task.staff_space * (1 + task.jitter * self.rng.uniform(-1, 1))
    self.px_per_unit = self.space / verovio_svg.UNITS_PER_SPACE
    self.size = task.width / self.px_per_unit, task.height / self.px_per_unit
    own = random.Random(f"{task.seed}/{task.index}/look")
    head = music_fonts.head_height(self.font)
    self.look = print_look.draw(own, task.variation, head)
    self.faces = _faces(task, self.weights)

  def text_page(self) -> EngravedPage | None:
    """A page of text alone; None = the score has music."""
    task, weights = self.task, self.weights
    if task.path or not weights.happens(self.texts, "text_page"):
      return None
    page = page_texts.text_page(self.faces, self.texts, self.size, self.font)
    return self._finished(page, [], f"{task.stem}-text-page-1", None)

  def lay_out(self, toolkit: verovio.toolkit) -> tuple[int, str]:
    """Loads the score into verovio.

    Returns:
      How many pages to take at most; its MEI, "" if it is from a file.
    """
    task = self.task
    toolkit.resetOptions()
    options = _options(self.rng, task, self.px_per_unit)
    pages = self.rng.choice((1, 1, 2))
    layout = random.Random(f"{task.seed}/{task.index}/layout")
    spacing = self.weights.pick(layout, "spacing")
    options |= page_spacing.options(layout, spacing, options["pageWidth"])
    drawn = random.Random(f"{task.seed}/{task.index}/options")
    some = {k: drawn.random() < v for k, v in self.words.sometimes.items()}
    options |= {
      **_text_options(self.texts),
      **self.words.options,
      **self.look.options,
      **some,
    }
    # The format is no option that `resetOptions` would forget.
    options["inputFrom"] = "mei"
    music_fonts.set_options(toolkit, self.font, self.look, options)
    toolkit.select({})
    area = task.width * task.height / self.space**2 / _STANDARD_AREA
    area *= _CLOSER if self.words.layout else 1.0
    if task.path:
      self._load_file(toolkit, max(40, round(_NOTES * area * pages)))
      return pages, ""
    most = max(2, int(task.height / self.space / _STAFF_SPACES) - 1)
    score = ScoreWriter(self.rng, self.weights, layout, most)
    if score.kind == "orchestra":
      toolkit.setOptions(page_spacing.ORCHESTRA)
    area *= page_spacing.FULLNESS.get(spacing, 1.0)
    measures = max(4, round(_MEASURES[score.kind] * area * pages))
    if spacing == "snippet":
      measures = layout.randrange(1, 9)
    mei = score.write(measures)
    if not toolkit.loadData(mei):
      raise ValueError("verovio cannot read the generated score")
    return pages, mei

  def _load_file(self, toolkit: verovio.toolkit, notes: int) -> None:
    """Loads an excerpt of about that many notes."""
    task = self.task
    rng = random.Random(f"{task.seed}/{task.index}/file")
    path = pathlib.Path(task.path)
    music = music_files.excerpt(path, rng, self.weights, notes)
    toolkit.setOptions(music.options)
    if music.measures:
      toolkit.select({"measureRange": music.measures})
    if not toolkit.loadData(music.data):
      raise ValueError("verovio cannot read it")

  def page(
    self, number: int, svg: str, starts: Mapping[str, float]
  ) -> EngravedPage | None:
    """One page of verovio's; None if nothing is on it.

    Args:
      starts: onsets by id.
    """
    font = font_files.page_name(self.font)
    name = f"{self.task.stem}-{font}-page-{number}"
    page = verovio_svg.read_page(svg, self.font, self.look, self.faces)
    rng = random.Random(f"{self.task.seed}/{name}/strokes")
    bare_strokes.vary(page, rng, self.weights)
    self._add_texts(page, name)
    strokes = Strokes(page)
    layout = self.words.layout or self.words.name
    known = smufl_classes.get(layout)
    objects = labels.page_objects(page, known, starts, strokes)
    seen = round(self.space, 4) if strokes.has_spaces() else None
    done = self._finished(page, objects, name, seen)
    return done if done.counts or strokes.tablature else None

  def _add_texts(self, page: verovio_svg.Page, name: str) -> None:
    """Draws on a page what verovio does not."""
    rng = random.Random(f"texts {self.task.seed}/{name}")
    texts = page_texts.PageTexts(page, self.faces, rng, self.size)
    if self.weights.happens(rng, "page_texts"):
      texts.prose()
      texts.margins()
    if self.task.path:
      return
    if self.weights.happens(rng, "fingers_beside"):
      texts.fingers()
    if self.weights.happens(rng, "expressions"):
      texts.expressions()

  def _finished(
    self,
    page: verovio_svg.Page,
    objects: list[labels.Found],
    name: str,
    staff_space: float | None,
  ) -> EngravedPage:
    """Boxes and raster of one page."""
    task, scale = self.task, self.px_per_unit
    hw = (task.height, task.width)
    if task.hands:
      symbols, ink = self._by_hand(page, objects, name)
      return self._encoded(name, symbols, ink, b"", staff_space)
    if task.handwriting:
      hand = np.random.default_rng(zlib.crc32(f"{task.seed}/{name}".encode()))
      page, objects = handwriting.write(page, objects, hand, task.handwriting)
    symbols, shown = [], []
    for item in objects:
      x0, y0, x1, y1 = item.bounds
      whole = (y1 - y0) * (x1 - x0) * scale**2
      x0, x1 = (min(max(x * scale, 0), task.width) for x in (x0, x1))
      y0, y1 = (min(max(y * scale, 0), task.height) for y in (y0, y1))
      # A symbol with less than half of its area on the page is not there.
      if (y1 - y0) * (x1 - x0) > 0.5 * whole:
        own = item.corners[:, ::-1] * scale
        symbols.append(
          Annotated(item.name, (y0, x0, y1, x1), own, item.position, item.onset)
        )
        shown.append(item)
    drawing = verovio_svg.to_svg(page, task.width, task.height, scale)
    image = verovio_svg.render(drawing)
    pixels = b""
    if task.pixel_labels:
      pixels = label_image.draw(page, shown, self.words.names, hw, scale)
    ink = 255 - verovio_svg.to_array(image)
    return self._encoded(name, symbols, ink, pixels, staff_space)

  def _by_hand(
    self, page: verovio_svg.Page, objects: list[labels.Found], name: str
  ) -> tuple[list[Annotated], np.ndarray]:
    """The symbols and the ink of a page that a writer draws."""
    task = self.task
    rng = np.random.default_rng(zlib.crc32(f"{task.seed}/{name}".encode()))
    canvas = hand_page.draw(
      page,
      objects,
      hands.load(task.hands),
      rng,
      (task.height, task.width),
      self.px_per_unit,
    )
    return canvas.drawn, canvas.ink.astype(np.uint8) * 255

  def _encoded(
    self,
    name: str,
    symbols: list[Annotated],
    ink: np.ndarray,
    pixels: bytes,
    staff_space: float | None,
  ) -> EngravedPage:
    """A page as files, degraded if asked for."""
    task, scale = self.task, self.px_per_unit
    lost, depth = 0, 1
    if task.degrade:
      done = page_degradation.degrade_page(
        ink,
        symbols,
        pixels,
        recipe=task.degrade,
        strength=task.strength,
        staff_space_px=scale * verovio_svg.UNITS_PER_SPACE,
        key=f"{task.seed}/{name}",
      )
      lost = len(symbols) - len(done.objects)
      symbols = done.objects
      png, pixels, depth = done.png, done.labels, done.depth
    else:
      png = verovio_svg.to_png(pyvips.Image.new_from_array(255 - ink))
    hw = (task.height, task.width)
    xml = annotation_xml(f"{name}.png", hw, symbols, depth)
    counts = dict(Counter(symbol.name for symbol in symbols))
    return EngravedPage(
      name, png, xml, counts, labels=pixels, staff_space=staff_space, lost=lost
    )


def _font(rng: random.Random, task: EngraveTask) -> str:
  """Draws a design, then one of its files."""
  designs: dict[str, list[str]] = {}
  for font in task.fonts:
    designs.setdefault(font_files.design(font), []).append(font)
  files = rng.choice(list(designs.values()))
  own = random.Random(f"{task.seed}/{task.index}/font")
  return own.choice(files)


def _options(rng: random.Random, task: EngraveTask, px_per_unit: float) -> dict:
  # Page sizes are in tenths of units; headers are text only.
  return {
    "pageWidth": round(task.width / px_per_unit / 10),
    "pageHeight": round(task.height / px_per_unit / 10),
    "pageMarginLeft": rng.randrange(60, 120),
    "pageMarginRight": rng.randrange(50, 100),
    "pageMarginTop": rng.randrange(50, 140),
    "pageMarginBottom": rng.randrange(50, 100),
    "scale": 100,
    "header": "auto" if task.path else "encoded",
    "footer": "none",
    "breaks": "auto",
    "justifyVertically": True,
    "justificationMaxVertical": 0.3,
    "spacingStaff": rng.randrange(8, 13),
    "spacingSystem": rng.randrange(4, 10),
    "spacingLinear": rng.uniform(0.2, 0.3),
    "spacingNonLinear": rng.uniform(0.52, 0.65),
    "staffLineWidth": rng.uniform(0.13, 0.2),
    "xmlIdSeed": 1,
    "smuflTextFont": "none",
    "svgFormatRaw": True,
    "svgAdditionalAttribute": list(verovio_svg.ATTRIBUTES),
  }


def _faces(task: EngraveTask, weights: Rarities) -> Faces:
  """Draws the faces of a score; on them alone its fonts have an influence."""
  rng = random.Random(f"faces {task.seed}/{task.index}")
  if not weights.happens(rng, "text_faces"):
    return Faces()
  return Faces(rng, [TextFont(*font) for font in task.text_fonts])


def _text_options(rng: random.Random) -> dict:
  return {
    "fingeringScale": rng.uniform(0.65, 1.0),
    "lyricSize": rng.uniform(3.5, 5.2),
    "mnumInterval": rng.choice((0, 0, 0, 0, 1, 5, 10)),
  }
