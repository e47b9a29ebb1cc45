"""Spaces: what is read, what is refused, how evenly trials fall."""

import json
import math

import numpy as np
import pytest
import yaml

from dwd_jax.core.errors import InputError
from launch import search_space

RATE = "optimizer.learning_rate"


def test_the_default_gives_each_optimizer_its_own_range():
  space = search_space.check(search_space.DEFAULT, "default")
  options = space["optimizer.name"]["choices"]
  found = {name: [] for name in options}
  for index in range(30):
    params = search_space.sample(space, 0, index)
    assert set(params) == set(search_space.varied(space))
    found[params["optimizer.name"]].append(params[RATE])
  for name, rates in found.items():
    assert len(rates) == 10
    low, high = options[name][RATE]["log_uniform"]
    assert low <= min(rates) <= max(rates) <= high


def test_trials_follow_from_seed_and_number_alone():
  space = search_space.DEFAULT
  first = [search_space.sample(space, 3, i) for i in range(9)]
  again = [search_space.sample(space, 3, i) for i in reversed(range(9))]
  assert first == again[::-1]
  assert first != [search_space.sample(space, 4, i) for i in range(9)]
  assert len({json.dumps(params) for params in first}) == 9


def test_choices_are_dealt_evenly_and_in_random_order():
  space = {"optimizer.name": {"choices": ["rmsprop", "adam", "sgd"]}}
  names = [
    search_space.sample(space, 0, i)["optimizer.name"] for i in range(30)
  ]
  hands = [tuple(names[i : i + 3]) for i in range(0, 30, 3)]
  assert all(len(set(hand)) == 3 for hand in hands)
  assert len(set(hands)) > 2


@pytest.mark.parametrize("kind", ["uniform", "log_uniform"])
def test_numbers_cover_their_range_without_gaps(kind):
  space = {RATE: {kind: [1e-4, 1e-1]}, "optimizer.l2": {kind: [1e-6, 1e-2]}}
  for count in (8, 21):
    values = [search_space.sample(space, 1, i)[RATE] for i in range(count)]
    if kind == "log_uniform":
      shares = [math.log10(v / 1e-4) / 3 for v in values]
    else:
      shares = [(v - 1e-4) / (1e-1 - 1e-4) for v in values]
    gaps = np.diff([0, *sorted(shares), 1])
    # Independent numbers leave gaps of log(n) / n and more.
    assert gaps.max() < 3 / count


def test_whole_numbers_reach_both_ends():
  space = {"train.batch_size": {"int": [2, 4]}}
  values = [
    search_space.sample(space, 0, i)["train.batch_size"] for i in range(60)
  ]
  assert {type(value) for value in values} == {int}
  assert set(np.unique(values, return_counts=True)[1]) <= {19, 20, 21}
  assert set(values) == {2, 3, 4}


def test_what_stays_the_same_does_not_count_as_varied():
  space = search_space.check({"seed": 3, RATE: {"uniform": [0, 1]}}, "x")
  assert search_space.sample(space, 0, 0)["seed"] == 3
  assert search_space.varied(space) == [RATE]


TEXTS = {
  "space.json": '{"optimizer.name": {"choices": {"adam": {"%s": 1e-3}}}}',
  "space.yaml": "optimizer.name:\n  choices:\n    adam:\n      %s: 0.001\n",
  "space.txt": "# \n{'optimizer.name': {'choices': {'adam': {'%s': 1e-3}}}}",
}


@pytest.mark.parametrize("name", TEXTS)
def test_files_are_read_in_three_notations(tmp_path, name):
  (tmp_path / name).write_text(TEXTS[name] % RATE)
  space = search_space.read(tmp_path / name)
  assert search_space.sample(space, 0, 0) == {
    "optimizer.name": "adam",
    RATE: 0.001,
  }


def test_numbers_that_yaml_takes_for_text(tmp_path):
  path = tmp_path / "space.yml"
  path.write_text(f"{RATE}: {{log_uniform: [1e-5, 1e-2]}}\n")
  assert search_space.read(path) == {RATE: {"log_uniform": [1e-5, 1e-2]}}


# Caption: text of --set, the space it means.
SETS = {
  "a range": (
    f"{RATE}=log_uniform(1e-5,1e-2)",
    {RATE: {"log_uniform": [1e-5, 0.01]}},
  ),
  "words": (
    "optimizer.name=choices(adam, sgd)",
    {"optimizer.name": {"choices": ["adam", "sgd"]}},
  ),
  "whole numbers": ("seed=int(0,5)", {"seed": {"int": [0, 5]}}),
  "a value": ("optimizer.name=sgd", {"optimizer.name": "sgd"}),
  "as in a file": ("seed={'choices': [1, 2]}", {"seed": {"choices": [1, 2]}}),
}


@pytest.mark.parametrize("caption", SETS)
def test_ranges_on_the_command_line(caption):
  text, space = SETS[caption]
  assert search_space.parse(text) == space


# Caption: a space, what the line says.
BAD = {
  "no map": ([1], "a space maps keys"),
  "unknown key": ({"optimizer.rate": 1}, "unknown key 'optimizer.rate'"),
  "unknown range": ({"seed": {"normal": [0, 1]}}, r"\['normal'\]: give one of"),
  "no choices": ({"seed": {"choices": []}}, "need one or more values"),
  "upside down": ({"seed": {"uniform": [2, 1]}}, r"a range is \[low, high\]"),
  "infinite": ({"seed": {"uniform": [0, math.inf]}}, "two finite numbers"),
  "three ends": ({"seed": {"uniform": [0, 1, 2]}}, r"a range is \[low, high\]"),
  "words": ({"seed": {"uniform": ["a", "b"]}}, r"a range is \[low, high\]"),
  "log of 0": ({RATE: {"log_uniform": [0, 1]}}, "numbers above 0"),
  "half": ({"seed": {"int": [0.5, 2]}}, "whole numbers"),
  "twice": (
    {"optimizer.name": {"choices": {"adam": {RATE: 1}}}, RATE: 2},
    "on two levels; remove one",
  ),
  "unknown below": (
    {"optimizer.name": {"choices": {"adam": {"optimizer.rate": 1}}}},
    "optimizer.name=adam: config: unknown key 'optimizer.rate'",
  ),
}


@pytest.mark.parametrize("caption", BAD)
def test_bad_spaces_are_named(caption):
  space, message = BAD[caption]
  with pytest.raises(InputError, match=f"^mine: .*{message}"):
    search_space.check(space, "mine")


# Caption: name of a file, its text, what the line says.
BAD_FILES = {
  "not there": ("a.json", None, "No such file"),
  "no JSON": ("a.json", "{", "not readable"),
  "no YAML": ("a.yaml", "a: [", "not readable"),
  "YAML with objects": (
    "a.yaml",
    "!!python/object/apply:os.getcwd []",
    "not read",
  ),
  "a program": ("a.py", "{'seed': print('x')}", "not readable"),
  "large": ("a.json", " " * 2**21, "larger than"),
}


@pytest.mark.parametrize("caption", BAD_FILES)
def test_bad_files_are_named(tmp_path, caption):
  name, text, message = BAD_FILES[caption]
  if text is not None:
    (tmp_path / name).write_text(text)
  with pytest.raises(InputError, match=f"{name}: .*{message}"):
    search_space.read(tmp_path / name)


def test_entries_are_limited(tmp_path):
  """Six maps, each ten times in the next one: a million entries."""
  keys = ("seed", "train.fsdp", "data.workers", "train.batch_size")
  keys += ("train.log_every", "groups.num")
  lines = [f"b: &b {{{keys[0]}: 1}}"]
  for i, key in enumerate(keys[1:]):
    here, below = chr(99 + i), chr(98 + i)
    choices = ", ".join(f"{n}: *{below}" for n in range(10))
    lines.append(f"{here}: &{here} {{{key}: {{choices: {{{choices}}}}}}}")
  space = yaml.safe_load("\n".join(lines))
  search_space.check(space["d"], "small")
  with pytest.raises(InputError, match=r"large: .*more than 1000 entries"):
    search_space.check(space["g"], "large")
