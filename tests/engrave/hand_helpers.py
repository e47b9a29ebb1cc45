"""Hands of two made-up writers: every class that layouts ask for."""

import numpy as np

from dwd_jax.engrave import hand_page, hands
from dwd_jax.imaging import masks

SPACE = 20
WRITERS = (3, 8)
SOURCE = "made up by tests"
# Height and width in px; others are 16 x 12.
_SIZES = {
  "stem": (70, 4), "barline": (84, 4), "barlineHeavy": (84, 12),
  "beam": (10, 90), "slur": (24, 120), "tie": (12, 80), "gClef": (120, 40),
  "glissando": (30, 60), "dynamicCrescendoHairpin": (30, 160),
  "dynamicDiminuendoHairpin": (30, 160), "brace": (200, 20),
  "bracket": (200, 12), "arpeggio": (80, 12), "characterDot": (5, 5),
}  # fmt: skip
_LAYOUT = sorted({
  *hand_page.GLYPHS.values(), *hand_page.STRETCHED.values(),
  *_SIZES, "accidentalFlat", "accidentalNatural", "accidentalSharp",
  "flag8thUp", "flag8thDown", "flag16thUp", "flag16thDown", "repeatDot",
  *(f"numeral{i}" for i in range(10)), "timeSigCommon", "timeSigCutCommon",
  "tupleBracket", "graceNoteAcciaccatura", "otherText", "tempoText",
  *(f"dynamicLetter{c}" for c in "PMFRSZ"),
  *(f"characterSmall{c}" for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"),
})  # fmt: skip


def mask_of(name: str, rng: np.random.Generator) -> np.ndarray:
  """An ellipse, or a line for a stroke; it touches all edges."""
  high, wide = _SIZES.get(name, (16, 12))
  if min(high, wide) <= 12 and max(high, wide) > 40:
    return np.ones((high, wide), bool)
  y, x = (np.indices((high, wide)) + 0.5) / [[[high]], [[wide]]] * 2 - 1
  if name in ("slur", "tie"):  # an arch
    return np.abs(y - (2 * x**2 - 1)) < 0.5
  found = np.hypot(x, y) <= 1 + 0.3 * rng.random()
  found[high // 2], found[:, wide // 2] = True, True
  return found


def table() -> hands.Table:
  """A page by each writer; `pp` and a text have parts."""
  names = [*_LAYOUT, "dynamicsText", "staffGrouping"]
  ids = {name: i for i, name in enumerate(names)}
  rng = np.random.default_rng(0)
  rows, runs = [], []

  def add(name, writer, mask, top, left, parent=-1):
    rows.append(
      (ids[name], writer, (top, left, *np.add((top, left), mask.shape)), parent)
    )
    runs.append(masks.encode_mask(mask))
    return len(rows) - 1

  for writer in WRITERS:
    for name in _LAYOUT:
      if name == "glissando" and writer == WRITERS[1]:
        continue
      for _ in range(2):
        add(name, writer, mask_of(name, rng), 100, 50)
    word = np.ones((16, 30), bool)
    word[:, 14:16] = False
    whole = add("dynamicsText", writer, word, 200, 60)
    for left in (60, 76):
      letter = np.ones((16, 14), bool)
      add("dynamicLetterP", writer, letter, 200, left, whole)
      add("characterSmallP", writer, letter, 200, left, whole)
  labels, writers, boxes, parents = zip(*rows, strict=True)
  n = len(rows)
  mask_runs, mask_stops = masks.join(runs)
  return hands.Table(
    class_names=np.array(names),
    source=np.array(SOURCE),
    labels=np.array(labels, np.int32),
    writers=np.array(writers, np.int32),
    pages=(np.array(writers) == WRITERS[1]).astype(np.int32),
    boxes_yxyx=np.array(boxes, np.int32),
    middle_y=np.full(n, 140, np.float32),
    staff_spaces=np.full(n, float(SPACE)),
    line_px=np.full(n, 2.0),
    parents=np.array(parents, np.int32),
    mask_runs=mask_runs,
    mask_stops=mask_stops,
  )
