"""Parameters from PyTorch's .pth files and from .safetensors, without PyTorch.

A .pth file is a zip archive of a pickle and of raw numbers (since PyTorch 1.6),
or several pickles and raw numbers one after another (before; torchvision's
older files). Both are read by `torch_pickle`, which makes no objects.
"""

import io
import math
import mmap
import pathlib
import struct
import zipfile
import zlib
from collections.abc import Callable
from typing import Any, BinaryIO

import ml_dtypes
import numpy as np
import safetensors
import safetensors.numpy

from dwd_jax.core.errors import InputError
from dwd_jax.train.pretraining import torch_pickle

MAX_BYTES = 4 << 30  # of a file; ResNet-152 takes 0.24 GB
_MAX_PICKLE_BYTES = 64 << 20
_ZIP_MAGIC = b"PK\x03\x04"
_OLD_MAGIC = 0x1950A86A20F9469CFC6C
_OLD_PROTOCOL = 1001
_TYPES = {
  "FloatStorage": np.dtype(np.float32),
  "DoubleStorage": np.dtype(np.float64),
  "HalfStorage": np.dtype(np.float16),
  "BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
  "LongStorage": np.dtype(np.int64),
  "IntStorage": np.dtype(np.int32),
  "ShortStorage": np.dtype(np.int16),
  "CharStorage": np.dtype(np.int8),
  "ByteStorage": np.dtype(np.uint8),
  "BoolStorage": np.dtype(np.bool_),
}
# Training scripts keep the parameters beside other things.
_WRAPPERS = ("state_dict", "model_state_dict", "model")


def read(path: pathlib.Path) -> dict[str, np.ndarray]:
  """Reads the parameters of a file.

  Args:
    path: .pth (.pt, .bin) or .safetensors; what it is, the bytes decide, but
      for safetensors, which have no mark.

  Returns:
    Arrays by name, as `Module.state_dict()` has them; "module." in front of
    all names is left out.

  Raises:
    InputError: no such file, too large, damaged, or there is more in it than
      arrays.
  """
  try:
    size = path.stat().st_size
    if not path.is_file() or size > MAX_BYTES:
      raise InputError(
        f"{path}: not a file of at most {MAX_BYTES >> 30} GiB; name a .pth or"
        " .safetensors file"
      )
    if path.suffix == ".safetensors":
      return _plain_names(safetensors.numpy.load_file(path))
    with path.open("rb") as file:
      found = _read_pth(file, size)
  except OSError as e:
    raise InputError(
      f"{path}: cannot be read ({e.strerror or e}); name a .pth or .safetensors"
      " file"
    ) from None
  except (
    ValueError,
    KeyError,
    EOFError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
    NotImplementedError,
    RuntimeError,  # an encrypted member
    safetensors.SafetensorError,
  ) as e:
    reason = " ".join(str(e).split())[:160]
    raise InputError(
      f"{path}: not a whole file of parameters ({reason}); copy it again, or"
      " save it anew with torch.save(model.state_dict(), PATH)"
    ) from None
  return _plain_names(found)


def _read_pth(file: BinaryIO, size: int) -> dict[str, np.ndarray]:
  start = file.read(4)
  file.seek(0)
  if start == _ZIP_MAGIC:
    return _read_zip(file, size)
  # Mapped: reading more than there is costs nothing there.
  with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
    return _read_old(mapped, size)


def _read_zip(file: BinaryIO, size: int) -> dict[str, np.ndarray]:
  """The format since PyTorch 1.6: NAME/data.pkl, NAME/data/KEY, ..."""
  with zipfile.ZipFile(file) as archive:
    members = {info.filename: info for info in archive.infolist()}
    found = [name for name in members if name.endswith("/data.pkl")]
    if len(found) != 1 or found[0].count("/") != 1:
      raise ValueError("no archive of PyTorch")
    folder = found[0].removesuffix("data.pkl")

    def member(name: str, most: int) -> bytes:
      info = members[folder + name]
      # PyTorch does not compress: nothing can grow on reading.
      if info.compress_type != zipfile.ZIP_STORED or info.file_size > most:
        raise ValueError(f"{name} is compressed or too large")
      return archive.read(info)

    order = "little"
    if folder + "byteorder" in members:
      order = member("byteorder", 16).decode("ascii")
    if order not in ("little", "big"):
      raise ValueError(f"byte order {order!r}")
    top = torch_pickle.read(io.BytesIO(member("data.pkl", _MAX_PICKLE_BYTES)))
    tensors = _tensors(top)
    _check_total(tensors, size)
    return _arrays(tensors, lambda key: member(f"data/{key}", size), order)


def _read_old(file: Any, size: int) -> dict[str, np.ndarray]:
  """The format before: magic number, version, system, tensors, keys, numbers.

  The numbers of a storage follow their count, in the order of the keys.
  """
  try:
    magic = torch_pickle.read(file)
  except ValueError:
    magic = None
  if magic != _OLD_MAGIC:
    raise ValueError("neither PyTorch's zip archive nor its older format")
  if torch_pickle.read(file) != _OLD_PROTOCOL:
    raise ValueError("an unknown version of the older format")
  system = torch_pickle.read(file)
  if not isinstance(system, dict):
    raise ValueError("no word on the system that wrote it")
  order = "little" if system.get("little_endian", True) else "big"
  tensors = _tensors(torch_pickle.read(file))
  _check_total(tensors, size)
  storages = {t.storage.key: t.storage for t in tensors.values()}
  keys = torch_pickle.read(file)
  if not isinstance(keys, list) or not all(isinstance(k, str) for k in keys):
    raise ValueError("no list of storages")
  data = {}
  for key in keys:
    # Those that no parameter uses cannot be skipped: their type is unknown.
    if key not in storages:
      raise ValueError("there is more in it than parameters")
    (count,) = struct.unpack("<q", _exactly(file, 8))
    if count != storages[key].size:
      raise ValueError(f"storage {key} has {count} numbers")
    data[key] = _exactly(file, count * _type(storages[key]).itemsize)
  return _arrays(tensors, data.__getitem__, order)


def _exactly(file: Any, count: int) -> bytes:
  data = file.read(count)
  if len(data) < count:
    raise ValueError("it is truncated")
  return data


def _tensors(top: Any) -> dict[str, torch_pickle.Tensor]:
  """The tensors of a state dict, which may be wrapped."""
  for name in _WRAPPERS:
    if isinstance(top, dict) and isinstance(top.get(name), dict):
      top = top[name]
      break
  if not isinstance(top, dict):
    raise ValueError("no dict of parameters")
  found = {
    name: value
    for name, value in top.items()
    if isinstance(name, str) and isinstance(value, torch_pickle.Tensor)
  }
  if not found:
    raise ValueError("not one array in it")
  return found


def _type(storage: torch_pickle.Storage) -> np.dtype:
  if storage.kind not in _TYPES:
    raise ValueError(f"numbers of the type {storage.kind}")
  return _TYPES[storage.kind]


def _check_total(tensors: dict[str, torch_pickle.Tensor], size: int) -> None:
  """No more memory than the file has bytes, however tensors share storages."""
  storages = {t.storage for t in tensors.values()}
  stored = sum(s.size * _type(s).itemsize for s in storages)
  total = sum(
    math.prod(t.shape) * _type(t.storage).itemsize for t in tensors.values()
  )
  if max(stored, total) > size:
    raise ValueError("more numbers than the file has bytes")


def _arrays(
  tensors: dict[str, torch_pickle.Tensor],
  data: Callable[[str], bytes],
  order: str,
) -> dict[str, np.ndarray]:
  storages: dict[torch_pickle.Storage, np.ndarray] = {}
  found = {}
  for name, tensor in tensors.items():
    storage = tensor.storage
    if storage not in storages:
      own = _type(storage)
      raw = data(storage.key)
      if len(raw) != storage.size * own.itemsize:
        raise ValueError(f"storage {storage.key} has {len(raw)} bytes")
      numbers = np.frombuffer(raw, np.uint8)
      if order == "big" and own.itemsize > 1:
        numbers = numbers.reshape(-1, own.itemsize)[:, ::-1].ravel()
      storages[storage] = numbers.view(own)
    numbers = storages[storage][tensor.offset :]
    step = numbers.itemsize
    found[name] = np.lib.stride_tricks.as_strided(
      numbers, tensor.shape, [s * step for s in tensor.strides], writeable=False
    ).copy()
  return found


def _plain_names(found: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
  """Without what `DataParallel` puts in front of every name."""
  prefix = "module."
  if found and all(name.startswith(prefix) for name in found):
    found = {name.removeprefix(prefix): x for name, x in found.items()}
  return found
