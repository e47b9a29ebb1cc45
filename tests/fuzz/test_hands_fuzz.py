"""Whatever a file of cut symbols holds: symbols, or one line."""

import dataclasses
import io

import fuzz_helpers as helpers
import hand_helpers
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dwd_jax.engrave import hands

_ODD = st.sampled_from([-(2**31), -1, 0, 1, 2, 1000, 2**31 - 1])


@pytest.fixture(scope="module")
def path(tmp_path_factory):
  path = tmp_path_factory.mktemp("hands") / "good.npz"
  hands.write(path, hand_helpers.table())
  return path


def _read(path, data: bytes) -> None:
  other = path.with_name("x.npz")
  other.write_bytes(data)
  with helpers.may_refuse(other):
    made = hands.Hands(hands.read(other))
    for name in made.names:
      symbol = made.pick(name, made.writers[0], np.random.default_rng(0))
      assert symbol is not None and symbol.mask.size < 1 << 25


@helpers.cases()
@given(data=st.data())
@pytest.mark.filterwarnings("ignore")  # NumPy warns of odd headers
def test_bytes(path, data):
  _read(path, data.draw(helpers.damaged(path.read_bytes())))


@helpers.cases()
@given(data=st.data())
def test_values(path, data):
  table = hand_helpers.table()
  arrays = {f.name: getattr(table, f.name) for f in dataclasses.fields(table)}
  for _ in range(data.draw(st.integers(1, 3))):
    name = data.draw(st.sampled_from(sorted(arrays)))
    if name in ("class_names", "source"):
      continue
    array = arrays[name].copy()
    at = data.draw(st.integers(0, array.size - 1))
    array.flat[at] = data.draw(_ODD)
    arrays[name] = array
  file = io.BytesIO()
  np.savez(file, **arrays)
  _read(path, file.getvalue())
