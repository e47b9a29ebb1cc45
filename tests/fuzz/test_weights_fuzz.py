"""Whatever a file of weights holds: a detector, or one line."""

import dataclasses
import json
import math

import detect_helpers
import fuzz_helpers as helpers
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import example, given
from hypothesis import strategies as st

from dwd_jax.checkpoints import weights as weights_lib
from dwd_jax.decode.contradictions import Contradictions
from dwd_jax.train.pretraining import resnet_weights

_KEY = "dwd_jax"


def _contradictions() -> Contradictions:
  shares = np.zeros((3, 3), np.float32)
  shares[0, 1] = shares[1, 0] = 0.5
  return Contradictions(np.array([9, 8, 7]), shares, shares > 0)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
  """Of a good file."""
  made = detect_helpers.tiny()
  assert made.calibration is not None
  calibration = dataclasses.replace(
    made.calibration, contradictions=_contradictions()
  )
  path = tmp_path_factory.mktemp("weights") / "good.safetensors"
  weights_lib.write(path, detect_helpers.tiny(calibration=calibration))
  return path


@pytest.fixture(scope="module")
def good(path) -> tuple[dict, dict]:
  """Arrays and card of the file."""
  with safetensors.safe_open(path, framework="numpy") as opened:
    card = json.loads(opened.metadata()[_KEY])
    return {name: opened.get_tensor(name) for name in opened.keys()}, card  # noqa: SIM118


def _read(path, data: bytes) -> None:
  other = path.with_name("x.safetensors")
  other.write_bytes(data)
  with helpers.may_refuse(other):
    found = weights_lib.read(other)
    assert len(found.class_names) == len(found.group_of_class) == 3
    assert 0 < found.scale < math.inf and 0 <= found.staff_space_px < math.inf
    assert 0 <= found.threshold <= 1
    for name in found.class_names:
      assert isinstance(name, str) and (name + "x").isprintable()
    json.dumps(found.about, allow_nan=False)


@helpers.cases(0.3)
@given(data=st.data())
def test_damaged_cards(path, good, data):
  arrays, card = good
  text = data.draw(helpers.damaged_json(card)).decode("utf8", "replace")
  _read(path, safetensors.numpy.save(arrays, {_KEY: text}))


@pytest.mark.parametrize("section", ["model", "decode"])
@helpers.cases(0.3)
@given(data=st.data())
def test_other_values(path, good, section, data):
  arrays, card = good
  key = data.draw(st.sampled_from(sorted(card[section])))
  value = data.draw(
    st.sampled_from([-1, 0, 1, 2, 3, 18, 50, 10**6, 2**40, True, "", 1e300])
    | helpers.JSON_ODD
  )
  text = json.dumps(card | {section: card[section] | {key: value}})
  _read(path, safetensors.numpy.save(arrays, {_KEY: text}))


@helpers.cases()
@given(pieces=helpers.PIECES, in_header=st.booleans())
@example(pieces=[(0.0, 8, b"\xff" * 8)], in_header=True)
@example(pieces=[(0.0, 8, b"\x00\x00\x00\x04\x00\x00\x00\x00")], in_header=True)
def test_damaged_files(path, pieces, in_header):
  data = path.read_bytes()
  size = int.from_bytes(data[:8], "little") + 8 if in_header else len(data)
  _read(path, helpers.replaced(data[:size], pieces) + data[size:])


@helpers.cases()
@given(data=st.data())
def test_headers_of_odd_values(path, data):
  whole = path.read_bytes()
  size = int.from_bytes(whole[:8], "little")
  header = json.loads(whole[8 : 8 + size])
  text = data.draw(helpers.damaged_json(header))
  _read(path, len(text).to_bytes(8, "little") + text + whole[8 + size :])


@helpers.cases()
@given(data=st.data())
def test_pretrained_backbones(path, data):
  whole = path.read_bytes()
  size = int.from_bytes(whole[:8], "little")
  header = json.loads(whole[8 : 8 + size])
  text = data.draw(helpers.damaged_json(header))
  other = path.with_name("y.safetensors")
  other.write_bytes(len(text).to_bytes(8, "little") + text + whole[8 + size :])
  with helpers.may_refuse(other):
    found = resnet_weights.read(other)
    assert all(isinstance(x, np.ndarray) for x in found.values())
    resnet_weights.depth_of(found)
