"""Detects on files and folders, and writes the results of `dwd_jax.detect`."""

import dataclasses
import itertools
import pathlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from dwd_jax.apps.detect import (
  detect_pages,
  formats,
  inputs,
  manifest,
  obb_anns,
  outputs,
)
from dwd_jax.apps.detect.detect_pages import DetectSettings, Outcome
from dwd_jax.apps.detect.inputs import Failure, Source
from dwd_jax.apps.detect.shards import Shard
from dwd_jax.core import words as words_lib
from dwd_jax.core.errors import InputError
from dwd_jax.predict.detector import Detector
from dwd_jax.predict.page_detections import PageDetections
from dwd_jax.show import progress


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
    missing: names of the pages that no run has processed.
    left_out: number of symbols by class without a name in the vocabulary.
    words: of the detector's field.
  """

  pages: int
  skipped: int
  symbols: int
  failed: tuple[Failure, ...]
  turned: tuple[str, ...] = ()
  without_staves: tuple[str, ...] = ()
  missing: tuple[str, ...] = ()
  left_out: Mapping[str, int] = dataclasses.field(default_factory=dict)
  words: words_lib.Words = words_lib.MUSIC


def run(
  paths: Sequence[pathlib.Path],
  out: pathlib.Path,
  settings: DetectSettings,
  shard: Shard | None = None,
  log: Callable[[str], None] | None = print,
  work: Callable[..., Iterable[Outcome]] = detect_pages.detect_pages,
) -> Summary:
  """Detects on all pages of files and folders, or on those of a shard.

  A page that cannot be read is noted, and the others are processed. Results of
  an earlier run with the same settings are kept, unless their file has changed.
  A shard writes the files of its pages only; `merge` writes the others.

  Args:
    work: takes the arguments of `detect_pages.detect_pages`, and writes the
      same files.

  Raises:
    InputError: wrong settings, damaged weights, or a folder with other content.
  """
  detector = detect_pages.make_detector(settings)
  facts = detect_pages.facts(settings, detector)
  of_run = run_facts(settings, detector)
  if settings.overwrite:
    outputs.remove(out)
  outputs.check_folder(out, facts)
  sources, unread = inputs.find(paths, outputs.taken(), settings.retries)
  if shard is not None:
    sources = [source for source in sources if shard.has(source.name)]
  if not sources:
    return _summary([], unread)
  outputs.claim(out, facts, sources, shard, of_run.formats)
  done = work(detector, settings, sources, out)
  shown = progress.show(done, "detect", len(sources), log, detector.words)
  outcomes = list(shown)
  summary = _summary(outcomes, unread)
  if shard is not None:
    names = [o.source.name for o in outcomes if not o.failure]
    failed = _summary(outcomes, []).failed  # the others are known to `merge`
    outputs.finish(out, facts, names, failed, shard)
  elif summary.pages:
    merged = merge_pages(
      out, facts, of_run, sources=sources, failed=summary.failed
    )
    for name in merged.missing:
      raise InputError(
        f"{out / name}.json: lost or changed while detecting; start the same"
        " command again"
      )
  return dataclasses.replace(summary, words=detector.words)


def merge(
  paths: Sequence[pathlib.Path], out: pathlib.Path, settings: DetectSettings
) -> Summary:
  """Writes the files of all pages from those that shards have written.

  Args:
    paths: the same as of the shards.
    settings: the same, too.

  Raises:
    InputError: there are no results, or they have other settings.
  """
  detector = detect_pages.make_detector(settings)
  facts = detect_pages.facts(settings, detector)
  of_run = run_facts(settings, detector)
  outputs.check_folder(out, facts)
  sources, unread = inputs.find(paths, outputs.taken(), settings.retries)
  merged = merge_pages(out, facts, of_run, sources=sources, failed=unread)
  return dataclasses.replace(merged, words=detector.words)


def run_facts(settings: DetectSettings, detector: Detector) -> formats.RunFacts:
  """What the files of all pages state; raises InputError for wrong ones."""
  weights = detector.weights
  numbers = None
  if "obb_anns" in settings.formats:
    numbers = obb_anns.read_numbers(
      pathlib.Path(settings.annotations), detector.class_names
    )
  return formats.RunFacts(
    class_names=detector.class_names,
    min_score=detector.min_score,
    words=detector.words,
    extras=("oriented",) * weights.model.oriented
    + ("position",) * weights.model.staff_positions,
    formats=settings.formats,
    numbers=numbers,
  )


def merge_pages(
  out: pathlib.Path,
  facts: dict[str, Any],
  of_run: formats.RunFacts,
  *,
  sources: Sequence[Source],
  failed: Iterable[Failure] = (),
) -> Summary:
  """Writes the files of all pages from those of each, in one pass.

  Args:
    facts: see `detect_pages.facts`.
    of_run: see `run_facts`.
    sources: all pages, in order.
    failed: files and pages without results, besides those that the manifests
      of shards tell of.

  Raises:
    InputError: no page has results.
  """
  reasons = {failure.what: failure.reason for failure in failed}
  others = dict(reasons)
  for source in sources:
    others.pop(source.describe(), None)
  unread = [Failure(*item) for item in others.items()]
  for written in manifest.of_shards(out):
    reasons = written.failed | reasons
  outcomes, missing = [], []

  def pages() -> Iterator[tuple[Source, PageDetections]]:
    run = manifest.digest(facts)
    for source in sources:
      found = formats.read_page(out, source, of_run.class_names, run)
      reason = reasons.get(source.describe(), "")
      if found is not None:
        outcomes.append(detect_pages.outcome(source, found))
        yield source, found
      elif reason:
        outcomes.append(Outcome(source, reason))
      else:
        missing.append(source)

  found = pages()
  first = next(found, None)
  if first is None:
    raise InputError(f"{out}: no results of these pages; detect on them first")
  every = [source.name for source in sources]
  outputs.claim_run(out, facts, every, of_run.formats)
  outputs.write_run(out, itertools.chain([first], found), of_run)
  summary = _summary(outcomes, unread)
  names = [o.source.name for o in outcomes if not o.failure]
  lost = [Failure(s.describe(), "no results") for s in missing]
  failures = (*summary.failed, *lost)
  outputs.finish(out, facts, names, failures, optional=of_run.formats)
  return dataclasses.replace(
    summary, missing=tuple(source.name for source in missing)
  )


def _summary(outcomes: Sequence[Outcome], unread: Sequence[Failure]) -> Summary:
  done = [outcome for outcome in outcomes if not outcome.failure]
  failed = [
    Failure(outcome.source.describe(), outcome.failure)
    for outcome in outcomes
    if outcome.failure
  ]
  left_out: Counter[str] = Counter()
  for outcome in done:
    left_out.update(outcome.left_out or {})
  return Summary(
    pages=len(done),
    skipped=sum(outcome.earlier for outcome in done),
    symbols=sum(outcome.symbols for outcome in done),
    failed=(*unread, *failed),
    turned=tuple(o.source.name for o in done if o.turned),
    without_staves=tuple(o.source.name for o in done if o.without_staves),
    left_out=left_out,
  )
