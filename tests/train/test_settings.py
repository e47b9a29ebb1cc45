"""Configs: what is refused and how, and that the shipped ones are good."""

import importlib
import json
import re

import jax
import ml_collections
import pytest

from dwd_jax.core.errors import InputError
from dwd_jax.evaluate import eval_config, other_data_sets
from dwd_jax.evaluate.eval_config import other_set
from dwd_jax.train import open_keys
from dwd_jax.train import settings as config_lib


def changed(path, value):
  """The defaults with one value, or key, changed."""
  config = config_lib.default()
  *sections, key = path.split(".")
  section = config
  for name in sections:
    section = section[name]
  with section.unlocked(), section.ignore_type():
    section[key] = value
  return config


# Caption: key, value, what the message says.
BAD = {
  "unknown key": ("optimizer.learningrate", 1, "did you mean 'learning_rate'"),
  "unknown section": ("optimiser", 1, "did you mean 'optimizer'"),
  "nothing like it": ("losses.zzz", 1, r"known: \['class_focal_gamma'"),
  "unknown choice": ("losses.size_loss", "l2", r"'mse', 'smooth_l1', 'log_l1'"),
  "unknown optimizer": ("optimizer.name", "lion", "'rmsprop', 'adam', 'sgd'"),
  "unknown depth": ("model.backbone_depth", 20, r"10, 18, 34, 50, 101, 152"),
  "unknown protocol": ("eval.protocol", "kitti", r"'coco', 'voc', 'legacy'"),
  "unknown decode": ("decode.method", "peaks", "'watershed', 'threshold'"),
  "unknown size": ("decode.size", "median", "'weighted', 'mean', 'max'"),
  "unknown vote": ("decode.class_vote", "sum", "'share', 'majority'"),
  "unknown level": ("pretraining.level", "imagnet", "use one of .'none', 'cl"),
  "adaptation of nothing": ("adapt.pages", "x", "adapt.pages needs a trained"),
  "adaptation, held out": (
    "adapt.held_out",
    0.6,
    "held_out must be above 0, up",
  ),
  "adaptation, worn": ("adapt.degrade.scan_prob", 1.5, "not within 0..1"),
  "adaptation, ignored": ("adapt.ignore_score", 0.9, "0.9 is above min_score"),
  "unknown layout": ("data.synthetic.layout", "row", "'no', 'up', 'full'"),
  "unknown vocabulary": ("data.common_with", "cwmn", "use one of .*'muscima_v"),
  "a string for a number": ("train.batch_size", "8", "'8'; use a whole number"),
  "a part of a step": ("train.log_every", 0.5, "0.5; use a whole number"),
  "a switch for a number": ("train.fsdp", True, "True; use a whole number"),
  "a number for a switch": ("data.flip", 1, "1; use True or False"),
  "a string for a rate": ("optimizer.l2", "0", "'0'; use a number"),
  "a number for a string": ("data.builder", 5, "5; use a string"),
  "a number for a list": (
    "data.scales",
    0.5,
    r"0\.5; use \(a number, \.\.\.\)",
  ),
  "a side missing": ("data.crop_hw", (96,), r"\(a whole number, a whole n"),
  "a group that is no number": (
    "groups.by_class",
    (("clef", "1"),),
    r"use \(\(a string, a whole number\), \.\.\.\)",
  ),
  "a strange rule": (
    "train.sharding",
    (("kernel", "cut"),),
    r"\('kernel', 'cut'\) is no \(pattern, 'fsdp' or 'replicate'\)",
  ),
  "no crop scale": ("data.scales", (), "one or more factors above 0"),
  "negative crop scale": ("data.scales", (-1.0,), "one or more factors above"),
  "jitter to nothing": ("data.scale_jitter", 1.0, "use 0 to below 1"),
  "probability above 1": ("data.rare_prob", 1.5, r"use 0\.\.1"),
  "negative power": ("data.rare_power", -1.0, r"use 0\.\.1"),
  "empty crop": ("data.crop_hw", (0, 32), "multiples of 32"),
  "no boxes": ("data.max_boxes", 0, "use 1 or more"),
  "negative workers": ("data.workers", -1, "use 0 or more"),
  "negative pages": ("data.max_pages", -1, "use 0 or more"),
  "pages of no size": ("data.eval_scale", 0.0, "use a factor above 0"),
  "no groups": ("groups.num", 0, "use 1 or more"),
  "more than all crops": ("data.degrade.scan_prob", 1.5, "not within 0..1"),
  "no batch": ("train.batch_size", 0, "at least 1"),
  "never logged": ("train.log_every", 0, "at least 1"),
  "no window": ("train.loss_window", 0, "at least 1"),
  "nothing kept": ("train.keep_checkpoints", 0, "at least 1"),
  "odd crop": ("data.crop_hw", (100, 128), "multiples of 32"),
  "odd pages": ("predict.page_multiple", 48, "a multiple of 32"),
  "no room": ("predict.max_mpx", 0.0, "megapixels above 0"),
  "tiles all overlap": ("predict.overlap_px", 2800, r"raise predict\.max_mpx"),
  "negative overlap": ("predict.overlap_px", -1, "0 or more"),
  "no pages at a time": ("predict.batch_size", 0, "1 or more"),
  "no scales": ("predict.scales", (), "one or more factors"),
  "scale 0": ("predict.scales", (1.0, 0.0), "factors above 0"),
  "a disc of 2 px": ("targets.energy_disc_px", 2, "use 1, or 3 or more"),
  "no disc": ("targets.class_disc_px", 0, "use 1, or 3 or more"),
  "a size disc of 2 px": ("targets.size_disc_px", 2, "use 1, or 3 or more"),
  "one level": ("targets.num_energy_levels", 1, "use 2 or more"),
  "no stride": ("targets.energy_strides", (), "one or more, all above 0"),
  "stride 0": ("targets.size_strides", (8, 0), "one or more, all above 0"),
  "a level that is not there": (
    "model.deep_energy_strides",
    (4, 8),
    r"some of \(8, 16, 32\), each once",
  ),
  "a level twice": ("model.deep_size_strides", (8, 8), "each once"),
  "no class pixels": ("losses.class_pixels", 0, "1 to 65535"),
  "too many class pixels": ("losses.class_pixels", 10**6, "1 to 65535"),
}


@pytest.mark.parametrize("caption", BAD)
def test_bad_values_are_named_with_the_remedy(caption):
  path, value, remedy = BAD[caption]
  with pytest.raises(InputError, match=remedy) as e:
    config_lib.validate(changed(path, value))
  assert path in str(e.value)
  assert "\n" not in str(e.value)


def test_energy_from_masks_needs_masks_of_all_objects():
  config = changed("targets.energy_disc", "mask")
  assert config_lib.validate(config).targets.energy_disc == "mask"
  config.data.synthetic.layout = "up"
  with pytest.raises(InputError, match=r"synthetic\.layout brings objects wit"):
    config_lib.validate(config)


OTHER = {"builder": "boxes", "split": "val"}

# Caption: entries of eval.on, what the message says.
BAD_SETS = {
  "unknown key": ([OTHER, {"bilder": ""}], r"'eval\.on\[1\]\.bilder'; did you"),
  "unknown option": (
    [{"options": {"mask": 1}}],
    r"\[0\]\.options\.mask'; did",
  ),
  "no builder": ([{"split": "val"}], r"on\[0\]\.split is given, but no eval"),
  "twice": (
    [OTHER, {}, OTHER],
    r"\[2\].*'boxes-val'.*\[0\]; set .*\.name",
  ),
  "twice by name": (
    [OTHER, OTHER | {"split": "test", "name": "boxes-val"}],
    r"on\[1\]: its results would have the name 'boxes-val'",
  ),
  "an own split": ([OTHER | {"name": "val"}], r"'val', as those of a split of"),
  "a path": ([OTHER | {"name": "../x"}], r"'\.\./x' can not name a file; set"),
  "backwards": ([OTHER | {"eval_scale": -1.0}], "use a factor above 0, or 0"),
  "a hidden file": ([OTHER | {"name": ".x"}], r"'\.x' can not name a file"),
}


@pytest.mark.parametrize("caption", BAD_SETS)
def test_bad_other_sets_are_named_with_the_remedy(caption):
  entries, remedy = BAD_SETS[caption]
  config = config_lib.default()
  config.eval.on = tuple(other_set(**entry) for entry in entries)
  with pytest.raises(InputError, match=remedy) as e:
    config_lib.validate(config)
  assert "\n" not in str(e.value)


def test_other_sets_are_a_list_of_sections():
  for wrong in (other_set(builder="boxes"), ("boxes",), "boxes"):
    config = changed("eval.on", ())
    with config.eval.ignore_type():
      config.eval.on = wrong
    with pytest.raises(InputError, match=r"'eval\.on' is a list of sections;"):
      config_lib.validate(config)


def test_empty_other_sets_do_nothing():
  assert other_data_sets.names_in_config(config_lib.default()) == {}
  config = config_lib.default()
  config.eval.on[2].builder = "boxes"
  found = other_data_sets.names_in_config(config)
  wanted = eval_config.OtherSetConfig(builder="boxes")
  assert found == {"boxes-test": ("eval.on[2]", wanted)}
  config_lib.validate(config)


def test_missing_keys_and_sections_are_named():
  config = config_lib.default()
  with config.unlocked():
    del config.train["fsdp"]
  with pytest.raises(InputError, match=r"'train\.fsdp' is missing; start from"):
    config_lib.validate(config)
  with pytest.raises(InputError, match=r"is missing; start from"):
    config_lib.validate(ml_collections.ConfigDict({"seed": 1}))
  values = json.loads(config_lib.to_json(config_lib.default()))
  config = ml_collections.ConfigDict(values | {"model": 3})
  with pytest.raises(
    InputError, match=r"'model' is a section; set keys inside"
  ):
    config_lib.validate(config)


def test_the_generator_has_options_of_its_own():
  config = config_lib.default()
  config.data.engrave.width = 500
  config_lib.validate(config)


# Caption: override of the command line, what is wrong with it.
OVERRIDES = {
  "known": ("optimizer.name", None),
  "of one stage": ("stages[4].steps", None),
  "misspelt": ("optimizer.nmae", r"unknown key 'optimizer\.nmae'; .*'name'"),
  "unknown section": ("foo.bar", r"unknown key 'foo\.bar'; known"),
  "misspelt in a stage": ("stages[4].stepz", "did you mean 'steps'"),
  "of one other set": ("eval.on[1].options.masks", None),
  "misspelt in an other set": ("eval.on[0].bilder", "did you mean 'builder'"),
  "which other set": ("eval.on.builder", r"such as eval\.on\[0\]\.builder"),
  "which stage": ("stages.frozen", r"such as stages\[0\]\.frozen"),
  "below a value": ("seed.x", r"unknown key 'seed\.x'"),
}


@pytest.mark.parametrize("caption", OVERRIDES)
def test_overrides_are_checked(caption):
  path, problem = OVERRIDES[caption]
  found = config_lib.unknown_key(path)
  if problem is None:
    assert found is None
  else:
    assert found
    assert re.search(problem, found)


def _shipped(repo_dir):
  for path in sorted((repo_dir / "configs").glob("[!_]*.py")):
    module = importlib.import_module(f"configs.{path.stem}")
    yield path, module


def _variants(module):
  yield module.get_config()
  if module.get_config.__code__.co_argcount:
    yield module.get_config("runlocal")


def test_shipped_configs_are_valid(repo_dir):
  found = [path.stem for path, _ in _shipped(repo_dir)]
  assert set(found) >= {
    "boxes",
    "deepscores",
    "deepscores_v2",
    "detector",
    "engraved",
    "muscima_pp",
    "smoke",
  }
  for _, module in _shipped(repo_dir):
    for config in _variants(module):
      settings = config_lib.validate(config)
      assert settings.stages
      config = open_keys.closed(config, config_lib.default())
      model = config_lib.model_config(config, 7, config.groups.num)
      assert model.num_classes == 7
      assert (repo_dir / "tfds_builders" / config.data.builder).is_dir()


def test_shipped_configs_open_with_what_they_are_for(repo_dir):
  for path, module in _shipped(repo_dir):
    text = module.__doc__ or ""
    assert f"--config=configs/{path.stem}.py" in text, path
    for word in ("hardware", "run time", "score"):
      assert word in text.lower(), (path, word)


def test_config_json_holds_everything(repo_dir):
  for _, module in _shipped(repo_dir):
    config = module.get_config()
    read = ml_collections.ConfigDict(json.loads(config_lib.to_json(config)))
    assert config_lib.validate(read) == config_lib.validate(config)
    assert config_lib.to_json(read) == config_lib.to_json(config)


def test_the_page_of_all_keys_is_up_to_date(repo_dir):
  page = repo_dir / "docs" / "configuration.md"
  assert page.read_text() == config_lib.documentation(), (
    "python -m dwd_jax.train.settings > docs/configuration.md"
  )


def _paths(node, path=""):
  """Paths of the values below a section; of lists, of the first entry."""
  if isinstance(node, ml_collections.ConfigDict):
    for key in node:
      yield from _paths(node[key], f"{path}.{key}" if path else key)
    return
  yield path
  first = node[0] if isinstance(node, tuple) and node else None
  if isinstance(first, ml_collections.ConfigDict):
    yield from _paths(first, f"{path}[0]")


def test_every_key_has_a_meaning():
  told = re.findall(r"(?m)^\| `(\S+)` \|.*\S \|$", config_lib.documentation())
  other = "eval.on[0].options"  # as in data.options
  known = [k for k in _paths(config_lib.default()) if not k.startswith(other)]
  assert sorted(told) == sorted([*known, other])


def test_auto_precision_follows_the_backend(monkeypatch):
  config = config_lib.default()
  for backend, dtype in (("cpu", "float32"), ("gpu", "bfloat16")):
    monkeypatch.setattr(jax, "default_backend", lambda b=backend: b)
    assert config_lib.model_config(config, 5, 2).compute_dtype == dtype
  config.model.dtype = "float32"
  assert config_lib.model_config(config, 5, 2).compute_dtype == "float32"
