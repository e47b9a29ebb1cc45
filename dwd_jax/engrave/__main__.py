"""`python -m dwd_jax.engrave`: flags of the page generator."""

import argparse
import sys
import textwrap
import time

from dwd_jax.core import cli
from dwd_jax.core.errors import InputError
from dwd_jax.engrave import dataset
from dwd_jax.engrave.rarities import CHOICES, RATES


def _parser() -> argparse.ArgumentParser:
  parser = cli.parser(
    "dwd_jax.engrave",
    "Generate labelled pages in the folder layout of DeepScores.",
  )
  parser.epilog = _known_weights()
  add = parser.add_argument
  add("--out", required=True, help="a new folder")
  add("--pages", type=int, required=True, help="how many pages")
  add("--seed", type=int, default=0, help="same seed, same pages")
  add(
    "--font",
    default=",".join(dataset.DEFAULT_FONTS),
    help=f"music fonts, of {','.join(dataset.ALL_FONTS)}",
  )
  add(
    "--vocabulary",
    default="deepscores_v1",
    help="names of the classes: deepscores_v1 or deepscores_v2",
  )
  add("--workers", type=int, default=0, help="processes; 0 = one per core")
  add("--input", default="", help="folder of MusicXML, MEI or kern files")
  add("--width", type=int, default=1050, help="width of a page, px")
  add("--height", type=int, default=1485, help="height of a page, px")
  add("--staff-space", type=float, default=9.0, help="of staff lines, px")
  add("--jitter", type=float, default=0.05, help="variation of staff spaces")
  add("--pixel-labels", action="store_true", help="also write label images")
  add("--handwriting", type=float, default=0.0, help="strength, 0 to 3")
  add("--degrade", default="", help="scan or photo; default: clean pages")
  add("--strength", type=float, default=1.0, help="of --degrade, 0 to 2")
  add("--splits", default="", help="shares, as train=80,val=8,test=12")
  add("--weights", default="", help="NAME=VALUE,...; names below")
  return parser


def _known_weights() -> str:
  """The names that --weights takes, and their defaults."""
  tables = {"probabilities": RATES} | {
    f"choices of {group}": items for group, items in CHOICES.items()
  }
  lines = ["weights (choices are relative to each other):"]
  for title, items in tables.items():
    text = ", ".join(f"{name}={value:g}" for name, value in items.items())
    lines += textwrap.wrap(
      f"{title}: {text}",
      initial_indent="  ",
      subsequent_indent="    ",
      break_long_words=False,
      break_on_hyphens=False,
    )
  return "\n".join(lines)


def _pairs(flag: str, text: str) -> dict[str, float]:
  """NAME=VALUE,... as a dictionary."""
  found = {}
  for part in text.split(",") if text else []:
    name, _, value = part.partition("=")
    try:
      found[name.strip()] = float(value)
    except ValueError:
      raise InputError(f"--{flag}: {part!r} is not NAME=NUMBER") from None
  return found


def main(argv: list[str]) -> int:
  """Runs the generator; returns the exit code."""
  flags = _parser().parse_args(argv)
  return cli.run(lambda: _generate(flags), flags.out)


def _generate(flags: argparse.Namespace) -> int:
  start = time.monotonic()
  summary = dataset.generate(
    flags.out,
    flags.pages,
    flags.seed,
    fonts=[f for f in flags.font.split(",") if f],
    vocabulary=flags.vocabulary,
    workers=flags.workers,
    width=flags.width,
    height=flags.height,
    staff_space=flags.staff_space,
    jitter=flags.jitter,
    shares=_pairs("splits", flags.splits) or None,
    weights=_pairs("weights", flags.weights),
    input_folder=flags.input,
    pixel_labels=flags.pixel_labels,
    handwriting=flags.handwriting,
    degrade=flags.degrade,
    strength=flags.strength,
    progress=dataset.print_progress,
  )
  seconds = time.monotonic() - start
  classes = sum(count > 0 for count in summary.objects.values())
  print(
    f"{summary.pages} pages of {summary.scores} scores "
    f"({', '.join(f'{k} {v}' for k, v in summary.splits.items())}), "
    f"{sum(summary.objects.values())} objects of {classes} classes, "
    f"{seconds:.1f} s ({summary.pages / seconds:.1f} pages/s): {flags.out}"
  )
  if summary.lost:
    print(f"{summary.lost} symbols have no box: they left their page")
  for split, count in summary.splits.items():
    if not count:
      cli.say(f"no pages for {split}")
  for score, reason in summary.skipped:
    cli.say(f"skipped {score}: {reason}")
  return 0


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))
