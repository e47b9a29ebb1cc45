"""Compares detectors on one split: python -m dwd_jax.compare A B --out=DIR."""

import argparse
import pathlib

from dwd_jax.core import cli

_DESCRIPTION = """Compare detectors on the same pages.

A and B are evaluations, W/eval/SPLIT.json of two runs, of one split of one data
set. DIR gets index.html (totals, classes, where they differ), comparison.json,
and classes.tex, a table for LaTeX; of more than two evaluations the table
only."""


def _parser() -> argparse.ArgumentParser:
  parser = cli.parser(
    "dwd_jax.compare", _DESCRIPTION, "A B [...] [--out=DIR] [--names=A,B]"
  )
  add = parser.add_argument
  add("evaluations", nargs="+", metavar="A", help="W/eval/SPLIT.json of a run")
  add(
    "--out",
    default="comparison",
    metavar="DIR",
    help="folder of the files; default: %(default)s",
  )
  add(
    "--names",
    default="",
    metavar="A,B",
    help="of the detectors; default: those of the runs' folders",
  )
  return parser


def _run(flags: argparse.Namespace) -> int:
  # Imported late: --help should not wait for it.
  from dwd_jax.evaluate.compare import compare_files

  compare_files.write(
    flags.evaluations, pathlib.Path(flags.out), cli.names(flags.names)
  )
  return 0


def main(argv: list[str]) -> int:
  """Runs the program; returns the exit code."""
  flags = _parser().parse_args(argv)
  return cli.run(lambda: _run(flags), flags.out)


if __name__ == "__main__":
  cli.start(main)
