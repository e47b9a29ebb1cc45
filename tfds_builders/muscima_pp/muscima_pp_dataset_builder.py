"""MUSCIMA++ v2.0: handwritten music with boxes of all notation symbols."""

from typing import ClassVar

import tensorflow_datasets as tfds

from tfds_builders import base
from tfds_builders.muscima_pp import muscima_pp_parsing


class Builder(base.PageBuilder):
  """Reads the annotations (MuNG XML) and images of the v2.0 release."""

  PARSER = muscima_pp_parsing
  HOMEPAGE = "https://ufal.mff.cuni.cz/muscima"
  VERSION = tfds.core.Version("2.0.0")
  RELEASE_NOTES: ClassVar = {
    "2.0.0": "Images as tiled TIFF.",
    "1.0.0": "First release: pages, boxes and class ids, splits by writer.",
  }
  BUILDER_CONFIGS: ClassVar = [
    tfds.core.BuilderConfig(
      name="v2.0", description="Annotations of MUSCIMA++ v2.0."
    )
  ]
  MANUAL_DOWNLOAD_INSTRUCTIONS = (
    "Unpack MUSCIMA++ v2.0 with its images and name the folder as manual_dir."
  )
