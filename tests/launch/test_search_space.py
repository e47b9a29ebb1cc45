"""Spaces: what is read, what is refused, what trials get of them."""

import json
import math

import optuna
import pytest

from dwd_jax.core.errors import InputError
from launch import search_space

RATE = "optimizer.learning_rate"


def _settings(space, count=30):
  study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
  return [search_space.suggest(study.ask(), space) for _ in range(count)]


def test_the_default_gives_each_optimizer_its_own_range():
  space = search_space.read(search_space.DEFAULT)
  options = space["optimizer.name"]["choices"]
  found = {name: [] for name in options}
  for settings in _settings(space):
    assert {"optimizer.name", RATE, "optimizer.l2"} < set(settings)
    found[settings["optimizer.name"]].append(float(settings[RATE]))
  for name, rates in found.items():
    low, high = options[name][RATE]["log_uniform"]
    assert rates
    assert low <= min(rates) <= max(rates) <= high


def test_values_are_as_the_command_line_takes_them():
  text = {
    "data.crop_hw": "choices((64, 64), (128, 128))",
    "model.decoder_norm": "choices(True)",
    "optimizer.name": "choices(adam)",
    RATE: "uniform(0.25, 0.25)",
    "train.batch_size": "int(2, 4)",
    "seed": 3,
  }
  found = _settings(search_space.check(text, "x"))
  assert {s["data.crop_hw"] for s in found} == {"(64, 64)", "(128, 128)"}
  assert {s["train.batch_size"] for s in found} == {"2", "3", "4"}
  for settings in found:
    del settings["data.crop_hw"], settings["train.batch_size"]
    assert settings == {
      "model.decoder_norm": "True",
      "optimizer.name": "adam",
      RATE: "0.25",
      "seed": "3",
    }


def test_corners_have_every_choice_and_both_ends_of_every_range():
  space = search_space.check(
    {
      "optimizer.name": {
        "choices": {"adam": {RATE: "uniform(1, 2)"}, "sgd": {RATE: 5.0}}
      },
      "seed": "choices(7, 8)",
      "train.fsdp": 1,
    },
    "x",
  )
  found = [tuple(c.values()) for c in search_space.corners(space)]
  assert found == [
    ("adam", "1.0", "7", "1"),
    ("adam", "2.0", "7", "1"),
    ("sgd", "5.0", "7", "1"),
    ("adam", "1.0", "8", "1"),
  ]


TEXTS = {
  "space.json": '{"optimizer.name": {"choices": {"adam": {"%s": 1e-3}}}}',
  "space.yaml": "optimizer.name:\n  choices:\n    adam:\n      %s: 0.001\n",
}


@pytest.mark.parametrize("name", TEXTS)
def test_files_are_read_in_two_notations(tmp_path, name):
  (tmp_path / name).write_text(TEXTS[name] % RATE)
  space = search_space.read(tmp_path / name)
  assert _settings(space, 1) == [{"optimizer.name": "adam", RATE: "0.001"}]


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
  "quoted words": (
    "optimizer.name=choices('adam', 'sgd')",
    {"optimizer.name": {"choices": ["adam", "sgd"]}},
  ),
  "whole numbers": ("seed=int(0,5)", {"seed": {"int": [0, 5]}}),
  "a value": ("optimizer.name=sgd", {"optimizer.name": {"value": "sgd"}}),
}


@pytest.mark.parametrize("caption", SETS)
def test_ranges_on_the_command_line(caption):
  text, space = SETS[caption]
  assert search_space.parse(text) == space
  # What is read can be read again, as it is kept in the storage.
  assert search_space.check(json.loads(json.dumps(space)), "x") == space


# Caption: a space, what the line says.
BAD = {
  "no map": ([1], "a space maps keys"),
  "unknown key": ({"optimizer.rate": 1}, "unknown key 'optimizer.rate'"),
  "no text": ({3: 1}, "unknown key '3'"),
  "unknown range": ({"seed": {"normal": [0, 1]}}, r"\['normal'\]: give one of"),
  "no choices": ({"seed": {"choices": []}}, "need one or more values"),
  "none on the line": ({"seed": "choices()"}, "need one or more values"),
  "upside down": ({"seed": {"uniform": [2, 1]}}, r"a range is \(low, high\)"),
  "infinite": ({"seed": {"uniform": [0, math.inf]}}, "two finite numbers"),
  "three ends": ({"seed": {"uniform": [0, 1, 2]}}, r"a range is \(low, high\)"),
  "words": ({"seed": "uniform(a, b)"}, r"a range is \(low, high\)"),
  "log of 0": ({RATE: {"log_uniform": [0, 1]}}, "numbers above 0"),
  "half": ({"seed": {"int": [0.5, 2]}}, "whole numbers"),
  "twice": (
    {"optimizer.name": {"choices": {"adam": {RATE: 1}}}, RATE: 2},
    "is given twice; remove one",
  ),
  "twice below": (
    {
      "optimizer.name": {"choices": {"adam": {RATE: 1}}},
      "seed": {"choices": {"1": {RATE: 1}}},
    },
    "is given twice; remove one",
  ),
  "unknown below": (
    {"optimizer.name": {"choices": {"adam": {"optimizer.rate": 1}}}},
    "optimizer.name: config: unknown key 'optimizer.rate'",
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
  "deep": ("a.yaml", "[" * 500, "not readable"),
  "YAML with objects": (
    "a.yaml",
    "!!python/object/apply:os.getcwd []",
    "not read",
  ),
  "a bomb": ("a.yaml", "seed: &a [1]\ntrain.fsdp: [*a, *a]", "aliases"),
  "large": ("a.json", " " * 2**17, "larger than"),
}


@pytest.mark.parametrize("caption", BAD_FILES)
def test_bad_files_are_named(tmp_path, caption):
  name, text, message = BAD_FILES[caption]
  if text is not None:
    (tmp_path / name).write_text(text)
  with pytest.raises(InputError, match=f"{name}: .*{message}"):
    search_space.read(tmp_path / name)
