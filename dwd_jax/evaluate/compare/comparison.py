"""Compares two detectors on the same pages.

The content of comparison.json:

  a, b        name, evaluation, checkpoint_step, threshold and its origin
  samples     of pages with replacement, which the intervals are made of; 0 =
              too few pages
  totals      mAP, mAP_50, AP_50_weighted, precision, recall, f1; mAP_rotated
              and mAP_50_rotated where both have oriented boxes
  counts      of all classes
  per_class   num_objects, AP, AP_50 and counts of each class that occurs;
              AP_rotated and AP_50_rotated where both have oriented boxes
  pages       name, num_objects, f1 and counts of each page

Each value is {a, b, difference, interval, sure}: b - a, where 95 % of the
differences of samples lie, and whether 0 is not there; null = unknown. AP is
that of the COCO metric over all detections from `min_score` on, the higher of
the two evaluations'. Counts are of the detections from each one's threshold on,
at IoU 0.5 of upright boxes: true objects found by `both`, `a_only`, `b_only` or
`neither`, and detections that are `wrong_both` (same class and place),
`wrong_a` only, `wrong_b` only.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from dwd_jax.core.structs import PageBoxes
from dwd_jax.evaluate.compare.sides import Side
from dwd_jax.metrics import bootstrap, error_analysis, matching
from dwd_jax.metrics.json_results import or_null
from dwd_jax.metrics.protocols import Meter

FOUND = ("both", "a_only", "b_only", "neither")
WRONG = ("wrong_both", "wrong_a", "wrong_b")
DIFFERENT = ("a_only", "b_only", "wrong_a", "wrong_b")


class Counted(NamedTuple):
  """A page: what was found, and what is wrong, from the thresholds on.

  Attributes:
    found: index into `FOUND` of each true box.
    wrong: wrong detections of both sides; of pairs in one place the first's.
    kind: index into `WRONG` of each.
  """

  truth: PageBoxes
  found: Int[np.ndarray, " m"]
  wrong: PageBoxes
  kind: Int[np.ndarray, " n"]


def counted(a: Side, b: Side) -> Iterator[Counted]:
  """What each page's objects and detections are, page by page."""
  found = [s.measured.outcomes.found(s.point.threshold) for s in (a, b)]
  state = 3 - 2 * found[0] - found[1]
  ends = np.searchsorted(
    a.measured.outcomes.true_page, np.arange(len(a.pages) + 1)
  )
  for i, page in enumerate(a.pages):
    wrong = [_wrong(side, i) for side in (a, b)]
    taken = matching.match(
      dataclasses.replace(wrong[0], scores=None), wrong[1]
    ).taken
    kind = np.ones(len(wrong[0].labels), int)
    kind[taken[taken >= 0]] = 0
    only_b = wrong[1].keep(taken < 0)
    yield Counted(
      truth=page.truth,
      found=state[ends[i] : ends[i + 1]],
      wrong=PageBoxes.concatenated([wrong[0], only_b]),
      kind=np.append(kind, np.full(len(only_b.labels), 2)),
    )


def _wrong(side: Side, i: int) -> PageBoxes:
  """The detections of a page that count and are not right."""
  page = side.pages[i]
  scores = np.asarray(page.found.scores, np.float64)
  kept = page.found.keep(scores >= side.point.threshold)
  return kept.keep(matching.judge_page(page.truth, kept).kind != matching.RIGHT)


def compare(a: Side, b: Side, pages: Sequence[Counted]) -> dict[str, Any]:
  """The content of comparison.json, see the module's docstring.

  Args:
    pages: see `counted`.
  """
  first, names = a.measured, a.measured.class_names
  objects = np.stack(
    [np.bincount(p.truth.labels, minlength=len(names)) for p in pages]
    or [np.zeros(len(names), int)]
  )  # [P, C]
  samples = bootstrap.num_samples(
    len(pages), max(len(s.measured.outcomes.labels) for s in (a, b))
  )
  weights = bootstrap.draw(len(objects), samples)
  drawn = [_sampled(side, objects, weights) for side in (a, b)]
  totals = [_totals(side) for side in (a, b)]
  of_class = _by_class(pages, len(names))
  per_class = {}
  for c, name in enumerate(names):
    if not of_class[c].any():
      continue
    enough = np.count_nonzero(objects[:, c]) >= bootstrap.MIN_PAGES
    measured = {}
    for key in ("AP", "AP_50", *(_AP_ROTATED if _both_rotated(a, b) else ())):
      of_a, of_b = (s.measured.metrics["per_class"][name][key] for s in (a, b))
      sampled = [of[key][:, c] for of in drawn] if enough else None
      measured[key] = _value(of_a, of_b, sampled)
    per_class[name] = {
      "num_objects": int(objects[:, c].sum()),
      **measured,
      **_named(of_class[c]),
    }
  return {
    "a": _facts(a),
    "b": _facts(b),
    "dataset": first.metrics["dataset"],
    "split": first.metrics["split"],
    "num_pages": len(pages),
    "num_objects": int(objects.sum()),
    "min_score": first.metrics["min_score"],
    "samples": samples,
    "totals": {
      key: _value(totals[0][key], totals[1][key], [of[key] for of in drawn])
      for key in (*_TOTALS, *(_MAP_ROTATED if _both_rotated(a, b) else ()))
    },
    "counts": _named(of_class.sum(axis=0)),
    "per_class": per_class,
    "pages": _pages(a, b, pages),
  }


_TOTALS = ("mAP", "mAP_50", "AP_50_weighted", "precision", "recall", "f1")
_MAP_ROTATED = ("mAP_rotated", "mAP_50_rotated")
_AP_ROTATED = ("AP_rotated", "AP_50_rotated")


def _both_rotated(a: Side, b: Side) -> bool:
  return a.rotated is not None and b.rotated is not None


def _totals(side: Side) -> dict[str, Any]:
  """Numbers of the summary, with the figures at the threshold."""
  metrics = side.measured.metrics
  point = {key: or_null(value) for key, value in side.point._asdict().items()}
  rotated = metrics.get("rotated", {})
  of_rotated = {f"{key}_rotated": value for key, value in rotated.items()}
  return metrics | point | of_rotated


def _facts(side: Side) -> dict[str, Any]:
  return {
    "name": side.name,
    "evaluation": str(side.path),
    "checkpoint_step": side.measured.metrics["checkpoint_step"],
    "threshold": side.point.threshold,
    "from": side.source,
  }


def _value(
  a: float | None, b: float | None, sampled: Sequence[np.ndarray] | None = None
) -> dict[str, Any]:
  """A value of both sides; `sampled` has those of each sample."""
  difference = interval = None
  if a is not None and b is not None:
    difference = b - a
    if sampled:
      interval = bootstrap.interval(sampled[1] - sampled[0])
  return {
    "a": a,
    "b": b,
    "difference": difference,
    "interval": interval and [*interval],
    "sure": interval and interval.without_0,
  }


def _sampled(
  side: Side, objects: Int[np.ndarray, "P C"], weights: Int[np.ndarray, "R P"]
) -> dict[str, np.ndarray]:
  """Totals [R], AP and AP_50 [R, C] in each sample of pages."""
  kept = side.measured.outcomes.at_least(side.point.threshold)
  counts = error_analysis.by_page(kept, len(objects))
  right, detections = (
    weights @ of for of in (counts.num_right, counts.num_detections)
  )
  of_class = weights @ objects  # [R, C]
  total = of_class.sum(axis=1)
  sampled = _sampled_ap(side.meter, objects, weights)
  if side.rotated is not None:
    of_rotated = _sampled_ap(side.rotated, objects, weights)
    sampled |= {f"{key}_rotated": ap for key, ap in of_rotated.items()}
  with np.errstate(invalid="ignore"):
    means = {f"m{k}": _mean(ap, of_class > 0) for k, ap in sampled.items()}
    return {
      **sampled,
      **means,
      "AP_50_weighted": _mean(sampled["AP_50"], of_class),
      "precision": right / detections,
      "recall": right / total,
      "f1": 2 * right / (detections + total),
    }


def _sampled_ap(
  meter: Meter, objects: Int[np.ndarray, "P C"], weights: Int[np.ndarray, "R P"]
) -> dict[str, Float[np.ndarray, "R C"]]:
  """AP and AP_50 in each sample; NaN for classes without objects."""
  ap = np.full((2, len(weights), objects.shape[1]), np.nan)
  for c in np.flatnonzero(objects.any(axis=0)):
    by_iou = bootstrap.average_precision(
      *meter.of_class(int(c)), objects[:, c], weights
    )
    ap[:, :, c] = by_iou.mean(axis=1), by_iou[:, 0]
  return {"AP": ap[0], "AP_50": ap[1]}


def _mean(values, weights) -> Float[np.ndarray, " R"]:
  """Weighted mean of each row; what has no weight may be NaN."""
  known = np.where(weights > 0, values, 0)
  return (known * weights).sum(axis=1) / weights.sum(axis=1)


def _by_class(
  pages: Sequence[Counted], num_classes: int
) -> Int[np.ndarray, "C 7"]:
  """Objects and wrong detections of each class, by `FOUND` and `WRONG`."""
  counts = np.zeros((num_classes, len(FOUND) + len(WRONG)), int)
  for page in pages:
    np.add.at(counts, (page.truth.labels, page.found), 1)
    np.add.at(counts, (page.wrong.labels, page.kind + len(FOUND)), 1)
  return counts


def _named(counts: Int[np.ndarray, " 7"]) -> dict[str, int]:
  return dict(zip((*FOUND, *WRONG), counts.tolist(), strict=True))


def _pages(a: Side, b: Side, pages: Sequence[Counted]) -> list[dict[str, Any]]:
  num_classes = len(a.measured.class_names)
  kept = (s.measured.outcomes.at_least(s.point.threshold) for s in (a, b))
  f1 = [error_analysis.by_page(of, len(pages)).f1.tolist() for of in kept]
  return [
    {
      "name": page.truth.filename,
      "num_objects": len(page.found),
      "f1": _value(f1[0][i], f1[1][i]),
      **_named(_by_class([page], num_classes).sum(axis=0)),
    }
    for i, page in enumerate(pages)
  ]
