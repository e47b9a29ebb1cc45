"""MUSCIMA++ v2.0: handwritten music with boxes of all notation symbols."""

import pathlib
from typing import ClassVar

import tensorflow_datasets as tfds

from tfds_builders import base, checks
from tfds_builders.muscima_pp import muscima_pp_parsing


class Builder(base.PageBuilder):
  """Reads the annotations (MuNG XML) and images of the v2.0 release."""

  HOMEPAGE = "https://ufal.mff.cuni.cz/muscima"
  VERSION = tfds.core.Version("1.0.0")
  RELEASE_NOTES: ClassVar = {
    "1.0.0": "First release: pages, boxes and class ids, splits by writer."
  }
  BUILDER_CONFIGS: ClassVar = [
    tfds.core.BuilderConfig(
      name="v2.0", description="Annotations of MUSCIMA++ v2.0."
    )
  ]
  MANUAL_DOWNLOAD_INSTRUCTIONS = (
    "Unpack MUSCIMA++ v2.0 with its images and name the folder as manual_dir."
  )

  def read_data_set(self, root: pathlib.Path) -> checks.DataSet:
    """Lists the pages by writer."""
    return muscima_pp_parsing.read_data_set(root, self.report)

  def read_page(
    self, page: checks.PageFiles, class_names: tuple[str, ...]
  ) -> checks.ParsedPage:
    """Reads one PNG and its XML."""
    return muscima_pp_parsing.read_page(page, class_names, self.report)
