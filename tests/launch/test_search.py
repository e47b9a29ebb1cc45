"""The config of a trial: its steps, its overrides, what is refused."""

import pathlib
import shlex

import pytest

from dwd_jax.core.errors import InputError
from dwd_jax.train import config_file
from launch import search as search_lib
from launch import sweep

# ml_collections loads config files so.
pytestmark = pytest.mark.filterwarnings(
  r"ignore:the load_module\(\) method is deprecated:DeprecationWarning"
)

# Caption: the config's steps, total, steps of the stages.
STEPS = {
  "the same": ((20, 10, 10, 10, 1000), 1050, (20, 10, 10, 10, 1000)),
  "a tenth": ((20, 10, 10, 10, 1000), 105, (2, 1, 1, 1, 100)),
  "a step for each": ((20, 10, 10, 10, 1000), 5, (1, 1, 1, 1, 1)),
  "one more": ((20, 10, 10, 10, 1000), 6, (1, 1, 1, 1, 2)),
  "single steps add up": ((9, 1, 1, 1), 5, (2, 1, 1, 1)),
  "longer": ((2, 0, 4), 12, (4, 0, 8)),
  "none stays none": ((0, 0, 7), 3, (0, 0, 3)),
}


@pytest.mark.parametrize("caption", STEPS)
def test_steps_of_the_stages(caption):
  steps, total, wanted = STEPS[caption]
  assert tuple(search_lib.stage_steps(steps, total)) == wanted
  assert sum(wanted) == total


def test_too_few_steps_are_bad_input():
  with pytest.raises(InputError, match="4 steps for 5 stages"):
    search_lib.stage_steps((20, 10, 10, 10, 1000), 4)
  with pytest.raises(InputError, match="30 steps for 0 stages"):
    search_lib.stage_steps((0, 0), 30)


# Caption: config, overrides, what the line says.
BAD = {
  "no file": ("configs/nothing.py", (), "no such file; .* configs/boxes.py"),
  "unknown key": ("configs/smoke.py", ("sed=1",), "unknown key 'sed'"),
  "another type": ("configs/smoke.py", ("seed=x",), "seed=x: .*invalid"),
  "no such stage": ("configs/smoke.py", ("stages[9].steps=1",), "fewer"),
  "a list": ("configs/smoke.py", ("eval.on.builder=x",), "is a list of"),
}


@pytest.mark.parametrize("caption", BAD)
def test_bad_configs_are_one_line(caption):
  file, overrides, message = BAD[caption]
  with pytest.raises(InputError, match=message) as e:
    config_file.load(file, overrides)
  assert "\n" not in str(e.value)


def _search(*flags: str) -> search_lib.Search:
  args = ["--config=configs/smoke.py", "--out=x", "--steps=11", *flags]
  return sweep.make_search(*sweep.make_parser().parse_known_args(args))


# Caption: rungs, steps after which trials are compared before the end.
RUNGS = {"none": (1, []), "one": (2, [4]), "two": (3, [2, 6])}


@pytest.mark.parametrize("caption", RUNGS)
def test_rungs_end_where_the_trials_end(caption):
  count, wanted = RUNGS[caption]
  first = _search(f"--rungs={count}").first_rung
  assert [first * 3**i for i in range(9) if first * 3**i < 11] == wanted


def test_trials_never_see_the_test_pages(repo_dir, monkeypatch):
  monkeypatch.chdir(repo_dir)
  search = _search("--config.data.test_split=heldout", "--config.seed=3")
  overrides = search.trial_overrides({"train.fsdp": "1"})
  assert {"data.test_split=", "seed=3", "train.fsdp=1"} <= set(overrides)
  assert len({text.partition("=")[0] for text in overrides}) == len(overrides)
  command = search.command(pathlib.Path("x/trial_000"), {})
  assert shlex.join(command[1:5]) == (
    "-m dwd_jax.main --config=configs/smoke.py --workdir=x/trial_000"
  )


def test_another_set_can_be_what_trials_are_judged_on(repo_dir, monkeypatch):
  monkeypatch.chdir(repo_dir)
  other = ["--config.eval.on[0].builder=boxes", "--config.eval.on[0].split=val"]
  for split, kept in (("boxes-val", True), ("val", False)):
    search = _search(*other, f"--split={split}")
    search.check()
    overrides = search.trial_overrides({})
    assert ("eval.on[0].builder=boxes" in overrides) is kept
    assert ("eval.on_during_training=True" in overrides) is kept
    assert ("eval.on=()" in overrides) is not kept
    shared = f"eval.on[0].data_dir={pathlib.Path('x/data/on').absolute()}"
    assert (shared in overrides) is kept
