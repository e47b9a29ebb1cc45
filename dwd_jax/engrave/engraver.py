"""One score -> its pages: verovio, boxes, raster. Runs in a worker process."""

import dataclasses
import random
import zlib
from collections import Counter

import numpy as np
import verovio

from dwd_jax.engrave import (
  handwriting,
  label_image,
  labels,
  onsets,
  page_degradation,
  smufl_classes,
  verovio_svg,
)
from dwd_jax.engrave.deepscores_folder import Annotated, annotation_xml
from dwd_jax.engrave.mei_score import ScoreWriter
from dwd_jax.engrave.rarities import Rarities
from dwd_jax.engrave.strokes import Strokes

# Measures that more than fill a page of 1050 x 1485 px at 9 px per staff space;
# what does not fit is not drawn.
_MEASURES = {
  "solo": 62, "percussion": 75, "piano": 26, "duo": 18, "quartet": 10,
  "choir": 10, "band": 11,
}  # fmt: skip
_STANDARD_AREA = 1050 * 1485 / 9**2
_MAX_PAGES = 12  # of one foreign file, so that none fills a data set


@dataclasses.dataclass(frozen=True)
class EngraveTask:
  """One score to engrave; decides everything on its pages.

  Fields before `index` are arguments of `dataset.generate`.

  Attributes:
    index: number of the score; with the seed it decides all that is random.
    path: a music file; "" = a random score.
    stem: beginning of the page names.
  """

  seed: int
  fonts: tuple[str, ...]
  width: int = 1050
  height: int = 1485
  staff_space: float = 9.0
  jitter: float = 0.0
  vocabulary: str = "deepscores_v1"
  weights: dict[str, float] = dataclasses.field(default_factory=dict)
  pixel_labels: bool = False
  handwriting: float = 0.0
  degrade: str = ""
  strength: float = 1.0
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
  rng = random.Random(f"{task.seed}/{task.index}")
  font = rng.choice(task.fonts)
  space = task.staff_space * (1 + task.jitter * rng.uniform(-1, 1))
  px_per_unit = space / verovio_svg.UNITS_PER_SPACE
  toolkit.resetOptions()
  words = smufl_classes.get(task.vocabulary)
  options = _options(rng, task, font, px_per_unit)
  drawn = random.Random(f"{task.seed}/{task.index}/options")
  some = {name: drawn.random() < s for name, s in words.sometimes.items()}
  toolkit.setOptions({**options, **words.options, **some})
  if task.path:
    pages, mei = _MAX_PAGES, ""
    if not toolkit.loadFile(task.path):
      raise ValueError("verovio cannot read it")
  else:
    pages = rng.choice((1, 1, 2))
    score = ScoreWriter(rng, Rarities({**words.rates, **task.weights}))
    area = task.width * task.height / space**2 / _STANDARD_AREA
    measures = max(4, round(_MEASURES[score.kind] * area * pages))
    mei = score.write(measures)
    if not toolkit.loadData(mei):
      raise ValueError("verovio cannot read the generated score")
  numbers = range(1, min(pages, toolkit.getPageCount()) + 1)
  drawn = [toolkit.renderToSVG(number) for number in numbers]
  starts = onsets.of_score(mei or toolkit.getMEI())
  found = []
  for number, svg in zip(numbers, drawn, strict=True):
    name = f"{task.stem}-{font.lower()}-page-{number}"
    page = _page(task, svg, name, font, px_per_unit, starts)
    if page is not None:
      found.append(page)
  if not found:
    raise ValueError("no symbols on its pages")
  return found


def _options(
  rng: random.Random, task: EngraveTask, font: str, px_per_unit: float
) -> dict:
  # Page sizes are in tenths of units; headers are text only.
  return {
    "font": font,
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


def _page(
  task: EngraveTask,
  svg: str,
  name: str,
  font: str,
  px_per_unit: float,
  starts: dict[str, float],
) -> EngravedPage | None:
  """Boxes and raster of one page; None if it has no symbols."""
  page = verovio_svg.read_page(svg, font)
  words = smufl_classes.get(task.vocabulary)
  objects = labels.page_objects(page, words, starts)
  spaces = Strokes(page).has_spaces()
  if task.handwriting:
    hand = np.random.default_rng(zlib.crc32(f"{task.seed}/{name}".encode()))
    page, objects = handwriting.write(page, objects, hand, task.handwriting)
  symbols, shown = [], []
  for item in objects:
    x0, y0, x1, y1 = item.bounds
    whole = (y1 - y0) * (x1 - x0) * px_per_unit**2
    x0, x1 = (min(max(x * px_per_unit, 0), task.width) for x in (x0, x1))
    y0, y1 = (min(max(y * px_per_unit, 0), task.height) for y in (y0, y1))
    # A symbol with less than half of its area on the page is not there.
    if (y1 - y0) * (x1 - x0) > 0.5 * whole:
      own = item.corners[:, ::-1] * px_per_unit
      symbols.append(
        Annotated(item.name, (y0, x0, y1, x1), own, item.position, item.onset)
      )
      shown.append(item)
  if not symbols:
    return None
  drawing = verovio_svg.to_svg(page, task.width, task.height, px_per_unit)
  image = verovio_svg.render(drawing)
  hw = (task.height, task.width)
  pixels = b""
  if task.pixel_labels:
    pixels = label_image.draw(page, shown, words.names, hw, px_per_unit)
  space = px_per_unit * verovio_svg.UNITS_PER_SPACE
  lost, depth = 0, 1
  if task.degrade:
    done = page_degradation.degrade_page(
      255 - verovio_svg.to_array(image),
      symbols,
      pixels,
      recipe=task.degrade,
      strength=task.strength,
      staff_space_px=space,
      key=f"{task.seed}/{name}",
    )
    if not done.objects:
      return None
    lost = len(symbols) - len(done.objects)
    symbols = done.objects
    png, pixels, depth = done.png, done.labels, done.depth
  else:
    png = verovio_svg.to_png(image)
  xml = annotation_xml(f"{name}.png", hw, symbols, depth)
  counts = dict(Counter(symbol.name for symbol in symbols))
  seen = round(space, 4) if spaces else None
  return EngravedPage(
    name, png, xml, counts, labels=pixels, staff_space=seen, lost=lost
  )
