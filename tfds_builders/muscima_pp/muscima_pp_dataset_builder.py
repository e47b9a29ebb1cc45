"""MUSCIMA++: handwritten music with boxes of all notation symbols."""

from typing import ClassVar

import tensorflow_datasets as tfds

from tfds_builders import base
from tfds_builders.muscima_pp import muscima_pp_parsing


class Builder(base.PageBuilder):
  """Reads a release of MUSCIMA++, or the folder that the original used."""

  PARSER = muscima_pp_parsing
  HOMEPAGE = "https://ufal.mff.cuni.cz/muscima"
  VERSION = tfds.core.Version("2.0.0")
  RELEASE_NOTES: ClassVar = {
    "2.0.0": "Images as tiled TIFF; masks; configs v1.0 and original_2017.",
    "1.0.0": "First release: pages, boxes and class ids, splits by writer.",
  }
  BUILDER_CONFIGS: ClassVar = [
    tfds.core.BuilderConfig(name=name, description=description)
    for name, description in (
      ("v2.0", "MUSCIMA++ v2.0 (MuNG files)."),
      ("v1.0", "MUSCIMA++ v1.0 (CropObjectList files)."),
      ("original_2017", "The folder MUSICMA++_2017 of the original."),
    )
  ]
  MANUAL_DOWNLOAD_INSTRUCTIONS = (
    "Unpack MUSCIMA++ with its images and name the folder as manual_dir."
  )
