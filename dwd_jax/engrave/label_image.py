"""Label images: the class of every pixel of an engraved page."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import pyvips

from dwd_jax.engrave import outlines, verovio_svg
from dwd_jax.engrave.labels import Found

_OPAQUE = 128  # of 255
_SLACK = 1.0  # page units by which marks may extend beyond their box


def draw(
  page: verovio_svg.Page,
  objects: Sequence[Found],
  class_names: Sequence[str],
  hw: tuple[int, int],
  px_per_unit: float,
) -> bytes:
  """Draws every symbol in the grey value of its class, without smoothing.

  Of two symbols on a pixel the one with the smaller box wins, such as a
  notehead over its staff line.

  Args:
    class_names: of the vocabulary, at most 255.

  Returns:
    A PNG file, 8-bit grey: index of the class in `class_names` + 1; 0 = no
    class.
  """
  values = {name: i + 1 for i, name in enumerate(class_names)}
  body, defs = [], dict(page.defs)
  for i, item in enumerate(sorted(objects, key=_area, reverse=True)):
    grey = "#" + 3 * f"{values[item.name]:02x}"
    clip = ""
    if not _inside(item):  # a part of a glyph, such as the 8 below a clef
      x0, y0, x1, y1 = item.bounds
      defs[f"clip{i}"] = (
        f'<clipPath id="clip{i}"><rect x="{x0:.6f}" y="{y0:.6f}"'
        f' width="{x1 - x0:.6f}" height="{y1 - y0:.6f}"/></clipPath>'
      )
      clip = f' clip-path="url(#clip{i})"'
    body.append(f'<g fill="{grey}" stroke="{grey}" color="{grey}"{clip}>')
    for mark in item.marks:
      body += page.body[mark.drawn[0] : mark.drawn[1]]
    body.append("</g>")
  drawing = dataclasses.replace(
    page, body=['<g shape-rendering="crispEdges">', *body, "</g>"], defs=defs
  )
  svg = verovio_svg.to_svg(drawing, hw[1], hw[0], px_per_unit)
  return verovio_svg.to_png(_values(svg))


def _area(item: Found) -> float:
  x0, y0, x1, y1 = item.bounds
  return (x1 - x0) * (y1 - y0)


def _inside(item: Found) -> bool:
  """Whether everything that a symbol is drawn with lies in its box."""
  drawn = outlines.union(mark.bounds for mark in item.marks)
  wide = outlines.grow(item.bounds, _SLACK)
  return outlines.union((drawn, wide)) == wide


def _values(svg: str) -> pyvips.Image:
  """Grey values where the drawing is opaque, else 0."""
  image = pyvips.Image.svgload_buffer(svg.encode())
  pixels = image.numpy()  # pyright: ignore
  grey = np.where(pixels[..., 3] >= _OPAQUE, pixels[..., 0], 0)
  return pyvips.Image.new_from_array(grey.astype(np.uint8))
