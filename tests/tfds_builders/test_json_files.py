"""Large JSON files: typed, bounded, places of their parts."""

import math
import pathlib

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dwd_jax.core.errors import InputError
from tfds_builders import checks, json_files

pytestmark = pytest.mark.usefixtures("bounded_memory")


class _File(msgspec.Struct):
  parts: dict[str, msgspec.Raw]


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_parts_are_found_again_in_the_file(tmp_path, mark):
  path = tmp_path / "a.json"
  path.write_bytes(mark + b'{"parts": {"a": [1, 2] ,"b":{"c": "\xc3\xa9"}}}')
  data = json_files.read(path)
  parts = json_files.decode(data, _File, path).parts.values()
  places = json_files.spans(parts, data).tolist()
  found = [json_files.read_part(path, *place) for place in places]
  assert found == [b"[1, 2]", b'{"c": "\xc3\xa9"}']
  assert json_files.decode(found[0], list[int], path) == [1, 2]
  assert json_files.spans([], data).shape == (0, 2)


_NO_JSON, _OTHER = "not a readable JSON file (", "not as expected: "
# Caption: the file, how the line begins; the rest is msgspec's.
_BAD = {
  "empty": (b"", _NO_JSON),
  "truncated": (b'{"parts": {"a": [1', _NO_JSON),
  "trailing text": (b'{"parts": {}} and more', _NO_JSON),
  "not a number": (b'{"parts": {"a": NaN}}', "has the value NaN or Infinity"),
  "no NaN but a text": (b'{"parts": {"a": "NaN", ', _NO_JSON),
  "wrong type": (b'{"parts": []}', _OTHER),
  "missing": (b"{}", _OTHER),
  "not UTF-8": (b'{"parts": {"\xff": 1}}', _NO_JSON),
  "too deep": (b'{"parts": {"a": ' + b"[" * 200_000, "the JSON is nested too"),
  "two names, wrong": (b'{"parts": {}, "parts": 1}', _OTHER),
}


@pytest.mark.parametrize("caption", _BAD)
def test_bad_json_is_one_line_that_names_the_file(caption):
  data, expected = _BAD[caption]
  with pytest.raises(InputError) as e:
    json_files.decode(data, _File, pathlib.Path("the.json"))
  assert str(e.value).startswith(f"the.json: {expected}")
  assert "\n" not in str(e.value)


@pytest.mark.parametrize("piece", [1, 2, 3, 100])
def test_bytes_that_are_not_utf_8_are_named(tmp_path, monkeypatch, piece):
  monkeypatch.setattr(checks, "_PIECE", piece)
  path = tmp_path / "a.json"
  right = '["aé楽\U0001d11e"]'.encode()
  path.write_bytes(right)
  assert json_files.read(path) == right
  for wrong in (b"\xff", b"\xc3", b"\xe6\xa5"):  # two are cut short
    path.write_bytes(right + wrong)
    with pytest.raises(InputError) as e:
      json_files.read(path)
    byte = f"(byte {len(right)})"
    assert str(e.value) == f"{path}: not UTF-8 text {byte}; convert the file"


def test_numbers():
  assert json_files.numbers([1, 2.5], 2) == [1, 2.5]
  assert json_files.numbers((0,), 1) == [0]
  for bad in (None, 3, "12", [1], [1, 2, 3], {"a": 1, "b": 2}):
    assert all(map(math.isnan, json_files.numbers(bad, 2)))
  wrong = ["1", True, None, [1], 10**400, -(10**400), math.inf, 1e308]
  for value in wrong:
    one, other = json_files.numbers([7, value], 2)
    assert one == 7
    assert math.isnan(other)


@settings(deadline=None, max_examples=200, derandomize=True)
@given(
  st.one_of(
    st.binary(max_size=100),
    st.text('{}[]":,\\u0 1e+-.truefalsn\n', max_size=60).map(str.encode),
  )
)
def test_random_bytes_give_one_line_or_an_object(data):
  try:
    found = json_files.decode(data, _File | list | None, "a.json")
  except InputError as e:
    assert "\n" not in str(e)
  else:
    assert found is None or isinstance(found, _File | list)
