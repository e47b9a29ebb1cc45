"""Exports a trained detector for other programs.

classes.json beside an exported network holds

```
  class_names      of the labels 0, 1, ...
  group_of_class   energy group of each class
  multiple         sides of images are multiples of this, px
  most_hw          largest image, px; null = any
  polarity         dark: objects are darker than what is around them; light:
                   lighter; keep: pixels as they are; null: ink is what fewer
                   pixels are
  channels         of images: 1 = ink, 3 = red, green and blue as they are
  staff_space_px   between staff lines of the training pages; 0 = unknown
  scale            pixels of the network's image per pixel of a page whose
                   staff space is unknown
  threshold        probability from which a detection counts by default
  calibration      probability = 1 / (1 + exp(-z)), z = a * log(score)
                   - b * log(1 - score) + c + offsets[label]; null = the raw
                   scores count
  contradictions   which classes lie on each other in the training pages, see
                   contradictions.py; null = not known
  refinement       boxes are refined by refinement_head.onnx; `oriented`: into
                   oriented ones, too; null = they are not
  positions        places on the staff: `classes`, the labels that have one, and
                   `space_px`, between staff lines in the network's images;
                   null = the detector knows none
  decode           settings of the decode, see `DecodeConfig`
  fingerprint      differs where any prediction could
  about            for people
```
"""

import dataclasses
import json
import os
import pathlib
import string
from collections.abc import Mapping
from importlib import resources
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import export as jax_export

from dwd_jax.apps.export import onnx_network
from dwd_jax.checkpoints import weights as weights_lib
from dwd_jax.checkpoints.weights import Weights
from dwd_jax.cluster import sharding
from dwd_jax.core import files
from dwd_jax.core.errors import InputError
from dwd_jax.decode import contradictions
from dwd_jax.models import dwd
from dwd_jax.models.resnet import ResNet
from dwd_jax.predict import packaged, predict_pages

FORMATS = ("safetensors", "stablehlo", "onnx")
# Twice the area of A4 at the staff space of the packaged detector.
MOST_HW = (2048, 1536)
_MOST_PX = 1 << 26  # of the decode's plane
_MULTIPLE = 64  # sides of padded pages are multiples of this, px
_PLATFORMS = ("cpu", "cuda", "tpu")
# In a README, of detectors that refine boxes.
_REFINEMENT = """`refinement_head.onnx` changes the boxes that the decode finds,
by the ink around them, see `refined` in `numpy_decode.py`.
"""
# In a README, of detectors that know places on the staff.
_POSITIONS = """
Each row ends with the place on the staff: steps of half a staff space, 0 = the
middle line, upwards positive; None (or an empty column) where there is none.
"""
# In a README, of detectors that know oriented boxes.
_CORNERS = """
The corners of the oriented box, four times (y, x), follow the box: 8 further
columns, and in Python `name, score, box, corners`.
"""
_ALONE = "dwd_jax.apps.export.standalone"
# These go with them.
_CARRIED = (
  "dwd_jax.core.rectangles",
  "dwd_jax.imaging.grey",
  "dwd_jax.decode.contradictions",
  "dwd_jax.decode.siblings",
  "dwd_jax.models.ink_columns",
  "dwd_jax.models.ink_windows",
)


class Exported(NamedTuple):
  """The files written, that of the network first; `str` gives one line."""

  paths: tuple[pathlib.Path, ...]
  weights: Weights

  def __str__(self) -> str:
    """Names the file and what identifies the detector."""
    first, *rest = self.paths
    beside = f" and {len(rest)} files beside it" if rest else ""
    return (
      f"{first} ({first.stat().st_size / 1e6:.1f} MB){beside}:"
      f" {len(self.weights.class_names)} classes, threshold"
      f" {self.weights.threshold:.3f}, fingerprint"
      f" {weights_lib.fingerprint(self.weights)}"
    )


def export(
  checkpoint: str,
  out: pathlib.Path,
  wanted: str,
  most_hw: tuple[int, int] = MOST_HW,
) -> Exported:
  """Writes a detector in another format.

  Args:
    checkpoint: see `packaged.weights_of`.
    out: safetensors: the file, or a folder for detector.safetensors; other
      formats: a folder, which also gets a README. Files of an earlier export
      are replaced, others are not.
    wanted: one of `FORMATS`.
    most_hw: stablehlo: height and width of the largest page, px.

  Raises:
    InputError: no such weights, a decode or a size that the format does not
      support, a missing package, or an unwritable place.
  """
  if wanted not in FORMATS:
    raise InputError(f"--format: {wanted!r} is none of {', '.join(FORMATS)}")
  if wanted == "onnx":
    onnx_network.import_onnx()  # fails early if missing
  weights = packaged.weights_of(checkpoint)
  if wanted == "safetensors":
    name = "" if out.suffix == ".safetensors" else "detector.safetensors"
    files.make_dir((out / name).parent, "choose another --out")
    _check_detector(out / name)
    weights_lib.write(out / name, weights)
    return Exported((out / name,), weights)
  content = (
    _stablehlo(weights, most_hw) if wanted == "stablehlo" else _onnx(weights)
  )
  files.make_dir(out, "choose another --out")
  there = [name for name in content if os.path.lexists(out / name)]
  if 0 < len(there) < len(content):  # all of them are an earlier export's
    raise _not_ours(out / there[0])
  for name, data in content.items():
    files.write_atomic(out / name, data)
  return Exported(tuple(out / name for name in content), weights)


def _check_detector(path: pathlib.Path) -> None:
  """Raises InputError if another kind of file is there."""
  if not os.path.lexists(path):
    return
  try:
    weights_lib.read(path)
  except InputError:
    raise _not_ours(path) from None


def _not_ours(path: pathlib.Path) -> InputError:
  return InputError(
    f"{path}: is there already, and of no earlier export; choose another --out"
  )


def _stablehlo(
  weights: Weights, most_hw: tuple[int, int]
) -> Mapping[str, bytes | str]:
  height, width = most_hw
  if min(most_hw) < 1 or height * width > _MOST_PX:
    raise InputError(
      f"--height, --width: {height} x {width} is no size of a page; use up to"
      f" {_MOST_PX >> 20} megapixels"
    )
  height, width = (-(-side // _MULTIPLE) * _MULTIPLE for side in most_hw)
  return {
    "detector.stablehlo": _exported(weights, (height, width)),
    "classes.json": _classes_json(weights, (height, width)),
    **_scripts("detector.py", "detector_pages.py"),
    "README.md": _readme("stablehlo.md", weights, height=height, width=width),
  }


def _exported(weights: Weights, most_hw: tuple[int, int]) -> bytes:
  """Serialises images float32 [B, H, W, c] -> detections, with the variables.

  B is free; H and W are any multiples of 64 up to `most_hw`, itself a multiple
  of 64. The network follows the size of the image; the decode, which needs
  fixed sizes, works on a plane of `most_hw`, where its work still follows the
  objects: that of CPUs, on whatever machine the file is made. The result's
  `call` returns a dictionary with the fields of `structs.Detections`; boxes are
  in pixels of the image.
  """
  rows, columns = (side // _MULTIPLE for side in most_hw)
  constraints = [f"h <= {rows}", f"w <= {columns}"]
  b, h, w = jax_export.symbolic_shape("b, h, w", constraints=constraints)
  image = jax.ShapeDtypeStruct(
    (b, _MULTIPLE * h, _MULTIPLE * w, weights.model.channels), jnp.float32
  )
  model = dwd.make_model(dataclasses.replace(weights.model, dtype="float32"))
  groups = np.asarray(weights.group_of_class, np.int32)
  both = predict_pages.network_and_decode(
    model, weights.decode, groups, weights.class_names, most_hw
  )

  @jax.jit
  def detect(image):
    found = vars(both(weights.variables, image)[0])
    return {name: x for name, x in found.items() if x is not None}

  with jax.default_device(sharding.host_cpu()):
    exported = jax_export.export(detect, platforms=_PLATFORMS)(image)
  return bytes(exported.serialize())


def _onnx(weights: Weights) -> Mapping[str, bytes | str]:
  if weights.decode.method != "watershed":
    raise InputError(
      f"--format=onnx: its decode does not know decode.method="
      f"{weights.decode.method}; use --format=stablehlo"
    )
  if not isinstance(dwd.make_backbone(weights.model, train=False), ResNet):
    raise InputError(
      "--format=onnx: knows ResNets only, and the detector has another"
      " backbone; use --format=stablehlo"
    )
  text = f"dwd_jax detector {weights_lib.fingerprint(weights)}, see README.md"
  args = (weights.variables, weights.model, text)
  return {
    "model.onnx": onnx_network.network(*args),
    "class_head.onnx": onnx_network.class_head(*args),
    "classes.json": _classes_json(weights),
    **_scripts("numpy_decode.py", "numpy_basins.py", "detector_pages.py"),
    "README.md": _readme("onnx.md", weights),
    **(
      {"refinement_head.onnx": onnx_network.refinement_head(*args)}
      if weights.model.refines
      else {}
    ),
    **(
      {"position_head.onnx": onnx_network.position_head(*args)}
      if weights.model.staff_positions
      else {}
    ),
  }


def _classes_json(
  weights: Weights, most_hw: tuple[int, int] | None = None
) -> str:
  """The text of classes.json; `most_hw` None = any size."""
  calibration = weights.calibration
  score_map = calibration and calibration.score_map
  content = {
    "class_names": list(weights.class_names),
    "group_of_class": list(weights.group_of_class),
    "multiple": _MULTIPLE,
    "most_hw": most_hw and list(most_hw),
    "polarity": weights.polarity_of_pages or None,
    "channels": weights.model.channels,
    "staff_space_px": weights.staff_space_px,
    "scale": weights.scale,
    "threshold": weights.threshold,
    "calibration": score_map
    and score_map._asdict() | {"offsets": score_map.offsets.tolist()},
    "contradictions": calibration
    and calibration.contradictions
    and contradictions.to_json(calibration.contradictions, weights.class_names),
    "refinement": {"oriented": weights.model.oriented}
    if weights.model.refines
    else None,
    "positions": {
      "classes": list(weights.model.position_classes),
      "space_px": weights.model.position_space_px,
    }
    if weights.model.staff_positions
    else None,
    "decode": weights.decode.to_json(),
    "fingerprint": weights_lib.fingerprint(weights),
    "about": weights.about,
  }
  text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
  return text + "\n"


def _scripts(*names: str) -> dict[str, str]:
  """Modules that run alone, importing each other from their own folder."""
  texts = {name: _text(name) for name in names}
  carried = [path.rsplit(".", 1) for path in _CARRIED]
  for package, module in carried:
    texts[f"{module}.py"] = _text(f"{module}.py", package)
  for name, text in texts.items():
    text = text.replace(f"{_ALONE}.", "")
    for package, module in carried:
      text = text.replace(f"from {package} import {module}", f"import {module}")
    texts[name] = text
  return texts


def _readme(name: str, weights: Weights, **values: int) -> str:
  space, scale = weights.staff_space_px, weights.scale
  size = (
    f"pages whose staff lines are {space:.3g} pixels apart; resize others"
    if space
    else f"pages resized by {scale:.3g}"
  )
  if weights.model.channels == 3:
    size += ", in colour"
  elif known := weights.polarity_of_pages:
    size += {
      "dark": ", with dark objects on light ground",
      "light": ", with light objects on dark ground",
      "keep": ", in the tones of the training pages",
    }[known]
  return string.Template(_text(name)).substitute(
    size=size,
    threshold=f"{weights.threshold:.3f}",
    classes=len(weights.class_names),
    fingerprint=weights_lib.fingerprint(weights),
    groups=weights.model.num_groups,
    features=weights.model.filters,
    offsets=", `offsets` [B, h, w, G, 2]" * weights.model.center_offsets,
    refinement=_REFINEMENT * weights.model.refines,
    also=", `oriented_yx` [B, K, 4, 2]" * weights.model.oriented,
    channels=weights.model.channels,
    values="0 = paper, 1 = ink"
    if weights.model.channels == 1
    else "red, green, blue, 0 to 1",
    positions=_POSITIONS * weights.model.staff_positions,
    corners=_CORNERS * weights.model.oriented,
    **values,
  )


def _text(name: str, package: str = _ALONE) -> str:
  return (resources.files(package) / name).read_text(encoding="utf8")
