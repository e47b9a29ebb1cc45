"""Energy levels -> boxes: the decode by watershed in NumPy.

Work follows the pixels above the cutoff. `cfg` has the settings of the section
"decode" of classes.json as attributes.
"""

import numpy as np

_AROUND = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]  # raster order
_AHEAD = ((0, 1), (1, -1), (1, 0), (1, 1))  # each pair of neighbours once


def softmax(logits):
  """Probabilities along the last axis."""
  weight = np.exp(logits - logits.max(-1, keepdims=True))
  return weight / weight.sum(-1, keepdims=True)


def decode_plane(levels, boxes_at, probs_at, cfg):
  """One energy plane -> boxes [n, 4], labels [n], scores [n], unordered.

  Args:
    levels: energy level of each pixel, float32 [h, w].
    boxes_at: raster indices [P] -> height, width and, for some networks, the
      offset of the centre (y, x): [P, 2 or 4], pixels.
    probs_at: raster indices [P] -> class probabilities [P, C].
  """
  levels = smooth(np.nan_to_num(levels, posinf=0, neginf=0), cfg.smooth)
  # A frame of background: neighbours need no test for the page's edge.
  framed = np.pad(levels, 1, constant_values=-np.inf)
  at = np.flatnonzero(framed > cfg.energy_cutoff)
  nothing = np.zeros((0, 4), np.float32), np.zeros(0, int), np.zeros(0)
  if not len(at):
    return nothing
  basins = find_basins(framed, at, cfg)
  kept, confidence = choose(framed, at, basins, cfg)
  if not len(kept):
    return nothing
  centers, hw = measure(framed, at, basins, boxes_at, cfg)
  labels, share = vote(basins, kept, framed.shape[1], probs_at, cfg)
  half = np.maximum(hw[kept], 0) / 2
  boxes = np.concatenate((centers[kept] - half, centers[kept] + half), 1)
  return boxes.astype(np.float32), labels, confidence * share


def smooth(levels, passes):
  """Applies a 3 x 3 binomial filter; edges are repeated."""
  for _ in range(passes):
    for axis in (0, 1):
      x = np.pad(np.moveaxis(levels, axis, 0), ((1, 1), (0, 0)), mode="edge")
      x = (x[:-2] + 2 * x[1:-1] + x[2:]) / 4
      levels = np.moveaxis(x, 0, axis)
  return levels


def find_basins(framed, at, cfg):
  """Splits pixels into one basin for each energy peak, and joins shallow ones.

  Args:
    framed: energy levels in a frame of -inf, one pixel wide.
    at: raster indices of the pixels above the cutoff, in `framed`.

  Returns:
    rows: basin of each pixel of the frame; -1 = background.
    peaks: raster index of the peak of each basin, those joined included.
    passes: level of the highest pass to another basin; -inf if none.
  """
  flat, stride = framed.reshape(-1), framed.shape[1]
  rows, peaks = climb(flat, at, stride)
  owner, passes = merge(flat, at, rows, peaks, stride, cfg)
  rows[at] = owner[rows[at]]
  return rows, peaks, passes


def climb(flat, at, stride):
  """Basin of each pixel (-1: background) and the peak of each basin."""
  best = np.full(len(at), -np.inf, np.float32)
  target = at
  for dy, dx in _AROUND:
    to = at + (dy * stride + dx)
    level = flat[to]
    higher = level > best
    best = np.where(higher, level, best)
    target = np.where(higher, to, target)
  place = np.zeros(len(flat), np.int32)
  place[at] = np.arange(len(at), dtype=np.int32)
  up = place[target]
  while True:
    further = up[up]
    if np.array_equal(further, up):
      break
    up = further
  is_peak = up == np.arange(len(at))
  number = np.cumsum(is_peak) - 1
  rows = np.full(len(flat), -1, np.int32)
  rows[at] = number[up]
  return rows, at[is_peak]


def merge(flat, at, rows, peaks, stride, cfg):
  """Owner of each basin after merging, and its highest pass."""
  peak, own = flat[peaks], rows[at]
  one, two, height = [], [], []
  for dy, dx in _AHEAD:
    to = at + (dy * stride + dx)
    other = rows[to]
    touch = (other >= 0) & (other != own)
    one.append(own[touch])
    two.append(other[touch])
    height.append(np.minimum(flat[at[touch]], flat[to[touch]]))
  one, two = (np.concatenate((*a, *b)) for a, b in ((one, two), (two, one)))
  height = np.concatenate(height * 2)
  owner = np.arange(len(peak))
  while True:
    low, high = owner[one], owner[two]
    apart = low != high
    low, high, top = low[apart], high[apart], height[apart]
    passes = np.full(len(peak), -np.inf, np.float32)
    np.maximum.at(passes, low, top)
    depth = peak[low] - top
    higher = (peak[high] > peak[low]) | (
      (peak[high] == peak[low]) & (high < low)
    )
    join = (top == passes[low]) & higher
    join &= (depth < cfg.min_saddle_depth) | (depth <= 0)
    if not join.any():
      return owner, passes
    partner = np.full(len(peak), -1)
    np.maximum.at(partner, low[join], high[join])
    joined = np.where(partner >= 0, partner, owner)
    while not np.array_equal(joined[joined], joined):
      joined = joined[joined]
    owner = joined


def measure(framed, at, basins, boxes_at, cfg):
  """Centres (y, x) and sizes of all basins, [n, 2] each, in page pixels.

  Pixels are weighted by their height above the pass or the cutoff; those whose
  mirror image about the peak is off the page do not count.
  """
  (rows, peaks, passes), (h, w) = basins, np.subtract(framed.shape, 2)
  flat, stride, row = framed.reshape(-1), framed.shape[1], rows[at]
  (y, x), (peak_y, peak_x) = np.divmod(at, stride), np.divmod(peaks, stride)
  py, px = peak_y[row], peak_x[row]
  shift = y - py, x - px
  mirror_y, mirror_x = 2 * py - y, 2 * px - x
  seen = (mirror_y > 0) & (mirror_y <= h) & (mirror_x > 0) & (mirror_x <= w)
  base = np.maximum(passes[row], cfg.energy_cutoff)
  weight = np.maximum(flat[at] - base, 0) * seen

  def total(values):
    return np.bincount(row, values, len(peaks))

  height, width, *to_center = boxes_at((y - 1) * w + x - 1).T
  known = (height > 0) & (width > 0)
  if to_center:
    weight = weight * known
    shift = [s + t for s, t in zip(shift, to_center, strict=True)]
  whole = np.maximum(total(weight), 1e-6)
  shift = np.stack([total(weight * s) for s in shift], 1) / whole[:, None]
  centers = np.stack((peak_y, peak_x), 1) - 0.5 + shift
  if cfg.size == "max":
    sizes = np.zeros((2, len(peaks)), np.float32)
    for most, side in zip(sizes, (height, width), strict=True):
      np.maximum.at(most, row, side)
    return centers, sizes.T
  weight = known * weight if cfg.size == "weighted" else known * 1.0
  whole = total(weight)
  sizes = np.stack([total(weight * s) for s in (height, width)], 1)
  sizes /= np.maximum(whole, 1e-6)[:, None]
  at_peaks = boxes_at((peak_y - 1) * w + peak_x - 1)[:, :2]
  return centers, np.where(whole[:, None] > 0, sizes, at_peaks)


def choose(framed, at, basins, cfg):
  """Basins that are objects, at most `cfg.max_detections`, and confidences."""
  rows, peaks, _ = basins
  level = framed.reshape(-1)[peaks]
  area = np.bincount(rows[at], minlength=len(peaks))
  keep = (level >= cfg.min_seed_level) & (area >= max(cfg.min_area_px, 1))
  confidence = np.sqrt(np.clip(level / (cfg.num_energy_levels - 1), 0, 1))
  kept = np.flatnonzero(keep)
  if len(kept) > cfg.max_detections:
    order = np.argsort(-confidence[kept], kind="stable")
    kept = kept[order[: cfg.max_detections]]
  return kept, confidence[kept]


def around(basins, kept, stride, cfg):
  """Pixels [n, P] around the peaks that vote on the class.

  Returns:
    Their raster indices on the page, and which of them belong to the object.
  """
  rows, peaks, _ = basins
  reach = round(cfg.class_pixels**0.5) // 2
  steps = 2 * np.arange(-reach, reach + 1)
  height, width = len(rows) // stride, stride
  y, x = np.divmod(peaks[kept], stride)
  y = y[:, None] + np.repeat(steps, len(steps))
  x = x[:, None] + np.tile(steps, len(steps))
  ok = (y > 0) & (y < height - 1) & (x > 0) & (x < width - 1)
  y, x = np.clip(y, 1, height - 2), np.clip(x, 1, width - 2)
  ok &= rows[y * stride + x] == kept[:, None]
  return (y - 1) * (stride - 2) + x - 1, ok


def vote(basins, kept, stride, probs_at, cfg):
  """Class with the largest mean probability around each peak, and its share."""
  asked, ok = around(basins, kept, stride, cfg)
  probs = probs_at(asked.reshape(-1))
  if cfg.class_vote == "majority":
    likeliest = probs.argmax(1)[:, None] == np.arange(probs.shape[1])
    probs = likeliest * (probs.max(1, keepdims=True) > 0)
  votes = (probs.reshape(*ok.shape, -1) * ok[..., None]).sum(1)
  votes = votes / np.maximum(ok.sum(1), 1)[:, None]
  labels = votes.argmax(1)
  return labels, votes[np.arange(len(kept)), labels]
