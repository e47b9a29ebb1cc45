"""A copy of DeepScoresV2's made-up pages, and changes to it."""

import json
import pathlib
import shutil
from collections.abc import Callable

from tfds_builders import checks
from tfds_builders.deepscores_v2 import deepscores_v2_parsing as parsing

DUMMY = "tfds_builders/deepscores_v2/dummy_data"
TRAIN = "deepscores_train.json"
PAGE = "lg-1-aug-beethoven--page-1"
FIRST = "101"  # an annotation of PAGE: a clef


def copy(repo_dir: pathlib.Path, to: pathlib.Path) -> pathlib.Path:
  """The made-up pages in a folder of their own."""
  shutil.copytree(repo_dir / DUMMY, to)
  return to


def parse(root: pathlib.Path, config: str = "dense"):
  """(DataSet, pages by name, BuildReport) of a folder."""
  report = checks.BuildReport()
  options = parsing.Options()
  data_set = parsing.read_data_set(root, config, options, report)
  pages = {
    page.name: parsing.read_page(page, data_set.class_names, options, report)
    for pages in data_set.splits.values()
    for page in pages
  }
  return data_set, pages, report


def edit(change: Callable[[dict], object]) -> Callable[[pathlib.Path], None]:
  """A change to the train file, as decoded JSON."""

  def apply(root: pathlib.Path) -> None:
    data = json.loads((root / TRAIN).read_text())
    change(data)
    (root / TRAIN).write_text(json.dumps(data))

  return apply


def set_first(**values) -> Callable[[pathlib.Path], None]:
  """Other values in the first annotation of PAGE."""
  return edit(lambda d: d["annotations"][FIRST].update(values))


def set_image(**values) -> Callable[[pathlib.Path], None]:
  """Other values in the entry of PAGE."""
  return edit(lambda d: d["images"][0].update(values))


def replace(old: str, new: str) -> Callable[[pathlib.Path], None]:
  """Other text in the train file, once."""

  def apply(root: pathlib.Path) -> None:
    text = (root / TRAIN).read_text()
    assert old in text
    (root / TRAIN).write_text(text.replace(old, new, 1))

  return apply


def read(page: checks.PageFiles, data_set: checks.DataSet) -> checks.ParsedPage:
  """One page by itself."""
  return parsing.read_page(
    page, data_set.class_names, parsing.Options(), checks.BuildReport()
  )
