"""Whatever a space of settings holds: settings, or one line."""

import fuzz_helpers as helpers
import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from launch import search_space

_GOOD = yaml.safe_load(search_space.DEFAULT.read_text()) | {
  "train.batch_size": "int(2, 4)",
  "optimizer.l2": {"log_uniform": [1e-5, 1e-3]},
  "seed": "choices(1, 2)",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  return tmp_path_factory.mktemp("space")


def _check(path) -> None:
  with helpers.may_refuse(path):
    space = search_space.read(path)
    for settings in search_space.corners(space):
      assert all(isinstance(value, str) for value in settings.values())


@helpers.cases()
@given(data=helpers.damaged_json(_GOOD), suffix=st.sampled_from("jy"))
def test_odd_values(folder, data, suffix):
  path = folder / {"j": "a.json", "y": "a.yaml"}[suffix]
  path.write_bytes(data)
  _check(path)


@helpers.cases()
@given(data=helpers.damaged(search_space.DEFAULT.read_bytes()))
@example(data=b"seed: !!python/object/apply:os.system ['true']")
@example(data=b"? [a]\n: 1")
def test_damaged_files(folder, data):
  path = folder / "b.yaml"
  path.write_bytes(data)
  _check(path)


_PARTS = helpers.ODD | st.sampled_from(
  [*("choices", "uniform", "int", "(", ")", ",", "1", "1e999", "nan", "'", "-")]
)


@helpers.cases()
@given(spec=st.lists(_PARTS, max_size=9).map("".join))
@example(spec="int(1e999, 1e999)")
@example(spec="int(" + "9" * 5000 + ", 1)")
@example(spec="uniform(" + "(" * 300 + ")")
def test_settings_of_the_command_line(spec):
  with helpers.may_refuse("seed", "--set"):
    search_space.corners(search_space.parse(f"seed={spec}"))
