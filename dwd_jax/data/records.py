"""Writes and checks folders of records."""

import contextlib
import io
import json
import pathlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence

import tensorflow_datasets as tfds

from dwd_jax.cluster import beam_engine
from dwd_jax.core import box_index, files, words
from dwd_jax.core.errors import InputError
from dwd_jax.data import sources
from tfds_builders import base, record_folders

NAME = "records"  # of lock files and staging folders
ORIGIN_NAME = "origin.json"


def check(folder: pathlib.Path) -> None:
  """Raises InputError if files of a folder of records are missing."""
  made = record_folders.builder_of(folder)
  for split in made.info.splits.values():
    for path in split.filepaths:
      if not path.exists() or not path.stat().length:
        raise InputError(
          f"{path}: missing or empty; remove the folder and prepare the records"
          " again"
        )


def write(
  make: Callable[..., base.PageBuilder],
  manual_dir: pathlib.Path,
  data_dir: pathlib.Path,
  folder: pathlib.Path,
  origin: dict,
  beam_args: Sequence[str] | None,
) -> None:
  """Builds records and moves them to their place in one step.

  Args:
    make: makes the builder for a `data_dir`.
    manual_dir: folder of the original files.
    data_dir: folder to work in; the caller has its `files.turn`.
    folder: of the records, within `data_dir`.
    origin: what the records are made from, stored beside them.
    beam_args: options of Apache Beam; None: no Beam.

  Raises:
    InputError: a bad file, or no room.
  """
  start = time.monotonic()
  config = tfds.download.DownloadConfig(manual_dir=manual_dir)
  if beam_args is not None:
    config = config.replace(beam_options=beam_engine.options(beam_args))
  # In a staging folder: TFDS leaves a metadata folder behind when it fails.
  with _unwrapped(data_dir), files.staged(data_dir / NAME) as staging:
    builder = make(data_dir=staging)
    if not sys.stderr.isatty():
      tfds.disable_progress_bar()
    try:
      with contextlib.redirect_stdout(io.StringIO()):
        builder.download_and_prepare(download_config=config)
    except RuntimeError:  # array_record has no other type for a full disk
      full = files.why_unwritable(staging, 1 << 20)
      if full is None:
        raise
      raise _unwritable(data_dir, str(full.strerror)) from None
    made = pathlib.Path(builder.data_dir)
    (made / ORIGIN_NAME).write_text(json.dumps(origin, indent=2) + "\n")
    pages, objects, classes = [], 0, set()
    for split in builder.info.splits:
      index = sources.open_records(made, split).box_index()
      box_index.save(index, made / box_index.FOLDER / split)
      pages.append(f"{split} {len(index.filenames)}")
      objects += len(index.labels)
      classes.update(index.labels.tolist())
    report = json.loads((made / base.REPORT_NAME).read_text())
    files.make_dir(folder.parent)
    made.rename(folder)
  colour, polarity = builder.colour, builder.decision
  if colour and colour.reason:
    print(colour, flush=True)
  if polarity and polarity.reason and not (colour and colour.channels == 3):
    print(polarity, flush=True)
  said = words.of_set(builder.name, bool(polarity and polarity.is_music))
  notes = "".join(f"; {n} {kind}" for kind, n in report["counts"].items())
  images = said.image if pages == ["train 1"] else said.images
  print(
    f"Built records ({', '.join(pages)} {images};"
    f" {objects:,} objects of {len(classes)}"
    f" class{'es' * (len(classes) != 1)}) in"
    f" {time.monotonic() - start:.0f} s: {folder}{notes}",
    flush=True,
  )


@contextlib.contextmanager
def _unwrapped(data_dir: pathlib.Path) -> Iterator[None]:
  """Raises InputError for what cannot be read or written."""
  try:
    yield
  except OSError as e:
    named = str(e.filename or "")
    reason = e.strerror or str(e)
    if e.errno in files.UNWRITABLE or named.startswith(str(data_dir)):
      raise _unwritable(data_dir, reason) from None
    if not named:
      raise
    raise InputError(
      f"{named}: {reason}; make it readable and start again"
    ) from None


def _unwritable(data_dir: pathlib.Path, reason: str) -> InputError:
  return InputError(
    f"{data_dir}: cannot write the records ({reason}); make room or make it"
    " writable, or choose another workdir or data.data_dir"
  )
