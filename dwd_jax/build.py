"""Builds records: python -m dwd_jax.build BUILDER --manual-dir=... ...

Flags only; see `dwd_jax.data.prepare`. A training does the same by itself.
"""

import argparse
from typing import Any

from dwd_jax.core import cli
from dwd_jax.core.errors import InputError

_DESCRIPTION = """Build the records of a data set from its original files.

What follows a lone -- goes to Apache Beam, which then reads the pages:
  python -m dwd_jax.build deepscores_v2 --manual-dir=DSv2 --data-dir=out \\
    -- --runner=DirectRunner --direct_num_workers=16"""


def _parser() -> argparse.ArgumentParser:
  parser = cli.parser(
    "dwd_jax.build",
    _DESCRIPTION,
    "BUILDER --manual-dir=DIR --data-dir=DIR [options]",
    more=_options,
  )
  add = parser.add_argument
  add(
    "builder",
    metavar="BUILDER",
    help="a folder of tfds_builders/, e.g. muscima_pp",
  )
  add(
    "--manual-dir",
    required=True,
    metavar="DIR",
    help="folder of the original files",
  )
  add("--data-dir", required=True, metavar="DIR", help="where the records go")
  add(
    "--builder-config",
    default="",
    metavar="NAME",
    help="edition of the data set; default: the builder's first",
  )
  add(
    "--option",
    action="append",
    default=[],
    metavar="NAME=VALUE",
    help="of the builder; --helpfull lists them",
  )
  add(
    "--workers",
    type=int,
    default=0,
    metavar="N",
    help="threads; 0 = one for each core",
  )
  return parser


def _options() -> str:
  from dwd_jax.train import settings  # late: --help should not wait for it

  return settings.options_help()


def main(argv: list[str]) -> int:
  """Builds; returns the exit code."""
  argv, beam_args = cli.split(argv)
  flags = _parser().parse_args(argv)
  return cli.run(lambda: _build(flags, beam_args), flags.data_dir)


def _build(flags: argparse.Namespace, beam_args: list[str] | None) -> int:
  from dwd_jax.train import settings  # late, too

  cfg: Any = settings.default().data
  cfg.builder = flags.builder
  cfg.builder_config = flags.builder_config
  cfg.manual_dir = flags.manual_dir
  cfg.data_dir = flags.data_dir
  if flags.workers < 0:
    raise InputError(f"--workers: {flags.workers} is below 0; use 0 or more")
  for text in flags.option:
    settings.parse_option(text, cfg.options)
  from dwd_jax.data import prepare

  prepare.prepare(cfg, ".", workers=flags.workers, beam_args=beam_args)
  return 0


if __name__ == "__main__":
  cli.start(main)
