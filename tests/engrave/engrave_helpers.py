"""A page of a few measures, engraved and measured."""

import random
import re

import numpy as np
import verovio

from dwd_jax.engrave import (
  labels,
  music_fonts,
  smufl_classes,
  text_faces,
  verovio_svg,
)
from dwd_jax.engrave.mei_score import ScoreWriter
from dwd_jax.engrave.print_look import FONTS_OWN, Look
from dwd_jax.engrave.rarities import Rarities

V1, V2 = "deepscores_v1", "deepscores_v2"
WIDTH, HEIGHT, PX = 1050, 1485, 0.05  # 9 px a staff space
_MARGIN = 6  # px around a symbol drawn alone
INK = 48  # of 255: an edge pixel counts when a fifth of it is covered

_MEI = """<?xml version="1.0" encoding="UTF-8"?>
<mei xmlns="http://www.music-encoding.org/ns/mei" meiversion="5.0"><meiHead>
<fileDesc><titleStmt><title/></titleStmt><pubStmt/></fileDesc></meiHead>
<music><body><mdiv><score><scoreDef><staffGrp>{staves}</staffGrp></scoreDef>
<section>{measures}</section></score></mdiv></body></music></mei>"""


def svg_of(
  mei: str,
  font: str = "Leipzig",
  words: str = V1,
  look: Look = FONTS_OWN,
  **more: str | bool,
) -> str:
  """The first page of a score; `more` are options of verovio."""
  verovio.enableLog(verovio.LOG_OFF)
  toolkit = verovio.toolkit()
  options = {
    "header": "none",
    "footer": "none",
    "smuflTextFont": "none",
    "svgFormatRaw": True,
    "svgAdditionalAttribute": list(verovio_svg.ATTRIBUTES),
    **smufl_classes.get(words).options,
    **look.options,
    **more,
  }
  music_fonts.set_options(toolkit, font, look, options)
  assert toolkit.loadData(mei)
  return toolkit.renderToSVG(1)


def random_page(
  seed: int,
  font: str,
  measures: int = 12,
  words: str = V1,
  faces: text_faces.Faces | None = None,
  layout: str = "",
  **weights: float,
) -> verovio_svg.Page:
  """A page of random music.

  `layout` is a choice of that group; `weights` are changes to rarities.
  """
  rarities = Rarities({**smufl_classes.get(words).rates, **weights})
  more = random.Random(seed) if layout else None
  if layout:
    rarities.choices["layout"] = {layout: 1.0}
    rarities.rates["ossia"] = 1.0
  mei = ScoreWriter(random.Random(seed), rarities, more).write(measures)
  return verovio_svg.read_page(svg_of(mei, font, words), font, faces=faces)


def objects(page: verovio_svg.Page, words: str = V1) -> list[labels.Found]:
  """Its symbols."""
  return labels.page_objects(page, smufl_classes.get(words))


def measure(
  layer: str,
  marks: str = "",
  clef: str = 'shape="G" line="2"',
  signs: str = "",
  font: str = "Leipzig",
  words: str = V1,
  **more: bool,
) -> list[labels.Found]:
  """What is found in one measure of one staff; `more` as of `svg_of`."""
  staff = f'<staffDef n="1" lines="5"><clef {clef}/>{signs}</staffDef>'
  content = (
    f'<measure n="1"><staff n="1"><layer n="1">{layer}</layer>'
    f"</staff>{marks}</measure>"
  )
  mei = _MEI.format(staves=staff, measures=content)
  svg = svg_of(mei, font, words, **more)
  return objects(verovio_svg.read_page(svg, font), words)


def names(layer: str, **more: str | int) -> list[str]:
  """Classes found in one measure of one staff; see `measure`."""
  return [found.name for found in measure(layer, **more)]


def draw_alone(page, found):
  """Draws one symbol in its place; gives ink and the corner's (x, y)."""
  px = PX
  x0, y0, x1, y1 = (v * px for v in found.bounds)
  left, top = int(np.floor(x0)) - _MARGIN, int(np.floor(y0)) - _MARGIN
  width, height = (
    int(np.ceil(x1)) + _MARGIN - left,
    int(np.ceil(y1)) + _MARGIN - top,
  )
  body = "".join(
    page.body[i] for mark in found.marks for i in range(*mark.drawn)
  )
  used = set(re.findall(r'#([\w-]+)"', body))
  defs = "".join(page.defs[key] for key in sorted(used))
  svg = (
    '<svg xmlns="http://www.w3.org/2000/svg" '
    'xmlns:xlink="http://www.w3.org/1999/xlink" '
    f'width="{width}" height="{height}" viewBox="{left / px} {top / px} '
    f'{width / px} {height / px}"><defs>{defs}</defs>'
    f'<g stroke="#000" stroke-width="0">{body}</g></svg>'
  )
  return (
    255 - verovio_svg.to_array(verovio_svg.render(svg)).astype(int),
    left,
    top,
  )


def has_own_drawing(found):
  """A clef and its octave number are one glyph: not to be drawn alone."""
  words = smufl_classes.get(V1)
  clef = "Clef" in found.name or found.name.startswith("clef")
  known = words.glyphs.get(found.marks[0].code, "cClef")
  return not clef or found.name.startswith(known)


def edge_errors(page, found):
  """Distance in px of the four edges from the first and last inked pixel."""
  ink, left, top = draw_alone(page, found)
  ys, xs = np.nonzero(ink >= INK)
  x0, y0, x1, y1 = (v * PX for v in found.bounds)
  return np.abs(
    [
      left + xs.min() - x0,
      top + ys.min() - y0,
      left + xs.max() + 1 - x1,
      top + ys.max() + 1 - y1,
    ]
  )
