"""Storage that fails now and then, and runs that are stopped."""

import errno
import os
import pathlib
import signal

import detect_helpers as helpers
import pytest

from dwd_jax import detect
from dwd_jax.apps.detect import detect_pages, inputs, outputs
from dwd_jax.checkpoints import weights
from dwd_jax.core import cli, files


@pytest.fixture
def run(tmp_path, capsys, monkeypatch):
  """Detects on four pages; exit code, what it printed, what it complained."""
  weights.write(tmp_path / "tiny.safetensors", helpers.tiny())
  for i in range(4):
    helpers.save(tmp_path / "in" / f"{i}.png", helpers.ink(i))
  monkeypatch.setattr(inputs, "_PAUSE_S", 0.0)
  # One thread writes: else all pages might be written before a run stops.
  monkeypatch.setattr(detect_pages, "_cores", lambda: 1)

  def call(*args):
    flags = [f"--checkpoint={tmp_path / 'tiny.safetensors'}"]
    flags += ["--compilation-cache=", f"--out={tmp_path / 'out'}"]
    code = detect.main([*flags, str(tmp_path / "in"), *args])
    return (code, *capsys.readouterr())

  return call


def _fails_at_first(monkeypatch, owner, name, number, path_of):
  """Lets a function fail the first time that it is called for a path."""
  work, met = getattr(owner, name), set()

  def fail_or_work(*args, **kwargs):
    path = path_of(*args)
    if path is not None and path not in met:
      met.add(path)
      raise OSError(number, os.strerror(number), str(path))
    return work(*args, **kwargs)

  monkeypatch.setattr(owner, name, fail_or_work)
  return met


def _scan(path):
  return path if path.parent.name == "in" else None


def _folder(path="."):
  return path if getattr(path, "name", "") == "in" else None


def _results(path, _):
  return path if path.name == "2.json" else None


def test_what_storage_refuses_is_tried_again(run, monkeypatch, tmp_path):
  listed = _fails_at_first(monkeypatch, os, "scandir", errno.EIO, _folder)
  read = _fails_at_first(
    monkeypatch, pathlib.Path, "read_bytes", errno.EIO, _scan
  )
  written = _fails_at_first(
    monkeypatch, files, "write_atomic", errno.ESTALE, _results
  )
  code, said, complained = run("--retries=1")
  assert (code, complained) == (0, "") and "4 images;" in said
  assert (len(listed), len(read), len(written)) == (1, 4, 1)


def test_without_retries_such_pages_fail(run, monkeypatch):
  _fails_at_first(monkeypatch, pathlib.Path, "read_bytes", errno.EIO, _scan)
  code, _, complained = run("--retries=0")
  assert code == 2 and complained.count("cannot be read (Input/output") == 4


def test_other_errors_are_not_tried_again(run, monkeypatch):
  _fails_at_first(monkeypatch, pathlib.Path, "read_bytes", errno.EACCES, _scan)
  code, _, complained = run("--retries=9")
  assert code == 2 and complained.count("cannot be read (Permission") == 4


def test_a_file_that_changes_after_reading_is_read_again(
  run, monkeypatch, tmp_path
):
  read = inputs.read

  def read_and_change(source, *args, **kwargs):
    page = read(source, *args, **kwargs)
    if source.name == "2":
      helpers.save(source.path, helpers.ink(9, (50, 60)))
    return page

  with monkeypatch.context() as patch:
    patch.setattr(inputs, "read", read_and_change)
    code, _, complained = run()
  assert code == 2 and "2.json: lost or changed while detecting" in complained
  assert "4 images (3 done before)" in run()[1]


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_run_keeps_what_it_has_written(
  run, monkeypatch, tmp_path, stop
):
  out, write_page = tmp_path / "out", outputs.write_page

  def write_and_stop(folder, found, *more):
    write_page(folder, found, *more)
    if found.page == "1":
      os.kill(os.getpid(), stop)

  before = signal.getsignal(signal.SIGTERM)
  monkeypatch.setattr(outputs, "write_page", write_and_stop)
  with pytest.raises(KeyboardInterrupt) as stopped:
    run()
  assert isinstance(stopped.value, cli.Terminated) == (stop == signal.SIGTERM)
  assert signal.getsignal(signal.SIGTERM) == before
  done = [path.stem for path in sorted(out.glob("?.json"))]
  assert done[:2] == ["0", "1"] and len(done) < 4
  for name in done:  # a page is there as a whole
    assert (out / f"{name}-overlay.png").exists()
    assert (out / "pages" / f"{name}.jpg").exists()
  assert not list(out.rglob("*.part")) and not (out / "index.html").exists()
  monkeypatch.setattr(outputs, "write_page", write_page)
  assert f"4 images ({len(done)} done before)" in run()[1]
