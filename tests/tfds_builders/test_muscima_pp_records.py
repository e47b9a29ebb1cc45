"""Built records of every config of MUSCIMA++: names, masks, report."""

import json
import pathlib

import pytest
import tensorflow_datasets as tfds

from dwd_jax.core.errors import InputError
from dwd_jax.imaging import masks
from tfds_builders import base
from tfds_builders.muscima_pp import muscima_pp_dataset_builder

_CONFIGS = {
  "v2.0": (5, 4),
  "v1.0": (4, 3),
  "original_2017": (4, 3),
}  # pages, splits


def _build(repo_dir, data_dir, config, **options):
  builder = muscima_pp_dataset_builder.Builder(
    data_dir=str(data_dir), config=config, options=options
  )
  dummy = repo_dir / "tfds_builders/muscima_pp/dummy_data"
  builder.download_and_prepare(
    download_config=tfds.download.DownloadConfig(manual_dir=str(dummy))
  )
  return builder


def _records(builder):
  decode = {"image": tfds.decode.SkipDecoding()}
  return [
    record
    for split in builder.info.splits
    for record in builder.as_data_source(split, decoders=decode)
  ]


@pytest.mark.parametrize("config", _CONFIGS)
def test_records_with_masks(repo_dir, tmp_path, config):
  builder = _build(repo_dir, tmp_path, config, masks=True)
  pages, splits = _CONFIGS[config]
  assert len(builder.info.splits) == splits
  records = _records(builder)
  assert len({record["image/filename"] for record in records}) == pages
  for record in records:
    assert record["image/filename"].startswith(b"CVC-MUSCIMA_W-")
    found = masks.of_page(
      record["mask_runs"], record["mask_stops"], record["boxes_yxyx"]
    )
    assert len(found) == len(record["labels"]) > 3
    assert all(mask is not None and mask.any() for mask in found)


def test_records_without_masks(repo_dir, tmp_path):
  builder = _build(repo_dir, tmp_path, "v1.0")
  assert "mask_runs" not in _records(builder)[0]
  assert builder.info.metadata is not None
  assert builder.info.metadata["vocabulary"] == "muscima_v1"


def test_what_is_left_out_is_in_the_report(repo_dir, tmp_path):
  builder = _build(repo_dir, tmp_path, "original_2017", legacy_exclusions=True)
  path = pathlib.Path(builder.data_dir) / base.REPORT_NAME
  report = json.loads(path.read_text())
  kind = "objects left out (legacy_exclusions): of an excluded class"
  assert report["counts"][kind] == 4
  assert report["first_examples"][kind][0] == (
    "CVC-MUSCIMA_W-01_N-90_D-ideal.xml: object 17: ledger_line"
  )


def test_wrong_type_of_an_option(repo_dir, tmp_path):
  with pytest.raises(InputError, match=r"data\.options\.masks"):
    _build(repo_dir, tmp_path, "v1.0", masks="yes")
