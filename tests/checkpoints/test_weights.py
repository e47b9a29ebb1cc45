"""A detector in one file: written, read, and what is refused."""

import dataclasses
import json

import calibration_helpers
import jax
import numpy as np
import pytest
import safetensors.numpy

from dwd_jax.checkpoints import weights as weights_lib
from dwd_jax.checkpoints.weights import Weights
from dwd_jax.core.errors import InputError
from dwd_jax.decode.decode_config import DecodeConfig
from dwd_jax.metrics import calibration as score_map
from dwd_jax.metrics import reliability
from dwd_jax.models import dwd

pytestmark = pytest.mark.usefixtures("bounded_memory")

MODEL = dwd.ModelConfig(
  num_classes=3, num_groups=2, backbone_depth=10, backbone_width=4, filters=4
)


def test_without_a_calibration_a_fixed_score_counts(weights):
  raw = dataclasses.replace(weights, calibration=None)
  assert raw.threshold == reliability.RAW_THRESHOLD == 0.3
  assert weights.threshold == 0.4


@pytest.fixture(scope="module")
def weights():
  model = dwd.make_model(MODEL)
  shapes = jax.eval_shape(lambda: dwd.init_variables(model, 0, (32, 32)))
  rng = np.random.default_rng(0)
  calibration = calibration_helpers.calibration(
    score_map.ScoreMap(1.5, 1.0, 0.25, np.array([0.0, -0.5, 0.0])), 0.4
  )
  return Weights(
    jax.tree.map(
      lambda x: rng.normal(size=x.shape).astype(x.dtype), dict(shapes)
    ),
    ("clefG", "rest", "Ünïcode name"),
    (0, 1, 0),
    MODEL,
    DecodeConfig(energy_cutoff=3.0),
    scale=0.5,
    staff_space_px=9.25,
    polarity="light",
    calibration=calibration,
    about={"name": "tiny"},
  )


def test_what_is_written_is_read(weights, tmp_path):
  path = tmp_path / "a b.safetensors"
  weights_lib.write(path, weights)
  found = weights_lib.read(path)
  for field in dataclasses.fields(Weights):
    if field.name not in ("variables", "calibration"):
      assert getattr(found, field.name) == getattr(weights, field.name)
  jax.tree.map(
    np.testing.assert_array_equal, found.variables, weights.variables
  )
  assert found.threshold == 0.4
  np.testing.assert_array_equal(
    found.calibration.score_map.offsets, [0.0, -0.5, 0.0]
  )
  same = weights_lib.fingerprint(found)
  assert same == weights_lib.fingerprint(weights)
  about = dataclasses.replace(found, about={"name": "other"})
  assert same == weights_lib.fingerprint(about)
  # Detectors of older versions keep their fingerprint.
  older = dataclasses.replace(found, polarity="")
  assert "polarity" not in weights_lib._card(older)
  assert same != weights_lib.fingerprint(older)
  card = weights_lib._card(found)["model"]
  assert "refinenet" not in card
  assert "deep_energy_strides" not in card
  assert not {"staff_positions", "position_classes"} & set(card)
  decode = DecodeConfig(energy_cutoff=4.0)
  other = dataclasses.replace(found, decode=decode)
  assert same != weights_lib.fingerprint(other)


def test_classes_with_positions_are_of_the_detector(weights):
  cfg = dataclasses.replace(
    MODEL,
    staff_positions=True,
    position_classes=(0, 2),
    position_space_px=9.0,
  )
  stored = json.loads(
    json.dumps(weights_lib._card(dataclasses.replace(weights, model=cfg)))
  )
  assert weights_lib.read_model(stored["model"]) == cfg
  with pytest.raises(ValueError, match="places on the staff"):
    weights_lib.read_model(stored["model"] | {"position_classes": [3]})
  with pytest.raises(ValueError, match="staff space"):
    weights_lib.read_model(stored["model"] | {"position_space_px": 0.0})


def _card(change):
  def changed(path):
    with safetensors.safe_open(path, framework="numpy") as opened:
      card = json.loads(opened.metadata()["dwd_jax"])
      arrays = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    change(card, arrays)
    text = json.dumps(card)
    path.write_bytes(safetensors.numpy.save(arrays, {"dwd_jax": text}))

  return changed


def _array(arrays, change):
  name = min(arrays)
  arrays[name] = change(arrays[name])


# Caption: damage of the file, what the error says.
DAMAGES = {
  "missing": (lambda path: path.unlink(), "no such file"),
  "empty": (lambda path: path.write_bytes(b""), "damaged weights"),
  "cut": (
    lambda path: path.write_bytes(path.read_bytes()[:-100]),
    "damaged weights",
  ),
  "no safetensors": (
    lambda path: path.write_bytes(b"PK\3\4" * 64),
    "larger than any detector",
  ),
  "weights of something else": (
    lambda path: path.write_bytes(
      safetensors.numpy.save({"a": np.zeros(2, np.float32)})
    ),
    "weights of something else",
  ),
  "a future format": (
    _card(lambda card, _: card.update(format=2)),
    "of format 2",
  ),
  "more slots than memory": (
    _card(lambda card, _: card["decode"].update(max_detections=2 * 10**9)),
    "2000000000 is too large",
  ),
  "a filter without end": (
    _card(lambda card, _: card["decode"].update(smooth=10**9)),
    "1000000000 is too large",
  ),
  "more energy groups than memory": (
    _card(lambda card, _: card["model"].update(num_groups=10**9)),
    "size of the network is out of range",
  ),
  "numbers that no float holds": (
    _card(lambda card, _: card["model"].update(filters=10**400)),
    "more than 64 bits",
  ),
  "an unknown decode": (
    _card(lambda card, _: card["decode"].update(method="guess")),
    "decode.method is 'guess'; use one of",
  ),
  "a class too many": (
    _card(lambda card, _: card["class_names"].append("x")),
    "numbers of classes differ",
  ),
  "a class twice": (
    _card(lambda card, _: card.update(class_names=["a", "a", "b"])),
    "occur twice",
  ),
  "a group that is not there": (
    _card(lambda card, _: card.update(group_of_class=[0, 2, 0])),
    "energy group that is not there",
  ),
  "an array missing": (
    _card(lambda _, arrays: arrays.pop(min(arrays))),
    "is missing",
  ),
  "an array of another shape": (
    _card(lambda _, arrays: _array(arrays, lambda x: x[None])),
    "not float32",
  ),
  "an array of another type": (
    _card(lambda _, arrays: _array(arrays, lambda x: x.astype(np.float16))),
    "not float32",
  ),
  "an unknown polarity": (
    _card(lambda card, _: card.update(polarity="up")),
    "'up' is no polarity",
  ),
  "a calibration without content": (
    _card(lambda card, _: card.update(calibration={})),
    "damaged weights",
  ),
  "a size that is no number": (
    _card(lambda card, _: card["model"].update(filters="4")),
    "model.filters is '4'",
  ),
  "a class name that moves the cursor": (
    _card(lambda card, _: card["class_names"].__setitem__(0, "\x1b[2J")),
    "is no class name",
  ),
  "no staff space": (
    _card(lambda card, _: card.update(staff_space_px=-1)),
    "is no staff space",
  ),
  "a card too deep": (
    lambda path: path.write_bytes(
      safetensors.numpy.save({}, {"dwd_jax": "[" * 99_999})
    ),
    "nested too deeply",
  ),
  "no scale": (
    _card(lambda card, _: card.update(scale=0)),
    "is no scale",
  ),
}


@pytest.mark.parametrize("caption", DAMAGES)
def test_damage_is_one_line(weights, tmp_path, caption):
  damage, message = DAMAGES[caption]
  path = tmp_path / "w.safetensors"
  weights_lib.write(path, weights)
  damage(path)
  with pytest.raises(InputError, match=message) as error:
    weights_lib.read(path)
  assert str(path) in str(error.value)
  assert "\n" not in str(error.value)
