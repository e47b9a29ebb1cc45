"""ImageNet weights of torchvision's ResNets -> variables of our backbone.

torchvision's networks take (v - mean) / std of each colour, v = 0 (black) .. 1
(white); ours take ink = 1 - v. For ink i of a channel c

  (v - mean_c) / std_c = (1 - mean_c) / std_c - i / std_c,

so the first convolution W equals the kernel -W_c / std_c on ink plus the
constant k = sum over c, y, x of W_c (1 - mean_c) / std_c. The batch norm after
it absorbs the constant: its running mean becomes mean - k. For a grey page, the
kernel is the sum over the colours.

Features equal torchvision's except near the edge of the page: its zero padding
is a mid grey, ours is paper. `tests/train/pretraining/test_resnet_weights.py`
therefore pads with white.
"""

import pathlib
import re
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import safetensors
import safetensors.numpy

from dwd_jax.core.errors import InputError
from dwd_jax.models.resnet import STAGES

MEAN = np.array([0.485, 0.456, 0.406], np.float64)  # of red, green, blue
STD = np.array([0.229, 0.224, 0.225], np.float64)
_LEAVES = {
  "kernel": "weight",
  "scale": "weight",
  "bias": "bias",
  "mean": "running_mean",
  "var": "running_var",
}
# Keys under which training scripts save the parameters.
_WRAPPERS = ("state_dict", "model_state_dict", "model")


def read(path: pathlib.Path) -> dict[str, np.ndarray]:
  """Reads the parameters of a file.

  Args:
    path: .safetensors, or a file of `torch.save` (.pth, .pt, .bin), which needs
      PyTorch. No code in such a file is run.

  Returns:
    Arrays by name, as `Module.state_dict()` has them, without the prefix
    "module." of `DataParallel`.

  Raises:
    InputError: no such file, PyTorch is missing, or the file is damaged or
      holds more than parameters.
  """
  try:
    size = path.stat().st_size
    if path.suffix == ".safetensors":
      found = safetensors.numpy.load_file(path)
    else:
      found = _read_torch(path, size)
  except OSError as e:
    raise InputError(
      f"{path}: cannot be read ({e.strerror or type(e).__name__}); name a .pth"
      " or .safetensors file"
    ) from None
  except safetensors.SafetensorError as e:
    raise _damaged(path) from e
  if all(name.startswith("module.") for name in found):
    found = {name.removeprefix("module."): x for name, x in found.items()}
  return found


def _read_torch(path: pathlib.Path, size: int) -> dict[str, np.ndarray]:
  """As `read`, for files of `torch.save`."""
  try:
    import torch  # pyright: ignore[reportMissingImports]
  except ImportError:
    raise InputError(
      f"{path}: needs PyTorch, which is not installed; pip install"
      " 'dwd_jax[torch]', or name a .safetensors file"
    ) from None
  try:
    # With mmap=True, PyTorch 2.13 silently reads wrong numbers if the archive
    # is compressed or a record is too short.
    top = torch.load(path, map_location="cpu", weights_only=True)
    if isinstance(top, dict):
      inner = (top.get(name) for name in _WRAPPERS)
      top = next((x for x in inner if isinstance(x, dict)), top)
    tensors = {k: x for k, x in top.items() if isinstance(x, torch.Tensor)}
    # Strides of 0 can make a few numbers any size.
    if not 0 < sum(x.nbytes for x in tensors.values()) <= size:
      raise ValueError("no parameters, or more than the file has bytes")
    return {
      # NumPy has no bfloat16.
      str(k): (x.float() if x.dtype == torch.bfloat16 else x).detach().numpy()
      for k, x in tensors.items()
    }
  except OSError:
    raise
  except Exception as e:  # PyTorch raises at least six types
    raise _damaged(path) from e


def _damaged(path: pathlib.Path) -> InputError:
  return InputError(
    f"{path}: damaged, or more in it than parameters; copy it again, or save"
    " it anew with torch.save(model.state_dict(), PATH)"
  )


def depth_of(state: Mapping[str, Any]) -> int | None:
  """Depth of a ResNet's state dict: 18, 34, ...; None = another network."""
  blocks = [0, 0, 0, 0]
  for name in state:
    found = re.match(r"layer([1-4])\.([0-9]{1,3})\.conv1\.weight$", name)
    if found:
      stage, block = int(found[1]) - 1, int(found[2])
      blocks[stage] = max(blocks[stage], block + 1)
  bottleneck = "layer1.0.conv3.weight" in state
  for depth, (counts, deep) in STAGES.items():
    if counts == tuple(blocks) and deep == bottleneck:
      return depth
  return None


def torch_name(path: str) -> str:
  """ "stage2_block1/bn1/scale" -> "layer2.0.bn1.weight"."""
  *modules, leaf = path.split("/")
  if len(modules) == 1:
    layer = {"stem": "conv1", "stem_bn": "bn1"}[modules[0]]
  else:
    block, layer = modules
    found = re.fullmatch(r"stage(\d)_block(\d+)", block)
    assert found is not None  # names of our own network
    names = {"downsample": "downsample.0", "downsample_bn": "downsample.1"}
    layer = f"layer{found[1]}.{int(found[2]) - 1}.{names.get(layer, layer)}"
  return f"{layer}.{_LEAVES[leaf]}"


def backbone_variables(
  state: Mapping[str, np.ndarray], shapes: Any, depth: int, where: str
) -> Any:
  """Variables of our backbone (float32) from a state dict of torchvision.

  Args:
    state: arrays by torchvision's names; the classifier `fc` is ignored.
    shapes: {"params": .., "batch_stats": ..} of our `ResNet`: arrays, or the
      output of `jax.eval_shape`.
    depth: of our backbone.
    where: names the file in errors.

  Raises:
    InputError: a network of another depth or width, or not a ResNet.
  """
  given = depth_of(state)
  if given != depth:
    kind = "no ResNet of torchvision" if given is None else f"a ResNet-{given}"
    raise InputError(
      f"{where}: {kind}, but model.backbone_depth is {depth}; name weights of"
      f" that depth{'' if given is None else f', or set it to {given}'}"
    )
  shift = np.zeros(0)

  def leaf(path, own) -> np.ndarray:
    name = torch_name("/".join(str(part.key) for part in path[1:]))
    if name not in state:
      raise InputError(f"{where}: no {name}; name a whole ResNet-{depth}")
    value = np.asarray(state[name], np.float64)
    if name == "conv1.weight" and len(shift):
      value = first_kernel(value, own.shape[2])
    elif value.ndim == 4:
      value = value.transpose(2, 3, 1, 0)
    if name == "bn1.running_mean" and value.shape == shift.shape:
      value = value - shift
    if value.shape != own.shape:
      raise InputError(
        f"{where}: {name} would be {value.shape} here, not {own.shape};"
        " ImageNet weights are for model.backbone_width=64"
      )
    if not np.all(np.isfinite(value)):
      raise InputError(f"{where}: {name} is not finite; copy the file again")
    return value.astype(np.float32)

  first = state.get("conv1.weight")
  if first is not None and first.ndim == 4 and first.shape[1] == 3:
    channels = shapes["params"]["stem"]["kernel"].shape[2]
    shift = first_constant(np.asarray(first, np.float64), channels)
  return jax.tree_util.tree_map_with_path(leaf, shapes)


def first_kernel(weight: np.ndarray, channels: int) -> np.ndarray:
  """The first kernel for ink, or for colours 0..1, instead of normalised ones.

  [out, 3, height, width] -> [height, width, channels, out]; one channel is the
  ink of a grey page, three are red, green and blue.
  """
  kernel = (weight / STD[:, None, None]).transpose(2, 3, 1, 0)
  return -kernel.sum(2, keepdims=True) if channels == 1 else kernel


def first_constant(weight: np.ndarray, channels: int) -> np.ndarray:
  """Output of the first convolution where our input is 0, [out].

  That is on white paper, or on black of pictures in colour.
  """
  zero = ((1.0 if channels == 1 else 0.0) - MEAN) / STD
  return (weight * zero[:, None, None]).sum((1, 2, 3))
