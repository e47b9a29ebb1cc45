"""Folders of prepared records, opened as data: nothing in them is run."""

import pathlib
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from etils import epath

from dwd_jax.core import files
from dwd_jax.core.errors import InputError, one_line
from dwd_jax.imaging import grey
from tfds_builders import base

METADATA = "metadata.json"
# TFDS imports the modules that features.json names: these are the classes of
# features that our builders use.
_FEATURES = frozenset(
  f"tensorflow_datasets.core.features.{name}"
  for name in (
    "features_dict.FeaturesDict",
    "image_feature.Image",
    "scalar.Scalar",
    "tensor_feature.Tensor",
    "text_feature.Text",
  )
)


def damaged(folder: str | pathlib.Path, reason: str) -> InputError:
  """Error for unreadable records."""
  reason = " ".join(reason.split())[:300]
  return InputError(
    f"{folder}: damaged or missing records ({reason}); remove the folder and"
    " prepare them again"
  )


def facts_of(folder: str | pathlib.Path) -> dict[str, Any]:
  """What metadata.json says of the pages and their classes.

  Keys: class_names, vocabulary, polarity, channels, kind, is_music. Records of
  older versions have no polarity, 1 channel, and are documents without staves.

  Raises:
    InputError: the file is missing or damaged.
  """
  try:
    facts = files.read_json(pathlib.Path(folder) / METADATA)
    names, vocabulary = facts["class_names"], facts.get("vocabulary", "")
    if not isinstance(names, list) or len({*names}) != len(names):
      raise ValueError("class_names are no list, or one occurs twice")
    for name in (*names, vocabulary):
      if not isinstance(name, str) or one_line(name) != name:
        raise ValueError(f"{str(name)[:40]!r} is no name")
    found = {"class_names": tuple(names), "vocabulary": vocabulary}
    found["channels"] = int(facts.get("channels", 1))
    found["kind"] = str(facts.get("kind", "document"))
    found["is_music"] = facts.get("is_music", False) is True
    if "polarity" in facts:
      found["polarity"] = facts["polarity"]
  except (OSError, ValueError, TypeError, KeyError, AttributeError) as e:
    raise damaged(folder, f"{METADATA}: {type(e).__name__}: {e}") from None
  if found["channels"] not in (1, 3):
    raise damaged(folder, f"channels {found['channels']}")
  if found["kind"] not in ("document", "photo"):
    raise damaged(folder, f"kind {found['kind'][:40]!r}")
  if found.get("polarity", "") not in ("", *grey.POLARITIES):
    raise damaged(folder, f"polarity {str(found['polarity'])[:40]!r}")
  return found


def builder_of(folder: str | pathlib.Path) -> tfds.core.DatasetBuilder:
  """The TFDS builder of records, from the metadata in their folder.

  The code that made the records does not do: its options decide which features
  there are.

  Raises:
    InputError: damaged metadata, or some that names other code than TFDS's.
  """
  _check_features(pathlib.Path(folder) / "features.json")
  try:
    made = tfds.builder_from_directory(str(folder))  # noqa: TID251
    # Its templates of file names could lead to other folders.
    paths = [p for split in made.info.splits.values() for p in split.filepaths]
    if not {path.parent for path in paths} <= {epath.Path(made.data_dir)}:
      raise ValueError("names files of another folder")
    found, extra = made.info.features, base.EXTRA_FEATURES
    wanted = base.FEATURES | {k: extra[k] for k in extra.keys() & found.keys()}
    for name, feature in wanted.items():
      if _kind(found[name]) != _kind(feature):
        raise ValueError(f"the feature {name} is of another type")
  except Exception as e:  # JSON, protobuf and assertions of TFDS
    raise damaged(folder, f"{type(e).__name__}: {e}") from None
  return made


def _kind(feature: tfds.features.FeatureConnector) -> tuple[Any, ...]:
  kind = np.dtype(feature.np_dtype).kind
  return type(feature), kind, len(feature.shape)


def pages_of(made: tfds.core.DatasetBuilder, split: str) -> Any:
  """The records of a split by index, images not decoded.

  Args:
    made: from `builder_of`.
    split: in the syntax of TFDS.

  Raises:
    InputError: damaged metadata, or files that are missing.
  """
  try:
    return made.as_data_source(
      split,  # pyright: ignore[reportCallIssue]: hidden by a decorator
      decoders={"image": tfds.decode.SkipDecoding()},
    )
  except Exception as e:  # TFDS and array_record raise many kinds of errors
    raise damaged(made.data_dir, f"{type(e).__name__}: {e}") from None


def _check_features(path: pathlib.Path) -> None:
  """Raises InputError unless a file names none but classes in `_FEATURES`."""
  folder = path.parent
  try:
    todo = [files.read_json(path)]
  except (OSError, ValueError) as e:
    raise damaged(folder, f"{path.name}: {e}") from None
  if not isinstance(todo[0], dict) or "type" in todo[0]:  # before TFDS 4.6
    raise damaged(folder, f"{path.name} is not of a form that is known")
  while todo:
    value = todo.pop()
    if isinstance(value, list):
      todo += value
    elif isinstance(value, dict):
      todo += value.values()
      for key in ("pythonClassName", "python_class_name"):
        if value.get(key, "") not in ("", *_FEATURES):
          raise InputError(
            f"{path}: names {str(value[key])[:200]!r}, which is no feature of"
            " our records and would be run; build the records from their files"
          )
