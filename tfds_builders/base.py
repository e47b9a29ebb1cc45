"""The part of a page builder that does not depend on the data set."""

import json
import pathlib
from collections.abc import Iterator

import numpy as np
import tensorflow_datasets as tfds

from dwd_jax.errors import InputError
from tfds_builders import checks

REPORT_NAME = "build_report.json"


class PageBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
  """Pages with boxes as array_record files; no TensorFlow needed.

  A data set derives from it and says how to list (`read_data_set`) and how to

  """

  HOMEPAGE = ""

  def __init__(self, **kwargs):
    """Args: as `tfds.core.GeneratorBasedBuilder`; array_record by default."""
    kwargs["file_format"] = kwargs.get("file_format") or "array_record"
    super().__init__(**kwargs)
    self.report = checks.BuildReport()

  def read_data_set(self, root: pathlib.Path) -> checks.DataSet:
    """Lists class names and pages below `root`."""
    raise NotImplementedError

  def read_page(
    self, page: checks.PageFiles, class_names: tuple[str, ...]
  ) -> checks.ParsedPage:
    """Reads and checks one page."""
    raise NotImplementedError

  def _info(self) -> tfds.core.DatasetInfo:
    return self.dataset_info_from_configs(
      features=tfds.features.FeaturesDict(
        {
          # The file as it is; read with SkipDecoding.
          "image": tfds.features.Image(shape=(None, None, None)),
          "image/filename": tfds.features.Text(),
          "image/height": tfds.features.Scalar(np.int32, doc="pixels"),
          "image/width": tfds.features.Scalar(np.int32, doc="pixels"),
          # Plain tensors: sequences come back as slow Python lists.
          "boxes_yxyx": tfds.features.Tensor(
            shape=(None, 4),
            dtype=np.float32,
            doc="ymin, xmin, ymax, xmax in pixels, half-open",
          ),
          "labels": tfds.features.Tensor(
            shape=(None,),
            dtype=np.int64,
            doc="index into class_names of the metadata",
          ),
        }
      ),
      homepage=self.HOMEPAGE,
      # Filled from the files: the vocabulary is theirs, not the code's.
      metadata=tfds.core.MetadataDict(class_names=[]),
    )

  def _split_generators(self, dl_manager):
    try:
      root = pathlib.Path(dl_manager.manual_dir)
    except AssertionError as e:
      reason = " ".join(str(e).splitlines()[0].split())
      raise InputError(
        f"{reason} (data.manual_dir must hold the files of {self.name})"
      ) from None
    data_set = self.read_data_set(root)
    assert self.info.metadata is not None  # given in _info
    self.info.metadata["class_names"] = list(data_set.class_names)
    return {
      split: self._generate_examples(pages, data_set.class_names)
      for split, pages in data_set.splits.items()
    }

  def _generate_examples(
    self, pages: list[checks.PageFiles], class_names: tuple[str, ...]
  ) -> Iterator[tuple[str, dict]]:
    for page in pages:
      parsed = self.read_page(page, class_names)
      yield (
        page.name,
        {
          "image": parsed.image_bytes,
          "image/filename": page.image.name,
          "image/height": parsed.image_hw[0],
          "image/width": parsed.image_hw[1],
          "boxes_yxyx": parsed.boxes_yxyx,
          "labels": parsed.labels,
        },
      )

  def _download_and_prepare(self, dl_manager, download_config=None):
    super()._download_and_prepare(dl_manager, download_config)
    # TFDS works in a temporary folder here and renames it afterwards.
    path = pathlib.Path(self.data_dir) / REPORT_NAME
    path.write_text(json.dumps(self.report.as_dict(), indent=2) + "\n")
