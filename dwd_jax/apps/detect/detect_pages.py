"""Detects on given pages, and writes the files of each.

This is what a process of a larger run does: all that it needs can be pickled.
`detect_files.merge` writes the files of all pages once they are there.
"""

import contextlib
import dataclasses
import os
import pathlib
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from dwd_jax.apps.detect import formats, inputs, manifest, outputs
from dwd_jax.apps.detect.inputs import Source
from dwd_jax.checkpoints import weights
from dwd_jax.core import threads
from dwd_jax.core.errors import InputError
from dwd_jax.predict import packaged
from dwd_jax.predict.batches import MAYBE_OUT_OF_MEMORY, too_large
from dwd_jax.predict.detector import Detector, Laid
from dwd_jax.predict.page_detections import PageDetections


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
    retries: how often a page is tried again where storage fails.
    formats: written besides, keys of `formats.OPTIONAL`.
    annotations: file for the format obb_anns.
    names: one of `spelling.NAMES`, "" = the detector's own class names.
  """

  checkpoint: str = ""
  min_score: float | None = None
  classes: tuple[str, ...] = ()
  dpi: float = 0.0
  batch_size: int = 1
  overwrite: bool = False
  without_staves: bool = False
  retries: int = 1
  formats: tuple[str, ...] = ()
  annotations: str = ""
  names: str = ""


class Outcome(NamedTuple):
  """What became of a page.

  Attributes:
    failure: why it has no results; "" = it has.
    earlier: an earlier run has made them.
    without_staves: nothing was looked for.
    left_out: see `PageDetections`.
  """

  source: Source
  failure: str = ""
  earlier: bool = False
  symbols: int = 0
  turned: bool = False
  without_staves: bool = False
  left_out: dict[str, int] | None = None


def outcome(
  source: Source, found: PageDetections, earlier: bool = False
) -> Outcome:
  """The outcome of a page with results."""
  return Outcome(
    source,
    earlier=earlier,
    symbols=len(found),
    turned=bool(found.turned),
    without_staves=found.without_staves,
    left_out=found.left_out,
  )


def make_detector(settings: DetectSettings) -> Detector:
  """Loads the weights; raises InputError, see `Detector`."""
  return Detector(
    packaged.weights_of(settings.checkpoint),
    min_score=settings.min_score,
    classes=settings.classes,
    batch_size=settings.batch_size,
    without_staves=settings.without_staves,
    names=settings.names,
  )


def facts(settings: DetectSettings, detector: Detector) -> dict[str, Any]:
  """What the results depend on besides the pages, as the manifest has it."""
  return {
    "detector": weights.fingerprint(detector.weights),
    "min_score": detector.min_score,
    "classes": list(settings.classes),
    "dpi": settings.dpi,
    "without_staves": settings.without_staves,
    # Results with the detector's own names state none.
    **({"names": settings.names} if settings.names else {}),
  }


def detect_pages(
  detector: Detector,
  settings: DetectSettings,
  sources: Iterable[Source],
  out: pathlib.Path,
) -> Iterator[Outcome]:
  """Writes the files of pages that have none; yields what became of each.

  Threads read and write while the network computes, a few pages ahead and
  behind; outcomes keep the order of `sources`. A page that cannot be read is an
  outcome, too. The folder has to be there, and the manifest has to claim the
  pages, see `outputs.claim`.

  Args:
    detector: from `make_detector`, of the same settings.
    sources: pages, from `inputs.find`.

  Raises:
    OSError: results cannot be written.
  """
  work = _Work(detector, settings, out)
  cores = _cores()
  readers, writers = min(16, -(-cores // 2)), min(8, -(-cores // 4))
  read = threads.in_order(work.read, sources, readers, ahead=readers + 1)
  with contextlib.closing(read):
    written = threads.in_order(
      work.write, detector.stream(read), writers, ahead=writers + 1
    )
    with contextlib.closing(written):
      yield from written


def _cores() -> int:
  if hasattr(os, "sched_getaffinity"):
    return len(os.sched_getaffinity(0))
  return os.cpu_count() or 1


class _Read(NamedTuple):
  """A page that was read.

  Attributes:
    origin: see `formats.origin`.
    dpi: of a page of a PDF.
  """

  source: Source
  origin: formats.Origin
  dpi: float


class _Work:
  """What threads do with a page before and after the network."""

  def __init__(
    self, detector: Detector, settings: DetectSettings, out: pathlib.Path
  ):
    self._detector = detector
    self._settings = settings
    self._out = out
    self._run = manifest.digest(facts(settings, detector))

  def read(self, source: Source) -> tuple[_Read | Outcome, Laid | None]:
    """Reads a page without results, and looks for its staves."""
    detector = self._detector
    names = detector.class_names
    found = formats.read_page(self._out, source, names, self._run)
    if found is not None:
      return outcome(source, found, earlier=True), None

    def read() -> tuple[formats.Origin, inputs.Page]:
      # The origin first: if the file changes now, the next run sees that.
      return formats.origin(source, self._run), inputs.read(
        source,
        detector.weights.staff_space_px,
        dpi=self._settings.dpi,
        polarity=detector.polarity,
        channels=detector.channels,
      )

    try:
      origin, page = inputs.retried(read, self._settings.retries)
    except InputError as e:
      return Outcome(source, str(e)), None
    image = detector.page_image(source.name, page.ink)
    try:
      return _Read(source, origin, page.dpi), detector.lay(image)
    except MAYBE_OUT_OF_MEMORY as e:
      return Outcome(source, str(too_large(image, e))), None

  def write(
    self,
    item: tuple[_Read | Outcome, PageDetections | InputError | None],
  ) -> Outcome:
    """Writes the files of a page."""
    read, found = item
    if isinstance(read, Outcome):
      return read
    source = read.source
    if isinstance(found, InputError):
      return Outcome(source, str(found))
    assert found is not None
    page = found.at_resolution(read.dpi)
    assert page.ink is not None
    image = self._detector.page_image(source.name, page.ink)

    def write() -> None:
      outputs.write_page(self._out, page, read.origin)

    try:
      inputs.retried(write, self._settings.retries)
    except MAYBE_OUT_OF_MEMORY as e:
      return Outcome(source, str(too_large(image, e)))
    return outcome(source, page)
