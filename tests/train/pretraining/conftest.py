"""Prepared records of the builders' dummy pages, and symbols cut from them."""

import pathlib

import pytest

from dwd_jax.data import prepare, sources
from dwd_jax.train.settings import default


@pytest.fixture
def data_cfg(repo_dir):
  """config.data for the dummy pages of DeepScores (128 x 96 px)."""
  cfg = default().data
  cfg.builder = "deepscores"
  cfg.manual_dir = str(repo_dir / "tfds_builders/deepscores/dummy_data")
  cfg.crop_hw = (64, 96)
  cfg.scales = (1.0,)
  return cfg


@pytest.fixture
def page_source(data_cfg, records) -> sources.PageSource:
  return sources.open_split(data_cfg, records, "train")


@pytest.fixture(scope="session")
def symbol_records(records, once) -> pathlib.Path:
  """Folder of symbol records cut from the dummy pages."""

  def cut(folder):
    cfg = default().data
    cfg.builder, cfg.builder_config = "symbols", "cropped"
    cfg.manual_dir = str(next(records.glob("deepscores/dense_2017/*")))
    cfg.data_dir = str(folder)
    cfg.options.context_px = 9
    prepare.prepare(cfg, folder)

  return next(once("symbol_records", cut).glob("symbols/cropped/*"))
