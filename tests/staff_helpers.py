"""Pages of plain staves."""

import numpy as np


def staves(space_px, hw=(700, 500), thickness=1, lines=5, gap_spaces=11):
  """Staves all over a page; the space is that of the lines' upper edges."""
  ink = np.zeros(hw, np.uint8)
  top = 2 * space_px
  while top + (lines - 1) * space_px + thickness < hw[0]:
    for k in range(lines):
      y = round(top + k * space_px)
      ink[y : y + thickness, hw[1] // 20 : -hw[1] // 20] = 255
    top += gap_spaces * space_px
  return ink
