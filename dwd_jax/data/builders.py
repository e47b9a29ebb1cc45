"""TFDS builders, by their name or from a folder of records."""

import importlib
import pathlib
from typing import Any

import tensorflow_datasets as tfds

from dwd_jax.core.errors import InputError
from tfds_builders import base


def by_name(
  name: str,
  data_dir: str | pathlib.Path,
  builder_config: str = "",
  **kwargs: Any,
) -> base.PageBuilder:
  """The TFDS builder of the folder `tfds_builders/<name>`.

  Args:
    name: folder name, e.g. "deepscores".
    data_dir: where prepared records are or will be.
    builder_config: "" = the builder's first.
    **kwargs: of the builder, see `tfds_builders.base.PageBuilder`.

  Raises:
    InputError: unknown builder, config or option.
  """
  module = f"tfds_builders.{name}.{name}_dataset_builder"
  try:
    builder_cls = importlib.import_module(module).Builder
  except ModuleNotFoundError as e:
    if name.isidentifier() and e.name and not module.startswith(e.name):
      raise
    raise InputError(
      f"data.builder: no builder {name!r}; the folders of tfds_builders/ are"
      " the known ones"
    ) from None
  known = [c.name for c in builder_cls.BUILDER_CONFIGS]
  if builder_config and builder_config not in known:
    raise InputError(
      f"data.builder_config: {name} has no config {builder_config!r};"
      f" known: {', '.join(known) or 'none'}"
    )
  try:
    return builder_cls(
      data_dir=str(data_dir), config=builder_config or known[0], **kwargs
    )
  except (InputError, OSError):
    raise
  except Exception as e:  # what TFDS raises for records that are damaged
    raise damaged(str(data_dir), f"{type(e).__name__}: {e}") from None


def of_folder(folder: str | pathlib.Path) -> tfds.core.DatasetBuilder:
  """The TFDS builder of records, from what lies in their folder.

  Not from the code that made them: its options decide which features there
  are.

  Raises:
    InputError: the files that describe them are damaged.
  """
  try:
    return tfds.builder_from_directory(str(folder))
  except Exception as e:  # JSON, protobuf and assertions of TFDS
    raise damaged(str(folder), f"{type(e).__name__}: {e}") from None


def damaged(folder: str, reason: str) -> InputError:
  """The error for records that cannot be read."""
  reason = " ".join(reason.split())[:300]
  return InputError(
    f"{folder}: damaged or missing records ({reason}); remove the folder and"
    " prepare them again"
  )
