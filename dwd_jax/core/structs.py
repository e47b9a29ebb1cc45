"""Data structures: pages, batches, targets, predictions, detections.

Conventions:
  * boxes are `boxes_yxyx` (ymin, xmin, ymax, xmax), float32 pixels, half-open:
    a box that covers exactly pixel (r, c) is (r, c, r + 1, c + 1);
  * `labels` are class ids 0 .. C-1 (index into the list of class names);
    background exists only in maps, where class maps hold label + 1;
  * `oriented_yx` are the four corners (y, x) of oriented boxes, float32 pixels,
    in order around each; None where a data set or detector has none;
  * `positions` are places on the staff in steps of half a staff space, 0 = the
    middle line, upwards positive; `NO_POSITION` = not known, or the class has
    none; None where a data set or detector has none at all;
  * images of the network are float32 [B, H, W, 1], 0 = paper, 1 = ink.
"""

import dataclasses
import warnings
from collections.abc import Sequence
from typing import Any, TypeAlias

import flax.struct
import jax
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

Array: TypeAlias = jax.Array | np.ndarray
NUM_ENERGY_LEVELS = 20  # E, unless `targets.num_energy_levels` says otherwise
NO_POSITION = -128  # of a symbol on the staff: unknown, or it has none


@dataclasses.dataclass(frozen=True)
class Record:
  """One page on the host, from a data source.

  Attributes:
    image: 0 = paper, 255 = ink, whatever the polarity of the file; or colours.
    filename: of the image, without folder; unique in its data set.
  """

  image: UInt8[np.ndarray, "H W *c"]
  boxes_yxyx: Float[np.ndarray, "n 4"]
  labels: Int[np.ndarray, " n"]
  filename: str
  oriented_yx: Float[np.ndarray, "n 4 2"] | None = None
  positions: Int[np.ndarray, " n"] | None = None


@dataclasses.dataclass(frozen=True)
class PageImage:
  """One page to predict.

  Attributes:
    filename: of the image, for warnings and errors.
    ink: 0 = paper, 255 = ink; or colours [H, W, 3].
    scale: pixels of the network's image per pixel of `ink`.
    staff_space_px: distance of staff lines in pixels of `ink`; None if not
      measured or if the page has no staves.
    polarity: how `ink` was made of tones, see `imaging.grey.to_ink`.
  """

  filename: str
  ink: UInt8[np.ndarray, "H W *c"]
  scale: float
  staff_space_px: float | None = None
  polarity: str = ""


class Batch(flax.struct.PyTreeNode):
  """Images and padded boxes, as the host passes them to the step.

  Attributes:
    image: 0 = paper, 1 = ink, or colours; bytes are divided by 255.
    box_mask: False for padding, where boxes and labels are 0.
    masks: energy of each object in the frame of its box, 255 = highest, see
      `imaging.masks.energy_patches`; None = energy comes from boxes.
    ignored: True for boxes that may be objects or not: `box_mask` is False, and
      no energy is trained on their discs; None = there are none.
  """

  image: Float[Array, "B H W c"] | UInt8[Array, "B H W c"]
  boxes_yxyx: Float[Array, "B N 4"]
  labels: Int[Array, "B N"]
  box_mask: Bool[Array, "B N"]
  oriented_yx: Float[Array, "B N 4 2"] | None = None
  positions: Int[Array, "B N"] | None = None
  ignored: Bool[Array, "B N"] | None = None
  masks: UInt8[Array, "B N p p"] | None = None


class Targets(flax.struct.PyTreeNode):
  """Target maps of one stride; h, w = H, W / stride; G energy groups.

  Attributes:
    energy: level 0 (background) .. E-1 (centre).
    classes: label + 1 of the class disc; 0 = background.
    sizes_px: (height, width) of the box in image pixels; 0 outside size discs.
    owner: index of the box of the class disc; -1 = background.
    offsets_px: (y, x) from the middle of a pixel to the centre of its box, in
      image pixels; 0 outside size discs. None if not rendered.
    unknown: background that may be an object, see `Batch.ignored`; None = there
      is none.
    boxes_yxyx: of the batch, those that count; others are 0. None if no loss
      needs them.
    labels: of the boxes.
    positions: of the boxes; None if the batch has none.
    oriented_yx: of the boxes, their corners; None if the batch has none.
  """

  energy: Int[Array, "B h w G"]
  classes: Int[Array, "B h w G"]
  sizes_px: Float[Array, "B h w G 2"]
  owner: Int[Array, "B h w G"]
  offsets_px: Float[Array, "B h w G 2"] | None = None
  unknown: Bool[Array, "B h w G"] | None = None
  boxes_yxyx: Float[Array, "B N 4"] | None = None
  labels: Int[Array, "B N"] | None = None
  positions: Int[Array, "B N"] | None = None
  oriented_yx: Float[Array, "B N 4 2"] | None = None


class Predictions(flax.struct.PyTreeNode):
  """Network outputs at the stride of the heads (4), before upsampling.

  Attributes:
    energy_logits: per group, a softmax over E levels; the stride may be 2, see
      `models.dwd.energy_stride`.
    log_sizes: log of (height, width) in image pixels.
    class_features: input of the class head (see `models.dwd.class_logits`).
    offsets: as `Targets.offsets_px`; None if the network has no such head.
    deep_energy: energy logits of deep supervision by stride, 8 to 32; None
      without, and outside of training.
    deep_sizes: the same of log-sizes.
    image: the input, if the network has heads that look at it again
      (`models.box_refinement`, `models.staff_positions`); else None.
  """

  energy_logits: Float[Array, "B _ _ G E"]
  log_sizes: Float[Array, "B h w G 2"]
  class_features: Float[Array, "B h w F"]
  offsets: Float[Array, "B h w G 2"] | None = None
  deep_energy: dict[int, Float[Array, "B _ _ G E"]] | None = None
  deep_sizes: dict[int, Float[Array, "B _ _ G 2"]] | None = None
  image: Float[Array, "B H W c"] | None = None


class Detections(flax.struct.PyTreeNode):
  """Decoded boxes in K fixed slots, best score first.

  Attributes:
    boxes_yxyx: in pixels of the network's input image.
    scores: 0..1; 0 where `valid` is False.
    valid: True for slots in use.
    count: number of objects found; if it exceeds K, those with the lowest
      scores were dropped, and the caller warns.
  """

  boxes_yxyx: Float[Array, "B K 4"]
  labels: Int[Array, "B K"]
  scores: Float[Array, "B K"]
  valid: Bool[Array, "B K"]
  count: Int[Array, " B"]
  oriented_yx: Float[Array, "B K 4 2"] | None = None
  positions: Int[Array, "B K"] | None = None


@dataclasses.dataclass(frozen=True)
class PageBoxes:
  """Truth or detections of one page on the host, in source-image pixels.

  Attributes:
    filename: of the image; joins truth and detections.
    scores: 0..1 for detections; None for truth.
  """

  filename: str
  image_hw: tuple[int, int]
  boxes_yxyx: Float[np.ndarray, "n 4"]
  labels: Int[np.ndarray, " n"]
  scores: Float[np.ndarray, " n"] | None = None
  oriented_yx: Float[np.ndarray, "n 4 2"] | None = None
  positions: Int[np.ndarray, " n"] | None = None

  def keep(self, rows: np.ndarray) -> "PageBoxes":
    """The boxes of `rows`, any index of an array [n]."""

    def of(x):
      return None if x is None else x[rows]

    return dataclasses.replace(
      self,
      boxes_yxyx=self.boxes_yxyx[rows],
      labels=self.labels[rows],
      scores=of(self.scores),
      oriented_yx=of(self.oriented_yx),
      positions=of(self.positions),
    )

  def upright(self) -> "PageBoxes":
    """Forgets the corners of oriented boxes."""
    return dataclasses.replace(self, oriented_yx=None)

  def at_least(self, min_score: float) -> "PageBoxes":
    """Removes detections below a score; truth is unchanged."""
    return self if self.scores is None else self.keep(self.scores >= min_score)

  def finite(self) -> "PageBoxes":
    """Removes detections whose score or box is not finite, with a warning."""
    assert self.scores is not None
    good = np.isfinite(self.scores) & np.isfinite(self.boxes_yxyx).all(axis=1)
    if self.oriented_yx is not None:
      good &= np.isfinite(self.oriented_yx).all(axis=(1, 2))
    if good.all():
      return self
    warnings.warn(
      f"{self.filename}: {np.sum(~good)} detections with a score or box that is"
      " not finite are left out; the model has probably diverged",
      stacklevel=2,
    )
    return self.keep(good)

  @staticmethod
  def concatenated(parts: Sequence["PageBoxes"]) -> "PageBoxes":
    """The boxes of several parts of one page, one part after the other."""

    def of(name):
      values = [getattr(part, name) for part in parts]
      return None if values[0] is None else np.concatenate(values)

    return dataclasses.replace(parts[0], **{name: of(name) for name in _OF_BOX})

  def by_score(self) -> "PageBoxes":
    """Sorts detections, best score first; equal ones keep their order."""
    assert self.scores is not None
    return self.keep(np.argsort(-self.scores, kind="stable"))


_OF_BOX = ("boxes_yxyx", "labels", "scores", "oriented_yx", "positions")

Params: TypeAlias = Any  # a pytree of arrays
