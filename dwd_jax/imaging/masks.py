"""Masks of objects as run lengths.

Runs are the lengths of a mask's alternating stretches of background and object,
row by row over the object's box, background first (0 if the first pixel belongs
to the object). They add up to the box's area; no runs mean no mask.

Records hold the masks of a page as two features: `mask_runs`, the runs of all
objects, and `mask_stops`, the end of each object's runs in it. A mask has the
size of its box in `boxes_yxyx`, whose edges are whole pixels; a builder that
clips a box to the page crops the mask (`crop`).
"""

import re
from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int, Int32, UInt8

from dwd_jax.imaging import images

# Possessive quantifiers: no memory for backtracking on many megabytes of text.
_RUNS = re.compile(r"[01]:[0-9]{1,9}(?:\s++[01]:[0-9]{1,9}+)*+", re.ASCII)


def parse_runs(text: str, hw: tuple[int, int]) -> Int32[np.ndarray, " r"]:
  """Reads the `value:count` pairs of a MUSCIMA++ mask.

  Args:
    text: such as "0:15 1:10 0:14"; pairs of equal values may follow each other.
      Blank = no mask.
    hw: height and width of the object's box in pixels.

  Raises:
    ValueError: with the reason: other text, or counts that do not add up to
      the box's area.
  """
  text = text.strip()
  if not text:
    return np.zeros(0, np.int32)
  if not _RUNS.fullmatch(text):
    raise ValueError("the mask is not a list of 0:count and 1:count")
  height, width = hw
  if min(hw) < 1 or height * width > images.MAX_PIXELS:
    raise ValueError(f"a mask of {height} x {width} px")
  numbers = np.fromstring(text.replace(":", " "), np.int64, sep=" ")
  values, counts = numbers[0::2], numbers[1::2]
  if counts.sum() != height * width:
    raise ValueError(
      f"the mask has {counts.sum()} px, its box {height} x {width}"
    )
  values, counts = values[counts > 0], counts[counts > 0]
  starts = np.flatnonzero(np.diff(values, prepend=-1))
  runs = np.add.reduceat(counts, starts)
  return np.concatenate([np.zeros(values[0], np.int64), runs]).astype(np.int32)


def encode_mask(mask: Bool[np.ndarray, "H W"]) -> Int32[np.ndarray, " r"]:
  """The run lengths of a mask."""
  flat = mask.ravel()
  if not flat.size:
    return np.zeros(0, np.int32)
  edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
  ends = np.concatenate([np.zeros(int(flat[0]), np.intp), edges, [flat.size]])
  return np.diff(ends, prepend=0).astype(np.int32)


def decode_runs(
  runs: Int[np.ndarray, " r"], hw: tuple[int, int]
) -> Bool[np.ndarray, "H W"]:
  """The mask of an object that has one.

  Raises:
    ValueError: the runs do not fill the box.
  """
  height, width = hw
  if (
    not runs.size
    or runs.min() < 0
    or runs.sum(dtype=np.int64) != height * width
  ):
    raise ValueError(f"the runs do not fill a box of {height} x {width} px")
  return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(height, width)


def crop(
  runs: Int[np.ndarray, " r"],
  hw: tuple[int, int],
  top: int,
  left: int,
  new_hw: tuple[int, int],
) -> Int32[np.ndarray, " r"]:
  """The run lengths of a part of a mask; an absent mask stays absent.

  Args:
    hw: its height and width in pixels.
    top: first row of the part.
    left: first column of the part.
    new_hw: height and width of the part.

  Raises:
    ValueError: the runs do not fill the box, or the part exceeds it.
  """
  if not runs.size:
    return np.zeros(0, np.int32)
  bottom, right = top + new_hw[0], left + new_hw[1]
  if not (0 <= top <= bottom <= hw[0] and 0 <= left <= right <= hw[1]):
    raise ValueError(f"no part of a mask of {hw[0]} x {hw[1]} px")
  return encode_mask(decode_runs(runs, hw)[top:bottom, left:right])


def join(
  runs: Sequence[Int[np.ndarray, " r"]],
) -> tuple[Int32[np.ndarray, " m"], Int32[np.ndarray, " n"]]:
  """The features `mask_runs` and `mask_stops` of a page's objects."""
  stops = np.cumsum([len(r) for r in runs], dtype=np.int64)
  joined = np.concatenate([np.zeros(0, np.int32), *runs])
  return joined.astype(np.int32), stops.astype(np.int32)


def split(
  mask_runs: Int[np.ndarray, " m"], mask_stops: Int[np.ndarray, " n"]
) -> list[Int[np.ndarray, " r"]]:
  """The runs of each object, the inverse of `join`.

  Raises:
    ValueError: the stops do not divide the runs.
  """
  starts = np.concatenate([[0], mask_stops])
  if starts[-1] != len(mask_runs) or np.any(np.diff(starts) < 0):
    raise ValueError("mask_stops do not divide mask_runs")
  return np.split(mask_runs, mask_stops[:-1]) if len(mask_stops) else []


def of_page(
  mask_runs: Int[np.ndarray, " m"],
  mask_stops: Int[np.ndarray, " n"],
  boxes_yxyx: Float[np.ndarray, "n 4"],
) -> list[Bool[np.ndarray, "H W"] | None]:
  """The masks of a record's objects; None for an object without one.

  Raises:
    ValueError: the features do not belong together.
  """
  runs = split(mask_runs, mask_stops)
  if len(runs) != len(boxes_yxyx):
    raise ValueError(f"masks of {len(runs)} objects, {len(boxes_yxyx)} boxes")
  found: list[np.ndarray | None] = []
  for run, (y0, x0, y1, x1) in zip(runs, boxes_yxyx, strict=True):
    hw = round(float(y1 - y0)), round(float(x1 - x0))
    found.append(decode_runs(run, hw) if len(run) else None)
  return found


PATCH_PX = 16  # side of a patch


def energy_patches(
  found: Sequence[Bool[np.ndarray, "H W"] | None],
) -> UInt8[np.ndarray, "n p p"]:
  """Energies of objects in the frames of their boxes, 0..255.

  On the mask the energy falls with the distance from its pixel nearest to the
  centre of the box, whose sides count alike; beside it the energy is 0.

  Args:
    found: masks, see `of_page`; None = the whole box.
  """
  patches = np.zeros((len(found), PATCH_PX, PATCH_PX), np.uint8)
  for patch, mask in zip(patches, found, strict=True):
    mask = np.ones((1, 1), bool) if mask is None else mask
    shrinks = min(mask.shape) >= PATCH_PX
    seen = cv2.resize(
      mask.astype(np.float32),
      (PATCH_PX, PATCH_PX),
      interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR,
    )
    y, x = (np.indices(seen.shape) + 0.5) / PATCH_PX - 0.5
    on_mask = seen > min(0.25, seen.max() / 2)
    distance = np.where(on_mask, np.hypot(y, x), np.inf)
    cy, cx = np.unravel_index(distance.argmin(), seen.shape)
    away = np.hypot(y - y[cy, cx], x - x[cy, cx]) / 0.5
    patch[:] = np.where(on_mask, 255 * np.clip(1 - 0.9 * away, 0.05, 1), 0)
  return patches


def cut_patches(
  patches: UInt8[np.ndarray, "n p p"],
  boxes_yxyx: Float[np.ndarray, "n 4"],
  parts_yxyx: Float[np.ndarray, "n 4"],
) -> UInt8[np.ndarray, "n p p"]:
  """Patches of parts of boxes, with the highest energy as 255 again."""
  low, size = boxes_yxyx[:, :2], np.diff(boxes_yxyx.reshape(-1, 2, 2), axis=1)
  whole = (np.arange(PATCH_PX) + 0.5) / PATCH_PX
  part = np.diff(parts_yxyx.reshape(-1, 2, 2), axis=1)[:, 0]
  at = parts_yxyx[:, :2, None] + whole * part[..., None] - low[..., None]
  at = at / np.maximum(size[:, 0, :, None], 1e-6) * PATCH_PX
  rows, columns = np.clip(at, 0, PATCH_PX - 1).astype(int).transpose(1, 0, 2)
  cut = patches[
    np.arange(len(patches))[:, None, None],
    rows[:, :, None],
    columns[:, None, :],
  ]
  most = np.maximum(cut.max(axis=(1, 2), keepdims=True, initial=0), 1)
  return (cut * (255 / most)).astype(np.uint8)
