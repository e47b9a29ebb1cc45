"""Symbols that one vocabulary boxes as a whole, and another by its characters.

mf is one symbol of DeepScores (2017), and an m and an f of other lists; so is
the 12 of a time signature.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float


class Character(NamedTuple):
  """Measures of a glyph in units of the font; y grows upwards.

  Attributes:
    advance: from its origin to that of the next.
    left: of its ink; the others likewise.
  """

  advance: float
  left: float
  right: float
  bottom: float
  top: float


# Means of the SMuFL fonts Leipzig, Bravura, Leland and Gootville.
CHARACTERS: Mapping[str, Character] = {
  "p": Character(334, -76, 340, -163, 268),
  "m": Character(402, -28, 417, -12, 265),
  "f": Character(302, -141, 347, -179, 439),
  "r": Character(256, -17, 256, 0, 265),
  "s": Character(214, 0, 214, -9, 270),
  "z": Character(258, -33, 258, -7, 262),
  "1": Character(326, 14, 312, -247, 247),
  "2": Character(414, 14, 400, -248, 248),
  "6": Character(412, 14, 398, -246, 248),
}
# Concepts of vocabularies.csv that are boxed as a whole, and their characters.
WHOLES: Mapping[str, str] = {
  "dynamicPPPPP": "ppppp",
  "dynamicPPPP": "pppp",
  "dynamicPPP": "ppp",
  "dynamicPP": "pp",
  "dynamicMP": "mp",
  "dynamicMF": "mf",
  "dynamicFF": "ff",
  "dynamicFFF": "fff",
  "dynamicFFFF": "ffff",
  "dynamicFFFFF": "fffff",
  "dynamicFortePiano": "fp",
  "dynamicSforzando1": "sf",
  "dynamicSforzato": "sfz",
  "dynamicRinforzando2": "rfz",
  "timeSig12": "12",
  "timeSig16": "16",
}
# Characters, and their own concepts.
PARTS: Mapping[str, str] = {
  **{letter: f"dynamic{letter.upper()}" for letter in "pmfsrz"},
  **{digit: f"timeSig{digit}" for digit in "126"},
}


def split(
  word: str,
  height: float,
  width: float,
  characters: Mapping[str, Character] = CHARACTERS,
) -> Float[np.ndarray, "n 4"]:
  """Boxes (y0, x0, y1, x1) of the characters in the box of a word.

  The height of the box gives the size of the characters; their distances are
  stretched to its width, as fonts set an f closer to another than its advance.

  Args:
    word: keys of `characters`.
    height: of the ink of the word; the width likewise.
  """
  found = [characters[c] for c in word]
  top = max(c.top for c in found)
  size = height / (top - min(c.bottom for c in found))
  origins = np.cumsum([0.0] + [c.advance for c in found[:-1]])
  if origins[-1]:
    ink = found[-1].right - found[0].left
    origins *= np.clip((width / size - ink) / origins[-1], 0.4, 2.0)
  left = origins + [c.left for c in found]
  right = origins + [c.right for c in found]
  x = np.stack([left, right]) - left.min()
  x *= width / x.max()
  y = size * (top - np.array([[c.top, c.bottom] for c in found]).T)
  return np.stack([y[0], x[0], y[1], x[1]], 1)
