"""Pages that workers of Apache Beam read, each into a file of its own.

The launching process takes them from there in its own order: the records are
the same as without Beam.
"""

import functools
import hashlib
import pathlib
from collections.abc import Callable, Collection, Sequence
from typing import Any

import msgspec
import numpy as np

from dwd_jax.cluster import beam_engine
from dwd_jax.core import files
from dwd_jax.core.errors import InputError
from tfds_builders import checks

_BAD_INPUT = "bad_input.txt"  # no page's file ends so


def read_all(
  pages: Sequence[checks.PageFiles],
  read: Callable,
  folder: pathlib.Path,
  options: Any,
) -> None:
  """Reads pages on the workers of an engine.

  Args:
    read: a page -> its examples and the counts of its report; see
      `base.read_examples`.
    folder: of the files, which all workers see; it is made.
    options: of `beam_engine.options`.

  Raises:
    InputError: a page cannot be read.
  """
  import apache_beam as beam  # pyright: ignore[reportMissingImports]

  folder.mkdir(parents=True, exist_ok=True)
  work = beam.Map(functools.partial(_put, read=read, folder=folder))
  try:
    beam_engine.run(pages, "ReadPages" >> work, options)
  except Exception:  # its type depends on the engine
    bad = folder / _BAD_INPUT
    if not bad.exists():
      raise
    raise InputError(bad.read_text()) from None


def take(
  page: checks.PageFiles, *, folder: pathlib.Path, keep: Collection[str]
) -> tuple[list[tuple[str, dict[str, Any]]], dict]:
  """Returns what `read` of `read_all` has returned, and removes its file.

  Args:
    keep: names of pages whose files stay, as other splits have them, too.
  """
  path = _path(folder, page)
  examples, counted = msgspec.msgpack.decode(path.read_bytes())
  if page.name not in keep:
    path.unlink()
  return [
    (key, {name: _array(value) for name, value in example.items()})
    for key, example in examples
  ], counted


def _put(page: checks.PageFiles, *, read: Callable, folder: pathlib.Path):
  try:
    data = msgspec.msgpack.encode(read(page), enc_hook=_parts_of_array)
  except InputError as e:
    files.write_atomic(folder / _BAD_INPUT, str(e))
    raise
  files.write_atomic(_path(folder, page), data)


def _path(folder: pathlib.Path, page: checks.PageFiles) -> pathlib.Path:
  # Names may be as long as those of files can be.
  digest = hashlib.sha256(page.name.encode("utf8", "surrogatepass"))
  return folder / f"{digest.hexdigest()}.msgpack"


def _parts_of_array(value: Any) -> dict[str, Any]:
  if not isinstance(value, np.ndarray):
    raise NotImplementedError(type(value))
  return {
    "dtype": value.dtype.str,
    "shape": value.shape,
    "data": value.tobytes(),
  }


def _array(value: Any) -> Any:
  if not isinstance(value, dict):
    return value
  return np.frombuffer(value["data"], value["dtype"]).reshape(value["shape"])
