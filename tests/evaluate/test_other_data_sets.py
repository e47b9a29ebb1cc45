"""A run judged on another data set: which classes, and what the files say."""

import json
from collections import Counter

import numpy as np
import pytest

from dwd_jax.core.errors import InputError
from dwd_jax.core.structs import Detections
from dwd_jax.core.vocabulary import common_classes
from dwd_jax.data import sources
from dwd_jax.evaluate import evaluate_split as evaluate_lib
from dwd_jax.evaluate import other_data_sets
from dwd_jax.evaluate.eval_config import other_set
from dwd_jax.imaging import tiled_tiff
from dwd_jax.metrics import json_results
from dwd_jax.train.settings import default

V1 = ("noteheadBlack", "keySharp", "accidentalSharp", "restHBar", "gClef")
M1 = ("notehead-full", "sharp", "stem", "g-clef", "notehead-empty")
SLOTS = 16


def _boxes(count):
  tops = 16.0 * np.arange(count)
  return np.stack([tops, tops, tops + 12, tops + 12], -1).astype(np.float32)


def _source(class_names, vocabulary, labels, common_with=""):
  """One page of 160 x 160 px with a square for each label."""
  boxes = _boxes(len(labels))
  record = {
    "image": tiled_tiff.encode_page(np.zeros((160, 160), np.uint8)),
    "image/height": 160,
    "image/width": 160,
    "image/filename": b"a.png",
    "boxes_yxyx": boxes,
    "labels": np.array(labels, np.int64),
  }
  return sources.PageSource(
    [record],
    name="made_up",
    split="test",
    class_names=class_names,
    vocabulary=vocabulary,
    common_with=common_with,
  )


def _match(run, names, vocabulary):
  with_ = other_data_sets.other_vocabulary(run, vocabulary)
  source = _source(names, vocabulary, [0], with_)
  return other_data_sets.match(run, source), source


def _pairs(run, matched, source):
  """{class of the run or set: common class}."""
  return tuple(
    {
      name: matched.names[i]
      for name, i in zip(names, ids, strict=True)
      if i >= 0
    }
    for names, ids in (
      (run.names, matched.of_run),
      (source.class_names, matched.of_set),
    )
  )


def test_another_vocabulary():
  run = other_data_sets.RunClasses(V1, "deepscores_v1")
  matched, source = _match(run, M1, "muscima_v1")
  of_run, of_set = _pairs(run, matched, source)
  assert of_run == {
    "noteheadBlack": "noteheadBlack",
    "keySharp": "sharp",
    "accidentalSharp": "sharp",
    "gClef": "g-clef",
  }
  # The set's classes are the common ones already; the run knows only some.
  assert source.class_names == common_classes(*_NAMES).names
  assert set(of_set) == {"noteheadBlack", "sharp", "g-clef"}
  assert matched.names == ("noteheadBlack", "sharp", "g-clef")


_NAMES = ("deepscores_v1", "muscima_v1")

# Caption: run's vocabulary, its common_with, the set's vocabulary.
SAME = {
  "the set is what the run has in common with": (*_NAMES, "muscima_v1"),
  "the set is as the run's own": (*_NAMES, "deepscores_v1"),
  "the other way round": (*_NAMES[::-1], "deepscores_v1"),
}


@pytest.mark.parametrize("caption", SAME)
def test_runs_with_common_classes_keep_all_of_them(caption):
  own, with_, of_set = SAME[caption]
  common = common_classes(own, with_)
  run = other_data_sets.RunClasses(common.names, own, with_)
  names = tuple(common_classes(of_set, of_set).names)
  matched, source = _match(run, names, of_set)
  of_run, _ = _pairs(run, matched, source)
  assert of_run == {name: name for name in common.names}


def test_a_run_with_common_classes_and_a_third_vocabulary():
  common = common_classes("deepscores_v2", "muscima_v1")
  run = other_data_sets.RunClasses(common.names, "deepscores_v2", "muscima_v1")
  names = common_classes("muscima_v2", "muscima_v2").names
  matched, source = _match(run, names, "muscima_v2")
  of_run, of_set = _pairs(run, matched, source)
  # The run's class is half and whole notes: the set's two become one.
  assert of_run["notehead-empty"] == of_set["noteheadHalf"] == "notehead-empty"
  assert of_set["noteheadWhole"] == "notehead-empty"
  assert of_run["8th_flag"] == of_set["flag8thUp"] == of_set["flag8thDown"]
  assert of_run["stem"] == "stem"


# Caption: vocabulary of the set; classes in common, some that the run has.
PRINTED = {
  "all of the first list": (
    "deepscores_v1",
    124,
    {"gClefChange": "gClefChange"},
  ),
  "strokes, too": ("deepscores_v2", 127, {"tupletBracket": "tupletBracket"}),
  "handwriting": (
    "muscima_v2",
    67,
    {"barlineSingle": "barline", "noteheadBlack": "noteheadFull"},
  ),
}


@pytest.mark.parametrize("caption", PRINTED)
def test_a_run_of_all_symbols_of_the_page(caption):
  of_set, count, examples = PRINTED[caption]
  names = common_classes("printed", "printed").names
  run = other_data_sets.RunClasses(names, "printed")
  matched, source = _match(run, common_classes(of_set, of_set).names, of_set)
  of_run, _ = _pairs(run, matched, source)
  assert len(matched.names) == count
  assert {name: of_run[name] for name in examples} == examples


# Caption: vocabulary of the run and of the set.
BY_NAME = {
  "the same vocabulary": ("deepscores_v1", "deepscores_v1"),
  "no known vocabulary": ("", "deepscores_v1"),
  "neither has one": ("", ""),
}


@pytest.mark.parametrize("caption", BY_NAME)
def test_by_name(caption):
  of_run, of_set = BY_NAME[caption]
  run = other_data_sets.RunClasses(V1, of_run)
  matched, source = _match(run, ("gClef", "coda", *V1[:2]), of_set)
  assert source.class_names == ("gClef", "coda", *V1[:2])
  assert matched.names == ("noteheadBlack", "keySharp", "gClef")
  assert matched.of_run.tolist() == [0, 1, -1, -1, 2]
  assert matched.of_set.tolist() == [2, -1, 0, 1]


def test_nothing_in_common_is_bad_input():
  run = other_data_sets.RunClasses(("cat", "dog"), "")
  with pytest.raises(InputError, match=r"^made_up has no class in"):
    _match(run, M1, "muscima_v1")


def _other(run, names, vocabulary, labels):
  data_cfg = default().data
  data_cfg.builder, data_cfg.eval_scale = "made_up", 1.0
  with_ = other_data_sets.other_vocabulary(run, vocabulary)
  source = _source(names, vocabulary, labels, with_)
  matched = other_data_sets.match(run, source)
  return other_data_sets.OtherSet(
    "made_up-test", data_cfg=data_cfg, source=source, run=run, matched=matched
  )


def _network(labels, extra):
  """Finds the squares of `_source`, called `labels`, and some more."""

  def predict(image):
    boxes = np.zeros((1, SLOTS, 4), np.float32)
    found = _boxes(len(labels))
    boxes[0, : len(labels)] = found
    boxes[0, len(labels) : len(labels) + len(extra)] = (150, 0, 159, 9)
    ids = np.zeros((1, SLOTS), np.int32)
    ids[0, : len(labels) + len(extra)] = [*labels, *extra]
    scores = np.linspace(0.9, 0.5, SLOTS, dtype=np.float32)[None]
    count = len(labels) + len(extra)
    levels = np.zeros((*image.shape[:3], 1), np.float32)
    return Detections(
      boxes_yxyx=boxes,
      labels=ids,
      scores=scores,
      valid=np.arange(SLOTS)[None] < count,
      count=np.array([count]),
    ), levels

  return predict


def test_a_detector_that_finds_all_is_right_in_common_classes(tmp_path):
  run = other_data_sets.RunClasses(V1, "deepscores_v1")
  # Truth: notehead-full, sharp, sharp, stem (unmapped), g-clef.
  other = _other(run, M1, "muscima_v1", [0, 1, 1, 2, 3])
  # The run calls the second sharp keySharp, and sees two restHBar, one of them
  # where the stem is.
  predict = _network([0, 2, 1, 3, 4], [3])
  result = evaluate_lib.evaluate(
    predict,
    other.pages(),
    other.class_names,
    out_dir=tmp_path,
    dataset="made_up",
    split="test",
    overlays=1,
    log=None,
    other=other,
  )
  metrics = json.loads((tmp_path / "made_up-test.json").read_text())
  assert metrics == result.metrics
  assert list(metrics)[: len(json_results.SUMMARY)] == [*json_results.SUMMARY]
  assert (metrics["dataset"], metrics["split"]) == ("made_up", "test")
  assert metrics["vocabularies"] == ["deepscores_v1", "muscima_v1"]
  assert metrics["unmapped_detections"] == {"restHBar": 2}
  assert metrics["num_objects"] == metrics["num_detections"] == 4
  assert metrics["mAP"] == pytest.approx(1.0)
  assert list(metrics["per_class"]) == ["noteheadBlack", "sharp", "g-clef"]
  assert metrics["per_class"]["sharp"]["num_objects"] == 2
  assert (tmp_path / "made_up-test" / "a-overlay.png").is_file()
  truth = json.loads((tmp_path / "made_up-test" / "truth.json").read_text())
  assert [c["name"] for c in truth["categories"]] == list(other.class_names)
  assert not (tmp_path / "test.json").exists()


def test_what_is_left_out_is_said():
  run = other_data_sets.RunClasses(V1, "deepscores_v1")
  other = _other(run, M1, "muscima_v1", [0, 1, 2, 2, 4])
  # Two stems have no common class; notehead-empty none that the run has.
  assert other.describe() == (
    "made_up-test: 3 classes in common (4 of 5 of the run); 3 of 5 objects of"
    " the split have another class"
  )


def test_a_run_with_common_classes_says_so():
  common = common_classes("deepscores_v1", "muscima_v2")
  run = other_data_sets.RunClasses(common.names, "deepscores_v1", "muscima_v2")
  facts = _other(run, V1, "deepscores_v1", [0]).facts(Counter())
  assert facts["vocabularies"] == [
    "deepscores_v1 in common with muscima_v2",
    "deepscores_v1",
  ]


@pytest.fixture
def config(repo_dir):
  c = default()
  c.data.eval_scale = 0.5
  c.data.leave_out = ("brace",)
  c.eval.on[0].builder = "muscima_pp"
  c.eval.on[0].builder_config = "v1.0"
  c.eval.on[0].manual_dir = str(
    repo_dir / "tfds_builders/muscima_pp/dummy_data"
  )
  return c


RUN = other_data_sets.RunClasses(V1, "deepscores_v1")


def test_the_set_is_built_and_opened_below_the_workdir(config, tmp_path):
  (other,) = other_data_sets.open_sets(config, tmp_path, RUN)
  assert other.name == "muscima_pp-test"
  assert other.source.vocabulary == "muscima_v1"
  assert (tmp_path / "data" / "on" / "muscima_pp" / "v1.0").is_dir()
  assert other.data_cfg.eval_scale == 0.5
  assert config.data.leave_out == ("brace",)  # the run's config is as it was
  (page, *_) = other.pages()
  assert {other.class_names[i] for i in page.truth.labels} == {"noteheadBlack"}


def test_several_sets_are_opened_in_their_order(config, tmp_path, repo_dir):
  """Two splits of one set, and another set with settings of its own."""
  config.eval.on[1].update(config.eval.on[0])
  config.eval.on[1].split = "train"
  config.eval.on = (
    *config.eval.on,
    other_set(
      builder="deepscores",
      manual_dir=str(repo_dir / "tfds_builders/deepscores/dummy_data"),
      name="prints",
      eval_scale=0.25,
      max_pages=1,
    ),
  )
  others = other_data_sets.open_sets(config, tmp_path, RUN)
  names = ["muscima_pp-test", "muscima_pp-train", "prints"]
  assert [other.name for other in others] == names
  assert [other.source.split for other in others] == ["test", "train", "test"]
  assert [other.data_cfg.eval_scale for other in others] == [0.5, 0.5, 0.25]
  assert [other.data_cfg.max_pages for other in others] == [0, 0, 1]
  assert (tmp_path / "data" / "on" / "prints" / "deepscores").is_dir()


# Caption: key of eval.on[1], value, what the line says.
WRONG = {
  "no such builder": ("builder", "nothing", "data.builder: no builder"),
  "no such folder": ("manual_dir", "/nowhere", "/nowhere: no such folder"),
  "no such split": ("split", "tset", "no split 'tset'"),
}


@pytest.mark.parametrize("caption", WRONG)
def test_bad_input_names_the_section(config, tmp_path, caption):
  key, value, message = WRONG[caption]
  config.eval.on = config.eval.on[::-1][1:]
  config.eval.on[1][key] = value
  with pytest.raises(InputError, match=rf"^eval\.on\[1\]: .*{message}"):
    other_data_sets.open_sets(config, tmp_path, RUN)
