"""Atomic writing."""

import os

import pytest

from dwd_jax.core import files
from dwd_jax.core.errors import InputError


def test_writes_text_and_bytes_into_a_new_folder(tmp_path):
  path = tmp_path / "new" / "folder" / "a.txt"
  files.write_atomic(path, "ä")
  assert path.read_bytes() == "ä".encode()
  files.write_atomic(path, b"\xe9.png".decode("utf8", "surrogateescape"))
  assert path.read_bytes() == b"?.png"
  files.write_atomic(path, b"\x00")
  assert path.read_bytes() == b"\x00"
  assert [p.name for p in path.parent.iterdir()] == ["a.txt"]


def test_json_is_bounded_and_has_one_kind_of_error(tmp_path):
  path = tmp_path / "a.json"
  path.write_bytes(b'\xef\xbb\xbf{"\xc3\xa9": [1]}')
  assert files.read_json(path) == {"é": [1]}
  assert files.read_json(path, path.stat().st_size) == {"é": [1]}
  with pytest.raises(ValueError, match="larger than 10 bytes"):
    files.read_json(path, 10)
  bad_numbers = (b"9" * 5000, b"9" * 19, b"[NaN]", b"[-Infinity]", b"[1e999]")
  for bad in (b"", b"{", b"\xff", b"[" * 99_999, *bad_numbers):
    path.write_bytes(bad)
    with pytest.raises(ValueError):
      files.read_json(path)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(
  tmp_path, monkeypatch
):
  path = tmp_path / "a.txt"
  path.write_text("old")

  def full(handle):
    raise OSError("disk full")

  monkeypatch.setattr(os, "fsync", full)
  with pytest.raises(OSError, match="disk full"):
    files.write_atomic(path, "new")
  assert path.read_text() == "old"
  assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_file_written_in_pieces_is_complete_or_absent(tmp_path):
  path = tmp_path / "a.txt"
  path.write_text("old")
  with pytest.raises(KeyError), files.atomic(path) as file:
    file.write("half")
    raise KeyError
  assert path.read_text() == "old"
  with files.atomic(path) as file:
    for piece in ("new\r\n", "\ud800", "ä"):
      file.write(piece)
    assert path.read_text() == "old"
  assert path.read_bytes() == "new\r\n?ä".encode()
  assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_link_in_the_place_of_the_file_is_replaced_not_followed(tmp_path):
  victim = tmp_path / "victim"
  victim.write_text("precious")
  path = tmp_path / "out" / "a.txt"
  path.parent.mkdir()
  path.symlink_to(victim)
  files.write_atomic(path, "new")
  assert victim.read_text() == "precious"
  assert path.read_text() == "new" and not path.is_symlink()


def test_a_link_in_the_place_of_the_temporary_file_is_not_followed(
  tmp_path, monkeypatch
):
  victim = tmp_path / "victim"
  victim.write_text("precious")
  (tmp_path / ".known.part").symlink_to(victim)
  monkeypatch.setattr(files.secrets, "token_hex", lambda n: "known")
  with pytest.raises(FileExistsError):
    files.write_atomic(tmp_path / "a.txt", "new")
  assert victim.read_text() == "precious"


def test_files_have_the_rights_of_any_other(tmp_path):
  files.write_atomic(tmp_path / "a", "")
  (tmp_path / "b").write_text("")
  assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


def test_a_link_in_the_place_of_a_lock_is_not_followed(tmp_path):
  victim = tmp_path / "victim"
  victim.write_text("precious")
  (tmp_path / ".writer.lock").symlink_to(victim)
  (tmp_path / ".records.lock").symlink_to(victim)
  for held in (
    files.only_writer(tmp_path, "training"),
    files.turn(tmp_path / "records"),
  ):
    with pytest.raises(InputError, match="a link, not a lock"), held:
      pass
  assert victim.read_text() == "precious"
