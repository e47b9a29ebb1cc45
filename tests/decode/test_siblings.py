"""Sibling classes lend each other probability; names stay apart."""

import numpy as np

from dwd_jax.decode import siblings

NAMES = ("fClef", "fClefChange", "gClef", "Small")


def test_a_symbol_split_over_siblings_passes_as_a_whole():
  lent = siblings.lending(NAMES)
  assert lent is not None
  probs = np.array(
    [
      [0.50, 0.45, 0.05, 0.0],  # split
      [0.05, 0.90, 0.05, 0.0],  # nearly certain
      [0.35, 0.25, 0.40, 0.0],  # together likelier than another one
      [0.00, 0.00, 1.00, 0.0],  # without siblings
    ]
  )
  after = probs @ lent
  np.testing.assert_allclose(
    after,
    [
      [0.725, 0.70, 0.05, 0.0],
      [0.50, 0.925, 0.05, 0.0],
      [0.475, 0.425, 0.40, 0.0],
      [0.00, 0.00, 1.00, 0.0],
    ],
    atol=1e-6,
  )
  assert after.max() <= 1


def test_without_siblings_nothing_is_multiplied():
  assert siblings.lending(("gClef", "Small", "Change")) is None
  assert siblings.lending(()) is None
