"""Stages: what a config may say, and which stage a step belongs to."""

import runpy

import hypothesis
import pytest
from hypothesis import strategies as st

from dwd_jax.core.errors import InputError
from dwd_jax.objectives import detection_loss
from dwd_jax.train import stages
from dwd_jax.train.settings import default


def entry(**changes):
  return {
    "name": "one",
    "steps": 3,
    "losses": ("energy", "box"),
    "factors": (1.0, 2.0),
  } | changes


def test_the_default_is_the_recipe_of_the_paper():
  made = stages.make_stages(default().stages)
  assert [(s.name, s.steps, s.losses) for s in made] == [
    ("energy", 20000, ("energy",)),
    ("class", 20000, ("class",)),
    ("box", 20000, ("box",)),
    ("energy_again", 10000, ("energy",)),
    ("combined", 30000, ("energy", "class", "box")),
  ]
  assert [s.balance for s in made] == [False] * 4 + [True]
  assert made[-1].factors == (2.0, 1.0, 1.0)
  assert all(s.reset_optimizer for s in made)
  assert stages.Progress(made).total == 100_000


def test_a_further_loss_leaves_the_recipe_of_the_paper_as_it_is(monkeypatch):
  monkeypatch.setitem(detection_loss.LOSSES, "more", None)  # pyright: ignore
  again = runpy.run_path(stages.__file__, run_name="stages_again")
  assert again["LOSSES"] == ("energy", "class", "box", "more")
  assert again["PAPER"][-1].losses == ("energy", "class", "box")


def test_lists_become_tuples_and_empty_stages_go():
  made = stages.make_stages(
    [entry(steps=0), entry(losses=["class"], factors=[1.0], frozen=["stem"])]
  )
  assert made == (stages.Stage("one", 3, ("class",), (1.0,), frozen=("stem",)),)
  hash(made)  # part of what is compiled


# Caption: stages of the config, what the message names.
BAD = {
  "unknown key": (
    [entry(step=5)],
    r"'stages\[0\]\.step'; did you mean 'steps'",
  ),
  "unknown loss": (
    [entry(losses=("energy", "size"))],
    r"unknown loss 'size'; use \('energy'",
  ),
  "no loss": ([entry(losses=(), factors=())], r"no losses"),
  "a loss twice": ([entry(losses=("box", "box"))], r"named twice"),
  "too few factors": ([entry(factors=(1.0,))], r"1 factors for 2 losses"),
  "factor of 0": ([entry(factors=(1.0, 0.0))], r"factors must be positive"),
  "negative steps": ([entry(steps=-1)], r"steps is -1; use 0 or more"),
  "no stage with steps": ([entry(steps=0)], r"no stage has steps"),
  "no stage": ([], r"no stage has steps"),
  "no name": ([{"steps": 3}], r"'stages\[0\]\.name' is missing"),
  "no factors": (
    [{"name": "a", "steps": 3, "losses": ("box",)}],
    r"'stages\[0\]\.factors' is missing",
  ),
}


@pytest.mark.parametrize("caption", BAD)
def test_bad_stages_are_named(caption):
  entries, message = BAD[caption]
  with pytest.raises(InputError, match=rf"config[.:].*{message}") as e:
    stages.make_stages(entries)
  assert "\n" not in str(e.value)


@hypothesis.settings(deadline=None, derandomize=True)
@hypothesis.given(
  st.lists(st.integers(1, 5), min_size=1, max_size=5), st.integers(0, 40)
)
def test_every_step_belongs_to_one_stage(lengths, step):
  made = stages.make_stages(
    [entry(name=str(i), steps=n) for i, n in enumerate(lengths)]
  )
  stage, first = stages.Progress(made).at(step)
  owners = [i for i, n in enumerate(lengths) for _ in range(n)]
  index = owners[step] if step < len(owners) else len(lengths) - 1
  assert stage == made[index]
  assert first == sum(lengths[:index])
