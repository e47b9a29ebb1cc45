"""Finds symbols on pages: python -m dwd_jax.detect INPUT... --out=DIR.

The module is also a function:

```python
found = dwd_jax.detect("page.png")  # or an array, or a PIL image
for found in dwd_jax.detect.pages("score.pdf"):
  print(found)
```

See `dwd_jax.apps.detect.api`.
"""

import argparse
import dataclasses
import pathlib
import sys
import types
from collections.abc import Sequence
from typing import Any

from dwd_jax.cluster import huge_pages
from dwd_jax.core import cli, vocabulary, words
from dwd_jax.core.errors import InputError

_DESCRIPTION = """Find symbols on pages of music.

INPUT is an image (PNG, JPEG, TIFF, BMP), a PDF or a folder of them. DIR gets,
for each page, NAME.json and NAME-overlay.png, and for all: index.html (open it
in a browser), predictions.json (COCO), detections.csv and mung/NAME.xml. Start
the same command again after an interruption, and it goes on. Exit code: 0, 1
where some pages failed, 2 where nothing could be done.

What follows a lone -- goes to Apache Beam, whose engine then does the work:
  python -m dwd_jax.detect INPUT --out=DIR -- --runner=DaskRunner \\
    --dask_client_address=tcp://HOST:8786"""


def _parser() -> argparse.ArgumentParser:
  parser = cli.parser(
    "dwd_jax.detect", _DESCRIPTION, "INPUT... --out=DIR [options]"
  )
  cli.add_checkpoint(parser)
  add = parser.add_argument
  add("inputs", nargs="+", metavar="INPUT", help="image, PDF or folder")
  add("--out", required=True, metavar="DIR", help="folder of the results")
  add(
    "--min-score",
    type=float,
    metavar="P",
    help="leave out scores below P, 0..1; default: the best F1",
  )
  add(
    "--classes",
    default="",
    metavar="NAME,...",
    help="find only these; default: all",
  )
  add(
    "--names",
    default="",
    metavar="LIST",
    help="vocabulary of the class names, as muscima_v2 or smufl",
  )
  add(
    "--format",
    default="",
    metavar="NAME,...",
    help="write these, too: dota (labelTxt/NAME.txt), obb_anns",
  )
  add(
    "--annotations",
    default="",
    metavar="FILE",
    help="for obb_anns: JSON of DeepScoresV2, whose numbers are used",
  )
  add(
    "--dpi",
    type=float,
    default=0.0,
    metavar="N",
    help="resolution of PDF pages; default: by the size of their staves",
  )
  add(
    "--without-staves",
    action="store_true",
    help="look for music on pages without staves, too",
  )
  add(
    "--batch-size",
    type=int,
    default=1,
    metavar="N",
    help="pages of one size per call; default: 1",
  )
  add(
    "--shard",
    default="",
    metavar="I/N",
    help="do only part I of N, from 0: other processes do the others",
  )
  add(
    "--merge",
    action="store_true",
    help="write the files of all pages, from what the shards have written",
  )
  add(
    "--retries",
    type=int,
    default=1,
    metavar="N",
    help="how often to try a page again where storage fails; default: 1",
  )
  add(
    "--overwrite",
    action="store_true",
    help="first remove results of other settings from DIR",
  )
  add(
    "--compilation-cache",
    metavar="DIR",
    help="keeps compiled code, '' = off; default: ~/.cache/dwd_jax/compiled",
  )
  return parser


def _run(flags: argparse.Namespace, beam_args: list[str] | None) -> int:
  # Imported late: it takes seconds, which --help should not wait for.
  from dwd_jax.apps.detect import detect_files, formats, shards
  from dwd_jax.models import compiling

  if not 0 <= (flags.min_score or 0.0) <= 1:
    raise InputError(f"--min-score: {flags.min_score:g} is not 0 to 1")
  if not 0 <= flags.dpi <= 2400:
    raise InputError(f"--dpi: {flags.dpi:g}; use up to 2400, or 0")
  if not 1 <= flags.batch_size <= 1024:
    raise InputError(f"--batch-size: {flags.batch_size}; use 1 to 1024")
  if not 0 <= flags.retries <= 100:
    raise InputError(f"--retries: {flags.retries}; use 0 to 100")
  wanted = cli.names(flags.format)
  for name in wanted:
    if name not in formats.OPTIONAL:
      raise InputError(
        f"--format: {name!r} is unknown; use {', '.join(formats.OPTIONAL)}"
      )
  if ("obb_anns" in wanted) != bool(flags.annotations):
    raise InputError(
      "--format=obb_anns, --annotations: give both; FILE is the JSON file of"
      " DeepScoresV2 that its evaluation reads"
    )
  shard = shards.parse(flags.shard) if flags.shard else None
  if shard is not None and flags.merge:
    raise InputError("--merge, --shard: give one of them; --merge comes last")
  if beam_args is not None and (flags.merge or shard is not None):
    raise InputError(
      "--: the engine divides the pages; leave out --shard, --merge"
    )
  if flags.overwrite and (flags.merge or shard is not None):
    raise InputError(
      "--overwrite: would remove what other shards write; remove the folder"
      " before they start, or choose another --out"
    )
  compiling.keep_chosen(flags.compilation_cache)
  out = pathlib.Path(flags.out)
  settings = detect_files.DetectSettings(
    checkpoint=flags.checkpoint,
    min_score=flags.min_score,
    classes=cli.names(flags.classes),
    dpi=flags.dpi,
    batch_size=flags.batch_size,
    overwrite=flags.overwrite,
    without_staves=flags.without_staves,
    retries=flags.retries,
    formats=wanted,
    annotations=flags.annotations,
    names=flags.names,
  )
  paths = [pathlib.Path(i) for i in flags.inputs]
  if flags.merge:
    done = detect_files.merge(paths, out, settings)
  elif beam_args is not None:
    done = _run_on_engine(paths, out, settings, flags, beam_args)
  else:
    done = detect_files.run(paths, out, settings, shard)
  return _report(done, out, shard, flags.names)


def _run_on_engine(
  paths: Sequence[pathlib.Path],
  out: pathlib.Path,
  settings: Any,
  flags: argparse.Namespace,
  beam_args: list[str],
) -> Any:
  """Detects on workers, whose current folders are others."""
  from dwd_jax.apps.detect import detect_beam, detect_files
  from dwd_jax.cluster import beam_engine

  engine = detect_beam.Engine(
    beam_engine.options(beam_args), flags.compilation_cache
  )
  if settings.checkpoint:
    checkpoint = str(pathlib.Path(settings.checkpoint).absolute())
    settings = dataclasses.replace(settings, checkpoint=checkpoint)
  paths = [path.absolute() for path in paths]
  return detect_files.run(
    paths, out.absolute(), settings, log=None, work=engine
  )


def _report(done: Any, out: pathlib.Path, shard: Any, names: str) -> int:
  """Says what a run has done, a `Summary`; returns the exit code."""
  for failure in done.failed:
    cli.say(failure.reason)
  if shard is not None and not done.pages and not done.failed:
    print(f"no {done.words.image} falls to shard {shard}")
    return 0
  if not done.pages:
    cli.say("nothing could be read; name images, PDFs or folders of them")
    return 2
  kept = f" ({done.skipped} done before)" if done.skipped else ""
  failed = f", {len(done.failed)} failed" if done.failed else ""
  if done.missing:
    cli.say(
      f"no results yet: {_some(done.missing, done.words)}; start their shards"
      " again, then --merge"
    )
  if done.turned:
    cli.say(f"turned to stand upright: {_some(done.turned, done.words)}")
  if done.without_staves:
    cli.say(
      "nothing looked for, as no staff was found:"
      f" {_some(done.without_staves, done.words)}; --without-staves insists"
    )
  if done.left_out:
    cli.say(vocabulary.describe_left_out(done.left_out, names))
  then = f"look at {out / 'index.html'}"
  if shard is not None:
    then = f"that was shard {shard}; --merge joins all"
  found = f"{done.words.count(done.symbols)} on"
  found += f" {done.words.count(done.pages, 'images')}"
  print(f"{found}{kept}{failed}; {then}")
  return 1 if done.failed or done.missing else 0


def _some(pages: Sequence[str], said: words.Words) -> str:
  """The number of pages, and the names of the first."""
  more = ", ..." if len(pages) > 3 else ""
  return f"{said.count(len(pages), 'images')} ({', '.join(pages[:3])}{more})"


def main(argv: list[str]) -> int:
  """Runs the program; returns the exit code."""
  argv, beam_args = cli.split(argv)
  flags = _parser().parse_args(argv)
  with cli.ending_on_sigterm():
    return cli.run(lambda: _run(flags, beam_args), flags.out)


def __getattr__(name: str) -> Any:
  """Imports `pages` on first use, since that takes seconds."""
  if name != "pages":
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
  from dwd_jax.apps.detect import api

  return api.pages


class _Callable(types.ModuleType):
  """`dwd_jax.detect` as a module and as a function."""

  def __call__(self, *args, **kwargs):
    from dwd_jax.apps.detect import api

    return api.detect(*args, **kwargs)


sys.modules[__name__].__class__ = _Callable

if __name__ == "__main__":
  huge_pages.restart()
  cli.start(main)
