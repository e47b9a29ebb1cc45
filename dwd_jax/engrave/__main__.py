"""`python -m dwd_jax.engrave`: flags of the page generator."""

import argparse
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
    "--out=DIR --pages=N [options]",
    more=_known_weights,
  )
  fonts = ",".join(dataset.ALL_FONTS)
  for flag, default, metavar, text in (
    ("--out", None, "DIR", "a new folder"),
    ("--pages", 0, "N", "how many pages"),
    ("--seed", 0, "N", "same seed, same pages; default: 0"),
    ("--font", ",".join(dataset.DEFAULT_FONTS), "NAME,...", f"of {fonts}"),
    ("--fonts", "", "DIR", "and the music fonts in this folder, too"),
    ("--variation", 1.0, "N", "of sizes and lines, 0 to 1; default: 1"),
    (
      "--vocabulary",
      "deepscores_v1",
      "NAME",
      "or deepscores_v2, printed, muscima_v2",
    ),
    ("--workers", 0, "N", "processes; 0 = one per core"),
    ("--scores", "", "DIR", "MusicXML, MEI or kern files, for half the scores"),
    ("--width", 1050, "N", "of a page, px; default: 1050"),
    ("--height", 1485, "N", "of a page, px; default: 1485"),
    ("--staff-space", 9.0, "N", "between staff lines, px; default: 9"),
    ("--jitter", 0.05, "N", "variation of staff spaces; default: 0.05"),
    ("--handwriting", 0.0, "N", "drawn by hand, strength 0 to 3; default: 0"),
    ("--hands", "", "FILE", "drawn with symbols cut from handwriting"),
    ("--degrade", "", "KIND", "scan or photo; default: clean pages"),
    ("--strength", 1.0, "N", "of --degrade, 0 to 2; default: 1"),
    ("--splits", "", "NAME=N,...", "shares, as train=80,val=8,test=12"),
    ("--weights", "", "NAME=N,...", "of symbols; --helpfull lists them"),
  ):
    parser.add_argument(
      flag,
      default=default,
      type=type(default) if default is not None else str,
      required=flag in ("--out", "--pages"),
      metavar=metavar,
      help=text,
    )
  parser.add_argument(
    "--pixel-labels", action="store_true", help="also write label images"
  )
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
    fonts=[*flags.font.split(","), flags.fonts],
    variation=flags.variation,
    vocabulary=flags.vocabulary,
    workers=flags.workers,
    width=flags.width,
    height=flags.height,
    staff_space=flags.staff_space,
    jitter=flags.jitter,
    shares=_pairs("splits", flags.splits) or None,
    weights=_pairs("weights", flags.weights),
    scores=flags.scores,
    pixel_labels=flags.pixel_labels,
    handwriting=flags.handwriting,
    hands=flags.hands,
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
    print(f"{summary.lost} symbols have no box: off the page, or illegible")
  for split, count in summary.splits.items():
    if not count:
      cli.say(f"no pages for {split}")
  for score, reason in summary.skipped:
    cli.say(f"skipped {score}: {reason}")
  return 0


if __name__ == "__main__":
  cli.start(main)
