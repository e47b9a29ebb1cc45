"""DeepScores (2017): engraved pages with boxes of 124 kinds of symbols."""

import pathlib
from typing import ClassVar

import tensorflow_datasets as tfds

from tfds_builders import base, checks
from tfds_builders.deepscores import deepscores_parsing


class Builder(base.PageBuilder):
  """Reads the original folders and the ones `dwd_jax.engrave` writes."""

  HOMEPAGE = "https://tuggeluk.github.io/deepscores/"
  VERSION = tfds.core.Version("1.0.0")
  RELEASE_NOTES: ClassVar = {
    "1.0.0": "First release: pages, boxes and class ids."
  }
  BUILDER_CONFIGS: ClassVar = [
    tfds.core.BuilderConfig(
      name="dense_2017",
      description="Pages and XML boxes in the layout of the 2017 release.",
    )
  ]
  MANUAL_DOWNLOAD_INSTRUCTIONS = (
    "Unpack DeepScores (2017), or generate pages with `python -m"
    " dwd_jax.engrave`, and name the folder as manual_dir."
  )

  def read_data_set(self, root: pathlib.Path) -> checks.DataSet:
    """Lists the pages of the split lists."""
    return deepscores_parsing.read_data_set(root, self.report)

  def read_page(
    self, page: checks.PageFiles, class_names: tuple[str, ...]
  ) -> checks.ParsedPage:
    """Reads one PNG and its XML."""
    return deepscores_parsing.read_page(page, class_names, self.report)
