"""DeepScoresV2: engraved pages, aligned and oriented boxes, segmentation."""

from typing import ClassVar

import tensorflow_datasets as tfds

from tfds_builders import base
from tfds_builders.deepscores_v2 import deepscores_v2_parsing

_DESCRIPTIONS = {
  "dense": "1,714 dense pages, 136 classes of the set `deepscores`.",
  "dense_muscima": "1,714 dense pages, 72 classes of the set `muscima++`.",
  "complete": "255,385 pages, 136 classes of the set `deepscores`.",
  "complete_muscima": "255,385 pages, 72 classes of the set `muscima++`.",
}


class Builder(base.PageBuilder):
  """Reads the folders of the archives ds2_dense and ds2_complete."""

  PARSER = deepscores_v2_parsing
  HOMEPAGE = "https://zenodo.org/records/4012193"
  VERSION = tfds.core.Version("1.1.0")
  RELEASE_NOTES: ClassVar = {
    "1.1.0": "Positions on the staff and onsets.",
    "1.0.0": "First release: pages, both boxes, class ids, pixel labels.",
  }
  BUILDER_CONFIGS: ClassVar = [
    tfds.core.BuilderConfig(name=name, description=_DESCRIPTIONS[name])
    for name in deepscores_v2_parsing.CONFIGS
  ]
  MANUAL_DOWNLOAD_INSTRUCTIONS = (
    "Unpack ds2_dense or ds2_complete of DeepScoresV2 and name the folder as"
    " manual_dir."
  )
