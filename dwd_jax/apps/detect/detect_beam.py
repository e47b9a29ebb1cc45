"""Detection on the workers of an engine, by Apache Beam's RunInference.

The launching process finds the pages and claims their files; workers, each with
one detector, write the files of each page. The folders of pages and results
have the same path everywhere. Elements are bundles of pages, since batches that
Beam makes are not for every engine, see `beam_engine`.
"""

import dataclasses
import json
import pathlib
import tempfile
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from dwd_jax.apps.detect import detect_pages as pages_lib
from dwd_jax.apps.detect.detect_pages import DetectSettings, Outcome
from dwd_jax.apps.detect.inputs import Source
from dwd_jax.cluster import beam_engine
from dwd_jax.core import files
from dwd_jax.core.errors import InputError
from dwd_jax.models import compiling
from dwd_jax.predict.detector import Detector

try:
  from apache_beam.ml.inference.base import (  # pyright: ignore
    ModelHandler,
  )
except ModuleNotFoundError:  # an extra; `beam_engine.options` says so
  ModelHandler = object

_BUNDLES = 256  # at least, where there are as many pages
_MOST_PAGES = 64  # of a bundle: what is lost with a worker


@dataclasses.dataclass
class _Loaded:
  """A detector that the threads of a worker take in turns."""

  detector: Detector
  turn: threading.Lock = dataclasses.field(default_factory=threading.Lock)


class DetectorHandler(ModelHandler):  # pyright: ignore
  """Writes the files of bundles of pages; a list of `Outcome` for each.

  For RunInference over a collection of lists of `Source`. The folder's manifest
  has to claim the pages, see `outputs.claim`.
  """

  def __init__(
    self,
    settings: DetectSettings,
    out: pathlib.Path,
    compilation_cache: str | None = None,
  ):
    """See `compiling.keep_chosen` for the cache of the workers."""
    super().__init__()
    self._settings = settings
    self._out = out
    self._compilation_cache = compilation_cache

  def load_model(self) -> _Loaded:
    """Loads the detector, once for each process."""
    compiling.keep_chosen(self._compilation_cache)
    return _Loaded(pages_lib.make_detector(self._settings))

  def run_inference(
    self,
    batch: Sequence[Source],
    model: _Loaded,
    inference_args: dict[str, Any] | None = None,
  ) -> list[list[Outcome]]:
    """Detects on a bundle; see `detect_pages.detect_pages`."""
    del inference_args
    with model.turn:
      outcomes = pages_lib.detect_pages(
        model.detector, self._settings, batch, self._out
      )
      return [list(outcomes)]

  def should_skip_batching(self) -> bool:
    """Elements are bundles already."""
    return True


@dataclasses.dataclass(frozen=True)
class Engine:
  """Detects on given pages, as `detect_pages.detect_pages` does.

  Attributes:
    options: of `beam_engine.options`.
    compilation_cache: see `DetectorHandler`.
  """

  options: Any
  compilation_cache: str | None = None

  def __call__(
    self,
    detector: Detector,
    settings: DetectSettings,
    sources: Sequence[Source],
    out: pathlib.Path,
  ) -> Iterator[Outcome]:
    """Yields the outcomes, in order, when the engine has done all pages."""
    import apache_beam as beam  # pyright: ignore[reportMissingImports]
    from apache_beam.ml.inference.base import RunInference  # pyright: ignore

    del detector  # workers load their own
    size = min(len(sources) // _BUNDLES, _MOST_PAGES)
    size = max(size, settings.batch_size)
    bundles = [sources[i : i + size] for i in range(0, len(sources), size)]
    handler = DetectorHandler(settings, out, self.compilation_cache)
    had = {path.name for path in out.iterdir()}
    with tempfile.TemporaryDirectory(prefix=".outcomes-", dir=out) as folder:
      beam_engine.run(
        bundles,
        RunInference(handler) | beam.Map(_report, folder=pathlib.Path(folder)),
        self.options,
      )
      for outcome in _outcomes(sources, pathlib.Path(folder)):
        # Else a worker that was lost in this run has written it.
        earlier = outcome.earlier and f"{outcome.source.name}.json" in had
        yield outcome._replace(earlier=earlier)


def _report(outcomes: list[Outcome], folder: pathlib.Path) -> None:
  """Writes what became of a bundle, for the launching process."""
  rows = [[outcome.source.name, *outcome[1:]] for outcome in outcomes]
  path = folder / f"{outcomes[0].source.name}.json"
  files.write_atomic(path, json.dumps(rows))


def _outcomes(
  sources: Sequence[Source], folder: pathlib.Path
) -> Iterator[Outcome]:
  found: dict[str, list[Any]] = {}
  for path in folder.iterdir():
    found |= {name: rest for name, *rest in files.read_json(path)}
  lost = sum(source.name not in found for source in sources)
  if lost:
    raise InputError(
      f"{folder.parent}: the engine has lost {lost} pages; start the same"
      " command again"
    )
  for source in sources:
    yield Outcome(source, *found[source.name])
