"""Generates pages if asked to, and builds the records if they are missing."""

import contextlib
import errno
import functools
import inspect
import io
import json
import os
import pathlib
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import tensorflow_datasets as tfds
from jax.experimental import multihost_utils

from dwd_jax import files
from dwd_jax.data import box_index, sources
from dwd_jax.errors import InputError
from tfds_builders import base

ORIGIN_NAME = "origin.json"
_TARGET = "records"
_UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


class _How(NamedTuple):
  """How records are built; changes nothing in what is in them."""

  workers: int
  beam_args: Sequence[str] | None


def prepare(
  data_cfg,
  workdir: str | pathlib.Path,
  *,
  workers: int = 0,
  beam_args: Sequence[str] | None = None,
) -> pathlib.Path:
  """Makes sure that the records of `config.data` exist.

  Does nothing where they do. Safe to call from many processes at once: process
  0 of a JAX job works and the others wait; unrelated processes that share a
  folder take turns. Killed at any moment, it leaves nothing that would be taken
  for finished.

  Args:
    data_cfg: `config.data`. `manual_dir` may be relative (to the current
      folder); empty, pages are generated below `workdir`.
    workdir: the run's folder.
    workers: threads that read pages; 0 = one for each core.
    beam_args: options of Apache Beam ("--runner=..."), which then reads the
      pages; None: no Beam.

  Returns:
    The folder to give to `sources.open_split`.

  Raises:
    InputError: no pages can be found or generated, a file is bad, or the
      records there were made with other settings.
  """
  workdir = pathlib.Path(workdir).expanduser().absolute()
  data_dir = pathlib.Path(data_cfg.data_dir or workdir / "data")
  data_dir = data_dir.expanduser().absolute()
  if not data_cfg.builder:
    raise InputError("data.builder: not set; name a folder of tfds_builders/")
  if jax.process_index() == 0:
    with files.turn(data_dir / _TARGET):
      how = _How(workers, beam_args)
      _prepare(data_cfg, workdir, data_dir, how)
  if jax.process_count() > 1:
    multihost_utils.sync_global_devices("dwd_jax.data.prepare")
  return data_dir


def _prepare(
  data_cfg,
  workdir: pathlib.Path,
  data_dir: pathlib.Path,
  how: "_How",
) -> None:
  builder = sources.builder_for(
    data_cfg.builder, data_dir, data_cfg.builder_config
  )
  records = pathlib.Path(builder.data_dir)
  origin = _origin(data_cfg, workdir)
  if records.is_dir():
    _check_origin(records, origin)
    print(f"Records: {records}", flush=True)
    return
  if not origin["manual_dir"]:
    raise InputError(
      "data.manual_dir: not set; name the folder of the original files, or set"
      " data.engrave.pages to generate pages"
    )
  manual_dir = pathlib.Path(origin["manual_dir"])
  if data_cfg.engrave.pages > 0:
    with files.turn(manual_dir):
      if not manual_dir.exists():
        _engrave(data_cfg.engrave, manual_dir)
  if not manual_dir.is_dir():
    raise InputError(
      f"{manual_dir}: no such folder; put the files of {data_cfg.builder} there"
      " or correct data.manual_dir"
    )
  config = tfds.download.DownloadConfig(manual_dir=manual_dir)
  if how.beam_args is not None:
    config = config.replace(beam_options=_beam_options(how.beam_args))
  make = functools.partial(
    sources.builder_for,
    data_cfg.builder,
    builder_config=data_cfg.builder_config,
    options=data_cfg.options,
    beam=how.beam_args is not None,
    workers=how.workers or min(os.cpu_count() or 1, 16),
  )
  _build(make, config, data_dir, records, origin)


def _beam_options(args: Sequence[str]) -> Any:
  try:
    from apache_beam.options import (  # pyright: ignore[reportMissingImports]
      pipeline_options,
    )
  except ModuleNotFoundError:
    raise InputError(
      "Apache Beam is not installed; pip install 'dwd_jax[beam]', or build"
      " without it"
    ) from None
  from apache_beam.runners import runner  # pyright: ignore

  options = pipeline_options.PipelineOptions(list(args))
  named = options.view_as(pipeline_options.StandardOptions).runner
  try:
    runner.create_runner(named)
  except (ValueError, ImportError) as e:
    reason = " ".join(str(e).split())
    raise InputError(f"--runner={named}: {reason}; correct it") from None
  return options


def _origin(data_cfg, workdir: pathlib.Path) -> dict:
  """What the records depend on; kept beside them."""
  engrave = {
    k: v for k, v in sorted(data_cfg.engrave.items()) if k != "workers"
  }
  manual_dir = data_cfg.manual_dir
  if not manual_dir and engrave["pages"] > 0:
    manual_dir = workdir / "data" / "engraved"
  if manual_dir:
    manual_dir = pathlib.Path(manual_dir).expanduser().absolute()
  return {
    "manual_dir": str(manual_dir),
    "engrave": engrave if engrave["pages"] > 0 else None,
    "options": {k: v for k, v in sorted(data_cfg.options.items()) if v},
  }


def _check_origin(records: pathlib.Path, origin: dict) -> None:
  """Stops where the records were made from other pages than wanted."""
  path = records / ORIGIN_NAME
  if not path.is_file():  # built by `tfds build`
    return
  try:
    had = json.loads(path.read_text())
    _ = had["manual_dir"], had["engrave"], had.get("options")
  except (ValueError, KeyError, TypeError, AttributeError):
    raise InputError(
      f"{path}: damaged; remove {records} and prepare the records again"
    ) from None
  wanted = json.loads(json.dumps(origin))
  if had.get("options", {}) != wanted["options"]:
    raise InputError(
      f"{records}: made with data.options = {had.get('options', {})}, not"
      f" {wanted['options']}; remove the folder, or use another workdir or"
      " data.data_dir"
    )
  if had["engrave"] and wanted["engrave"]:
    if had["engrave"] != wanted["engrave"]:
      raise InputError(
        f"{records}: made from {had['manual_dir']} with data.engrave ="
        f" {had['engrave']}, not {wanted['engrave']}; remove"
        " both folders, or use another workdir"
      )
  # Records may be moved, and outlive their files: only a folder that is really
  # there, and another one, can have been meant instead.
  elif had["manual_dir"] != wanted["manual_dir"] and (
    wanted["manual_dir"] and pathlib.Path(wanted["manual_dir"]).is_dir()
  ):
    raise InputError(
      f"{records}: made from {had['manual_dir']}, not from"
      f" {wanted['manual_dir']}; remove the records, or use another workdir or"
      " data.data_dir"
    )


def _engrave(settings, manual_dir: pathlib.Path) -> None:
  from dwd_jax import engrave  # verovio and libvips, only when needed

  options = {
    k: v for k, v in settings.items() if k not in ("pages", "seed", "workers")
  }
  known = set(inspect.signature(engrave.generate).parameters)
  unknown = sorted(set(options) - (known - {"out", "progress"}))
  if unknown:
    raise InputError(
      f"data.engrave.{unknown[0]}: unknown option of the generator; known:"
      f" {', '.join(sorted(known - {'out', 'progress'}))}"
    )
  start = time.monotonic()
  with files.staged(manual_dir) as folder:
    out = folder / manual_dir.name
    engrave.generate(
      out=out,
      pages=settings.pages,
      seed=settings.seed,
      workers=settings.workers,
      **options,
    )
    out.rename(manual_dir)
  print(
    f"Generated {settings.pages} pages in {time.monotonic() - start:.0f} s:"
    f" {manual_dir}",
    flush=True,
  )


def _build(
  make: Callable[..., base.PageBuilder],
  config: tfds.download.DownloadConfig,
  data_dir: pathlib.Path,
  records: pathlib.Path,
  origin: dict,
) -> None:
  start = time.monotonic()
  # TFDS leaves a metadata folder behind when it fails: it works elsewhere, and
  # what it made is moved in one step.
  with _told(data_dir), files.staged(data_dir / _TARGET) as folder:
    builder = make(data_dir=folder)
    if not sys.stderr.isatty():
      tfds.disable_progress_bar()
    with contextlib.redirect_stdout(io.StringIO()):
      builder.download_and_prepare(download_config=config)
    made = pathlib.Path(builder.data_dir)
    (made / ORIGIN_NAME).write_text(json.dumps(origin, indent=2) + "\n")
    for split in builder.info.splits:
      index = sources.open_records(made, split).box_index()
      box_index.save(index, made / box_index.FOLDER / split)
    report = json.loads((made / base.REPORT_NAME).read_text())
    files.make_dir(records.parent)
    made.rename(records)
  pages = ", ".join(
    f"{k} {v.num_examples}" for k, v in builder.info.splits.items()
  )
  notes = "".join(f"; {n} {kind}" for kind, n in report["counts"].items())
  print(
    f"Built records ({pages} pages) in {time.monotonic() - start:.0f} s:"
    f" {records}{notes}",
    flush=True,
  )


@contextlib.contextmanager
def _told(data_dir: pathlib.Path) -> Iterator[None]:
  """Bad input and full disks that other errors tell of."""
  try:
    yield
  except RuntimeError as e:
    # Of a Beam worker, and of the writer of records: text is all there is.
    bad = re.search(r"dwd_jax\.errors\.InputError: ([^\n]+)", str(e))
    full = re.search(r"write\(\) failed: ([^;\n]+)", str(e))
    if bad:
      line = re.sub(r" \[while running .*", "", bad[1])
      raise InputError(line) from None
    if full:
      raise _unwritable(data_dir, full[1]) from None
    raise
  except OSError as e:
    named = str(e.filename or "")
    reason = e.strerror or str(e)
    if e.errno in _UNWRITABLE or named.startswith(str(data_dir)):
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
