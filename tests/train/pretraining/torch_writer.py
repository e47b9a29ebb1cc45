"""Files as `torch.save` writes them, made without PyTorch."""

import io
import pathlib
import pickle
import struct
import types
import zipfile
from collections import OrderedDict
from collections.abc import Mapping

import numpy as np

_KINDS = {
  "float32": "FloatStorage",
  "float64": "DoubleStorage",
  "float16": "HalfStorage",
  "int64": "LongStorage",
}


class _Global:
  """Pickled as a bare name, as classes and functions are."""

  def __init__(self, name: str):
    self.__qualname__ = self.__name__ = name

  def __call__(self, *args):
    raise AssertionError("only a name")


class _Tensor:
  def __init__(self, key: str, array: np.ndarray, offset: int = 0):
    self.key, self.array, self.offset = key, array, offset


class _Pickler(pickle._Pickler):  # the one in Python: names are not looked up
  """Writes `_Tensor` as a call of PyTorch's function."""

  dispatch = pickle._Pickler.dispatch.copy()

  def __init__(self, file, old: bool):
    super().__init__(file, protocol=2)
    self._old = old

  def _name(self, module: str, name: str):
    self.write(pickle.GLOBAL + f"{module}\n{name}\n".encode())

  def save_tensor(self, tensor: _Tensor):
    array = tensor.array
    self._name("torch._utils", "_rebuild_tensor_v2")
    self.write(pickle.MARK)
    # The persistent id of the storage.
    self.write(pickle.MARK)
    self.save("storage")
    self._name("torch", _KINDS[array.dtype.name])
    for value in (tensor.key, "cpu", array.size, *([None] * self._old)):
      self.save(value)
    self.write(pickle.TUPLE + pickle.BINPERSID)
    self.save(tensor.offset)
    self.save(tuple(array.shape))
    self.save(tuple(s // array.itemsize for s in array.strides))
    self.save(False)
    self.save(OrderedDict())
    self.write(pickle.TUPLE + pickle.REDUCE)

  dispatch[_Tensor] = save_tensor


def _pickle(value, old: bool) -> bytes:
  out = io.BytesIO()
  _Pickler(out, old).dump(value)
  return out.getvalue()


def _tensors(arrays: Mapping[str, np.ndarray]) -> OrderedDict:
  made = OrderedDict(
    (name, _Tensor(str(i), array))
    for i, (name, array) in enumerate(arrays.items())
  )
  # What `state_dict` adds: notes on the versions of the modules.
  vars(made)["_metadata"] = OrderedDict({"": {"version": 1}})
  return made


def _raw(array: np.ndarray) -> bytes:
  return np.ascontiguousarray(array).tobytes()


def save(path: pathlib.Path, arrays: Mapping[str, np.ndarray]) -> None:
  """The format since PyTorch 1.6; arrays must be in C order."""
  save_zip(path, _pickle(_tensors(arrays), False), arrays)


def save_zip(
  path: pathlib.Path,
  data_pkl: bytes,
  arrays: Mapping[str, np.ndarray] = types.MappingProxyType({}),
  **more: bytes,
) -> None:
  """An archive with a pickle of one's own."""
  with zipfile.ZipFile(path, "w") as archive:
    archive.writestr("archive/data.pkl", data_pkl)
    archive.writestr("archive/byteorder", "little")
    for i, array in enumerate(arrays.values()):
      archive.writestr(f"archive/data/{i}", _raw(array))
    for name, data in more.items():
      archive.writestr(f"archive/{name}", data)
    archive.writestr("archive/version", "3\n")


def save_old(path: pathlib.Path, arrays: Mapping[str, np.ndarray]) -> None:
  """The format before PyTorch 1.6."""
  system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}
  parts = [
    pickle.dumps(0x1950A86A20F9469CFC6C, 2),
    pickle.dumps(1001, 2),
    pickle.dumps(system, 2),
    _pickle(_tensors(arrays), True),
    pickle.dumps([str(i) for i in range(len(arrays))], 2),
  ]
  for array in arrays.values():
    parts += [struct.pack("<q", array.size), _raw(array)]
  path.write_bytes(b"".join(parts))


def pickled(arrays: Mapping[str, np.ndarray]) -> bytes:
  """The pickle of `save`."""
  return _pickle(_tensors(arrays), False)


def resnet(
  depth_blocks, bottleneck: bool, width: int, seed: int = 0, classes: int = 10
) -> dict[str, np.ndarray]:
  """A state dict with torchvision's names and random values."""
  rng = np.random.default_rng(seed)
  found: dict[str, np.ndarray] = {}

  def conv(name, outputs, inputs, size):
    spread = (2 / (inputs * size * size)) ** 0.5
    shape = (outputs, inputs, size, size)
    found[f"{name}.weight"] = rng.normal(0, spread, shape).astype(np.float32)

  def norm(name, channels):
    for key, low, high in (
      ("weight", 0.5, 1.5),
      ("bias", -0.2, 0.2),
      ("running_mean", -0.2, 0.2),
      ("running_var", 0.5, 1.5),
    ):
      value = rng.uniform(low, high, channels).astype(np.float32)
      found[f"{name}.{key}"] = value
    found[f"{name}.num_batches_tracked"] = np.array(7, np.int64)

  conv("conv1", width, 3, 7)
  norm("bn1", width)
  inputs = width
  for stage, count in enumerate(depth_blocks):
    inner = width * 2**stage
    outputs = inner * (4 if bottleneck else 1)
    for block in range(count):
      name = f"layer{stage + 1}.{block}"
      sizes = (1, 3, 1) if bottleneck else (3, 3)
      channels = inputs
      for i, size in enumerate(sizes, 1):
        made = outputs if i == len(sizes) else inner
        conv(f"{name}.conv{i}", made, channels, size)
        norm(f"{name}.bn{i}", made)
        channels = made
      if block == 0 and (stage > 0 or inputs != outputs):
        conv(f"{name}.downsample.0", outputs, inputs, 1)
        norm(f"{name}.downsample.1", outputs)
      inputs = outputs
  found["fc.weight"] = rng.normal(size=(classes, inputs)).astype(np.float32)
  found["fc.bias"] = np.zeros(classes, np.float32)
  return found
