"""Splits that are missing or share pages: said before the training."""

import shutil

import pytest

from dwd_jax.core.errors import InputError
from dwd_jax.data import prepare, sources
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


@pytest.fixture(scope="module")
def lists(repo_dir, tmp_path_factory):
  """The same of DeepScores pages with two further lists."""
  folder = tmp_path_factory.mktemp("lists")
  scores = shutil.copytree(
    repo_dir / "tfds_builders/deepscores/dummy_data", folder / "scores"
  )
  own = scores / "train_val_test"
  train, test = (
    (own / f"{name}.txt").read_text().split() for name in ("train", "test")
  )
  (own / "train100.txt").write_text(train[1])
  (own / "debug.txt").write_text("\n".join([*test, train[0]]))
  cfg = settings.default().data
  cfg.builder, cfg.manual_dir = "deepscores", str(scores)
  return cfg, prepare.prepare(cfg, folder), train


def test_a_further_list_is_trained_on(lists, capsys):
  cfg, data_dir, train = lists
  cfg = cfg.copy_and_resolve_references()
  cfg.train_split = "train100"
  setup.resolve_splits(cfg, data_dir)
  assert capsys.readouterr().out == ""
  index = sources.open_split(cfg, data_dir, "train100").box_index()
  assert index.filenames == (f"{train[1]}.png",)


def test_judged_pages_in_a_list_that_is_trained_on_are_said(lists, capsys):
  cfg, data_dir, _ = lists
  cfg = cfg.copy_and_resolve_references()
  cfg.train_split = "debug"
  setup.resolve_splits(cfg, data_dir)
  (line,) = capsys.readouterr().out.splitlines()
  assert "1 of 1 pages of data.test_split=test are in data.train_split" in line


def test_a_list_that_is_not_there_is_answered_by_those_that_are(lists):
  cfg, data_dir, _ = lists
  known = "no split 'train10'; it has debug, test, train, train100, val"
  with pytest.raises(InputError, match=known):
    sources.open_split(cfg, data_dir, "train10")
