"""Sibling classes: names that differ by size alone, as fClef and fClefChange.

Where a symbol could be either, each gets about half of the probability, and the
symbol would fall below a threshold that it passes as a whole. So a class is
lent half of its siblings' probability. The likeliest sibling stays the
likeliest, and what is certain does not change.

Exported detectors carry a copy of this file, so it needs numpy only.
"""

from collections.abc import Sequence

import numpy as np

_SUFFIXES = ("Small", "Change")
# With all, siblings could not be told apart. 0.25 to 0.75 keep AP and F1 on
# generated and DeepScores pages; on real scans 0.5 keeps most right symbols.
_LENT = 0.5


def lending(class_names: Sequence[str]) -> np.ndarray | None:
  """Matrix by which class probabilities [n, C] are multiplied.

  Returns:
    float32 [C, C]; None if no class has a sibling.
  """
  kinds = np.array([_kind(name) for name in class_names])
  same = kinds[:, None] == kinds[None, :]
  if same.sum() <= len(kinds):
    return None
  lent = np.where(same, _LENT, 0)
  np.fill_diagonal(lent, 1)
  return lent.astype(np.float32)


def _kind(name: str) -> str:
  """The name without its size."""
  for suffix in _SUFFIXES:
    name = name.removesuffix(suffix) or name
  return name
