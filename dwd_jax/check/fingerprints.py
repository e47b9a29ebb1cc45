"""Which pages show the same picture, however it was encoded."""

import hashlib
from collections.abc import Iterator

import cv2
import numpy as np
from jaxtyping import Float, Int8, UInt8

# Correlation of the fingerprints of one picture encoded anew (JPEG quality 30,
# half the size, noise, uneven light, one bit): 0.96 to 1.00. Of different
# pages: at most 0.68 on 240 generated pages, 0.70 on 120 MUSCIMA++ pages
# (one piece by two writers); 0.99 for one DeepScores page in two music fonts.
SIMILAR = 0.9
# The same at 512 x 512: 0.95 to 1.00, and 0.89 for the two music fonts.
SAME_PICTURE = 0.93
_GRID = 48
_FINE_GRID = 512
_BLOCK = 2048  # pages compared at once
MAX_PAIRS = 10_000


def digest(array: np.ndarray) -> bytes:
  """Equal for arrays of the same shape and content only."""
  made = hashlib.blake2b(str(array.shape).encode(), digest_size=16)
  made.update(np.ascontiguousarray(array).data)
  return made.digest()


def fingerprint(ink: UInt8[np.ndarray, "H W"]) -> Int8[np.ndarray, " 2304"]:
  """What the page looks like from afar: coarse ink less its surroundings.

  Taking the surroundings out leaves where systems and symbols lie and drops
  what all pages share: margins, and an even density of ink.
  """
  coarse = _detail(ink, _GRID, 5).ravel()
  return np.rint(coarse * (127 / max(np.abs(coarse).max(), 1e-6))).astype(
    np.int8
  )


def _detail(ink, grid: int, window: int) -> Float[np.ndarray, "g g"]:
  small = cv2.resize(ink, (grid, grid), interpolation=cv2.INTER_AREA)
  small = small.astype(np.float32)
  return small - cv2.blur(small, (window, window))


def similar_pairs(
  prints: list[Int8[np.ndarray, " 2304"]], at_least: float = SIMILAR
) -> Iterator[tuple[int, int, float]]:
  """Pairs i < j of fingerprints that correlate, with their correlation.

  Every pair is compared: 100,000 pages take minutes. Stops after `MAX_PAIRS`.
  """
  found = 0
  for a in range(0, len(prints), _BLOCK):
    left = _unit(prints[a : a + _BLOCK])
    for b in range(a, len(prints), _BLOCK):
      right = left if a == b else _unit(prints[b : b + _BLOCK])
      match = left @ right.T
      rows, columns = np.nonzero(match >= at_least)
      for i, j in zip(rows.tolist(), columns.tolist(), strict=True):
        if a + i >= b + j:
          continue
        yield a + i, b + j, float(match[i, j])
        found += 1
        if found >= MAX_PAIRS:
          return


def _unit(prints) -> Float[np.ndarray, "n 2304"]:
  table = np.stack(prints).astype(np.float32)
  length = np.linalg.norm(table, axis=1, keepdims=True)
  # A blank page is like no other.
  return table / np.maximum(length, 1e-6)


def likeness(a: UInt8[np.ndarray, "H W"], b: UInt8[np.ndarray, "h w"]) -> float:
  """Correlation of two pages in detail, after laying one on the other."""
  # Not finer than the smaller page: enlarged, it would lack detail.
  grid = max(_GRID, min(_FINE_GRID, *a.shape, *b.shape))
  fine_a, fine_b = (_detail(x, grid, 15) for x in (a, b))
  (dx, dy), _ = cv2.phaseCorrelate(fine_a, fine_b)
  if max(abs(dx), abs(dy)) <= 8:
    move = np.array([[1, 0, -dx], [0, 1, -dy]], np.float32)
    fine_b = cv2.warpAffine(fine_b, move, (grid, grid))
  power = float(np.sum(fine_a**2)) * float(np.sum(fine_b**2))
  return float(np.sum(fine_a * fine_b)) / max(power, 1e-9) ** 0.5
