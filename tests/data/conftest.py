"""Prepared records of the builders' dummy pages."""

import pathlib

import pytest

from configs import default
from dwd_jax.data import prepare, sources


@pytest.fixture
def data_cfg(repo_dir):
  """config.data for the dummy pages of DeepScores (128 x 96 px)."""
  cfg = default.get_config().data
  cfg.builder = "deepscores"
  cfg.manual_dir = str(repo_dir / "tfds_builders/deepscores/dummy_data")
  cfg.crop_hw = (32, 48)
  cfg.max_boxes = 16
  return cfg


@pytest.fixture(scope="session")
def records(repo_dir, tmp_path_factory) -> pathlib.Path:
  """A data_dir with the dummy records of both builders."""
  cfg = default.get_config().data
  cfg.data_dir = str(tmp_path_factory.mktemp("records"))
  for name in ("deepscores", "muscima_pp"):
    cfg.builder = name
    cfg.manual_dir = str(repo_dir / f"tfds_builders/{name}/dummy_data")
    prepare.prepare(cfg, tmp_path_factory.mktemp("work"))
  return pathlib.Path(cfg.data_dir)


@pytest.fixture
def train_source(data_cfg, records) -> sources.PageSource:
  return sources.open_split(data_cfg, records, "train")
