"""Detection with an exported ONNX network: needs numpy and onnxruntime only.

python numpy_decode.py model.onnx page.npy [MIN_SCORE]

`Detector` does the same from Python. A page is an array [H, W] or [H, W, 3], at
the size that README.md beside this file asks for. The rules are those of
dwd_jax's decode by watershed: energy peaks are objects, basins that are hardly
divided are one, pixels vote on box and class.
"""

import json
import pathlib
import sys
import types

import numpy as np

from dwd_jax.apps.export.standalone.detector_pages import (
  finish,
  main,
  pad,
  to_ink,
)
from dwd_jax.apps.export.standalone.numpy_basins import decode_plane, softmax
from dwd_jax.core import rectangles
from dwd_jax.decode import siblings
from dwd_jax.models import ink_columns, ink_windows

_STRIDE = 4  # of the network's outputs; the energy may have twice the rows


class Detector:
  """Page -> boxes, class names, scores."""

  def __init__(self, model="model.onnx", threads=0):
    """Loads `model`, and class_head.onnx and classes.json beside it."""
    import onnxruntime  # the functions below do without

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    folder = pathlib.Path(model).parent
    self.card = json.loads((folder / "classes.json").read_text("utf8"))

    def load(path):
      return onnxruntime.InferenceSession(
        str(path), options, providers=onnxruntime.get_available_providers()
      )

    self._network, self._head = load(model), load(folder / "class_head.onnx")

    def load_if(key, name):
      return load(folder / name) if self.card[key] else None

    self._refiner = load_if("refinement", "refinement_head.onnx")
    self._positions = load_if("positions", "position_head.onnx")

  def __call__(self, page, min_score=None):
    """Detects; see `finish` for what is returned."""
    ink = to_ink(page, self.card["polarity"], self.card["channels"])
    image = pad(ink, self.card["multiple"])
    names = [output.name for output in self._network.get_outputs()]
    outputs = dict(zip(names, self._network.run(None, {"image": image})))  # noqa: B905
    grey = ink_windows.grey_of(image[0])
    found = [*self.decode(grey, **outputs)]
    if self._positions:
      found.append(self.positions(grey, *found[:2]))
    return finish(found, ink.shape[:2], self.card, min_score)

  def positions(self, ink, boxes, labels):
    """Places on the staff [n] of boxes [n, 4] on ink [H, W]; -128 = none."""
    known, found = self.card["positions"], np.full(len(labels), -128)
    has = np.flatnonzero(np.isin(labels, known["classes"]))
    if len(has):
      space, near = known["space_px"], boxes[has]
      means = ink_columns.stretches(ink, space)
      centers = (near[:, :2] + near[:, 2:]) / 2
      columns = ink_columns.columns_at(means, centers, space)
      said = self._positions.run(None, {"columns": columns})  # pyright: ignore
      logits = np.asarray(said[0])
      found[has] = logits.argmax(1) - logits.shape[1] // 2
    return found

  def decode(self, ink, energy_logits, log_sizes, class_features, offsets=None):
    """Outputs of the network, B = 1 -> boxes [n, 4], labels, scores.

    With corners [n, 4, 2] if the detector knows oriented boxes. `ink` is the
    image [H, W].
    """
    cfg = types.SimpleNamespace(**self.card["decode"])
    maps = [m[0] for m in (log_sizes, offsets) if m is not None]
    group_of_class = np.array(self.card["group_of_class"])
    lent = siblings.lending(self.card["class_names"])
    if cfg.class_vote == "majority":
      lent = None
    height, width = (side * _STRIDE for side in class_features.shape[1:3])
    stride, found = height // energy_logits.shape[1], []
    for group in range(energy_logits.shape[3]):
      said = np.concatenate([m[:, :, group] for m in maps], -1)

      def boxes_at(at, said=said):
        values = gather(said, *np.divmod(at, width))
        return np.concatenate([np.exp(values[:, :2]), values[:, 2:]], 1)

      def probs_at(at, group=group):
        features = gather(class_features[0], *np.divmod(at, width))
        logits = np.asarray(self._head.run(None, {"features": features})[0])
        probs = softmax(np.where(group_of_class == group, logits, -1e9))
        return probs if lent is None else probs @ lent

      levels = energy_levels(energy_logits[0, :, :, group], cfg)
      levels = upsample(levels, stride)
      found.append(decode_plane(levels, boxes_at, probs_at, cfg))
    boxes, labels, scores = (np.concatenate(f) for f in zip(*found))  # noqa: B905
    best = np.argsort(-scores, kind="stable")[: cfg.max_detections]
    result, iou = [boxes[best], labels[best], scores[best]], upright_iou
    if self._refiner:
      result = self.refined(ink, class_features[0], *result)
    shapes = result[0]
    if len(result) > 3:
      shapes, iou = result[3], rectangles.pairwise_iou
    if cfg.suppress_iou:
      keep = stays(shapes, iou, cfg)
      result = [values[keep] for values in result]
    return result

  def refined(self, ink, features, boxes, labels, scores):
    """Boxes after a second look at the ink, labels, scores, best first.

    With corners [n, 4, 2] if the detector knows oriented boxes.
    """
    if not len(boxes):
      corners = [np.zeros((0, 4, 2))] * self.card["refinement"]["oriented"]
      return [boxes, labels, scores, *corners]
    boxes = boxes.astype(np.float32)
    middles = np.floor((boxes[:, :2] + boxes[:, 2:]) / 2)
    y, x = np.clip(middles, 0, np.array(ink.shape) - 1).astype(int).T
    inputs = {
      "windows": ink_windows.windows_at(ink, boxes),
      "features": gather(features, y, x),
      "log_sides": ink_windows.log_sides(boxes),
    }
    said = np.asarray(self._refiner.run(None, inputs)[0])  # pyright: ignore
    good = np.asarray(np.isfinite(said).all(1))[:, None]
    better = np.where(good, ink_windows.moved(boxes, said[:, :4]), boxes)
    fit = 1 / (1 + np.exp(np.clip(-said[:, 4], None, 80)))
    scores = np.where(good[:, 0], scores * np.sqrt(fit), scores)
    order = np.argsort(-scores, kind="stable")
    result = [better, labels, scores]
    if self.card["refinement"]["oriented"]:
      upright = better[:, [[0, 1], [0, 3], [2, 3], [2, 1]]]
      corners = ink_windows.oriented(boxes, said[:, 5:])
      result.append(np.where(good[..., None], corners, upright))
    return [values[order] for values in result]


def energy_levels(logits, cfg):
  """Logits [h, w, E] -> the mean level of each pixel, or the likeliest."""
  if cfg.energy == "argmax":
    return logits.argmax(-1).astype(np.float32)
  return softmax(logits) @ np.arange(logits.shape[-1], dtype=np.float32)


def upsample(x, factor):
  """Bilinear, [h, w] -> [factor h, factor w]; edges are repeated."""
  for axis in (0, 1):
    x = np.moveaxis(x, axis, 0)
    before, after = np.roll(x, 1, 0), np.roll(x, -1, 0)
    before[0], after[-1] = x[0], x[-1]
    shifts = (np.arange(factor, dtype=np.float32) + 0.5) / factor - 0.5
    phases = [
      x * (1 - abs(t)) + (before if t < 0 else after) * abs(t) for t in shifts
    ]
    x = np.stack(phases, 1).reshape(-1, x.shape[1])
    x = np.moveaxis(x, 0, axis)
  return x


def gather(values, y, x):
  """Values [h, w, n] at pixels y, x of the page, interpolated -> [P, n]."""
  h, w = values.shape[:2]
  centers = [
    np.clip((at.astype(np.float32) + 0.5) / _STRIDE - 0.5, 0, size - 1)
    for at, size in ((y, h), (x, w))
  ]
  y0, x0 = (c.astype(int) for c in centers)
  ty, tx = ((c - np.floor(c))[:, None] for c in centers)
  y1, x1 = np.minimum(y0 + 1, h - 1), np.minimum(x0 + 1, w - 1)
  top = values[y0, x0] * (1 - tx) + values[y0, x1] * tx
  bottom = values[y1, x0] * (1 - tx) + values[y1, x1] * tx
  return top * (1 - ty) + bottom * ty


def upright_iou(one, boxes):
  """IoU [1, n] of boxes [1, 4] and [n, 4]."""
  low = np.maximum(boxes[:, :2], one[:, :2])
  common = np.minimum(boxes[:, 2:], one[:, 2:]) - low
  common = np.prod(np.maximum(common, 0), 1)
  areas = [np.prod(np.maximum(b[:, 2:] - b[:, :2], 0), 1) for b in (one, boxes)]
  return (common / np.maximum(sum(areas) - common, 1e-9))[None]


def stays(boxes, iou, cfg):
  """Mask of the sorted boxes that no better one covers."""
  keep = np.ones(len(boxes), bool)
  for i in range(len(boxes)):
    if keep[i]:
      covered = iou(boxes[i : i + 1], boxes[i + 1 :])[0] > cfg.suppress_iou
      keep[i + 1 :] &= ~covered
  return keep


if __name__ == "__main__":
  sys.exit(main(sys.argv, 2, lambda model: Detector(*model)))
