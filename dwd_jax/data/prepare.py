"""Generates pages if the config says so, and builds missing records."""

import functools
import inspect
import json
import os
import pathlib
import time
from collections.abc import Sequence

from dwd_jax.cluster import processes
from dwd_jax.core import files
from dwd_jax.core.errors import InputError
from dwd_jax.data import records, source_files, sources

# Options of the generator; "" or 0 stands for its default.
_SWITCHES = (
  "vocabulary",
  "width",
  "height",
  "staff_space",
  "fonts",
  "pixel_labels",
  "handwriting",
  "hands",
  "scores",
  "degrade",
)


def prepare(
  data_cfg,
  workdir: str | pathlib.Path,
  *,
  workers: int = 0,
  beam_args: Sequence[str] | None = None,
) -> pathlib.Path:
  """Builds the records of `config.data` unless they exist.

  Many processes may call it at once: process 0 of a JAX job works and the
  others wait; unrelated processes that share a folder take turns. If it is
  killed, it leaves no incomplete records behind.

  Args:
    data_cfg: `config.data`. `manual_dir` may be relative to the current folder;
      if it is empty, pages are generated below `workdir`.
    workdir: the run's folder.
    workers: threads that read pages; 0 = one for each core, at most 16.
    beam_args: options of Apache Beam ("--runner=..."), which then reads the
      pages; None: no Beam.

  Returns:
    The folder to give to `sources.open_split`.

  Raises:
    InputError: no pages can be found or generated, a file is bad, or the
      existing records were made with other settings.
  """
  workdir = pathlib.Path(workdir).expanduser().absolute()
  data_dir = pathlib.Path(data_cfg.data_dir or workdir / "data")
  data_dir = data_dir.expanduser().absolute()
  if not data_cfg.builder:
    raise InputError("data.builder: not set; name a folder of tfds_builders/")
  if processes.is_first():
    with files.turn(data_dir / records.NAME):
      _prepare(data_cfg, workdir, data_dir, workers, beam_args)
  processes.wait_for_all("prepare")
  return data_dir


def _prepare(
  data_cfg,
  workdir: pathlib.Path,
  data_dir: pathlib.Path,
  workers: int,
  beam_args: Sequence[str] | None,
) -> None:
  make = functools.partial(
    sources.builder_by_name,
    data_cfg.builder,
    builder_config=data_cfg.builder_config,
    options=data_cfg.options,
    workers=workers or min(os.cpu_count() or 1, 16),
    polarity="dark" if data_cfg.engrave.pages > 0 else "",
    channels=data_cfg.channels,
  )
  folder = pathlib.Path(make(data_dir=data_dir).data_dir)
  origin = _origin(data_cfg, workdir)
  own = (str(workdir), str(data_dir))
  if folder.is_dir():
    _check_origin(folder, origin)
    _check_files(folder, origin, own)
    records.check(folder)
    print(f"Records: {folder}", flush=True)
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
  facts = source_files.facts(manual_dir, own)
  records.write(make, manual_dir, data_dir, folder, origin, beam_args)
  source_files.write(folder, facts)


def _origin(data_cfg, workdir: pathlib.Path) -> dict:
  """What the records are made from; stored beside them."""
  engrave = {
    k: v
    for k, v in sorted(data_cfg.engrave.to_dict().items())
    if k != "workers" and k not in _unused(data_cfg.engrave)
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


def _unused(engrave) -> set[str]:
  """Options of the generator with default values, not stored with records."""
  off = {k for k in _SWITCHES if not engrave.get(k)}
  if engrave.get("variation") == 1.0:
    off.add("variation")
  return off | {"strength"} if "degrade" in off else off


def _check_origin(folder: pathlib.Path, origin: dict) -> None:
  """Raises InputError if the records are made from other pages."""
  path = folder / records.ORIGIN_NAME
  if not path.is_file():  # built by `tfds build`
    return
  try:
    had = files.read_json(path)
    _ = had["manual_dir"], had["engrave"], had.get("options")
  except (ValueError, KeyError, TypeError, AttributeError):
    raise InputError(
      f"{path}: damaged; remove {folder} and prepare the records again"
    ) from None
  wanted = json.loads(json.dumps(origin))
  if had.get("options", {}) != wanted["options"]:
    raise InputError(
      f"{folder}: made with data.options = {had.get('options', {})}, not"
      f" {wanted['options']}; remove the folder, or use another workdir or"
      " data.data_dir"
    )
  if had["engrave"] and wanted["engrave"]:
    if had["engrave"] != wanted["engrave"]:
      raise InputError(
        f"{folder}: made from {had['manual_dir']} with data.engrave ="
        f" {had['engrave']}, not {wanted['engrave']}; remove"
        " both folders, or use another workdir"
      )
  # Records may be moved, and outlive their files: another folder counts only if
  # it exists.
  elif had["manual_dir"] != wanted["manual_dir"] and (
    wanted["manual_dir"] and pathlib.Path(wanted["manual_dir"]).is_dir()
  ):
    raise InputError(
      f"{folder}: made from {had['manual_dir']}, not from"
      f" {wanted['manual_dir']}; remove the records, or use another workdir or"
      " data.data_dir"
    )


def _check_files(
  folder: pathlib.Path, origin: dict, own: tuple[str, ...]
) -> None:
  """Raises InputError if files have changed since the records were made."""
  manual_dir = pathlib.Path(origin["manual_dir"])
  if not origin["manual_dir"] or not manual_dir.is_dir():
    return
  changed = source_files.changes(folder, manual_dir, own)
  if changed:
    raise InputError(
      f"{folder}: made from other files than {manual_dir} has now: {changed};"
      " remove the records to build them again, or use another data.data_dir"
    )


def _engrave(settings, manual_dir: pathlib.Path) -> None:
  from dwd_jax import engrave  # loads verovio and libvips

  options = {
    k: v
    for k, v in settings.to_dict().items()
    if k not in {"pages", "seed", "workers"} | _unused(settings)
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
