"""Checks a data set: python -m dwd_jax.check DATASET [--out=...] ...

Flags and printing only; see `dwd_jax.check.check_data_set`.
"""

import argparse
import pathlib
from typing import Any

from dwd_jax.core import cli
from dwd_jax.core.errors import InputError
from dwd_jax.train import settings

_DESCRIPTION = """Check a data set before training on it.

DATASET is a folder of prepared records, or of original files in the layout of
a builder. Exit code: 0, 1 with findings of level error, 2 for bad input."""


def _parser() -> argparse.ArgumentParser:
  parser = cli.parser(
    "dwd_jax.check",
    _DESCRIPTION,
    "DATASET [--out=DIR] [options]",
    more=settings.options_help,
  )
  data: Any = settings.default().data
  add = parser.add_argument
  add(
    "dataset",
    metavar="DATASET",
    help="folder of records or of original files",
  )
  add(
    "--out",
    default="",
    metavar="DIR",
    help="folder of the report; default: NAME_check",
  )
  add(
    "--builder",
    default="",
    metavar="NAME",
    help="reads the files; default: try all",
  )
  add(
    "--builder-config",
    default="",
    metavar="NAME",
    help="edition of the data set; default: the first that fits",
  )
  add(
    "--option",
    action="append",
    default=[],
    metavar="NAME=VALUE",
    help="of the builder; --helpfull lists them",
  )
  for flag, default, text in (
    ("--scale", data.eval_scale, "of training pages; default: {}"),
    ("--crop", data.crop_hw[0], "crop side, px; default: {}"),
    ("--min-px", 3.0, "smallest side of an object; default: {:g}"),
    ("--max-boxes", data.max_boxes, "boxes of a crop; default: {}"),
    ("--pages", 12, "pages drawn with boxes, per split; default: {}"),
    ("--sheet", 24, "pages of a contact sheet; default: {}"),
    ("--workers", 0, "threads; 0 = one for each core"),
  ):
    add(
      flag,
      type=type(default),
      default=default,
      metavar="N",
      help=text.format(default),
    )
  add(
    "--keep-going",
    action=argparse.BooleanOptionalAction,
    default=True,
    help="list all bad pages, or stop at the first",
  )
  return parser


def _check(flags: argparse.Namespace) -> int:
  cfg: Any = settings.default()
  for flag in ("scale", "crop", "min_px", "max_boxes", "sheet", "pages"):
    least = 0 if flag in ("pages", "min_px") else 1e-3
    if not least <= getattr(flags, flag) < 1e6:
      raise InputError(
        f"--{flag.replace('_', '-')}: {getattr(flags, flag)} is out of range"
      )
  for text in flags.option:
    settings.parse_option(text, cfg.data.options)
  # Imported here: --help should not wait for them.
  from dwd_jax.check import check_data_set, findings, page_sets
  from dwd_jax.check.measures import Limits

  page_set = page_sets.open_set(
    flags.dataset,
    builder=flags.builder,
    config=flags.builder_config,
    options=cfg.data.options,
  )
  print(findings.clean(f"Reading {page_set.origin}"), flush=True)
  given = pathlib.Path(flags.dataset).absolute().name
  out = pathlib.Path(flags.out or f"{given or page_set.name}_check")
  checked = check_data_set.check(
    page_set,
    Limits(
      scale=flags.scale,
      crop_px=flags.crop,
      min_px=flags.min_px,
      max_boxes=flags.max_boxes,
      max_detections=cfg.decode.max_detections,
    ),
    out,
    pages_per_split=flags.pages,
    sheet_pages=flags.sheet,
    keep_going=flags.keep_going,
    workers=flags.workers,
    log=print,
  )
  print(findings.summary(checked))
  print(findings.clean(f"Look at {out / 'index.html'}"))
  return 1 if any(f.level == "error" for f in checked.findings) else 0


def main(argv: list[str]) -> int:
  """Runs the check and returns the exit code."""
  flags = _parser().parse_args(argv)
  return cli.run(lambda: _check(flags), flags.out or flags.dataset)


if __name__ == "__main__":
  cli.start(main)
