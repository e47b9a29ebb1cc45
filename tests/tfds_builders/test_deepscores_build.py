"""DeepScores and DeepScoresV2 from folder to records and back."""

import numpy as np
import pytest

from dwd_jax.core.errors import InputError
from dwd_jax.data import prepare, sources
from dwd_jax.imaging import tiled_tiff
from dwd_jax.train.settings import default
from tfds_builders import checks
from tfds_builders.deepscores_v2 import deepscores_v2_parsing

_LABELLED = {
  "deepscores": "dummy-rgb-page-1.png",
  "deepscores_v2": "lg-1-aug-beethoven--page-1.png",
}
_VOCABULARY = {"deepscores": "deepscores_v1", "deepscores_v2": "deepscores_v2"}


def _build(repo_dir, tmp_path, builder, config="", **options):
  cfg = default().data
  cfg.builder = builder
  cfg.builder_config = config
  cfg.manual_dir = str(repo_dir / f"tfds_builders/{builder}/dummy_data")
  cfg.options.update(options)
  data_dir = prepare.prepare(cfg, tmp_path)
  return lambda split: sources.open_split(cfg, data_dir, split)


@pytest.mark.parametrize("builder", _LABELLED)
def test_pixel_labels_come_back(repo_dir, tmp_path, builder):
  source = _build(repo_dir, tmp_path, builder)("train+val")
  found = {}
  for i in range(len(source)):
    example, page = source.example(i), source[i]
    found[page.filename] = example["pixel_labels"]
    if example["pixel_labels"]:
      values = tiled_tiff.read_pixels(example["pixel_labels"], page.filename)
      assert values.shape == page.image.shape
      assert (page.image[values > 0] == 255).all()
      assert len(np.unique(values)) == 5
  assert found[_LABELLED[builder]]
  assert b"" in found.values()
  assert source.vocabulary == _VOCABULARY[builder]


def test_oriented_boxes_belong_to_the_boxes(repo_dir, tmp_path):
  source = _build(repo_dir, tmp_path, "deepscores_v2")("train")
  for i in range(len(source)):
    corners = source.example(i)["oriented_yx"]
    boxes = np.concatenate([corners.min(1), corners.max(1)], axis=1)
    np.testing.assert_allclose(source[i].boxes_yxyx, boxes, atol=0.01)


def test_merged_val_and_test_is_an_option_of_the_config(repo_dir, tmp_path):
  opened = _build(repo_dir, tmp_path, "deepscores", merge_val_test=True)
  assert len(opened("test")) == 2
  with pytest.raises(InputError, match="no split 'val'"):
    opened("val")


def test_the_other_annotation_set_is_a_config(repo_dir, tmp_path):
  opened = _build(repo_dir, tmp_path, "deepscores_v2", "dense_muscima")
  assert opened("train").class_names == ("brace", "clefG", "noteheadFullSmall")


def test_what_travels_to_workers_is_small(shared_data):
  data_set = deepscores_v2_parsing.read_data_set(
    shared_data / "deepscores_v2",
    "dense",
    deepscores_v2_parsing.Options(),
    checks.BuildReport(),
  )
  (page,) = data_set.splits["train"]
  # 547 annotations, 400 kB of text: one place in the file.
  assert page.rows.runs == ((41408, *page.rows.runs[0][1:]),)
