"""A trained detector -> files for other programs."""

import pathlib
import string
from collections.abc import Mapping
from importlib import resources
from typing import NamedTuple

from dwd_jax.apps.export import manifest, onnx_graph, onnx_network, stablehlo
from dwd_jax.checkpoints import weights as weights_lib
from dwd_jax.checkpoints.weights import Weights
from dwd_jax.core import files
from dwd_jax.core.errors import InputError
from dwd_jax.predict import packaged

FORMATS = ("safetensors", "stablehlo", "onnx")
# A4 at the staff space of the packaged detector, and as much again.
MOST_HW = (2048, 1536)
_MOST_PX = 1 << 26  # of the decode's plane
_ALONE = "dwd_jax.apps.export.standalone"


class Exported(NamedTuple):
  """What was written; as text, one line for people.

  Attributes:
    paths: the files, the one with the network first.
    weights: the detector.
  """

  paths: tuple[pathlib.Path, ...]
  weights: Weights

  def __str__(self) -> str:
    """Names the file and what tells this detector from others."""
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
      formats: a folder, which gets the README that explains it. Files of the
      same names are replaced.
    wanted: one of `FORMATS`.
    most_hw: stablehlo: height and width of the largest page, px.

  Returns:
    What was written.

  Raises:
    InputError: no such weights, a decode or a size that the format cannot do,
      a package that is missing, or a place that cannot be written.
  """
  if wanted not in FORMATS:
    raise InputError(f"--format: {wanted!r} is none of {', '.join(FORMATS)}")
  if wanted == "onnx":
    onnx_graph.import_onnx()  # missing? say so before anything takes long
  weights = packaged.weights_of(checkpoint)
  if wanted == "safetensors":
    name = "" if out.suffix == ".safetensors" else "detector.safetensors"
    _make_folder((out / name).parent)
    weights_lib.write(out / name, weights)
    return Exported((out / name,), weights)
  content = (
    _stablehlo(weights, most_hw) if wanted == "stablehlo" else _onnx(weights)
  )
  _make_folder(out)
  for name, data in content.items():
    files.write_atomic(out / name, data)
  return Exported(tuple(out / name for name in content), weights)


def _stablehlo(
  weights: Weights, most_hw: tuple[int, int]
) -> Mapping[str, bytes | str]:
  height, width = most_hw
  if min(most_hw) < 1 or height * width > _MOST_PX:
    raise InputError(
      f"--height, --width: {height} x {width} is no size of a page; use up to"
      f" {_MOST_PX >> 20} megapixels"
    )
  height, width = (
    -(-side // manifest.MULTIPLE) * manifest.MULTIPLE for side in most_hw
  )
  return {
    "detector.stablehlo": stablehlo.make(weights, (height, width)),
    "classes.json": manifest.make(weights, (height, width)),
    **_scripts("detector.py", "detector_pages.py"),
    "README.md": _readme("stablehlo.md", weights, height=height, width=width),
  }


def _onnx(weights: Weights) -> Mapping[str, bytes | str]:
  if weights.decode.method != "watershed":
    raise InputError(
      f"--format=onnx: its decode does not know decode.method="
      f"{weights.decode.method}; use --format=stablehlo"
    )
  text = f"dwd_jax detector {weights_lib.fingerprint(weights)}, see README.md"
  args = (weights.variables, weights.model, text)
  return {
    "model.onnx": onnx_network.network(*args),
    "class_head.onnx": onnx_network.class_head(*args),
    "classes.json": manifest.make(weights),
    **_scripts("numpy_decode.py", "numpy_basins.py", "detector_pages.py"),
    "README.md": _readme("onnx.md", weights),
  }


def _scripts(*names: str) -> dict[str, str]:
  """Modules that run alone: they import each other from their own folder."""
  return {name: _text(name).replace(f"{_ALONE}.", "") for name in names}


def _readme(name: str, weights: Weights, **values: int) -> str:
  space, scale = weights.staff_space_px, weights.scale
  size = (
    f"pages whose staff lines are {space:.3g} pixels apart; resize others"
    if space
    else f"pages resized by {scale:.3g}"
  )
  return string.Template(_text(name)).substitute(
    size=size,
    threshold=f"{weights.threshold:.3f}",
    classes=len(weights.class_names),
    fingerprint=weights_lib.fingerprint(weights),
    groups=weights.model.num_groups,
    features=weights.model.filters,
    offsets=", `offsets` [B, h, w, G, 2]" * weights.model.center_offsets,
    **values,
  )


def _text(name: str) -> str:
  return (resources.files(_ALONE) / name).read_text(encoding="utf8")


def _make_folder(path: pathlib.Path) -> None:
  try:
    path.mkdir(parents=True, exist_ok=True)
  except OSError as e:
    raise InputError(
      f"{path}: cannot make the folder ({e.strerror}); choose another --out"
    ) from None
