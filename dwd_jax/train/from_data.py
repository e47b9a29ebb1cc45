"""Settings that follow from the objects of the training images.

A config leaves them open (`open_keys`), and every one that a user has set
stays. `python -m dwd_jax.check` proposes what this module chooses.
"""

import dataclasses
import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from dwd_jax.data.box_facts import Objects
from dwd_jax.models.dwd import SIZE_MULTIPLE
from dwd_jax.train import open_keys, recipes, settings

# Sides of the typical small object that the network sees, px: where it has
# them, images keep their scale.
_SIDE_PX, _BEST_PX = (12.0, 20.0), 16.0
_LEAST_SHARE = 0.02  # of the objects: rarer classes do not set the scale
_SCALES = (0.02, 4.0)
_CROPS_OF_OBJECT = 2  # the side of a crop, in those of the large objects
_LEAST_CROP_PX = 160
_SAME_CENTRE = 1 / 6  # of a disc: closer objects need two groups
_MIN_SHARED = 0.02  # of the objects, for a second group
_DISC_PX = (9, 17)
_SPREAD = 4.0  # of sizes: beyond, discs grow with the objects
_LARGE_SHARE = 0.5
_PASSES = 30  # over all images
_EVALUATIONS = 10  # in a run
_PATIENCE = 4  # of these, without a better mAP


@dataclasses.dataclass(frozen=True)
class Machine:
  """What a run has.

  Attributes:
    on_cpu: no accelerator.
    devices: of all processes.
  """

  on_cpu: bool
  devices: int = 1

  @property
  def most_image_px(self) -> int:
    """Largest usual image after scaling."""
    return 3_000_000 if self.on_cpu else 16_000_000

  @property
  def most_crop_px(self) -> int:
    """Longest side of a crop."""
    return 320 if self.on_cpu else 640

  @property
  def step_px(self) -> int:
    """Pixels of the crops of a step."""
    return 256_000 if self.on_cpu else 2_400_000 * self.devices

  @property
  def steps(self) -> tuple[int, int]:
    """The fewest and the most steps of a run."""
    return (400, 3000) if self.on_cpu else (2000, 30_000)


@dataclasses.dataclass(frozen=True)
class Choice:
  """A setting, and why it was chosen; `str` gives one line."""

  key: str
  value: Any
  reason: str

  def __str__(self) -> str:
    """KEY=VALUE, as a flag takes it, and the reason."""
    return f"{self.key}={self.value}: {self.reason}"


def fill(
  config: Any, objects: Objects, machine: Machine, num_eval_images: int
) -> tuple[Choice, ...]:
  """Sets every open key, in place.

  Args:
    config: without references, see `open_keys.copy`.
    objects: of the training images.
    num_eval_images: that each evaluation looks at.

  Returns:
    What was chosen; empty if nothing was open.
  """
  if not tuple(open_keys.left(config)):
    return ()
  rules = _Rules(config, objects, machine, max(num_eval_images, 1))
  rules.network()
  rules.scale()
  rules.discs()
  rules.crop()
  rules.numbers()
  rules.length()
  return tuple(rules.choices)


def lines(choices: Iterable[Choice]) -> list[str]:
  """Lines for people; settings with one reason share one."""
  by_reason: dict[str, list[str]] = {}
  for choice in choices:
    text = f"{choice.key}={choice.value}"
    by_reason.setdefault(choice.reason, []).append(text)
  return [f"{' '.join(keys)}: {why}" for why, keys in by_reason.items()]


class _Rules:
  """Sets open keys one after the other: later ones follow from earlier."""

  def __init__(self, config, objects: Objects, machine: Machine, evals: int):
    self._config = config
    self._objects = objects
    self._machine = machine
    self._evals = evals
    self._open = set(open_keys.left(config))
    self.choices: list[Choice] = []
    self._sides = np.sqrt(np.maximum(objects.sizes_hw, 1).prod(axis=1))

  def _take(self, key: str, value: Any, reason: str) -> None:
    if key in self._open:
      self._open.remove(key)
      open_keys.set_value(self._config, key, value)
      self.choices.append(Choice(key, value, reason))

  def network(self) -> None:
    """What suits the devices: the network, how it learns and decodes."""
    usual: Any = settings.default()
    recipes.adamw(usual)
    reason = "a network for accelerators"
    if self._machine.on_cpu:
      recipes.two_cores(usual, combined_steps=0)
      reason = "a small network, as there are CPUs only"
    else:
      usual.model.backbone_depth = 50
    for key in (
      "model.backbone_depth",
      "model.backbone_width",
      "model.filters",
      "model.decoder_norm",
      "model.class_hidden",
      "targets.energy_strides",
      "targets.size_strides",
      "losses.class_pixels",
      "losses.class_weights",
      "losses.energy_smoothing",
      "train.batch_norm_momentum",
      "train.log_every",
      "decode.energy_cutoff",
      "decode.min_seed_level",
    ):
      section, _, name = key.rpartition(".")
      self._take(key, usual[section][name], reason)

  def _small_px(self) -> float:
    """Side of the typical object of the smallest class, px of the image."""
    labels, medians = self._objects.labels, []
    for label in np.unique(labels).tolist():
      own = self._sides[labels == label]
      if len(own) >= _LEAST_SHARE * len(labels):
        medians.append(float(np.median(own)))
    return min(medians, default=_BEST_PX)

  def scale(self) -> None:
    """Such that small objects are large enough to be seen."""
    data, small = self._config.data, self._small_px()
    scale, note = 1.0, "as it is"
    if not _SIDE_PX[0] <= small <= _SIDE_PX[1]:
      scale, note = _BEST_PX / small, f"becomes {_BEST_PX:g} px"
    image_px = float(np.median(self._objects.image_hw.prod(axis=1)))
    most = math.sqrt(self._machine.most_image_px / max(image_px, 1.0))
    if scale > most:
      scale = most
      note = f"becomes {small * scale:.1f} px; more would cost too much"
    scale = float(f"{float(np.clip(scale, *_SCALES)):.2g}")
    reason = f"a typical small object of {small:.0f} px {note}"
    if "data.eval_scale" in self._open and data.scales is not None:
      scale = float(np.median(data.scales))
      reason = "as data.scales"
    self._take("data.eval_scale", scale, reason)
    own = float(data.eval_scale)
    reason = "one scale for training and evaluation"
    self._take("data.scales", (own,), reason)

  def discs(self) -> None:
    """Discs that keep neighbours apart, groups for what shares a centre."""
    scale = float(self._config.data.eval_scale)
    near = scale * self._objects.nearest_px()
    usual = _odd(float(np.clip(scale * self._small_px(), *_DISC_PX)))
    apart = near[near >= _SAME_CENTRE * usual]
    size = usual
    reason = f"small objects have {scale * self._small_px():.0f} px"
    if len(apart):
      # Half a disc between two centres keeps them two peaks.
      room = _odd(float(np.clip(2 * np.percentile(apart, 5), *_DISC_PX)))
      if room < size:
        size = room
        reason = f"centres lie {room / 2:.0f} px apart where it is crowded"
    self._take("targets.energy_disc_px", size, reason)
    shared = len(near) - len(apart)
    if shared > _MIN_SHARED * len(near):
      percent = 100 * shared / len(near)
      reason = f"{percent:.0f} % of the objects share a centre with another"
      self._take("groups.num", 2, reason)
    self._take("groups.num", 1, "hardly any objects share a centre")
    spread = 1.0
    if len(self._sides):
      low, high = np.percentile(self._sides, (5, 95))
      spread = float(high / low)
    share = _LARGE_SHARE if spread > _SPREAD else 0.0
    if self._config.targets.energy_disc != "fixed":
      share = 0.0
    reason = f"sizes spread over a factor of {spread:.1f}"
    self._take("targets.large_share", share, reason)

  def crop(self) -> None:
    """What the largest objects need, no larger than an image or a device."""
    data = self._config.data
    scale = max(map(float, data.scales))
    longest = scale * self._objects.sizes_hw.max(axis=1, initial=0)
    wanted, reason = 0.0, "no objects"
    if len(longest):
      large, largest = np.percentile(longest, (95, 99))
      wanted = max(_CROPS_OF_OBJECT * float(large), float(largest))
      reason = f"large objects have {large:.0f} px at this scale"
    image_px = scale * float(self._objects.image_hw.max(initial=1))
    side = min(max(wanted, _LEAST_CROP_PX), image_px)
    if side > self._machine.most_crop_px:
      side = self._machine.most_crop_px
      reason += ", more would cost too much"
    elif side == image_px:
      reason = "as large as an image"
    side = SIZE_MULTIPLE * max(2, math.ceil(side / SIZE_MULTIPLE))
    self._take("data.crop_hw", (side, side), reason)

  def numbers(self) -> None:
    """Slots for the fullest crop and image; crops of a step."""
    config, objects = self._config, self._objects
    crop_px = math.prod(config.data.crop_hw)
    window = max(config.data.crop_hw) / min(map(float, config.data.scales))
    crowd, most = objects.most_in_window(window), objects.most_in_image()
    slots = 32 * math.ceil(max(1.25 * crowd, 1) / 32)
    self._take("data.max_boxes", slots, f"up to {crowd} objects in a crop")
    # Twice as many may be found before the best are kept.
    found = max(256, 64 * math.ceil(2 * most / 64))
    reason = f"up to {most} objects in an image"
    self._take("decode.max_detections", found, reason)
    least = self._machine.devices * int(config.train.accumulate)
    batch = float(np.clip(self._machine.step_px / crop_px, 2, 64))
    batch = least * max(1, round(batch / least))
    reason = f"crops of {' x '.join(map(str, config.data.crop_hw))} px"
    self._take("train.batch_size", batch, reason)
    rate, of = (3e-3, 10) if self._machine.on_cpu else (3e-4, 16)
    rate *= math.sqrt(int(config.train.batch_size) / of)
    reason = f"batches of {config.train.batch_size}"
    self._take("optimizer.learning_rate", float(f"{rate:.2g}"), reason)

  def length(self) -> None:
    """Steps, evaluations, and when to stop early."""
    config, objects = self._config, self._objects
    scale = float(config.data.eval_scale)
    image_px = objects.image_hw.prod(axis=1).astype(np.float64) * scale**2
    crop_px = float(math.prod(config.data.crop_hw))
    crops = float(np.maximum(image_px / crop_px, 1).sum())
    wanted = _PASSES * crops / int(config.train.batch_size)
    steps = 50 * round(float(np.clip(wanted, *self._machine.steps)) / 50)
    last = f"stages[{len(config.stages) - 1}]"
    reason = f"{len(objects.image_hw)} images, about {crops:.0f} crops in all"
    self._take(f"{last}.steps", steps, reason)
    steps = int(config.stages[-1].steps)
    warmup = min(500, max(20, steps // 20))
    self._take("optimizer.warmup_steps", warmup, "a twentieth of the steps")
    # A step costs about three times what its crops cost in an evaluation.
    cost = self._evals * float(image_px.mean()) if len(image_px) else 0.0
    cost /= 3 * crop_px * int(config.train.batch_size)
    every = max(steps / _EVALUATIONS, 4 * cost, 25)
    every = 25 * math.ceil(every / 25)
    reason = f"{self._evals} images to evaluate"
    self._take("train.eval_every", every, reason)
    reason = "evaluations without a better mAP end the training"
    self._take(f"{last}.patience", _PATIENCE, reason)


def _odd(value: float) -> int:
  """The largest odd number up to a value."""
  return int(value) - 1 + int(value) % 2
