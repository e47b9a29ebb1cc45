"""What exported detectors of all formats share; needs numpy only."""

import pathlib
import sys

import numpy as np

from dwd_jax.decode import contradictions
from dwd_jax.imaging import grey

NO_POSITION = -128  # on the staff


def to_ink(page, polarity=None, channels=1):
  """float32 [H, W, c], 0 = paper, 1 = ink, of an array that `grey` reads.

  `polarity` and `channels` are those of classes.json; 3 channels are colours.
  """
  tones = grey.to_tones(np.asarray(page), channels)
  ink = grey.to_ink(tones, polarity or "")
  return ink.reshape(*ink.shape[:2], channels).astype(np.float32) / 255


def pad(ink, multiple):
  """[1, H, W, c]: paper below and to the right, up to multiples."""
  widths = [(0, -length % multiple) for length in ink.shape[:2]]
  return np.pad(ink, [*widths, (0, 0)])[None]


def finish(found, page_hw, card, min_score=None):
  """Maps scores to probabilities, and drops what is off the page or unlikely.

  Of two boxes that contradict each other, the less probable one is dropped.

  Args:
    found: boxes_yxyx [n, 4] in pixels, labels [n], raw scores [n]; of some
      detectors also corners (y, x) of oriented boxes [n, 4, 2], of some places
      on the staff [n], -128 = none.
    page_hw: height and width of the page without padding.
    card: content of classes.json.
    min_score: lower ones are dropped; None = the card's threshold.

  Returns:
    A list of (class name, score, (ymin, xmin, ymax, xmax)), best first; of some
    detectors also with the corners ((y, x), ...) of the oriented box, of some
    with the place on the staff, or None, at the end.
  """
  boxes, labels, scores, *more = (np.asarray(f) for f in found)
  fit = card["calibration"]
  if fit:
    s = np.clip(np.asarray(scores, np.float64), 1e-6, 1 - 1e-6)
    logit = fit["a"] * np.log(s) - fit["b"] * np.log1p(-s) + fit["c"]
    scores = 1 / (1 + np.exp(-logit - np.array(fit["offsets"])[labels]))
  centers = (boxes[:, :2] + boxes[:, 2:]) / 2
  keep = np.flatnonzero((centers < page_hw).all(1) & (centers >= 0).all(1))
  keep = keep[np.argsort(-scores[keep], kind="stable")]
  boxes = np.clip(boxes[keep], 0, np.array([*page_hw, *page_hw]))
  labels, scores, class_names = labels[keep], scores[keep], card["class_names"]
  if known := card["contradictions"]:
    known = contradictions.from_json(known, class_names)
    stays = known.stays(boxes, labels, scores)
    boxes, labels, scores = boxes[stays], labels[stays], scores[stays]
    keep = keep[stays]
  least = card["threshold"] if min_score is None else min_score
  count = int((scores >= least).sum())  # the first ones
  boxes, labels, scores = boxes[:count], labels[:count], scores[:count]
  keep = keep[:count]
  names = [class_names[label] for label in labels]
  ends: list = [list(map(tuple, boxes.tolist()))]
  for values in more:
    rows = values[keep].tolist()
    if values.ndim == 3:
      ends.append([tuple(map(tuple, corners)) for corners in rows])
    else:
      ends.append([None if v == NO_POSITION else v for v in rows])
  return list(zip(names, scores.tolist(), *ends))  # noqa: B905


def read(path):
  """Reads a page [H, W, 3] from a .npy file or, with pillow, an image."""
  if pathlib.Path(path).suffix != ".npy":
    try:
      from PIL import Image
    except ImportError:
      raise ValueError(f"{path}: give a .npy file, or install pillow") from None
    with Image.open(path) as image:
      frames = getattr(image, "n_frames", 1)
      if frames > 1:
        raise ValueError(f"{path}: has {frames} pages; give one")
      return grey.of_pillow(image, channels=3)
  return np.load(path, allow_pickle=False)


def main(argv, num_args, load):
  """Prints symbols: NAME SCORE YMIN XMIN YMAX XMAX, tabs. Returns an exit code.

  Corners of the oriented box follow, Y X four times, and the place on the
  staff, "" = none, if the detector knows any.

  `argv` is the program, `num_args` arguments: what `load` takes to make the
  detector, and the page; and optionally the least score.
  """
  if len(argv) - 1 not in (num_args, num_args + 1):
    usage = "MODEL PAGE [MIN_SCORE]" if num_args > 1 else "PAGE [MIN_SCORE]"
    print(f"usage: python {argv[0]} {usage}", file=sys.stderr)
    return 2
  *model, page = argv[1 : num_args + 1]
  try:
    least = float(argv[num_args + 1]) if len(argv) > num_args + 1 else None
    found = load(model)(read(page), least)
  except (OSError, ValueError) as e:
    print(f"error: {e}", file=sys.stderr)
    return 2
  for name, score, box, *more in found:
    ends = []
    for value in more:
      if isinstance(value, tuple):
        ends += [f"{side:.1f}" for corner in value for side in corner]
      else:
        ends.append("" if value is None else value)
    sides = [f"{side:.1f}" for side in box]
    print(name, f"{score:.3f}", *sides, *ends, sep="\t")
  return 0
