"""Pages of an engraver that the detector was never trained on.

  pip install 'dwd_jax[peers]'
  python -m benchmarks.other_engraver --scores=FOLDER --out=PAGES [--pages=60] \
  [--staff-space=9.5] [--vocabulary=deepscores_v1] [--lilypond=BIN]
  python -m benchmarks.other_engraver_scores PAGES

Engraves scores in MusicXML with LilyPond, in its own font, with boxes from the
outlines that are drawn, in the folder layout of DeepScores (all pages in the
split `train`, which readers want). --seed decides which scores, which of their
pages, staff sizes (which choose the design of the font) and text faces. Scores
that fail are skipped and named; engraved.json has them, the objects of each
class, and the glyphs without a class.

`--mode=eval` reads the folder, too (`eval.on`, split `train`).
"""

import argparse
import dataclasses
import functools
import json
import pathlib
import random
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

from benchmarks import lilypond_programs, lilypond_svg, lilypond_symbols
from dwd_jax.core.errors import InputError
from dwd_jax.engrave import corners, deepscores_folder, smufl_classes
from dwd_jax.engrave import verovio_svg as drawing
from dwd_jax.engrave.deepscores_folder import Annotated
from dwd_jax.engrave.smufl_classes import Vocabulary

_SUFFIXES = {".mxl", ".musicxml", ".xml"}
_STAFF_SIZES = (14.0, 16.0, 18.0, 20.0, 23.0, 26.0)  # points
_OF_SCORE = (1, 1, 2)  # pages, one of these
_MEASURES = 24  # whole notes from its beginning, for some two pages


@dataclasses.dataclass(frozen=True)
class Settings:
  """What `make` draws; sizes in px."""

  pages: int = 60
  seed: int = 0
  width: int = 1050
  height: int = 1485
  staff_space: float = 9.5
  jitter: float = 0.05
  vocabulary: str = "deepscores_v1"


class DrawnPage(NamedTuple):
  """A page: PNG, annotation, objects per class, distance of staff lines."""

  png: bytes
  xml: bytes
  counts: Counter[str]
  staff_space_px: float


def draw_page(
  svg: bytes,
  name: str,
  glyphs: dict[str, str],
  settings: Settings,
  staff_space: float,
  unnamed: Counter[str],
) -> DrawnPage | None:
  """Draws a page of LilyPond; None if it has no symbols.

  Args:
    name: of its file, without extension.
    glyphs: see `lilypond_svg.glyph_names`.
    staff_space: px.
    unnamed: see `lilypond_symbols.symbols`.
  """
  words = smufl_classes.get(settings.vocabulary)
  grobs, page = lilypond_svg.read(svg, glyphs)
  drawn = drawing.to_svg(page, settings.width, settings.height, staff_space)
  objects = list(
    _annotated(
      lilypond_symbols.symbols(grobs, words, unnamed),
      corners.Outlines(page),
      staff_space,
      (settings.height, settings.width),
    )
  )
  if not objects:
    return None
  xml = deepscores_folder.annotation_xml(
    f"{name}.png", (settings.height, settings.width), objects
  )
  counts = Counter(item.name for item in objects)
  png = drawing.to_png(drawing.render(drawn))
  return DrawnPage(png, xml, counts, staff_space)


def _annotated(
  found: list[lilypond_symbols.Symbol],
  shapes: corners.Outlines,
  px: float,
  hw: tuple[int, int],
) -> Iterator[Annotated]:
  """Symbols in pixels; none that have lost half of their area."""
  height, width = hw
  for item in found:
    x0, y0, x1, y1 = (v * px for v in item.bounds)
    box = max(y0, 0), max(x0, 0), min(y1, height), min(x1, width)
    area = max(box[2] - box[0], 0) * max(box[3] - box[1], 0)
    if area > 0.5 * (y1 - y0) * (x1 - x0):
      marks = [part.mark for part in item.parts]
      corners_yx = shapes.corners(marks, item.bounds)[:, ::-1] * px
      yield Annotated(
        item.name, box, corners_yx, position=item.position, onset=item.onset
      )


def make(
  scores: pathlib.Path,
  out: pathlib.Path,
  programs: pathlib.Path,
  settings: Settings,
) -> dict[str, Any]:
  """Writes a folder of pages; returns the content of its engraved.json.

  Raises:
    InputError: `scores` has no MusicXML, none can be engraved, or `out` is not
      empty.
  """
  files = sorted(p for p in scores.rglob("*") if p.suffix.lower() in _SUFFIXES)
  if not files:
    raise InputError(f"{scores}: no MusicXML; name a folder with .mxl files")
  words = smufl_classes.get(settings.vocabulary)
  glyphs = lilypond_svg.glyph_names(lilypond_programs.font_folder(programs))
  random.Random(settings.seed).shuffle(files)
  unnamed: Counter[str] = Counter()
  pages: dict[str, DrawnPage] = {}
  skipped: dict[str, str] = {}
  used: list[str] = []
  with deepscores_folder.new_folder(out) as folder:
    for path in files:
      if len(pages) >= settings.pages:
        break
      try:
        drawn = _pages_of(path, programs, glyphs, settings, unnamed)
      except ValueError as e:
        skipped[path.name] = f"{e}"
        print(f"{path.name} is skipped: {e}", file=sys.stderr)
        continue
      for name, page in drawn[: settings.pages - len(pages)]:
        deepscores_folder.write_page(folder, name, page.png, page.xml)
        pages[name] = page
      used.append(path.name)
      print(f"{len(pages)} pages of {len(used)} scores", file=sys.stderr)
    if not pages:
      raise InputError(f"{scores}: none can be engraved; {skipped}")
    summary = _summary(settings, words, pages, skipped, used, unnamed)
    splits = {"train": sorted(pages), "val": [], "test": []}
    deepscores_folder.write_lists(folder, splits, words, summary)
  return summary


def _pages_of(
  path: pathlib.Path,
  programs: pathlib.Path,
  glyphs: dict[str, str],
  settings: Settings,
  unnamed: Counter[str],
) -> list[tuple[str, DrawnPage]]:
  """Some pages of a score, with their names."""
  rng = random.Random(f"{settings.seed}/{path.name}")
  space = settings.staff_space
  space *= 1 + settings.jitter * rng.uniform(-1, 1)
  layout = lilypond_programs.Layout(
    settings.width / space,
    settings.height / space,
    staff_size=rng.choice(_STAFF_SIZES),
    face=rng.choice(sorted(lilypond_svg.FACES)),
    part=f"-dfirst=R1*{_MEASURES}",
  )
  svgs = lilypond_programs.engrave(path, layout, programs)
  count = min(len(svgs), rng.choice(_OF_SCORE))
  numbers = sorted(rng.sample(range(len(svgs)), count))
  found = []
  for number in numbers:
    name = f"{path.stem}-lilypond-page-{number + 1}"
    page = draw_page(
      svgs[number],
      name,
      glyphs,
      settings=settings,
      staff_space=space,
      unnamed=unnamed,
    )
    if page is not None:
      found.append((name, page))
  if not found:
    raise ValueError("no symbols on its pages")
  return found


def _summary(
  settings: Settings,
  words: Vocabulary,
  pages: dict[str, DrawnPage],
  skipped: dict[str, str],
  used: list[str],
  unnamed: Counter[str],
) -> dict[str, Any]:
  counts = sum((page.counts for page in pages.values()), Counter[str]())
  return {
    "engraver": "LilyPond",
    **dataclasses.asdict(settings),
    "pages": len(pages),
    "scores": used,
    "objects": {name: counts[name] for name in words.names},
    "skipped": skipped,
    "without_class": dict(unnamed.most_common()),
    "staff_spaces_px": {
      name: round(page.staff_space_px, 4) for name, page in pages.items()
    },
  }


def main(argv: list[str]) -> None:
  """Engraves a folder of pages; prints what engraved.json says."""
  parser = argparse.ArgumentParser(description="Pages of another engraver")
  add = functools.partial(parser.add_argument, type=pathlib.Path, required=True)
  add("--scores", help="a folder of MusicXML")
  add("--out", help="a new folder")
  parser.add_argument("--lilypond", default="", help="folder of its programs")
  defaults = dataclasses.asdict(Settings())
  for key, value in defaults.items():
    name = f"--{key.replace('_', '-')}"
    parser.add_argument(name, type=type(value), default=value, help=f"{value}")
  args = parser.parse_args(argv)
  settings = Settings(**{key: getattr(args, key) for key in defaults})
  programs = lilypond_programs.find(args.lilypond)
  summary = make(args.scores, args.out, programs, settings)
  print(json.dumps(summary, indent=1))


if __name__ == "__main__":
  main(sys.argv[1:])
