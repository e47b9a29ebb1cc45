"""Detects on files and folders, and writes the results of `dwd_jax.detect`."""

import dataclasses
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from dwd_jax.apps.detect import formats, inputs, manifest, outputs
from dwd_jax.apps.detect.inputs import Failure, Source
from dwd_jax.checkpoints import weights
from dwd_jax.core.errors import InputError
from dwd_jax.core.structs import PageImage
from dwd_jax.predict import packaged, predict_pages
from dwd_jax.predict.detector import Detector
from dwd_jax.predict.page_detections import PageDetections
from dwd_jax.show import progress


@dataclasses.dataclass(frozen=True)
class DetectSettings:
  """Settings of a run; see the flags of `dwd_jax.detect`.

  Attributes:
    checkpoint: see `packaged.weights_of`.
    min_score: None = the threshold of the weights.
    classes: names of the classes to keep; none = all.
    dpi: of PDF pages; 0 = from the staff space.
    batch_size: pages of one size per call.
    overwrite: remove results of other settings from the folder.
    without_staves: look for symbols on pages without staves, too.
  """

  checkpoint: str = ""
  min_score: float | None = None
  classes: tuple[str, ...] = ()
  dpi: float = 0.0
  batch_size: int = 1
  overwrite: bool = False
  without_staves: bool = False


@dataclasses.dataclass(frozen=True)
class Summary:
  """Counts of a run.

  Attributes:
    pages: with results, of this run and earlier ones.
    skipped: of these, pages done by an earlier run.
    symbols: found on them.
    failed: files and pages without results.
    turned: names of the pages that were turned.
    without_staves: names of the pages on which nothing was looked for.
  """

  pages: int
  skipped: int
  symbols: int
  failed: tuple[Failure, ...]
  turned: tuple[str, ...] = ()
  without_staves: tuple[str, ...] = ()


def run(
  paths: Sequence[pathlib.Path],
  out: pathlib.Path,
  settings: DetectSettings,
  log: Callable[[str], None] = print,
) -> Summary:
  """Detects on all pages of files and folders.

  A page that cannot be read is noted, and the others are processed. Results of
  an earlier run with the same settings are kept, unless their file has changed.

  Raises:
    InputError: wrong settings, damaged weights, or a folder with other content.
  """
  trained = packaged.weights_of(settings.checkpoint)
  detector = Detector(
    trained,
    min_score=settings.min_score,
    classes=settings.classes,
    batch_size=settings.batch_size,
    without_staves=settings.without_staves,
  )
  facts = _facts(settings, detector)
  if settings.overwrite:
    outputs.remove(out)
  outputs.check_folder(out, facts)
  sources, failures = inputs.find(paths, outputs.taken())
  digest = manifest.digest(facts)
  job = _Job(detector, out, settings, digest, sources, failures)
  if sources:
    outputs.claim(out, facts, sources)
    job.detect(log)
    done = [source for source in sources if source.name in job.counts]
    if done:
      failed = [failure._asdict() for failure in job.failures]
      outputs.write_run(out, done, trained.class_names, facts, failed)
  return Summary(
    pages=len(job.counts),
    skipped=job.skipped,
    symbols=sum(job.counts.values()),
    failed=tuple(job.failures),
    turned=tuple(job.turned),
    without_staves=tuple(job.without_staves),
  )


@dataclasses.dataclass
class _Job:
  """Detects on the pages of a run."""

  detector: Detector
  out: pathlib.Path
  settings: DetectSettings
  digest: str  # of settings and detector
  sources: list[Source]
  failures: list[Failure]
  skipped: int = 0
  counts: dict[str, int] = dataclasses.field(default_factory=dict)  # symbols
  dpi: dict[str, float] = dataclasses.field(default_factory=dict)
  turned: list[str] = dataclasses.field(default_factory=list)
  without_staves: list[str] = dataclasses.field(default_factory=list)

  def detect(self, log: Callable[[str], None]) -> None:
    """Detects on every page without results, and writes its files."""
    todo = []
    names = self.detector.weights.class_names
    for source in self.sources:
      found = formats.read_page(self.out, source, names, self.digest)
      if found is None:
        todo.append(source)
      else:
        self._count(found)
        self.skipped += 1
    of_name = {source.name: source for source in todo}
    shown = progress.show(todo, "detect", len(todo), log)
    for found, _ in self.detector.pages(self._read(shown), self._bad):
      assert found.ink is not None
      page = self.detector.page_image(found.page, found.ink)
      with predict_pages.without_too_large([page], self._bad):
        found = found.at_resolution(self.dpi[found.page])
        outputs.write_page(self.out, found, of_name[found.page], self.digest)
        self._count(found)

  def _count(self, found: PageDetections) -> None:
    self.counts[found.page] = len(found)
    if found.turned:
      self.turned.append(found.page)
    if found.without_staves:
      self.without_staves.append(found.page)

  def _read(self, sources: Iterator[Source]) -> Iterator[PageImage]:
    for source in sources:
      try:
        page = inputs.read(
          source,
          self.detector.weights.staff_space_px,
          dpi=self.settings.dpi,
          polarity=self.detector.polarity,
        )
      except InputError as e:
        self.failures.append(Failure(source.describe(), str(e)))
        continue
      self.dpi[source.name] = page.dpi
      yield self.detector.page_image(source.name, page.ink)

  def _bad(self, page: PageImage, error: InputError) -> None:
    (source,) = (s for s in self.sources if s.name == page.filename)
    self.failures.append(Failure(source.describe(), str(error)))


def _facts(settings: DetectSettings, detector: Detector) -> dict[str, Any]:
  """What the results depend on besides the pages."""
  return {
    "detector": weights.fingerprint(detector.weights),
    "min_score": detector.min_score,
    "classes": list(settings.classes),
    "dpi": settings.dpi,
    "without_staves": settings.without_staves,
  }
