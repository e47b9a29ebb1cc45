"""Atomic writing."""

import pathlib

import pytest

from dwd_jax.core import files


def test_writes_text_and_bytes_into_a_new_folder(tmp_path):
  path = tmp_path / "new" / "folder" / "a.txt"
  files.write_atomic(path, "ä")
  assert path.read_bytes() == "ä".encode()
  files.write_atomic(path, b"\xe9.png".decode("utf8", "surrogateescape"))
  assert path.read_bytes() == b"?.png"
  files.write_atomic(path, b"\x00")
  assert path.read_bytes() == b"\x00"
  assert [p.name for p in path.parent.iterdir()] == ["a.txt"]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(
  tmp_path, monkeypatch
):
  path = tmp_path / "a.txt"
  path.write_text("old")

  def half(self, data):
    with self.open("wb") as f:
      f.write(data[:1])
    raise OSError("disk full")

  monkeypatch.setattr(pathlib.Path, "write_bytes", half)
  with pytest.raises(OSError, match="disk full"):
    files.write_atomic(path, "new")
  assert path.read_text() == "old"
  assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]
