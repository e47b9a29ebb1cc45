"""Writes a data set of generated pages."""

import dataclasses
import os
import pathlib
import random
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

import verovio

from dwd_jax.core.errors import InputError
from dwd_jax.engrave import (
  deepscores_folder,
  font_files,
  music_files,
  pool,
  smufl_classes,
  text_fonts,
  verovio_fonts,
)
from dwd_jax.engrave import hands as hands_lib
from dwd_jax.engrave.deepscores_folder import Splitter
from dwd_jax.engrave.engraver import EngraveTask
from dwd_jax.engrave.handwriting import MAX_STRENGTH
from dwd_jax.engrave.pool import Outcome
from dwd_jax.engrave.print_look import MAX_VARIATION
from dwd_jax.engrave.rarities import Rarities
from dwd_jax.imaging import degrade as degradations

ALL_FONTS = verovio_fonts.NAMES
DEFAULT_FONTS = ("Leipzig", "Bravura", "Leland", "Gootville")
_MAX_FAILURES = 20  # random scores that may fail before the first page


@dataclasses.dataclass(frozen=True)
class Summary:
  """What `generate` wrote.

  Attributes:
    objects: objects per class of the vocabulary, zeros included.
    skipped: (score, reason) of failed scores.
    lost: symbols that a degradation moved off their page; not in `objects`.
  """

  pages: int
  scores: int
  splits: dict[str, int]
  objects: dict[str, int]
  skipped: list[tuple[str, str]]
  lost: int = 0


def generate(
  out: str | os.PathLike,
  pages: int,
  seed: int = 0,
  *,
  fonts: str | Sequence[str | os.PathLike] = DEFAULT_FONTS,
  vocabulary: str = "deepscores_v1",
  workers: int = 0,
  width: int = 1050,
  height: int = 1485,
  staff_space: float = 9.0,
  jitter: float = 0.05,
  variation: float = 1.0,
  shares: Mapping[str, float] | None = None,
  weights: Mapping[str, float] | None = None,
  scores: str | os.PathLike = "",
  pixel_labels: bool = False,
  handwriting: float = 0.0,
  hands: str | os.PathLike = "",
  degrade: str = "",
  strength: float = 1.0,
  progress: Callable[[int, int], None] | None = None,
) -> Summary:
  """Generates labelled pages in the folder layout of DeepScores.

  Args:
    seed: equal seeds and versions give equal bytes, whatever `workers`.
    fonts: names of verovio's music fonts, and folders with others (SMuFL
      fonts, LilyPond's), also as a text with commas; one design is drawn for
      each score.
    vocabulary: of the classes, `deepscores_v1`, `deepscores_v2`, `printed`;
      with `hands` `muscima_v2`.
    workers: processes; 0 = one per core.
    width: of a page, px.
    height: of a page, px.
    staff_space: mean distance of two staff lines, px.
    jitter: relative range of the staff space from score to score.
    variation: of the sizes of symbols and the thickness of lines from score to
      score, 0..1: 0 = those of the font, 1 = as print varies.
    shares: of the pages by split; default 80 / 8 / 12 %. Splits are by score.
    weights: changes to `rarities.RATES` and `rarities.CHOICES`.
    scores: a folder of MusicXML, MEI or kern files. The weight `from_file` is
      the share of scores from them, each time another excerpt; the others are
      random.
    pixel_labels: also write label images, as DeepScores does in
      pix_annotations_png; takes a quarter more time.
    handwriting: strength of the unsteady hand that draws everything, 0..3,
      1 = a tidy one, 0 = engraved. The font Petaluma suits it.
    hands: a file of `tfds_builders.muscima_pp.muscima_pp_hands`, with symbols
      cut from handwriting: each page is drawn by one of its writers; "" = none.
    degrade: `scan` or `photo` (in colour) for pages as these show them, with
      boxes and label images moved alike; "" = clean pages.
    strength: of the degradation, 0..2, 1 = as real scans and photos.
    progress: called with (pages done, pages wanted).

  Returns:
    A summary, also written to `out`/engraved.json with each page's distance of
    two staff lines, and the fonts that its texts may be set in: those found on
    this machine, on which the bytes depend, too.

  Raises:
    InputError: an argument is out of range, `out` is not empty, or no file can
      be engraved.
  """
  task = EngraveTask(
    seed=seed,
    fonts=tuple(_fonts(fonts)),
    width=width,
    height=height,
    staff_space=staff_space,
    jitter=jitter,
    variation=float(variation),
    vocabulary=vocabulary,
    weights=dict(weights or {}),
    pixel_labels=bool(pixel_labels),
    handwriting=float(handwriting),
    hands=str(pathlib.Path(hands).expanduser().absolute()) if hands else "",
    degrade=degrade,
    strength=float(strength),
  )
  _check(pages, workers, task)
  files = _music_files(pathlib.Path(scores).expanduser()) if scores else []
  paths = [pathlib.Path(font).expanduser() for font in _names(fonts)]
  folders = [path for path in paths if path.is_dir()]
  task = dataclasses.replace(
    task, text_fonts=tuple(map(tuple, text_fonts.find(folders)))
  )
  writer = _Writer(pages, Splitter(shares), progress)
  with deepscores_folder.new_folder(pathlib.Path(out)) as folder:
    for outcome in pool.run(
      writer.tasks(task, files), workers or os.cpu_count() or 1
    ):
      writer.take(outcome, folder)
    return writer.finish(folder, task)


class _Writer:
  """Takes outcomes in any order and writes them in the order of the scores."""

  def __init__(
    self,
    wanted: int,
    splitter: Splitter,
    progress: Callable[[int, int], None] | None,
  ):
    self.wanted = wanted
    self.splitter = splitter
    self.progress = progress
    self.waiting: dict[int, Outcome] = {}
    self.next = 0
    self.pages = 0
    self.scores: set[str] = set()
    self.objects: Counter[str] = Counter()
    self.staff_spaces: dict[str, float | None] = {}
    self.skipped: dict[str, str] = {}
    self.lost = 0

  def tasks(
    self, first: EngraveTask, files: list[pathlib.Path]
  ) -> Iterator[EngraveTask]:
    """Yields scores until there are enough pages."""
    share = Rarities(first.weights).rates["from_file"] if files else 0.0
    order = random.Random(f"{first.seed}/files").sample(files, len(files))
    index = taken = 0
    while self.pages + self._ready() < self.wanted:
      path, stem = "", f"engraved-{first.seed}-{index:05d}"
      if random.Random(f"{first.seed}/{index}/source").random() < share:
        failed = taken >= len(order) and len(self.skipped) == len(order)
        if failed and share >= 1:
          return
        file = order[taken % len(order)]
        path, stem = str(file), f"{_plain(file.stem)}-{index:05d}"
        taken += 1
      yield dataclasses.replace(first, index=index, path=path, stem=stem)
      index += 1

  def _ready(self) -> int:
    return sum(len(o.pages) for o in self.waiting.values())

  def take(self, outcome: Outcome, folder: pathlib.Path) -> None:
    """Keeps an outcome, and writes those that are next in order."""
    self.waiting[outcome.task.index] = outcome
    while self.next in self.waiting:
      outcome = self.waiting.pop(self.next)
      self.next += 1
      score = outcome.task.path or outcome.task.stem
      if outcome.error:
        self.skipped[score] = outcome.error
        if not self.pages and len(self.skipped) >= _MAX_FAILURES:
          self.check()
      pages = outcome.pages[: self.wanted - self.pages]
      if not pages:
        continue
      for page in pages:
        deepscores_folder.write_page(
          folder, page.name, page.png, page.xml, page.labels
        )
        self.objects.update(page.counts)
        self.staff_spaces[page.name] = page.staff_space
        self.lost += page.lost
      self.splitter.add(score, [page.name for page in pages])
      self.scores.add(score)
      self.pages += len(pages)
      if self.progress:
        self.progress(self.pages, self.wanted)

  def check(self) -> None:
    """Raises if no score could be engraved."""
    if not self.pages:
      name, reason = next(iter(self.skipped.items()))
      raise InputError(
        f"none of {len(self.skipped)} scores could be engraved; "
        f"{name}: {reason}"
      )

  def finish(self, folder: pathlib.Path, task: EngraveTask) -> Summary:
    """Writes the lists and summarises."""
    self.check()
    words = smufl_classes.get(task.vocabulary)
    summary = Summary(
      pages=self.pages,
      scores=len(self.scores),
      splits={k: len(v) for k, v in self.splitter.pages.items()},
      objects={name: self.objects[name] for name in words.names},
      skipped=list(self.skipped.items()),
      lost=self.lost,
    )
    origin = {"seed": task.seed, "verovio": verovio.toolkit(False).getVersion()}
    if task.degrade:
      origin |= {"degrade": task.degrade, "strength": task.strength}
    if task.handwriting:
      origin |= {"handwriting": task.handwriting}
    if task.hands:
      origin |= {"derived_from": hands_lib.load(task.hands).source}
    notes = {
      **origin,
      **dataclasses.asdict(summary),
      "staff_spaces_px": self.staff_spaces,
      "text_fonts": text_fonts.file_names(task.text_fonts),
    }
    deepscores_folder.write_lists(folder, self.splitter.pages, words, notes)
    return summary


def _check(pages: int, workers: int, task: EngraveTask) -> None:
  """Raises `InputError` for arguments out of range."""
  if pages < 1:
    raise InputError(f"pages={pages} must be at least 1")
  if workers < 0:
    raise InputError(f"workers={workers} must be 0 (one per core) or more")
  Rarities(task.weights)
  _check_hands(task)
  if not 0 <= task.handwriting <= MAX_STRENGTH:
    raise InputError(
      f"handwriting={task.handwriting} must be 0 to {MAX_STRENGTH:g}"
    )
  if task.degrade:
    degradations.check(task.degrade, task.strength)
  if not 0 <= task.variation <= MAX_VARIATION:
    raise InputError(
      f"variation={task.variation} must be 0 to {MAX_VARIATION:g}"
    )
  staff_space = task.staff_space
  if not 4 <= staff_space <= 60:
    raise InputError(f"staff_space={staff_space} must be 4 to 60 px")
  if not 0 <= task.jitter <= 0.5:
    raise InputError(f"jitter={task.jitter} must be 0 to 0.5")
  for name, size in (("width", task.width), ("height", task.height)):
    if not 40 * staff_space <= size <= 20000:
      raise InputError(
        f"{name}={size} must be 40 staff spaces ({40 * staff_space:g} px) to "
        "20000 px"
      )


def _check_hands(task: EngraveTask) -> None:
  """Raises `InputError` for hands that cannot draw, or names they lack."""
  by_hand = bool(smufl_classes.get(task.vocabulary).layout)
  if by_hand != bool(task.hands):
    raise InputError(
      f"vocabulary {task.vocabulary}: pages drawn from hands have muscima_v2,"
      " and only they; give both hands and vocabulary=muscima_v2, or neither"
    )
  if not task.hands:
    return
  if task.pixel_labels or task.handwriting:
    raise InputError(
      "hands: not together with pixel_labels or handwriting; leave these out"
    )
  hands_lib.load(task.hands)


def _names(fonts: str | Sequence[str | os.PathLike]) -> list[str]:
  """Fonts and folders as a list, without empty names."""
  found = fonts.split(",") if isinstance(fonts, str) else fonts
  return [name for font in found if (name := os.fspath(font).strip())]


def _fonts(fonts: str | Sequence[str | os.PathLike]) -> Iterator[str]:
  """Names of verovio's fonts, and the files in folders of others."""
  for font in _names(fonts) or ["(none)"]:
    if font in ALL_FONTS:
      yield font
    elif (folder := pathlib.Path(font).expanduser()).is_dir():
      yield from font_files.find(folder.absolute())
    else:
      raise InputError(
        f"font {font} is unknown, and no folder of fonts; verovio has "
        f"{', '.join(ALL_FONTS)}"
      )


def _plain(stem: str) -> str:
  """A file name made fit for page names."""
  return re.sub(r"[^A-Za-z0-9_.-]+", "_", stem)[:60].strip(".")


def _music_files(folder: pathlib.Path) -> list[pathlib.Path]:
  """Music files in the folder and below, in a fixed order."""
  if not folder.is_dir():
    raise InputError(f"{folder}: no such folder; check --scores")
  files = sorted(
    p
    for p in folder.rglob("*")
    if p.suffix.lower() in music_files.EXTENSIONS and p.is_file()
  )
  if not files:
    raise InputError(
      f"scores: {folder} has no music files "
      f"({' '.join(sorted(music_files.EXTENSIONS))})"
    )
  return files


def print_progress(done: int, wanted: int) -> None:
  """Prints a moving line on a terminal, else a line per tenth of the pages."""
  if sys.stderr.isatty():
    print(f"\rpage {done} of {wanted}", end="", file=sys.stderr)
  elif done * 10 // wanted != (done - 1) * 10 // wanted:
    print(f"page {done} of {wanted}", file=sys.stderr)
