"""Steps of short trials, and when a longer one can go on from them."""

import pytest

from dwd_jax.core.errors import InputError
from dwd_jax.train import settings as config_lib
from launch import budget

# ml_collections loads config files so.
pytestmark = pytest.mark.filterwarnings(
  r"ignore:the load_module\(\) method is deprecated:DeprecationWarning"
)

# Caption: the config's steps, total, scale, steps of the stages.
STEPS = {
  "as they are": ((20, 10, 10, 10, 1000), 1050, "all", (20, 10, 10, 10, 1000)),
  "a tenth": ((20, 10, 10, 10, 1000), 105, "all", (2, 1, 1, 1, 100)),
  "a step for each": ((20, 10, 10, 10, 1000), 5, "all", (1, 1, 1, 1, 1)),
  "one more": ((20, 10, 10, 10, 1000), 6, "all", (1, 1, 1, 1, 2)),
  "single steps add up": ((9, 1, 1, 1), 5, "all", (2, 1, 1, 1)),
  "longer": ((2, 0, 4), 12, "all", (4, 0, 8)),
  "none stays none": ((0, 0, 7), 3, "all", (0, 0, 3)),
  "the last alone": ((20, 10, 0, 1000), 100, "last", (20, 10, 0, 70)),
  "the last with steps": ((20, 10, 0), 25, "last", (20, 5, 0)),
}


@pytest.mark.parametrize("caption", STEPS)
def test_steps_of_the_stages(caption):
  steps, total, scale, wanted = STEPS[caption]
  assert tuple(budget.stage_steps(steps, total, scale)) == wanted
  assert sum(wanted) == total


def test_too_few_steps_are_bad_input():
  with pytest.raises(InputError, match="4 steps for 5 stages"):
    budget.stage_steps((20, 10, 10, 10, 1000), 4)
  with pytest.raises(InputError, match=r"leave none for the last .* 30;"):
    budget.stage_steps((20, 10, 100), 30, "last")
  with pytest.raises(InputError, match="no stage has steps"):
    budget.stage_steps((0, 0), 30)


def test_rungs():
  assert budget.rungs(540, 3, 3) == (60, 180, 540)
  assert budget.rungs(540, 1, 3) == (540,)
  with pytest.raises(InputError, match="8 steps are too few for 3 rungs"):
    budget.rungs(8, 3, 3)


def _settings(*overrides):
  return config_lib.validate(budget.load("configs/smoke.py", overrides))


CONSTANT = ("optimizer.schedule=constant", "optimizer.warmup_steps=0")
ONE = tuple(f"stages[{i}].steps=0" for i in range(4))
SHORT, LONG = "stages[4].steps=9", "stages[4].steps=30"

# Caption: overrides of the short run, of the long one, goes on?
GOES_ON = {
  "constant": ((*CONSTANT, SHORT), (*CONSTANT, LONG), True),
  "the same": ((*CONSTANT, SHORT), (*CONSTANT, SHORT), True),
  "shorter": ((*CONSTANT, LONG), (*CONSTANT, SHORT), False),
  "cosine": (
    ("optimizer.schedule=cosine", SHORT),
    ("optimizer.schedule=cosine", LONG),
    False,
  ),
  "all stages are longer": (
    (*CONSTANT, SHORT),
    (*CONSTANT, LONG, "stages[0].steps=7"),
    False,
  ),
  "one stage": (
    (*CONSTANT, *ONE, SHORT),
    (*CONSTANT, *ONE, LONG),
    True,
  ),
  "the same warm-up": (
    ("optimizer.warmup_steps=2", SHORT),
    ("optimizer.warmup_steps=2", LONG),
    True,
  ),
  "a warm-up cut short": (
    ("optimizer.warmup_steps=5", SHORT),
    ("optimizer.warmup_steps=5", LONG),
    False,
  ),
  "another stage follows": (
    (*CONSTANT, "stages[4].steps=0"),
    (*CONSTANT, SHORT),
    True,
  ),
}


@pytest.mark.parametrize("caption", GOES_ON)
def test_runs_go_on_where_the_longer_begins_as_the_shorter(caption):
  short, long, wanted = GOES_ON[caption]
  assert budget.continues(_settings(*short), _settings(*long)) is wanted


# Caption: config, overrides, what the line says.
BAD = {
  "no file": ("configs/nothing.py", (), "no such file; see configs/"),
  "unknown key": ("configs/smoke.py", ("sed=1",), "unknown key 'sed'"),
  "another type": (
    "configs/smoke.py",
    ("seed=x",),
    "seed=x: .*invalid",
  ),
  "no such stage": ("configs/smoke.py", ("stages[9].steps=1",), "range"),
  "a list": (
    "configs/smoke.py",
    ("eval.on.builder=x",),
    "is a list of",
  ),
}


@pytest.mark.parametrize("caption", BAD)
def test_bad_configs_are_one_line(caption):
  file, overrides, message = BAD[caption]
  with pytest.raises(InputError, match=message) as e:
    budget.load(file, overrides)
  assert "\n" not in str(e.value)
