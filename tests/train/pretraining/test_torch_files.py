"""Files of PyTorch, read without it and without running what they name."""

import os
import pickle
import re
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest
import safetensors.numpy
import torch_writer
from hypothesis import given, settings
from hypothesis import strategies as st

from dwd_jax.core.errors import InputError
from dwd_jax.train.pretraining import torch_files

ARRAYS = {
  "conv.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2),
  "conv.half": np.array([0.5, -2], np.float16),
  "bn.count": np.array(7, np.int64),
  "empty": np.zeros((0, 3), np.float32),
}


def _same(found, wanted):
  assert list(found) == list(wanted)
  for name, array in wanted.items():
    assert found[name].dtype == array.dtype
    np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize("save", [torch_writer.save, torch_writer.save_old])
def test_reads_what_torch_save_writes(tmp_path, save):
  save(tmp_path / "x.pth", ARRAYS)
  _same(torch_files.read(tmp_path / "x.pth"), ARRAYS)


def test_reads_safetensors(tmp_path):
  safetensors.numpy.save_file(ARRAYS, tmp_path / "x.safetensors")
  found = torch_files.read(tmp_path / "x.safetensors")
  _same({name: found[name] for name in ARRAYS}, ARRAYS)


def test_names_of_data_parallel_are_shortened(tmp_path):
  wrapped = {f"module.{name}": array for name, array in ARRAYS.items()}
  torch_writer.save(tmp_path / "x.pth", wrapped)
  _same(torch_files.read(tmp_path / "x.pth"), ARRAYS)


def test_agrees_with_pytorch(tmp_path):
  torch = pytest.importorskip("torch")
  net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
  state = net.state_dict()
  state["view"] = torch.arange(12).reshape(3, 4).T[1:]
  last = torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)
  state["channels_last"] = last
  state["brain"] = torch.randn(3).bfloat16()
  for i, wrapped in enumerate((state, {"state_dict": state, "epoch": 3})):
    for new in (True, False):
      path = tmp_path / f"{i}{new}.pth"
      torch.save(wrapped, path, _use_new_zipfile_serialization=new)
      found = torch_files.read(path)
      assert list(found) == list(state)
      for name, tensor in state.items():
        wanted = tensor.to(torch.float64).numpy()
        np.testing.assert_array_equal(found[name].astype(np.float64), wanted)


def test_files_written_here_are_read_by_pytorch(tmp_path):
  torch = pytest.importorskip("torch")
  for save in (torch_writer.save, torch_writer.save_old):
    save(tmp_path / "x.pth", ARRAYS)
    found = torch.load(tmp_path / "x.pth", weights_only=True)
    _same({name: x.numpy() for name, x in found.items()}, ARRAYS)


class _Runs:
  """Unpickling it makes a folder."""

  def __init__(self, path):
    self.path = path

  def __reduce__(self):
    return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("protocol", [2, 4])
def test_nothing_in_a_file_is_run(tmp_path, protocol):
  made = tmp_path / "made"
  data = pickle.dumps({"x": _Runs(made)}, protocol)
  torch_writer.save_zip(tmp_path / "x.pth", data)
  with pytest.raises(InputError, match=r"x\.pth: .*calls (posix|nt)\.mkdir"):
    torch_files.read(tmp_path / "x.pth")
  assert not made.exists()
  pickle.loads(data)  # it would have
  assert made.exists()


def _tensor(size=4, offset=0, shape=(4,), strides=(1,), kind="torch\nFloat"):
  """A pickle of one tensor that claims what it wants."""
  return (
    b"\x80\x02}X\x01\x00\x00\x00xctorch._utils\n_rebuild_tensor_v2\n(("
    + b"X\x07\x00\x00\x00storage"
    + f"c{kind}Storage\n".encode()
    + b"X\x01\x00\x00\x000X\x03\x00\x00\x00cpu"
    + pickle.dumps(size, 2)[2:-1]
    + b"tQ"
    + pickle.dumps(offset, 2)[2:-1]
    + b"("
    + b"".join(pickle.dumps(n, 2)[2:-1] for n in shape)
    + b"t("
    + b"".join(pickle.dumps(n, 2)[2:-1] for n in strides)
    + b"t\x89}ttRs."
  ).replace(b"}ttRs.", b"}tRs.")


# Caption: the pickle of an archive that has 16 bytes in data/0, the reason.
HOSTILE = {
  "strides of 0 make much of little": (
    _tensor(shape=(1 << 40,), strides=(0,)),
    "reaches over its storage",
  ),
  "past the end": (_tensor(offset=1), "reaches over its storage"),
  "negative": (_tensor(offset=-1), "makes no sense"),
  "a storage larger than the file": (
    _tensor(size=1 << 40),
    "more numbers than the file has bytes",
  ),
  "more than there is": (_tensor(size=5, shape=(5,)), "storage 0 has 16 bytes"),
  "another type": (_tensor(kind="torch\nQuantized"), "of the type Quantized"),
  "not of torch": (_tensor(kind="os\nFloat"), "a storage of an unknown type"),
  "no tensor": (b"\x80\x02}.", "not one array"),
  "no dict": (b"\x80\x02K\x01.", "no dict of parameters"),
  "no end": (b"\x80\x02}", "no end|exhausted"),
  "an empty stack": (b"\x80\x020.", "makes no sense"),
  "an unknown memo": (b"\x80\x02h\x07.", "makes no sense"),
  "a name alone is harmless": (b"\x80\x02cos\nsystem\n.", "no dict of param"),
  "an object": (b"\x80\x02cos\nsystem\n)\x81.", "opcode NEWOBJ"),
  "an old instance": (b"(ios\nsystem\n.", "opcode INST"),
  "an extension": (b"\x80\x02\x82\x01.", "opcode EXT1"),
  "text is no pickle": (b"hello", "opcode|pickle"),
  "a key of tuples in tuples": (
    b"\x80\x02})" + b"\x85" * 300_000 + b"K\x01s.",
    "dict of other keys",
  ),
  "text that claims gigabytes": (
    b"\x80\x04\x8d" + struct.pack("<Q", 1 << 40) + b"x.",
    "expected|exceed|bytes",
  ),
  "a memo of gigabytes": (b"\x80\x02}r\xff\xff\xff\x7f.", "not one array"),
}


@pytest.mark.parametrize("caption", HOSTILE)
def test_hostile_pickles_are_refused(tmp_path, caption):
  data, reason = HOSTILE[caption]
  first = {"x": np.zeros(4, np.float32)}
  torch_writer.save_zip(tmp_path / "x.pth", data, first)
  tracemalloc.start()
  with pytest.raises(InputError, match=rf"x\.pth: .*({reason})"):
    torch_files.read(tmp_path / "x.pth")
  assert tracemalloc.get_traced_memory()[1] < 100 << 20
  tracemalloc.stop()


def test_the_made_up_tensor_is_read_when_it_is_right(tmp_path):
  first = {"x": np.arange(4, dtype=np.float32)}
  torch_writer.save_zip(tmp_path / "x.pth", _tensor(), first)
  _same(torch_files.read(tmp_path / "x.pth"), first)


@pytest.mark.parametrize("save", [torch_writer.save, torch_writer.save_old])
@pytest.mark.parametrize("share", [0, 0.3, 0.6, 0.99])
def test_truncated_files_are_refused(tmp_path, save, share):
  path = tmp_path / "x.pth"
  save(path, ARRAYS)
  data = path.read_bytes()
  path.write_bytes(data[: int(share * len(data))])
  with pytest.raises(InputError, match=r"x\.pth: not a whole file .* again"):
    torch_files.read(path)


def test_truncated_safetensors_are_refused(tmp_path):
  path = tmp_path / "x.safetensors"
  safetensors.numpy.save_file(ARRAYS, path)
  path.write_bytes(path.read_bytes()[:-5])
  with pytest.raises(InputError, match=r"x\.safetensors: not a whole file"):
    torch_files.read(path)


def test_compressed_archives_are_refused(tmp_path):
  """They could grow to any size; PyTorch does not compress."""
  torch_writer.save(tmp_path / "x.pth", ARRAYS)
  with (
    zipfile.ZipFile(tmp_path / "x.pth") as given_,
    zipfile.ZipFile(tmp_path / "y.pth", "w", zipfile.ZIP_DEFLATED) as made,
  ):
    for name in given_.namelist():
      made.writestr(name, given_.read(name))
  with pytest.raises(InputError, match="compressed or too large"):
    torch_files.read(tmp_path / "y.pth")


@pytest.mark.parametrize(
  ("name", "reason"),
  [("nothing.pth", "No such file"), ("", "not a file of at most")],
)
def test_what_is_no_file_is_named(tmp_path, name, reason):
  with pytest.raises(InputError, match=re.escape(reason)):
    torch_files.read(tmp_path / name)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_changed_bytes_never_end_in_another_error(tmp_path_factory, data):
  folder = tmp_path_factory.mktemp("fuzz")
  pkl = bytearray(torch_writer.pickled(ARRAYS))
  for _ in range(data.draw(st.integers(1, 4))):
    at = data.draw(st.integers(0, len(pkl) - 1))
    pkl[at] = data.draw(st.integers(0, 255))
  torch_writer.save_zip(folder / "x.pth", bytes(pkl), ARRAYS)
  try:
    torch_files.read(folder / "x.pth")
  except InputError as e:
    assert "x.pth" in str(e)
