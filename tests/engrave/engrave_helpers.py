"""A page of a few measures, engraved and measured."""

import random

import verovio

from dwd_jax.engrave import labels, verovio_svg, vocabulary
from dwd_jax.engrave.mei_score import ScoreWriter
from dwd_jax.engrave.weights import Weights

WIDTH, HEIGHT, PX = 1050, 1485, 0.05  # 9 px a staff space

_MEI = """<?xml version="1.0" encoding="UTF-8"?>
<mei xmlns="http://www.music-encoding.org/ns/mei" meiversion="5.0"><meiHead>
<fileDesc><titleStmt><title/></titleStmt><pubStmt/></fileDesc></meiHead>
<music><body><mdiv><score><scoreDef><staffGrp>{staves}</staffGrp></scoreDef>
<section>{measures}</section></score></mdiv></body></music></mei>"""


def svg_of(mei: str, font: str = "Leipzig") -> str:
  """The first page of a score."""
  verovio.enableLog(verovio.LOG_OFF)
  toolkit = verovio.toolkit()
  toolkit.setOptions(
    {
      "font": font,
      "header": "none",
      "footer": "none",
      "smuflTextFont": "none",
      "svgFormatRaw": True,
      "svgAdditionalAttribute": ["note@grace", "chord@grace"],
    }
  )
  assert toolkit.loadData(mei)
  return toolkit.renderToSVG(1)


def random_page(seed: int, font: str, measures: int = 12) -> verovio_svg.Page:
  """A page of random music."""
  mei = ScoreWriter(random.Random(seed), Weights()).write(measures)
  return verovio_svg.read_page(svg_of(mei, font), font)


def objects(page: verovio_svg.Page) -> list[labels.Found]:
  """Its symbols."""
  return labels.page_objects(page, vocabulary.get("deepscores_v1"))


def names(
  layer: str,
  marks: str = "",
  clef: str = 'shape="G" line="2"',
  signs: str = "",
  font: str = "Leipzig",
) -> list[str]:
  """Classes found in one measure of one staff."""
  staff = f'<staffDef n="1" lines="5"><clef {clef}/>{signs}</staffDef>'
  measure = (
    f'<measure n="1"><staff n="1"><layer n="1">{layer}</layer>'
    f"</staff>{marks}</measure>"
  )
  svg = svg_of(_MEI.format(staves=staff, measures=measure), font)
  return [f.name for f in objects(verovio_svg.read_page(svg, font))]
