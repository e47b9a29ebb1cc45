"""Folders of prepared records, opened as data: nothing in them is run."""

import pathlib
from typing import Any

import tensorflow_datasets as tfds

from dwd_jax.core import files
from dwd_jax.core.errors import InputError
from dwd_jax.imaging import grey

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
  """What metadata.json says: class_names, vocabulary, polarity.

  Records of older versions have no polarity.

  Raises:
    InputError: the file is missing or damaged.
  """
  try:
    facts = files.read_json(pathlib.Path(folder) / METADATA)
    found = {
      "class_names": tuple(str(name) for name in facts["class_names"]),
      "vocabulary": str(facts.get("vocabulary", "")),
    }
    if "polarity" in facts:
      found["polarity"] = facts["polarity"]
  except (OSError, ValueError, TypeError, KeyError, AttributeError) as e:
    raise damaged(folder, f"{METADATA}: {type(e).__name__}: {e}") from None
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
    return tfds.builder_from_directory(str(folder))  # noqa: TID251
  except Exception as e:  # JSON, protobuf and assertions of TFDS
    raise damaged(folder, f"{type(e).__name__}: {e}") from None


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
            f"{path}: names {value[key]!r}, which is no feature of our records"
            " and would be run; build the records from their files"
          )
