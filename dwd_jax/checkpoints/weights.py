"""A trained detector in one file, complete for predictions.

Files are safetensors (arrays and text, no code): parameters and running
averages by their paths in the tree, and under the metadata key "dwd_jax" a card
in JSON with

```
  format        1
  class_names, group_of_class, model   the network
  decode        settings of the decode
  scale, staff_space_px   size of pages in training
  polarity      of the objects; absent = each page by the tone of most pixels
  calibration   see `dwd_jax.metrics.calibration`; null: scores are raw
  about         for people: name, data, steps, seed, command
```
"""

import dataclasses
import functools
import hashlib
import json
import pathlib
from typing import Any

import jax
import numpy as np
import safetensors
import safetensors.numpy
from flax import traverse_util

from dwd_jax.core import config_sections, files
from dwd_jax.core.errors import InputError, one_line
from dwd_jax.decode.decode_config import DecodeConfig
from dwd_jax.imaging import grey
from dwd_jax.metrics import calibration as calibration_lib
from dwd_jax.metrics.calibration import Calibration
from dwd_jax.metrics.reliability import RAW_THRESHOLD
from dwd_jax.models import dwd

FORMAT = 1
_KEY = "dwd_jax"  # of the card in the file's metadata
# Fields of networks that are no part of a detector.
_NOT_STORED = ("dtype", "remat", "deep_energy_strides", "deep_size_strides")
# Younger than the format: in the card where they are not as they always were.
_YOUNGER = (
  *("refinenet", "oriented", "refine_boxes"),
  *("staff_positions", "position_classes", "position_space_px", "channels"),
)
_MAX_BYTES = 4 << 30
_MAX_HEADER_BYTES = 64 << 20
_MAX_CLASSES = 1 << 16
_MAX_SCALE = 1e3
_MAX_STAFF_SPACE_PX = 1e4


@dataclasses.dataclass(frozen=True)
class Weights:
  """A trained detector.

  Attributes:
    variables: {"params": .., "batch_stats": ..}, float32 NumPy arrays.
    class_names: in the order of the class head.
    group_of_class: energy group of each class.
    model: each machine chooses its own `dtype`.
    scale: network pixels per page pixel, for pages of unknown staff space.
    staff_space_px: pages are scaled to it; 0 = unknown, all pages use `scale`.
    polarity: of the training pages, see `dwd_jax.imaging.grey.to_ink`.
    calibration: raw scores -> probabilities; None: raw scores.
    about: JSON values for people.
  """

  variables: Any
  class_names: tuple[str, ...]
  group_of_class: tuple[int, ...]
  model: dwd.ModelConfig
  decode: DecodeConfig
  scale: float = 1.0
  staff_space_px: float = 0.0
  polarity: str = ""
  calibration: Calibration | None = None
  about: dict[str, Any] = dataclasses.field(default_factory=dict)

  def __post_init__(self):
    """Raises `ValueError` for what no detector has."""
    names, model = self.class_names, self.model
    if not 0 < len(names) <= _MAX_CLASSES or len(set(names)) != len(names):
      raise ValueError("class names are missing or occur twice")
    for name in names:
      if not isinstance(name, str) or not name or one_line(name) != name:
        raise ValueError(f"{str(name)[:40]!r} is no class name")
    if not len(self.group_of_class) == model.num_classes == len(names):
      raise ValueError("its numbers of classes differ")
    for group in self.group_of_class:
      if not isinstance(group, int) or not 0 <= group < model.num_groups:
        raise ValueError("a class is in an energy group that is not there")
    if not 0 < self.scale < _MAX_SCALE:
      raise ValueError(f"{self.scale!r} is no scale")
    if not 0 <= self.staff_space_px < _MAX_STAFF_SPACE_PX:
      raise ValueError(f"{self.staff_space_px!r} is no staff space")
    if self.polarity not in ("", *grey.POLARITIES):
      raise ValueError(f"{str(self.polarity)[:40]!r} is no polarity")

  @property
  def threshold(self) -> float:
    """The default minimum score."""
    point = self.calibration and self.calibration.point
    return point.threshold if point else RAW_THRESHOLD

  @property
  def polarity_of_pages(self) -> str:
    """What pages are read with: music may be negatives, whatever it was."""
    return "" if self.staff_space_px else self.polarity


def write(path: pathlib.Path, weights: Weights) -> None:
  """Writes a detector to NAME.safetensors atomically."""
  arrays = _flat(weights)
  text = json.dumps(_card(weights), allow_nan=False)
  files.write_atomic(path, safetensors.numpy.save(arrays, {_KEY: text}))


def read(path: pathlib.Path) -> Weights:
  """Reads a file of `write`; a missing or bad one raises `InputError`."""
  try:
    _check_size(path)
    with safetensors.safe_open(path, framework="numpy") as opened:
      text = (opened.metadata() or {}).get(_KEY)
      if text is None:
        raise InputError(
          f"{path}: weights of something else; name a file that"
          " `python -m dwd_jax.export` has written"
        )
      arrays = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    card = files.decode_json(text)
    if card["format"] != FORMAT:
      raise InputError(
        f"{path}: weights of format {card['format']}; this version reads"
        f" {FORMAT}: update dwd_jax"
      )
    return _from_card(card, arrays)
  except InputError:
    raise
  except FileNotFoundError:
    raise InputError(
      f"{path}: no such file; name a file of weights or the workdir of a run"
    ) from None
  except (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    ArithmeticError,
    MemoryError,
    RecursionError,
    safetensors.SafetensorError,
  ) as e:
    reason = " ".join(f"{type(e).__name__}: {e}".split())[:160]
    raise InputError(
      f"{path}: damaged weights ({reason}); copy the file again"
    ) from e


def fingerprint(weights: Weights) -> str:
  """16 hex digits of everything that affects predictions."""
  digest = hashlib.sha256()
  card = _card(weights)
  del card["about"]
  digest.update(json.dumps(card, sort_keys=True).encode())
  for name, value in _flat(weights).items():
    digest.update(name.encode())
    digest.update(value.tobytes())
  return digest.hexdigest()[:16]


def _flat(weights: Weights) -> dict[str, np.ndarray]:
  """Path in the tree -> array, sorted."""
  flat: dict[str, Any] = traverse_util.flatten_dict(weights.variables, sep="/")
  return {
    name: np.ascontiguousarray(value, np.float32)
    for name, value in sorted(flat.items())
  }


def _card(weights: Weights) -> dict[str, Any]:
  model = dataclasses.asdict(weights.model)
  usual = dataclasses.asdict(dwd.ModelConfig(num_classes=1))
  for key in (*_NOT_STORED, *_YOUNGER):
    if key in _NOT_STORED or model[key] == usual[key]:
      model.pop(key)
  calibration = weights.calibration
  return {
    "format": FORMAT,
    "class_names": list(weights.class_names),
    "group_of_class": list(weights.group_of_class),
    "model": model,
    "decode": weights.decode.to_json(),
    "scale": weights.scale,
    "staff_space_px": weights.staff_space_px,
    "calibration": calibration
    and calibration_lib.to_json(calibration, weights.class_names),
    "about": weights.about,
  } | ({"polarity": weights.polarity} if weights.polarity else {})


def _from_card(card: dict[str, Any], arrays: dict[str, np.ndarray]) -> Weights:
  names, model = tuple(card["class_names"]), read_model(card["model"])
  try:
    decode = config_sections.read(
      DecodeConfig,
      card["decode"],
      "decode",
      num_energy_levels=model.num_energy_levels,
    )
  except InputError as e:
    raise ValueError(e) from None
  weights = Weights(
    variables=traverse_util.unflatten_dict(arrays, sep="/"),
    class_names=names,
    group_of_class=tuple(card["group_of_class"]),
    model=model,
    decode=decode,
    scale=float(card["scale"]),
    staff_space_px=float(card["staff_space_px"]),
    polarity=card.get("polarity", ""),
    about=dict(card["about"]),
  )
  _check_arrays(weights, arrays)
  if card["calibration"] is None:
    return weights
  calibration = calibration_lib.from_json(card["calibration"], names)
  return dataclasses.replace(weights, calibration=calibration)


def _check_arrays(weights: Weights, arrays: dict[str, np.ndarray]) -> None:
  """Raises if an array is missing, unknown, or of another shape or dtype."""
  wanted = _shapes(weights.model)
  for name in sorted(set(wanted) ^ set(arrays)):
    where = "is missing" if name in wanted else "is not of this network"
    raise ValueError(f"array {name} {where}")
  for name, value in arrays.items():
    if value.shape != wanted[name].shape or value.dtype != np.float32:
      raise ValueError(
        f"array {name} is {value.dtype} {value.shape}, not float32"
        f" {wanted[name].shape}"
      )


@functools.lru_cache(maxsize=8)
def _shapes(cfg: dwd.ModelConfig) -> dict[str, Any]:
  """Shapes of a network's variables by path; to trace it takes a second."""
  model, hw = dwd.make_model(cfg), (dwd.SIZE_MULTIPLE, dwd.SIZE_MULTIPLE)
  shapes: Any = jax.eval_shape(lambda: dwd.init_variables(model, 0, hw))
  return traverse_util.flatten_dict(dict(shapes), sep="/")


def _check_size(path: pathlib.Path) -> None:
  with path.open("rb") as file:
    header = int.from_bytes(file.read(8), "little")
  if path.stat().st_size > _MAX_BYTES or header > _MAX_HEADER_BYTES:
    raise ValueError("larger than any detector")


def read_model(values: Any) -> dwd.ModelConfig:
  """The network in a card.

  What an older version did not know is the default.

  Raises:
    ValueError: it is no network.
  """
  given = {**dataclasses.asdict(dwd.ModelConfig(num_classes=1)), **values}
  try:
    config_sections.check(given, dwd.ModelConfig, "model")
  except InputError as e:
    raise ValueError(e) from None
  model = config_sections.make(dwd.ModelConfig, given)
  if not all(0 <= i < model.num_classes for i in model.position_classes):
    raise ValueError("a class with places on the staff that is not there")
  space_px = model.position_space_px
  if model.staff_positions and not 0 < space_px < _MAX_STAFF_SPACE_PX:
    raise ValueError("a staff space of no staff")
  sizes = (
    *(model.backbone_width, model.filters, model.class_hidden + 1),
    *(model.num_classes, model.num_groups, model.num_energy_levels),
  )
  if not 0 < min(sizes) <= max(sizes) <= _MAX_CLASSES:
    raise ValueError("a size of the network is out of range")
  return model
