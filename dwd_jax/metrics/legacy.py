"""What the original's evaluation leaves out: classes by name, large objects.

The lists are those of tuggeluk/DeepWatershedDetection at commit 5c314f1
(lib/datasets/deep_scores.py, deep_scores_300dpi.py, musicma.py), where its
check_number_symbols.py found no object in the training or the test pages. For
the photos (deep_scores_ipad.py) it gives numbers in a list of classes that is
not published.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool

from dwd_jax.core import boxes as boxes_lib
from dwd_jax.core.structs import PageBoxes
from tfds_builders.muscima_pp import muscima_pp_parsing as muscima_pp

_DENSE = frozenset({
  "articStaccatissimoBelow", "dynamicPPPPP", "dynamicRinforzando2",
  "flag64thDown", "flag8thDownSmall", "flag8thUpSmall", "noteheadDoubleWhole",
  "noteheadDoubleWholeSmall", "restMaxima", "timeSig12", "timeSig16",
})  # fmt: skip
_300DPI = _DENSE | {
  "articMarcatoAbove", "articMarcatoBelow", "articStaccatissimoAbove",
  "articTenutoBelow", "caesura", "clef15", "dynamicFortePiano", "dynamicPPP",
  "fingering0", "fingering1", "fingering2", "fingering3", "fingering4",
  "fingering5", "flag128thDown", "flag128thUp", "flag32ndUp", "flag64thUp",
  "noteheadHalfSmall", "noteheadWholeSmall", "rest128th", "rest32nd",
  "rest64th", "restDoubleWhole", "restHBar", "restLonga", "timeSig0",
  "timeSig5", "timeSig9",
}  # fmt: skip
# In the spelling of v1.0, which the original used, and of v2.0.
_MUSCIMA_PP = muscima_pp.LEGACY_CLASSES | {
  'arpeggio_"wobble"', "arpeggio", "curved-line_(tie-or-slur)",
  "dotted_horizontal_spanner", "dottedHorizontalSpanner", "letter_E",
  "characterCapitalE", "letter_S", "characterCapitalS", "letter_g",
  "characterSmallG", "letter_other", "characterOther", "numeral_0", "numeral0",
  "other-clef", "transposition_text", "transpositionText", 'trill_"wobble"',
  "wiggleTrill", "tuple_bracket/line", "tupleBracket",
}  # fmt: skip
# At commit 7ff2140 (deep_scoresV2.py).
_DEEPSCORES_V2 = frozenset({"staff", "legerLine"})


def is_judged(
  class_names: Sequence[str], dataset: str, dataset_config: str
) -> Bool[np.ndarray, " C"]:
  """The classes that the original does not leave out by name.

  Args:
    dataset: as `data.builder`.
    dataset_config: as `data.builder_config`; "" = the first.
  """
  left_out = {
    "deepscores": {"300dpi_2017": _300DPI, "ipad_2017": frozenset()}.get(
      dataset_config, _DENSE
    ),
    "deepscores_v2": _DEEPSCORES_V2,
    "muscima_pp": _MUSCIMA_PP,
  }.get(dataset, frozenset())
  return np.array([name not in left_out for name in class_names], bool)


def without_large(truth: PageBoxes, dataset: str) -> PageBoxes:
  """Leaves out large true objects of MUSCIMA++; finding them is an error."""
  if dataset != "muscima_pp":
    return truth
  sides = boxes_lib.sizes_hw(truth.boxes_yxyx)
  return truth.keep(np.all(sides < muscima_pp.LEGACY_MAX_SIDE_PX, axis=-1))
