"""DeepScoresV2: whatever the JSON is, one line or good pages come out."""

import json
import pathlib

import deepscores_v2_helpers as helpers
import numpy as np
import pytest
from deepscores_v2_helpers import FIRST, TRAIN
from hypothesis import given, settings
from hypothesis import strategies as st

from dwd_jax.core.errors import InputError

_VALUES = st.one_of(
  st.none(),
  st.booleans(),
  st.integers(-(10**20), 10**20),
  st.floats(allow_nan=False, allow_infinity=False),
  st.text(max_size=5),
  st.lists(st.floats(-1e3, 1e3), max_size=9),
  st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)
_PLACES = (
  ("annotation_sets",),
  ("categories",),
  ("categories", "1"),
  ("categories", "1", "name"),
  ("images",),
  ("images", 0),
  ("images", 0, "id"),
  ("images", 0, "filename"),
  ("images", 0, "height"),
  ("images", 0, "ann_ids"),
  ("images", 0, "ann_ids", 0),
  ("annotations",),
  ("annotations", FIRST),
  ("annotations", FIRST, "a_bbox"),
  ("annotations", FIRST, "a_bbox", 1),
  ("annotations", FIRST, "o_bbox"),
  ("annotations", FIRST, "o_bbox", 1),
  ("annotations", FIRST, "cat_id"),
  ("annotations", FIRST, "cat_id", 0),
  ("annotations", FIRST, "img_id"),
)


@pytest.fixture(scope="module")
def root(repo_dir, tmp_path_factory) -> pathlib.Path:
  return helpers.copy(repo_dir, tmp_path_factory.mktemp("fuzz") / "scores")


@pytest.fixture(scope="module")
def intact(repo_dir) -> bytes:
  return (repo_dir / helpers.DUMMY / TRAIN).read_bytes()


def _one_line_or_good_pages(root: pathlib.Path) -> None:
  try:
    pages = helpers.parse(root)[1]
  except InputError as e:
    assert "\n" not in str(e)
    assert str(root) in str(e)
    return
  for page in pages.values():
    assert len(page.boxes_yxyx) == len(page.labels)
    assert len(page.boxes_yxyx) == len(page.extras["oriented_yx"])
    assert np.isfinite(page.extras["oriented_yx"]).all()
    assert (page.boxes_yxyx >= 0).all()
    assert (page.boxes_yxyx <= page.ink.shape * 2).all()
    assert ((page.labels >= 0) & (page.labels < 5)).all()


@settings(deadline=None, max_examples=150, derandomize=True)
@given(place=st.sampled_from(_PLACES), value=_VALUES)
def test_any_value_gives_one_line_or_good_pages(root, intact, place, value):
  data = json.loads(intact)
  inner = data
  for key in place[:-1]:
    inner = inner[key]
  inner[place[-1]] = value
  (root / TRAIN).write_text(json.dumps(data))
  _one_line_or_good_pages(root)


@settings(deadline=None, max_examples=100, derandomize=True)
@given(junk=st.binary(max_size=60), at=st.integers(0, 7500), cut=st.booleans())
def test_any_bytes_give_one_line_or_good_pages(root, intact, junk, at, cut):
  rest = b"" if cut else intact[at + len(junk) :]
  (root / TRAIN).write_bytes(intact[:at] + junk + rest)
  _one_line_or_good_pages(root)
