"""What a builder has at least: a parsing module and a version."""

import dataclasses
import pathlib
import types

import numpy as np
import tensorflow_datasets as tfds

from tfds_builders import base, checks


@dataclasses.dataclass(frozen=True)
class _Options:
  pass


def _read_data_set(root, config, options, report):
  page = checks.PageFiles("one", root / "one.png", root / "boxes.csv")
  return checks.DataSet(("dot",), {"train": [page]})


def _read_page(page, class_names, options, report):
  boxes = np.array([[1, 2, 9, 8]], np.float32)
  return checks.ParsedPage(
    np.zeros((64, 96), np.uint8), boxes, np.zeros(1, np.int64)
  )


class _Smallest(base.PageBuilder, skip_registration=True):  # pyright: ignore
  """A blank page with one box."""

  PARSER = types.SimpleNamespace(
    Options=_Options,
    extra_features=lambda config, options: (),
    read_data_set=_read_data_set,
    read_page=_read_page,
  )
  VERSION = tfds.core.Version("1.0.0")
  pkg_dir_path = pathlib.Path(__file__).parent  # by itself in tfds_builders/


def test_the_smallest_builder_builds(tmp_path):
  (tmp_path / "boxes.csv").touch()
  builder = _Smallest(data_dir=str(tmp_path / "out"), config="default")
  builder.download_and_prepare(
    download_config=tfds.download.DownloadConfig(manual_dir=tmp_path)
  )
  (record,) = builder.as_data_source("train")
  np.testing.assert_array_equal(record["boxes_yxyx"], [[1, 2, 9, 8]])
