"""DeepScores (2017): engraved pages with boxes of 124 kinds of symbols."""

from typing import ClassVar

import tensorflow_datasets as tfds

from tfds_builders import base
from tfds_builders.deepscores import deepscores_parsing

_DESCRIPTIONS = {
  "dense_2017": "Pages as they were engraved.",
  "300dpi_2017": "Printed pages, scanned with 300 dpi.",
  "ipad_2017": "Printed pages, photographed with a tablet.",
  "engraved": "Pages of dwd_jax.engrave, with oriented boxes and positions.",
}


class Builder(base.PageBuilder):
  """Reads the original folders and the ones `dwd_jax.engrave` writes."""

  PARSER = deepscores_parsing
  HOMEPAGE = "https://tuggeluk.github.io/deepscores/"
  VERSION = tfds.core.Version("2.0.0")
  RELEASE_NOTES: ClassVar = {
    "2.0.0": "Images as tiled TIFF; scans, photos and pixel labels.",
    "1.0.0": "First release: pages, boxes and class ids.",
  }
  BUILDER_CONFIGS: ClassVar = [
    tfds.core.BuilderConfig(name=name, description=_DESCRIPTIONS[name])
    for name in deepscores_parsing.FOLDERS
  ]
  MANUAL_DOWNLOAD_INSTRUCTIONS = (
    "Unpack DeepScores (2017), or generate pages with `python -m"
    " dwd_jax.engrave`, and name the folder as manual_dir."
  )
