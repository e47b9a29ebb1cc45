"""Prepared records of the builders' dummy pages, and symbols cut from them."""

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
  cfg.crop_hw = (64, 96)
  cfg.scales = (1.0,)
  return cfg


@pytest.fixture(scope="session")
def page_records(repo_dir, tmp_path_factory) -> pathlib.Path:
  """A data_dir with the dummy records."""
  cfg = default.get_config().data
  cfg.builder = "deepscores"
  cfg.manual_dir = str(repo_dir / "tfds_builders/deepscores/dummy_data")
  cfg.data_dir = str(tmp_path_factory.mktemp("records"))
  prepare.prepare(cfg, tmp_path_factory.mktemp("work"))
  return pathlib.Path(cfg.data_dir)


@pytest.fixture
def page_source(data_cfg, page_records) -> sources.PageSource:
  return sources.open_split(data_cfg, page_records, "train")


@pytest.fixture(scope="session")
def symbol_records(page_records, tmp_path_factory) -> pathlib.Path:
  """Folder of symbol records cut from the dummy pages."""
  cfg = default.get_config().data
  cfg.builder, cfg.builder_config = "symbols", "cropped"
  cfg.manual_dir = str(next(page_records.glob("deepscores/dense_2017/*")))
  cfg.data_dir = str(tmp_path_factory.mktemp("symbols"))
  cfg.options.context_px = 9
  prepare.prepare(cfg, tmp_path_factory.mktemp("work"))
  return next(pathlib.Path(cfg.data_dir).glob("symbols/cropped/*"))
