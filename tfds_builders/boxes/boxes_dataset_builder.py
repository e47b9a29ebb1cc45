"""One's own pages with boxes: COCO, Pascal VOC, DOTA, YOLO or CSV."""

from typing import ClassVar

import tensorflow_datasets as tfds

from tfds_builders import base
from tfds_builders.boxes import boxes_parsing


class Builder(base.PageBuilder):
  """Reads what annotation tools export, without any code to write."""

  PARSER = boxes_parsing
  IN_COLOUR = True
  VERSION = tfds.core.Version("1.0.0")
  RELEASE_NOTES: ClassVar = {
    "1.0.0": "First release: pages, boxes and class ids."
  }
  BUILDER_CONFIGS: ClassVar = [
    tfds.core.BuilderConfig(name=name, description=description)
    for name, description in (
      ("auto", "The one of the others that the folder looks like."),
      ("coco", "COCO: JSON files with images, annotations, categories."),
      ("voc", "Pascal VOC: an XML file for each image."),
      ("dota", "DOTA: four-cornered boxes in text files."),
      ("yolo", "YOLO: boxes in shares of the page in text files."),
      ("csv", "CSV: a table with a row for each box."),
    )
  ]
  MANUAL_DOWNLOAD_INSTRUCTIONS = (
    "Name the folder with your images and annotations as manual_dir;"
    " tfds_builders/boxes/README.md shows the layouts."
  )
