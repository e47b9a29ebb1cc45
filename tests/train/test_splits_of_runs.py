"""Records without validation or test pages: said before the training."""

import shutil

import pytest

from dwd_jax.core.errors import InputError
from dwd_jax.data import prepare
from dwd_jax.train import settings, setup


@pytest.fixture(scope="module")
def two_pages(repo_dir, tmp_path_factory):
  """`config.data` and the folder of its records, of two pages."""
  folder = tmp_path_factory.mktemp("two")
  shutil.copytree(
    repo_dir / "tfds_builders/boxes/dummy_data/dota", folder / "pages"
  )
  for i in (2, 3, 4):
    (folder / f"pages/images/page{i}.png").unlink()
    (folder / f"pages/labelTxt/page{i}.txt").unlink()
  cfg = settings.default().data
  cfg.builder, cfg.manual_dir = "boxes", str(folder / "pages")
  return cfg, prepare.prepare(cfg, folder)


def test_two_pages_are_not_divided_and_a_line_says_so(two_pages, capsys):
  cfg, data_dir = two_pages
  cfg = cfg.copy_and_resolve_references()
  setup.resolve_splits(cfg, data_dir)
  assert (cfg.eval_split, cfg.test_split) == ("train", "")
  val, test = capsys.readouterr().out.splitlines()
  assert "no split 'val'; it has train: validation means the training" in val
  assert "no split 'test'; it has train: nothing is tested" in test


@pytest.mark.parametrize("key", ["eval_split", "test_split"])
def test_a_split_that_was_chosen_is_not_replaced(two_pages, key):
  cfg, data_dir = two_pages
  cfg = cfg.copy_and_resolve_references()
  cfg[key] = "vall"
  with pytest.raises(InputError, match="no split 'vall'; it has train"):
    setup.resolve_splits(cfg, data_dir)
