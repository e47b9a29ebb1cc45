"""Checks a data set: python -m dwd_jax.check DATASET [--out=...] ...

Flags and printing only; see `dwd_jax.check.check_data_set`.
"""

import argparse
import pathlib
from typing import Any

from dwd_jax.core import cli
from dwd_jax.core.errors import InputError, one_line
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
  add(
    "--config",
    default="",
    metavar="FILE",
    help="of the training, with --config.KEY=VALUE; default: proposed",
  )
  for flag, kind, default, text in (
    ("--scale", float, None, "of pages; default: as the config says"),
    ("--crop", int, None, "crop side, px; default: as the config says"),
    ("--min-px", float, 3.0, "smallest side of an object; default: {:g}"),
    ("--max-boxes", int, None, "of a crop; default: as the config says"),
    ("--pages", int, 12, "pages drawn with boxes, per split; default: {}"),
    ("--sheet", int, 24, "pages of a contact sheet; default: {}"),
    ("--workers", int, 0, "threads; 0 = one for each core"),
  ):
    add(
      flag,
      type=kind,
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


def _check(flags: argparse.Namespace, overrides: list[str]) -> int:
  cfg: Any = settings.default()
  for flag in ("scale", "crop", "min_px", "max_boxes", "sheet", "pages"):
    least = 0 if flag in ("pages", "min_px") else 1e-3
    value = getattr(flags, flag)
    if value is not None and not least <= value < 1e6:
      raise InputError(f"--{flag.replace('_', '-')}: {value} is out of range")
  for text in flags.option:
    settings.parse_option(text, cfg.data.options)
  # Imported here: --help should not wait for them.
  from dwd_jax.check import check_data_set, findings, page_sets, proposal

  given = proposal.Given(
    file=flags.config,
    overrides=tuple(overrides),
    scale=flags.scale,
    crop_px=flags.crop,
    max_boxes=flags.max_boxes,
    min_px=flags.min_px,
  )
  if given.file or given.overrides:
    proposal.load(given)  # a mistake in it shows at once
  page_set = page_sets.open_set(
    flags.dataset,
    builder=flags.builder,
    config=flags.builder_config,
    options=cfg.data.options,
  )
  print(one_line(f"Reading {page_set.origin}"), flush=True)
  name = pathlib.Path(flags.dataset).absolute().name
  out = pathlib.Path(flags.out or f"{name or page_set.name}_check")
  checked = check_data_set.check(
    page_set,
    given,
    out,
    pages_per_split=flags.pages,
    sheet_pages=flags.sheet,
    keep_going=flags.keep_going,
    workers=flags.workers,
    log=print,
  )
  print(findings.summary(checked))
  print(one_line(f"Look at {out / 'index.html'}"))
  return 1 if any(f.level == "error" for f in checked.findings) else 0


def main(argv: list[str]) -> int:
  """Runs the check and returns the exit code."""
  parser = _parser()
  flags, rest = parser.parse_known_args(argv)
  others = [text for text in rest if not text.startswith("--config.")]
  if others:
    parser.error(f"unrecognized arguments: {' '.join(others)}")
  overrides = [text.removeprefix("--config.") for text in rest]
  return cli.run(lambda: _check(flags, overrides), flags.out or flags.dataset)


if __name__ == "__main__":
  cli.start(main)
