"""Words boxed as a whole, and by their characters."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dwd_jax.core import compounds, vocabulary
from dwd_jax.engrave import verovio_fonts

_CODES = {
  **{letter: 0xE520 + i for i, letter in enumerate("pmfrsz")},
  **{digit: 0xE080 + int(digit) for digit in "126"},
}
_GLYPHS = {
  "ppp": 0xE52A, "mp": 0xE52C, "mf": 0xE52D, "ff": 0xE52F, "fffff": 0xE532,
  "fp": 0xE534, "sf": 0xE536, "sfz": 0xE539, "rfz": 0xE53D,
}  # fmt: skip


def _glyph(code, font):
  """Advance and bounds of a glyph of verovio."""
  found = verovio_fonts.read(font).metrics(code)
  return found.advance, found.bounds


def _iou(a, b):
  sides = np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2])
  both = sides.clip(0).prod(1)
  one, two = ((x[:, 2:] - x[:, :2]).prod(1) for x in (a, b))
  return both / (one + two - both)


@given(
  word=st.sampled_from(sorted(compounds.WHOLES.values())),
  height=st.floats(1, 500),
  width=st.floats(1, 500),
)
def test_characters_fill_the_box_from_left_to_right(word, height, width):
  boxes = compounds.split(word, height, width)
  assert boxes.shape == (len(word), 4)
  np.testing.assert_allclose(boxes[:, :2].min(0), 0, atol=1e-6)
  np.testing.assert_allclose(boxes[:, 2:].max(0), [height, width], rtol=1e-6)
  assert (boxes[:, 2:] > boxes[:, :2]).all()
  assert (np.diff(boxes[:, [1, 3]].sum(1)) > 0).all()


@pytest.mark.parametrize("font", ["Leipzig", "Bravura", "Leland", "Gootville"])
def test_characters_lie_where_fonts_draw_them(font):
  own = {}
  for character, code in _CODES.items():
    advance, (x0, y0, x1, y1) = _glyph(code, font)
    own[character] = compounds.Character(advance, x0, x1, y0, y1)
  for word, code in _GLYPHS.items():
    _, (x0, y0, x1, y1) = _glyph(code, font)
    true = compounds.split(word, y1 - y0, x1 - x0, own)
    assert _iou(compounds.split(word, y1 - y0, x1 - x0), true).min() > 0.55


def test_concepts_are_rows_of_the_table():
  concepts = {row["concept"] for row in vocabulary.table()}
  assert {*compounds.WHOLES, *compounds.PARTS.values()} <= concepts
  assert set("".join(compounds.WHOLES.values())) <= set(compounds.PARTS)
