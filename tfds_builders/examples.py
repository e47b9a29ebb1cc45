"""Pages of a parsing module -> records, in threads or on Beam."""

import json
from collections.abc import Callable
from typing import Any

from etils import epath

from dwd_jax.imaging import tiled_tiff
from tfds_builders import checks


def read_examples(
  page: checks.PageFiles,
  *,
  read_page: Callable,
  class_names: tuple[str, ...],
  options: Any,
  extras: tuple[str, ...],
) -> tuple[list[tuple[str, dict[str, Any]]], dict]:
  """Reads one page: its records by key, and what its report counted."""
  report = checks.BuildReport()
  parsed = read_page(page, class_names, options, report)
  if isinstance(parsed, checks.ParsedPage):
    parsed = [(page.name, parsed)]
  examples = []
  for name, part in parsed:
    own_name = page.filename or page.image.name
    filename = own_name if name == page.name else f"{name}.tif"
    examples.append((name, _example(filename, part, extras)))
  return examples, report.as_dict()


def _example(
  filename: str, parsed: checks.ParsedPage, extras: tuple[str, ...]
) -> dict[str, Any]:
  height, width = parsed.ink.shape
  return {
    "image": tiled_tiff.encode_page(parsed.ink),
    "image/filename": filename,
    "image/height": height,
    "image/width": width,
    "boxes_yxyx": parsed.boxes_yxyx,
    "labels": parsed.labels,
  } | {name: parsed.extras[name] for name in extras}


def with_report(
  page: checks.PageFiles, *, read: Callable, folder: str
) -> list[tuple[str, dict]]:
  """On a Beam worker: what was counted goes into a file of its own."""
  examples, counted = read(page)
  if counted["counts"]:
    parts = epath.Path(folder)
    parts.mkdir(parents=True, exist_ok=True)
    (parts / f"{page.name}.json").write_text(json.dumps(counted))
  return examples
