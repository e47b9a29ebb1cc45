"""DeepScoresV2: whatever the JSON is, one line or good pages come out."""

import json
import pathlib

import deepscores_v2_helpers as helpers
import fuzz_helpers
import numpy as np
import pytest
from deepscores_v2_helpers import FIRST, TRAIN
from hypothesis import given
from hypothesis import strategies as st

_NUMBERS = st.lists(st.floats(-1e3, 1e3), max_size=9)
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
  with fuzz_helpers.may_refuse(root):
    for page in helpers.parse(root)[1].values():
      assert len(page.boxes_yxyx) == len(page.labels)
      assert len(page.boxes_yxyx) == len(page.extras["oriented_yx"])
      assert np.isfinite(page.extras["oriented_yx"]).all()
      assert (page.boxes_yxyx >= 0).all()
      assert (page.boxes_yxyx <= page.ink.shape * 2).all()
      assert ((page.labels >= 0) & (page.labels < 5)).all()


@fuzz_helpers.cases()
@given(place=st.sampled_from(_PLACES), value=_NUMBERS | fuzz_helpers.JSON_ODD)
def test_any_value_gives_one_line_or_good_pages(root, intact, place, value):
  data = json.loads(intact)
  inner = data
  for key in place[:-1]:
    inner = inner[key]
  inner[place[-1]] = value
  (root / TRAIN).write_text(json.dumps(data))
  _one_line_or_good_pages(root)


@fuzz_helpers.cases()
@given(data=st.data())
def test_a_damaged_file_gives_one_line_or_good_pages(root, intact, data):
  content = data.draw(fuzz_helpers.damaged_json(json.loads(intact)))
  (root / TRAIN).write_bytes(content)
  _one_line_or_good_pages(root)
