"""Whatever the files of a run hold: its facts, or one line."""

import json
import math

import calibration_helpers
import fuzz_helpers as helpers
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dwd_jax.checkpoints import checkpointer, finished_run
from dwd_jax.data import split_staff_spaces
from dwd_jax.metrics import calibration as calibration_lib
from dwd_jax.train import logs, resume
from dwd_jax.train import settings as config_lib

_CLASSES = ("clefG", "rest")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  """A checkpoint without arrays."""
  folder = tmp_path_factory.mktemp("run") / "checkpoints" / "9"
  (folder / "card").mkdir(parents=True)
  (folder / "state").mkdir()
  (folder / "state" / "array").write_text("numbers")
  checkpointer.write_checksums(folder)
  return folder


@helpers.cases()
@given(data=st.data())
def test_checksums(folder, data):
  path = folder / checkpointer.CHECKSUMS
  noted = {"state/array": checkpointer._checksum(folder / "state/array")}
  path.write_bytes(data.draw(helpers.damaged_json(noted)))
  wrong = checkpointer.first_wrong_file(folder)
  assert wrong is None or isinstance(wrong, str)
  path.write_text(json.dumps(noted))
  assert checkpointer.first_wrong_file(folder) is None


@helpers.cases()
@given(data=st.data())
def test_cards(folder, data):
  card = {
    "class_names": _CLASSES,
    "group_of_class": [0, 1],
    "model": {"num_classes": 2},
    "staff_space_px": 9.5,
    "polarity": "dark",
  }
  (folder / "card" / "metadata").write_bytes(
    data.draw(helpers.damaged_json(card))
  )
  with helpers.may_refuse(folder):
    found = finished_run.read_card(folder)
    assert all(isinstance(name, str) for name in found["class_names"])


_CONFIG = config_lib.default()
_SAVED = json.loads(config_lib.to_json(_CONFIG))


@helpers.cases(0.3)
@given(data=st.data())
def test_configs(folder, data):
  path = folder.parent.parent / "config.json"
  path.write_bytes(data.draw(helpers.damaged_json(_SAVED)))
  with helpers.may_refuse(path):
    finished_run._config(path)
  with helpers.may_refuse(path):
    resume.check_config(path, _CONFIG, accept=False)


@helpers.cases()
@given(data=st.data())
def test_calibrations(folder, data):
  good = calibration_helpers.calibration(
    calibration_lib.ScoreMap(1.5, 1.0, 0.25, np.array([0.0, -0.5])), 0.4
  )
  path = folder / calibration_lib.NAME
  path.write_bytes(
    data.draw(helpers.damaged_json(calibration_lib.to_json(good, _CLASSES)))
  )
  with helpers.may_refuse(path):
    found = calibration_lib.read(folder, _CLASSES)
    assert found is not None
    assert found.score_map.a > 0 and found.score_map.b > 0
    assert 0 <= found.point.threshold <= 1
    scores = found.score_map(np.array([0.1, 0.9]), np.array([0, 1]))
    assert ((scores >= 0) & (scores <= 1)).all()


_CURVES = [
  {"step": 5, "name": "val", "mAP": 0.5, "mAP_50": 0.5},
  {"step": 9, "name": "val", "mAP": None, "loss": 1.5},
]


@helpers.cases()
@given(
  data=st.lists(
    st.sampled_from(_CURVES).flatmap(helpers.damaged_json), max_size=4
  )
)
def test_curves(folder, data):
  path = folder.parent.parent / "curves.jsonl"
  path.write_bytes(b"\n".join(data))
  points = logs.read_curves(path)
  assert all(isinstance(point["step"], int) for point in points)
  metrics = dict.fromkeys(logs.CURVE_KEYS, 0.5) | {"checkpoint_step": 7}
  logs.append_curve(path, "val", metrics)
  assert logs.read_curves(path)[-1]["step"] == 7


# NumPy warns of some headers before it refuses them.
@pytest.mark.filterwarnings("ignore:Reading .npy:UserWarning")
@helpers.cases()
@given(data=st.data())
def test_staff_spaces(folder, data):
  path = folder / "spaces.npy"
  np.save(path, np.array([9.0, math.nan, 12.0], np.float32))
  path.write_bytes(data.draw(helpers.damaged(path.read_bytes())))
  found = split_staff_spaces._read(path, 3)
  assert found.shape == (3,) and found.dtype == np.float32
