"""Small images of one symbol each, to paste and to learn classes from."""

from typing import ClassVar

import tensorflow_datasets as tfds

from tfds_builders import base
from tfds_builders.symbols import symbols_parsing


class Builder(base.PageBuilder):
  """One record per symbol, whose box is the first of the record's."""

  PARSER = symbols_parsing
  HOMEPAGE = "https://tuggeluk.github.io/deepscores/"
  VERSION = tfds.core.Version("1.0.0")
  RELEASE_NOTES: ClassVar = {"1.0.0": "First release."}
  BUILDER_CONFIGS: ClassVar = [
    tfds.core.BuilderConfig(
      name="cropped",
      description="Cut out of the training pages of prepared records.",
    ),
    tfds.core.BuilderConfig(
      name="engraved",
      description="Cut out of the training pages of a generated folder.",
    ),
    tfds.core.BuilderConfig(
      name="masks",
      description="The ink of MUSCIMA++ masks (v2.0), without anything else.",
    ),
    tfds.core.BuilderConfig(
      name="masks_v1.0", description="The same of MUSCIMA++ v1.0."
    ),
    tfds.core.BuilderConfig(
      name="folder", description="Images with boxes that exist already."
    ),
  ]
  MANUAL_DOWNLOAD_INSTRUCTIONS = (
    "Name as manual_dir: prepared records of pages (cropped), a generated"
    " folder (engraved), MUSCIMA++ (masks), or a folder of symbol images with"
    " their XML (folder)."
  )
