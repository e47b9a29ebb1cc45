"""Files of parameters: PyTorch's, without running what they name."""

import os
import pickle
import sys
import zipfile

import numpy as np
import pytest
import safetensors.numpy

from dwd_jax.core.errors import InputError
from dwd_jax.train.pretraining import resnet_weights

pytestmark = pytest.mark.usefixtures("bounded_memory")

ARRAYS = {
  "conv.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2),
  "conv.half": np.array([0.5, -2], np.float16),
  "bn.count": np.array(7, np.int64),
  "empty": np.zeros((0, 3), np.float32),
}


@pytest.fixture
def torch():
  return pytest.importorskip("torch", reason="dwd_jax[torch] is not installed")


def _same(found, wanted):
  assert list(found) == list(wanted)
  for name, array in wanted.items():
    assert found[name].dtype == array.dtype
    np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize("wrapper", ["", "module."])
def test_reads_safetensors(tmp_path, wrapper):
  given = {f"{wrapper}{name}": array for name, array in ARRAYS.items()}
  safetensors.numpy.save_file(given, tmp_path / "x.safetensors")
  found = resnet_weights.read(tmp_path / "x.safetensors")
  _same({name: found[name] for name in ARRAYS}, ARRAYS)


@pytest.mark.parametrize("new", [True, False], ids=["zip", "before 1.6"])
def test_reads_what_pytorch_saves(tmp_path, torch, new):
  net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
  state = net.state_dict()
  state["view"] = torch.arange(12).reshape(3, 4).T[1:]
  last = torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)
  state["channels_last"] = last
  state["brain"] = torch.randn(3).bfloat16()
  parallel = {f"module.{name}": tensor for name, tensor in state.items()}
  path = tmp_path / "x.pth"
  for saved in (state, parallel, {"state_dict": state, "epoch": 3}):
    torch.save(saved, path, _use_new_zipfile_serialization=new)
    found = resnet_weights.read(path)
    assert list(found) == list(state)
    for name, tensor in state.items():
      wanted = tensor.to(torch.float64).numpy()
      np.testing.assert_array_equal(found[name].astype(np.float64), wanted)


def test_without_pytorch_the_line_names_the_extra(tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, "torch", None)  # as if not installed
  (tmp_path / "x.pth").touch()
  with pytest.raises(InputError, match=r"x\.pth: .* 'dwd_jax\[torch\]', or"):
    resnet_weights.read(tmp_path / "x.pth")


class _Runs:
  """Unpickling it makes a folder."""

  def __init__(self, path):
    self.path = path

  def __reduce__(self):
    return os.mkdir, (str(self.path),)


def _refused(path):
  with pytest.raises(InputError, match=rf"{path.name}: damaged, or more in it"):
    resnet_weights.read(path)


@pytest.mark.parametrize("new", [True, False], ids=["zip", "before 1.6"])
def test_nothing_in_a_file_is_run(tmp_path, torch, new):
  made, path = tmp_path / "made", tmp_path / "x.pth"
  given = {"weight": torch.ones(3), "x": _Runs(made)}
  torch.save(given, path, _use_new_zipfile_serialization=new)
  _refused(path)
  assert not made.exists()
  torch.load(path, weights_only=False)  # it would have
  assert made.exists()


def test_files_of_something_else_are_refused(tmp_path, torch):
  path = tmp_path / "x.pth"
  many = torch.zeros(1).expand(1 << 40)  # a view: four bytes in the file
  for given in (3, [torch.ones(3)], {}, {"epoch": 3}, {"weight": many}):
    torch.save(given, path)
    _refused(path)
  for data in (b"hello", b"", pickle.dumps({"weight": [1.0]}, 2)):
    path.write_bytes(data)
    _refused(path)


@pytest.mark.parametrize("new", [True, False], ids=["zip", "before 1.6"])
@pytest.mark.parametrize("share", [0, 0.3, 0.6, 0.99])
def test_truncated_files_are_refused(tmp_path, torch, share, new):
  path = tmp_path / "x.pth"
  state = {name: torch.tensor(array) for name, array in ARRAYS.items()}
  torch.save(state, path, _use_new_zipfile_serialization=new)
  data = path.read_bytes()
  path.write_bytes(data[: int(share * len(data))])
  _refused(path)


def test_compressed_archives_are_read(tmp_path, torch):
  """PyTorch does not compress, and was seen to map what it should unpack."""
  state = {name: torch.tensor(array) for name, array in ARRAYS.items()}
  torch.save(state, tmp_path / "x.pth")
  with (
    zipfile.ZipFile(tmp_path / "x.pth") as given,
    zipfile.ZipFile(tmp_path / "y.pth", "w", zipfile.ZIP_DEFLATED) as made,
  ):
    for name in given.namelist():
      made.writestr(name, given.read(name))
  _same(resnet_weights.read(tmp_path / "y.pth"), ARRAYS)


def test_truncated_safetensors_are_refused(tmp_path):
  path = tmp_path / "x.safetensors"
  safetensors.numpy.save_file(ARRAYS, path)
  path.write_bytes(path.read_bytes()[:-5])
  _refused(path)


@pytest.mark.parametrize("name", ["nothing.pth", "x.safetensors", "."])
def test_what_is_no_file_is_named(tmp_path, torch, name):
  with pytest.raises(InputError, match=r"cannot be read .*; name a \.pth or"):
    resnet_weights.read(tmp_path / name)
