"""Average precision of a split, by one of three protocols.

"coco": 101-point AP of the COCO metric, all detections counted.

"voc": area under the precision envelope, half-open boxes.

"legacy": the mAP that the original prints. It differs from "voc" in that
  * every box is one pixel larger on its far sides;
  * a hit needs IoU > threshold, not >=;
  * detections are shifted by one pixel against the truth;
  * classes are left out by name, see `metrics.legacy`;
  * MUSCIMA++ objects of 400 px or more on a side are left out of the truth
    (detections of them are wrong).
It differs from the original as docs/evaluation.md says.

A `Meter` of oriented boxes differs in the IoU alone.

To add a protocol, write a function that says which detections of a page are
hits, and add it to `Protocol` and `PROTOCOLS`.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Bool, Float, Int

from dwd_jax.core.errors import InputError
from dwd_jax.core.structs import PageBoxes
from dwd_jax.metrics import legacy
from dwd_jax.metrics import pairs as pairs_lib
from dwd_jax.metrics.columns import Column

IOUS = tuple(round(0.5 + 0.05 * i, 2) for i in range(10))  # 0.5 .. 0.95
_MOST_IOUS = 16  # bits of a detection's hits
RECALLS = np.linspace(0.0, 1.0, 101)  # of COCO's AP


@dataclasses.dataclass(frozen=True)
class APTable:
  """Average precision of every class at every IoU threshold.

  Attributes:
    ious: the T thresholds.
    ap: 0..1; NaN for classes without truth.
    num_objects: true objects of each class.
  """

  ious: tuple[float, ...]
  ap: Float[np.ndarray, "T C"]
  num_objects: Int[np.ndarray, " C"]

  def per_class(self) -> Float[np.ndarray, " C"]:
    """Mean AP of each class over the thresholds."""
    return self.ap.mean(axis=0)

  def per_iou(self) -> Float[np.ndarray, " T"]:
    """Mean AP over the classes with truth, at each threshold."""
    return np.array([mean_or_nan(row) for row in self.ap])

  def at(self, iou: float) -> Float[np.ndarray, " C"]:
    """AP of each class at one of the thresholds."""
    return self.ap[self.ious.index(iou)]

  def weighted_at(self, iou: float) -> float:
    """Mean of `at`, weighted by `num_objects`; NaN without objects."""
    present = self.num_objects > 0
    if not present.any():
      return float("nan")
    weights = self.num_objects[present]
    return float(np.average(self.at(iou)[present], weights=weights))


def mean_or_nan(values: Float[np.ndarray, " n"]) -> float:
  """Mean of the values that are not NaN; NaN if there are none."""
  known = values[~np.isnan(values)]
  return float(known.mean()) if known.size else float("nan")


Protocol: TypeAlias = Literal["coco", "voc", "legacy"]
# Truth, detections with the best score first, IoU thresholds -> hits [T, n].
Hits: TypeAlias = Callable[[PageBoxes, PageBoxes, Sequence[float]], np.ndarray]
# Truth, detections -> both as they are judged.
Prepare: TypeAlias = Callable[
  [PageBoxes, PageBoxes], tuple[PageBoxes, PageBoxes]
]


class Rules(NamedTuple):
  """How a protocol measures.

  Attributes:
    hits: which detections of a page are right.
    average: AP of the detections of a class that are right, best score first,
      and of its number of true boxes.
    rotated: whether oriented boxes can be measured.
  """

  hits: Hits
  average: Callable[[Bool[np.ndarray, " n"], int], float]
  rotated: bool = True


class Meter:
  """Measures AP page by page; keeps 12 bytes of a detection, none of truth.

  Args of the constructor: at most 16 thresholds `ious`, above 0; `prepare`
  changes truth and detections before they are judged;
  `rotated` measures oriented boxes, see `of_oriented`.
  """

  def __init__(
    self,
    num_classes: int,
    rules: Rules,
    ious: Sequence[float] = IOUS,
    prepare: Prepare = lambda truth, found: (truth, found),
    *,
    rotated: bool = False,
  ):
    if len(ious) > _MOST_IOUS:
      raise ValueError(f"{len(ious)} IoU thresholds, at most {_MOST_IOUS}")
    if num_classes > 1 << 15:
      raise ValueError(f"{num_classes} classes, at most {1 << 15}")
    self._rules, self._ious, self._prepare = rules, tuple(ious), prepare
    self._rotated = rotated
    self._num_objects = np.zeros(num_classes, np.int64)
    self._names: list[str] = []
    self._ends = Column(np.float64)  # of each page; exact up to 2**53
    self._labels, self._scores = Column(np.int16), Column(np.float64)
    self._hits = Column(np.uint16)  # bit t: at threshold t

  @property
  def num_classes(self) -> int:
    """C."""
    return len(self._num_objects)

  def of_oriented(self) -> "Meter | None":
    """A new one for oriented boxes; None if the protocol knows none."""
    rules, ious = self._rules, self._ious
    if not rules.rotated:
      return None
    return Meter(
      len(self._num_objects), rules, ious, self._prepare, rotated=True
    )

  def add(self, truth: PageBoxes, found: PageBoxes) -> None:
    """Adds a page.

    Detections with a score or box that is not finite are left out, with a
    warning that names the page.

    Raises:
      ValueError: a label outside 0 .. C-1, or detections without scores.
    """
    if found.scores is None:
      raise ValueError("detections need scores")
    truth, found = self._checked(truth), self._checked(found.finite())
    truth, found = self._prepare(truth, found)
    assert found.scores is not None
    self._num_objects += np.bincount(
      truth.labels, minlength=len(self._num_objects)
    )
    # By score, then position, so that the order of the input does not matter.
    corners = found.boxes_yxyx.T[::-1]
    found = found.keep(np.lexsort((found.labels, *corners, -found.scores)))
    hits = self._rules.hits(truth, found, self._ious)  # [T, n]
    bits = 1 << np.arange(len(self._ious), dtype=np.uint16)
    self._hits.add(bits @ hits.astype(np.uint16))
    self._labels.add(found.labels)
    self._scores.add(found.scores)  # pyright: ignore
    self._names.append(truth.filename)
    self._ends.add(np.array([len(self._labels)]))

  def _checked(self, page: PageBoxes) -> PageBoxes:
    """In float64, no far edge before the near one, corners if `rotated`."""
    labels = np.asarray(page.labels, np.int64)
    if labels.size and not 0 <= labels.min() <= labels.max() < len(
      self._num_objects
    ):
      raise ValueError(
        f"a label lies outside 0 .. {len(self._num_objects) - 1}"
      )
    boxes = page.boxes_yxyx.astype(np.float64).reshape(-1, 4)
    boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2])
    scores = page.scores
    return dataclasses.replace(
      page,
      boxes_yxyx=boxes,
      labels=labels,
      scores=None if scores is None else scores.astype(np.float64),
      oriented_yx=page.oriented_yx if self._rotated else None,
    )

  def table(self) -> APTable:
    """AP of all pages.

    Raises:
      ValueError: a page was added twice.
    """
    if len(set(self._names)) != len(self._names):
      raise ValueError("a file name occurs twice")
    ap = np.full((len(self._ious), len(self._num_objects)), np.nan)
    for label in np.flatnonzero(self._num_objects).tolist():
      hits = self._hits.values()[self._ranked(label)]
      objects = int(self._num_objects[label])
      for t in range(len(self._ious)):
        ap[t, label] = self._rules.average(_bit(hits, t), objects)
    return APTable(self._ious, ap, self._num_objects.copy())

  def of_class(
    self, label: int
  ) -> tuple[Int[np.ndarray, " n"], Bool[np.ndarray, "T n"]]:
    """The detections of a class, best score first.

    Returns:
      Page of each, counted in the order of `add`; which are right at each
      threshold.
    """
    rows = self._ranked(label)
    hits = self._hits.values()[rows]
    right = np.stack([_bit(hits, t) for t in range(len(self._ious))])
    return np.searchsorted(self._ends.values(), rows, "right"), right

  def _ranked(self, label: int) -> Int[np.ndarray, " n"]:
    """Detections of a class by falling score, then by the name of the page."""
    rows = np.flatnonzero(self._labels.values() == label)
    scores = self._scores.values()
    if self._names != sorted(self._names):
      place = np.argsort(np.argsort(np.array(self._names, object)))
      page = np.searchsorted(self._ends.values(), rows, "right")
      rows = rows[np.argsort(place[page], kind="stable")]
    return rows[np.argsort(-scores[rows], kind="stable")]


def _bit(hits: Int[np.ndarray, " n"], t: int) -> Bool[np.ndarray, " n"]:
  return (hits >> np.uint16(t) & np.uint16(1)).astype(bool)


def check(protocol: str) -> None:
  """Raises InputError for an unknown protocol."""
  if protocol not in PROTOCOLS:
    raise InputError(
      f"eval.protocol: {protocol!r} is unknown; use one of {tuple(PROTOCOLS)}"
    )


def _of_one_class(
  truth: PageBoxes, found: PageBoxes, ious: Sequence[float]
) -> pairs_lib.Pairs:
  pairs = pairs_lib.of_pages(found, truth, min(ious))
  return pairs.keep(found.labels[pairs.row] == truth.labels[pairs.column])


def coco_hits(
  truth: PageBoxes, found: PageBoxes, ious: Sequence[float]
) -> Bool[np.ndarray, "T n"]:
  """Hits of the COCO metric, without its limit of 100 of a class on a page.

  Best score first, each takes the free true box that it overlaps most, of
  equal ones the last, as COCO's own code does.

  Reference: Lin et al., Microsoft COCO (2014).
  """
  least = [min(iou, 1 - 1e-10) for iou in ious]
  taken = pairs_lib.one_to_one(
    _of_one_class(truth, found, least),
    len(found.labels),
    len(truth.labels),
    least,
    last_of_equals=True,
  )
  return taken >= 0


def interpolated(right: Bool[np.ndarray, " n"], num_objects: int) -> float:
  """COCO's AP: mean of the precision envelope at recall 0, 0.01 ... 1."""
  recall, envelope = _envelope(right, num_objects)
  at = np.searchsorted(recall, RECALLS)
  return float(np.append(envelope, 0.0)[at].mean())


def _envelope(right, num_objects):
  """Recall, and the best precision from it on, at each right detection."""
  place = np.flatnonzero(right) + 1
  precision = np.arange(1.0, len(place) + 1)
  precision /= place
  del place  # there may be a hundred million
  envelope = np.maximum.accumulate(precision[::-1], out=precision[::-1])[::-1]
  return np.arange(1, len(envelope) + 1) / num_objects, envelope


def voc_hits(
  truth: PageBoxes,
  found: PageBoxes,
  ious: Sequence[float],
  *,
  original: bool = False,
) -> Bool[np.ndarray, "T n"]:
  """Hits of VOC.

  A detection is assigned to the true box of its class that it overlaps most.
  It is right if that IoU reaches the threshold and no better-scored detection
  took the box before.

  Args:
    original: adds a pixel to the far sides of every box and requires IoU >
      threshold, not >=.

  Reference: Everingham et al., The Pascal Visual Object Classes Challenge
  (2010). Differs from the original: it counted classes without truth as 0.
  """
  if original:
    pixel = np.array([0.0, 0.0, 1.0, 1.0])
    truth, found = (
      dataclasses.replace(page, boxes_yxyx=page.boxes_yxyx + pixel)
      for page in (truth, found)
    )
  pairs = _of_one_class(truth, found, ious)
  iou, column = pairs_lib.best(pairs, len(found.labels))
  least = np.array(ious)[:, None]
  at, row = np.nonzero(iou > least if original else iou >= least)
  # The first of the hits on a true box counts.
  _, first = np.unique(at * len(truth.labels) + column[row], return_index=True)
  hits = np.zeros((len(ious), len(found.labels)), bool)
  hits[at[first], row[first]] = True
  return hits


def area(right: Bool[np.ndarray, " n"], num_objects: int) -> float:
  """VOC's AP: area under the precision envelope over recall."""
  _, envelope = _envelope(right, num_objects)
  return float(envelope.sum() / num_objects)


COCO = Rules(coco_hits, interpolated)
VOC = Rules(voc_hits, area)
# As the original, but neither shifted, nor is anything left out.
VOC_2018 = VOC._replace(
  hits=functools.partial(voc_hits, original=True), rotated=False
)
PROTOCOLS: Mapping[Protocol, Rules] = {
  "coco": COCO,
  "voc": VOC,
  "legacy": VOC_2018,
}


def meter(
  protocol: Protocol,
  class_names: Sequence[str],
  dataset: str = "",
  dataset_config: str = "",
) -> Meter:
  """Measures by a protocol.

  Args:
    dataset: decides what the legacy protocol leaves out, as `data.builder`.
    dataset_config: its edition, as `data.builder_config`.
  """
  rules = PROTOCOLS[protocol]
  if protocol != "legacy":
    return Meter(len(class_names), rules)
  judged = legacy.is_judged(class_names, dataset, dataset_config)

  def prepare(truth: PageBoxes, found: PageBoxes):
    truth = legacy.without_large(truth, dataset)
    found = dataclasses.replace(found, boxes_yxyx=found.boxes_yxyx + 1)
    return truth.keep(judged[truth.labels]), found.keep(judged[found.labels])

  return Meter(len(class_names), rules, prepare=prepare)
