"""Detects on given pages, and writes the files of each.

This is what a process of a larger run does: all that it needs can be pickled.
`detect_files.merge` writes the files of all pages once they are there.
"""

import dataclasses
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from dwd_jax.apps.detect import formats, inputs, manifest, outputs
from dwd_jax.apps.detect.inputs import Source
from dwd_jax.checkpoints import weights
from dwd_jax.core.errors import InputError
from dwd_jax.core.structs import PageImage
from dwd_jax.predict import packaged, predict_pages
from dwd_jax.predict.detector import Detector
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
  """

  checkpoint: str = ""
  min_score: float | None = None
  classes: tuple[str, ...] = ()
  dpi: float = 0.0
  batch_size: int = 1
  overwrite: bool = False
  without_staves: bool = False
  retries: int = 1


class Outcome(NamedTuple):
  """What became of a page.

  Attributes:
    failure: why it has no results; "" = it has.
    earlier: an earlier run has made them.
    without_staves: nothing was looked for.
  """

  source: Source
  failure: str = ""
  earlier: bool = False
  symbols: int = 0
  turned: bool = False
  without_staves: bool = False


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
  )


def make_detector(settings: DetectSettings) -> Detector:
  """Loads the weights; raises InputError, see `Detector`."""
  return Detector(
    packaged.weights_of(settings.checkpoint),
    min_score=settings.min_score,
    classes=settings.classes,
    batch_size=settings.batch_size,
    without_staves=settings.without_staves,
  )


def facts(settings: DetectSettings, detector: Detector) -> dict[str, Any]:
  """What the results depend on besides the pages, as the manifest has it."""
  return {
    "detector": weights.fingerprint(detector.weights),
    "min_score": detector.min_score,
    "classes": list(settings.classes),
    "dpi": settings.dpi,
    "without_staves": settings.without_staves,
  }


def detect_pages(
  detector: Detector,
  settings: DetectSettings,
  sources: Sequence[Source],
  out: pathlib.Path,
) -> Iterator[Outcome]:
  """Writes the files of pages that have none; yields what became of each.

  A page that cannot be read is an outcome, too. The folder has to be there, and
  the manifest has to claim the pages, see `outputs.claim`.

  Args:
    detector: from `make_detector`, of the same settings.
    sources: pages, from `inputs.find`.
  """
  names, run = (
    detector.weights.class_names,
    manifest.digest(facts(settings, detector)),
  )
  todo = []
  for source in sources:
    found = formats.read_page(out, source, names, run)
    if found is None:
      todo.append(source)
    else:
      yield outcome(source, found, earlier=True)
  of_name = {source.name: source for source in todo}
  dpi: dict[str, float] = {}
  failed: list[Outcome] = []

  def bad(page: PageImage, error: InputError) -> None:
    failed.append(Outcome(of_name[page.filename], str(error)))

  def read() -> Iterator[PageImage]:
    for source in todo:
      try:
        page = inputs.read(
          source,
          detector.weights.staff_space_px,
          dpi=settings.dpi,
          polarity=detector.polarity,
        )
      except InputError as e:
        failed.append(Outcome(source, str(e)))
        continue
      dpi[source.name] = page.dpi
      yield detector.page_image(source.name, page.ink)

  for found, _ in detector.pages(read(), bad):
    assert found.ink is not None
    page, source = (
      detector.page_image(found.page, found.ink),
      of_name[found.page],
    )
    with predict_pages.without_too_large([page], bad):
      found = found.at_resolution(dpi[found.page])
      outputs.write_page(out, found, source, run)
      yield outcome(source, found)
    yield from failed
    failed.clear()
  yield from failed
