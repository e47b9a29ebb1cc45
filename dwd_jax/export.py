"""Writes a trained detector for other programs: python -m dwd_jax.export."""

import argparse
import pathlib

from dwd_jax.core import cli
from dwd_jax.core.errors import InputError

_DESCRIPTION = """Write a trained detector for other programs.

safetensors: one file that --checkpoint of all programs here takes.
stablehlo: network and decode, for users who have nothing but jax.
onnx: the network, with a decode in NumPy, for users of onnxruntime.

DIR also gets the scripts that run the detector, and a README."""


def _parser() -> argparse.ArgumentParser:
  parser = cli.parser("dwd_jax.export", _DESCRIPTION, "--out=DIR [options]")
  cli.add_checkpoint(parser)
  add = parser.add_argument
  add(
    "--out",
    required=True,
    metavar="DIR",
    help="folder of the files; safetensors: or FILE.safetensors",
  )
  add(
    "--format",
    default="safetensors",
    choices=("safetensors", "stablehlo", "onnx"),
    metavar="FORMAT",
    help="safetensors (default), stablehlo or onnx",
  )
  for side in ("height", "width"):
    text = f"stablehlo: {side} of the largest page, px"
    add(f"--{side}", type=int, metavar="N", help=text)
  return parser


def _run(flags: argparse.Namespace) -> int:
  sizes = (flags.height, flags.width)
  if flags.format != "stablehlo" and sizes != (None, None):
    raise InputError(
      "--height, --width: for --format=stablehlo only; the others take any size"
    )
  # Imported late: it takes seconds, which --help should not wait for.
  from dwd_jax.apps.export import export_files

  height, width = (
    default if side is None else side
    for side, default in zip(sizes, export_files.MOST_HW, strict=True)
  )
  out, most_hw = pathlib.Path(flags.out), (height, width)
  print(export_files.export(flags.checkpoint, out, flags.format, most_hw))
  return 0


def main(argv: list[str]) -> int:
  """Runs the program; returns the exit code."""
  flags = _parser().parse_args(argv)
  return cli.run(lambda: _run(flags), flags.out)


if __name__ == "__main__":
  cli.start(main)
