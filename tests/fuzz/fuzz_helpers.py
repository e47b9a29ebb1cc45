"""Odd values, good files with pieces replaced, and what an error may be."""

import contextlib
import json
import unicodedata
from collections.abc import Callable, Iterator
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

from dwd_jax.core.errors import InputError

ODD = st.sampled_from(
  [
    *("nan", "inf", "-1", "1e999", "1_0", "\N{SUPERSCRIPT TWO}", "9" * 5000),
    *("", " ", "\0", "<", "&", "{", "]", "\ud7ff", "..", "/", "disc", "\n"),
    *("\x1b[2J", "\N{RIGHT-TO-LEFT OVERRIDE}", "=1+1"),
  ]
)
_KEYS = ("x", "format", "type", "__class__", "pythonClassName", "\x1b", "..")
JSON_ODD = st.recursive(
  st.none()
  | st.booleans()
  | st.integers(-(2**70), 2**70)
  | st.sampled_from([-1, 0, 1, 2, 10**9, 10**400])
  | st.floats()
  | st.text(max_size=4)
  | st.just("\ud800")  # JSON may name half a character
  | ODD,
  lambda inner: (
    st.lists(inner, max_size=3)
    | st.dictionaries(
      st.text(max_size=3) | st.sampled_from(_KEYS), inner, max_size=2
    )
  ),
  max_leaves=4,
)
PIECES = st.lists(
  st.tuples(
    st.floats(0, 1),
    st.integers(0, 30),
    st.binary(max_size=8) | ODD.map(str.encode),
  ),
  min_size=1,
  max_size=4,
)
HOSTILE_JSON = st.sampled_from(
  [
    *(b"", b"[" * 200_000, b'{"a":' * 100_000, b"\xef\xbb\xbf{}", b"\xff\xfe"),
    *(b"9" * 5000, b"1e999", b"NaN", b'"\\ud800"', b"{}", b"[]", b"null"),
  ]
)


def cases(share: float = 1.0) -> settings:
  """Settings of a target; a slow one runs a share of the cases."""
  long = settings.get_current_profile_name() == "long"
  return settings(
    max_examples=max(2, round(share * (2500 if long else 40))),
    derandomize=not long,
    deadline=None,
    database=None,
    print_blob=long,
  )


@contextlib.contextmanager
def may_refuse(*names: Any) -> Iterator[None]:
  """Lets an `InputError` pass if it is one line that names the file.

  Args:
    names: the line has one of them.
  """
  try:
    yield
  except InputError as e:
    line = str(e)
    assert len(line.splitlines()) == 1, repr(line)
    # Nothing that a terminal would obey.
    assert not any(unicodedata.category(c) == "Cc" for c in line), repr(line)
    assert any(str(name) in line for name in names), repr(line)
    assert len(line) < 2000


def replaced(data: bytes, pieces: list[tuple[float, int, bytes]]) -> bytes:
  """A file with `PIECES` in place of some of its bytes."""
  for at, length, new in pieces:
    start = int(at * len(data))
    data = data[:start] + new + data[start + length :]
  return data


def damaged(good: bytes) -> st.SearchStrategy[bytes]:
  """Files that are like a good one, or random."""
  return (
    st.builds(replaced, st.just(good), PIECES)
    | st.integers(0, len(good)).map(lambda n: good[:n])
    | st.binary(max_size=100)
  )


def damaged_json(good: Any) -> st.SearchStrategy[bytes]:
  """Files of JSON with other values than a good one, or without some."""
  data = json.dumps(good).encode()
  odd = _odd_content(data)
  # Most have the syntax of JSON.
  return st.sampled_from(
    [*[odd] * 6, damaged(data), HOSTILE_JSON, JSON_ODD.map(_encoded)]
  ).flatmap(lambda kind: kind)


def _encoded(content: Any) -> bytes:
  return json.dumps(content).encode()


def _like(value: Any) -> st.SearchStrategy:
  """Values that look more like a good one than `JSON_ODD` does."""
  found = [None, True, [value], {"x": value}, str(value), 0, -1]
  if isinstance(value, int | float) and abs(value) < 1e100:
    found += [-value, value + 1, value / 3, value * 10**6, value * 10**12]
  if isinstance(value, str):
    found += [value * 2, value[:-1], f"../{value}", f"{value}\x1b[2J\n"]
  if isinstance(value, list):
    found += [value * 2, value[:-1], [*value, None], value[::-1]]
  return st.sampled_from(found)


@st.composite
def _odd_content(draw: Callable, good: bytes) -> bytes:
  content: Any = json.loads(good)
  for _ in range(draw(st.integers(1, 3))):
    place, whole, key = None, content, None
    while isinstance(whole, dict | list) and whole:
      keys = sorted(whole) if isinstance(whole, dict) else range(len(whole))
      place, key = whole, draw(st.sampled_from(keys))
      whole = place[key]
      if draw(st.integers(0, 9)) == 0:
        break
    if place is None:
      break
    if draw(st.integers(0, 5)) == 0:
      del place[key]
    else:
      place[key] = draw(draw(st.sampled_from([JSON_ODD, _like(place[key])])))
  return _encoded(content)
