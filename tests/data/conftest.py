"""Prepared records of the builders' dummy pages."""

import pytest

from dwd_jax.data import sources
from dwd_jax.train.settings import default


@pytest.fixture
def data_cfg(repo_dir):
  """config.data for the dummy pages of DeepScores (128 x 96 px)."""
  cfg = default().data
  cfg.builder = "deepscores"
  cfg.manual_dir = str(repo_dir / "tfds_builders/deepscores/dummy_data")
  cfg.crop_hw = (32, 48)
  cfg.max_boxes = 16
  return cfg


@pytest.fixture
def train_source(data_cfg, records) -> sources.PageSource:
  return sources.open_split(data_cfg, records, "train")
