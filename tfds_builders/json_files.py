"""Large JSON files of annotations: bounded, typed, with one-line errors.

A file is held once, as bytes. Types with `msgspec.Raw` inside leave most parts
undecoded, so that no Python objects are made for them; `spans` tells where they
are in the file, to read them later or elsewhere. A part takes some 64 bytes
then, whatever its length: `check_parts` refuses files of too small ones.
"""

import math
import pathlib
import re
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import msgspec
import numpy as np
from jaxtyping import Int64

from dwd_jax.core.errors import InputError
from tfds_builders import checks

MAX_BYTES = 4 << 30
MAX_PART_BYTES = 32 << 20
_MIN_MEAN_BYTES = 16  # of the parts of a file
_NOT_A_NUMBER = re.compile(rb"[\[:,]\s*-?(NaN|Infinity)\b")
_BOM = b"\xef\xbb\xbf"
_T = TypeVar("_T")


def read(path: pathlib.Path) -> memoryview:
  """The bytes of a JSON file, without a byte order mark.

  Raises:
    InputError: missing, empty, more than `MAX_BYTES`, or not UTF-8.
  """
  data = memoryview(checks.read_bytes(path, MAX_BYTES))
  checks.check_utf8(data, path)
  return data[len(_BOM) :] if data[: len(_BOM)] == _BOM else data


class Part(msgspec.Struct, gc=False):
  """An object of which nothing is kept."""


def check_parts(data, kind: type[msgspec.Struct], path: pathlib.Path) -> None:
  """Refuses a file that would take many times its size in memory.

  Args:
    kind: its fields are lists of `Part`, dictionaries of them, or None.

  Raises:
    InputError: see `decode`; a part is not an object; the parts are smaller, on
      average, than any annotation.
  """
  found = decode(data, kind, path, max_bytes=MAX_BYTES)
  count = sum(len(x or ()) for x in msgspec.structs.astuple(found))
  if count * _MIN_MEAN_BYTES > len(data):
    raise InputError(
      f"{path}: {count:,} entries in {len(data):,} bytes are too short to be"
      " annotations; replace the file"
    )


def decode(
  data,
  kind: type[_T],
  where: pathlib.Path | str,
  *,
  strict: bool = True,
  custom: Callable[[type, Any], Any] | None = None,
  max_bytes: int | None = None,
) -> _T:
  """Decodes JSON as a type.

  Args:
    kind: of msgspec: a `msgspec.Struct`, dict[int, msgspec.Raw], ...
    where: the file (and the object in it), for errors.
    strict: False accepts numbers in quotes.
    custom: converts decoded values to types that msgspec does not know; may
      raise ValueError for bad input.
    max_bytes: of `data`, `MAX_PART_BYTES` by default; what is typed as Any
      takes up to 25 times as many.

  Raises:
    InputError: too long, not JSON (truncated, NaN, nested too deeply), or not
      of this type.
  """
  size = memoryview(data).nbytes
  if size > (most := max_bytes or MAX_PART_BYTES):
    raise InputError(
      f"{where}: {size:,} bytes are more than the {most:,} allowed of one"
      " entry; replace the file"
    )
  try:
    return msgspec.json.decode(data, type=kind, strict=strict, dec_hook=custom)
  except msgspec.ValidationError as e:
    reason = f"not as expected: {_short(e)}; correct it"
  except (msgspec.DecodeError, UnicodeDecodeError) as e:
    reason = f"not a readable JSON file ({_short(e)}); copy it again"
    if _NOT_A_NUMBER.search(memoryview(data)):
      reason = (
        "has the value NaN or Infinity, which JSON does not know; leave such"
        " entries out, or write null"
      )
  except RecursionError:
    reason = "the JSON is nested too deeply; replace the file"
  raise InputError(f"{where}: {reason}") from None


def _short(error: Exception) -> str:
  return " ".join(str(error).split())[:200]


def spans(
  parts: Iterable[msgspec.Raw], data: memoryview
) -> Int64[np.ndarray, "n 2"]:
  """First byte and byte after the last of undecoded parts, for `read_part`.

  `parts` were decoded from `data`, the result of `read`.
  """
  found = np.fromiter(
    (x for part in parts for x in _span(part)), np.int64
  ).reshape(-1, 2)
  return found - _span(data.obj)[0]  # includes a byte order mark, if any


def read_part(path: pathlib.Path, start: int, stop: int) -> bytes:
  """Bytes `start` .. `stop` - 1 of a file.

  Raises:
    InputError: the file is missing or has become shorter.
  """
  try:
    with path.open("rb") as file:
      file.seek(start)
      data = file.read(stop - start)
  except OSError as e:
    raise InputError(f"{path}: {e.strerror}; put the file back") from None
  if len(data) < stop - start:
    raise InputError(
      f"{path}: the file has changed while it was read; start again"
    )
  return data


def _span(data) -> tuple[int, int]:
  """Address of a buffer in memory, and of the byte after it."""
  view = np.frombuffer(data, np.uint8)
  start = view.__array_interface__["data"][0]
  return start, start + view.size


def numbers(values: Any, n: int) -> list[float]:
  """`n` numbers from decoded JSON; nan for others, or for all if not `n`."""
  if not isinstance(values, list | tuple) or len(values) != n:
    return [math.nan] * n
  return [
    float(v)
    if isinstance(v, int | float) and not isinstance(v, bool) and abs(v) < 1e300
    else math.nan
    for v in values
  ]
