"""What is taken from another network, and what the report says of it."""

import functools

import jax
import numpy as np
import pytest

from dwd_jax.models import dwd
from dwd_jax.train.pretraining import parameter_matching


@functools.cache
def _shapes(cfg):
  model = dwd.make_model(cfg)
  return jax.eval_shape(lambda: dwd.init_variables(model, 0, (32, 32)))


def _variables(value, num_classes=3, **changes):
  fields = {
    "num_classes": num_classes,
    "backbone_depth": 10,
    "backbone_width": 8,
    "filters": 8,
    "decoder_norm": True,
  }
  shapes = _shapes(dwd.ModelConfig(**(fields | changes)))
  return jax.tree.map(lambda s: np.full(s.shape, value, s.dtype), shapes)


def _values(tree):
  return {float(x) for leaf in jax.tree.leaves(tree) for x in np.unique(leaf)}


def _leaves(tree):
  return len(jax.tree.leaves(tree))


def test_the_same_network_is_taken_whole():
  own, given = _variables(0), _variables(1)
  made, report = parameter_matching.match(own, given)
  assert _values(made) == {1}
  assert _values(own) == {0}  # nothing is changed in place
  assert len(report.loaded) == _leaves(own)
  assert report.partly == report.kept == report.ignored == ()
  assert report.numbers[0] == report.numbers[1]
  assert report.numbers[1] == sum(
    x.size for x in jax.tree.leaves(own["params"])
  )


def test_batch_statistics_go_along():
  made, _ = parameter_matching.match(_variables(0), _variables(1))
  assert _values(made["batch_stats"]) == {1}


def test_other_shapes_stay_as_they_are():
  own, given = _variables(0), _variables(1, num_energy_levels=7)
  made, report = parameter_matching.match(own, given)
  heads = ("params/energy_head/bias", "params/energy_head/kernel")
  assert report.kept == heads
  assert report.ignored == heads
  assert _values(made["params"]["energy_head"]) == {0}
  assert _values(made["params"]["size_head"]) == {1}


def test_what_only_one_of_them_has_is_named():
  own, given = _variables(0), _variables(1)
  del given["params"]["size_head"]
  given["params"]["other"] = {"kernel": np.ones(3)}
  made, report = parameter_matching.match(own, given)
  assert report.kept == ("params/size_head/bias", "params/size_head/kernel")
  assert report.ignored == ("params/other/kernel",)
  assert "other" not in made["params"]


def test_types_are_the_own_ones():
  own, given = _variables(0), _variables(1)
  given = jax.tree.map(lambda x: x.astype(np.float64), given)
  made, _ = parameter_matching.match(own, given)
  assert {x.dtype for x in jax.tree.leaves(made)} == {np.dtype(np.float32)}


# Caption: own classes, given classes, which given row each class gets.
CLASSES = {
  "another order": ("abc", "cab", [1, 2, 0]),
  "more": ("abcd", "ca", [1, None, 0, None]),
  "fewer": ("b", "abc", [1]),
  "as many, but others": ("abc", "axb", [0, 2, None]),
  "not one in common": ("abc", "xyz", [None] * 3),
}


@pytest.mark.parametrize("caption", CLASSES)
def test_rows_of_the_class_head_go_by_name(caption):
  names, theirs, rows = CLASSES[caption]
  own = _variables(-1, len(names))
  given = _variables(1, len(theirs))
  head = given["params"]["class_head"]
  head["bias"] = np.arange(len(theirs), dtype=np.float32)
  head["kernel"] = head["kernel"] * head["bias"]
  made, report = parameter_matching.match(
    own, given, parameter_matching.ClassNames(tuple(names), tuple(theirs))
  )
  wanted = [-1 if row is None else row for row in rows]
  np.testing.assert_array_equal(made["params"]["class_head"]["bias"], wanted)
  np.testing.assert_array_equal(
    made["params"]["class_head"]["kernel"], np.tile(wanted, (8, 1))
  )
  taken = sum(row is not None for row in rows)
  assert report.classes == (taken, len(names))
  heads = ("params/class_head/bias", "params/class_head/kernel")
  group = report.loaded if taken == len(names) else report.partly
  group = group if taken else report.kept
  assert set(heads) <= set(group)
  missing = (len(names) - taken) * 9  # a bias and 8 weights each
  assert report.numbers == (report.numbers[1] - missing, report.numbers[1])


def test_rows_need_an_input_of_the_same_width():
  own = _variables(0, 3, class_hidden=4)
  given = _variables(1, 3)
  names = parameter_matching.ClassNames(("a", "b", "c"), ("b", "a", "x"))
  made, report = parameter_matching.match(own, given, names)
  assert "params/class_head/kernel" in report.kept
  assert "params/class_head/bias" in report.kept
  assert _values(made["params"]["class_head"]) == {0}
  assert report.classes is None


def test_one_decoder_becomes_three():
  own = _variables(0, separate_decoders=True)
  given = parameter_matching.share_decoder(own, _variables(1))
  made, report = parameter_matching.match(own, given)
  assert _values(made) == {1}
  assert report.ignored == report.kept == ()


def test_three_decoders_stay_three():
  own = _variables(0, separate_decoders=True)
  given = _variables(1, separate_decoders=True)
  assert parameter_matching.share_decoder(own, given) is given
  one = _variables(0)
  assert parameter_matching.share_decoder(one, _variables(1))[
    "params"
  ].keys() == (one["params"].keys())


def test_the_report_tells_it_in_a_few_lines():
  own, given = _variables(0, 3), _variables(1, 2, num_energy_levels=7)
  names = parameter_matching.ClassNames(("a", "b", "c"), ("a", "x"))
  _, report = parameter_matching.match(own, given, names)
  text = report.lines()
  assert text[0].startswith(f"{report.numbers[0]:,} of {report.numbers[1]:,}")
  assert (
    f"  loaded: {len(report.loaded)} arrays (backbone/stage1 10, " in (text[1])
  )
  assert "backbone/stem 5, " in text[1]
  assert text[2] == "  loaded for some classes: 2 arrays (class_head 2)"
  assert text[3] == "  initialised anew: 2 arrays (energy_head 2)"
  assert text[4] == "  ignored: 2 arrays (energy_head 2)"
  assert text[5] == "  class head: 1 of 3 classes by name"
  assert len(text) == 6


@pytest.mark.parametrize(("own", "given"), [(3, 1), (1, 3)])
def test_the_first_layer_fits_other_channels(own, given):
  mine, theirs = _variables(0, channels=own), _variables(2, channels=given)
  fitted = parameter_matching.fit_channels(mine, theirs)
  made, report = parameter_matching.match(mine, fitted)
  kernel = made["params"]["backbone"]["stem"]["kernel"]
  assert kernel.shape[2] == own
  # A grey picture gives what it gave.
  np.testing.assert_allclose(kernel.sum(2), 2 * given, rtol=1e-6)
  assert report.numbers[0] == report.numbers[1]
  same = parameter_matching.fit_channels(mine, mine)
  assert same is mine


def test_each_cell_of_an_energy_head_starts_as_its_pixel():
  rng = np.random.default_rng(0)
  coarse = _variables(0)
  coarse["params"]["energy_head"] = {
    name: rng.normal(size=value.shape).astype(np.float32)
    for name, value in coarse["params"]["energy_head"].items()
  }
  fine = _variables(0, energy_stride=2)
  fitted = parameter_matching.fit_energy_cells(fine, coarse)
  made, report = parameter_matching.match(fine, fitted)
  assert not report.kept
  for name, value in made["params"]["energy_head"].items():
    before = coarse["params"]["energy_head"][name]
    first = value.ndim - 4  # axis of the rows of cells
    np.testing.assert_array_equal(
      value,
      np.broadcast_to(np.expand_dims(before, (first, first + 1)), value.shape),
    )
  back = parameter_matching.fit_energy_cells(coarse, made)
  for name, value in back["params"]["energy_head"].items():
    np.testing.assert_allclose(value, coarse["params"]["energy_head"][name])
  assert parameter_matching.fit_energy_cells(coarse, coarse) is coarse


def test_networks_without_that_layer_are_left_alone():
  given = {"params": {"class_head": {"bias": np.zeros(3)}}, "batch_stats": {}}
  assert parameter_matching.fit_channels(_variables(0), given) is given
