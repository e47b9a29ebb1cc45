"""Rules that pages, boxes and classes are judged by."""

import collections
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from dwd_jax.check import fit
from dwd_jax.check.findings import Finding, listed, page_name, plural
from dwd_jax.check.measures import Limits, Measures, Page, Tables

_EMPTY_INK = 0.0005  # of a page; a page of 40 objects has 0.01 and more
_BLACK_INK = 0.4
# Pairs of classes on one box are meant where there are this many, and this
# share of the rarer class.
_USUAL_PAIRS = 5
_USUAL_SHARE = 0.05
_OTHER_SIZE = 3.0  # times the median page
_EXPLAINED = 24  # pages of each kind of misfit that are read again
_EXCHANGED = "those of another of these pages fit: annotations are exchanged"
_REMEDIES = {
  _EXCHANGED: "give each page its own annotation",
  "": "look at the overlays: pages or annotations exchanged, axes swapped,"
  " picture resized?",
}
_MIN_POOLED = 30  # boxes on all pages with too few each


def find_misfits(
  pages: Sequence[Measures], read: Callable[[int], Page]
) -> list[Finding]:
  """Finds pages whose boxes do not fit their picture, and the reasons.

  Args:
    read: reads a page by index again.
  """
  judged = [i for i, p in enumerate(pages) if p.fit.num_boxes >= fit.MIN_BOXES]
  bad = [i for i in judged if pages[i].fit.is_bad()]
  loose = [i for i in judged if pages[i].fit.is_loose()]
  found = []
  for reason, chosen in _reasons(pages, bad, read).items():
    found.append(
      Finding(
        level="error",
        kind="boxes of another picture",
        message=f"on {plural(len(chosen), 'page')} the boxes do not fit the"
        f" ink{reason and f': {reason}'}; {_names(pages, chosen, limit=4)}",
        remedy=_REMEDIES.get(reason, "correct the coordinates"),
        pages=tuple(chosen),
      )
    )
  shifted = _reasons(pages, loose, read, try_exchange=False)
  unexplained = len(shifted.pop("", ()))
  for reason, chosen in shifted.items():
    found.append(
      Finding(
        level="warning",
        kind="boxes shifted",
        message=f"on {plural(len(chosen), 'page')} {reason};"
        f" {_names(pages, chosen, limit=4)}",
        remedy="correct the coordinates",
        pages=tuple(chosen),
      )
    )
  if unexplained:
    found.append(
      Finding(
        level="info",
        kind="loose boxes",
        message=f"on {plural(unexplained, 'page')} the boxes do not end at the"
        " ink",
        remedy="a margin costs IoU: make the boxes tight",
      )
    )
  return [*found, *_pooled(pages)]


def _reasons(
  pages, chosen, read, try_exchange: bool = True
) -> dict[str, list[int]]:
  """Reason ("" = none found) -> pages; only the first ones are read again."""
  found = collections.defaultdict(list)
  again = chosen[:_EXPLAINED]
  boxes = {i: read(i).boxes_yxyx for i in again}
  for i in again:
    sums = fit.ink_sums(read(i).ink)
    others = [j for j in again if j != i] if try_exchange else []
    if any(fit.measure(sums, boxes[j]).is_sound() for j in others):
      found[_EXCHANGED].append(i)
    else:
      found[fit.explain(sums, boxes[i], pages[i].image_hw)].append(i)
  common = max(found, key=lambda text: len(found[text]), default="")
  found[common] += chosen[len(again) :]
  return {text: sorted(where) for text, where in found.items() if where}


def _pooled(pages) -> Iterator[Finding]:
  """Pages with few boxes are judged together."""
  few = [i for i, p in enumerate(pages) if 0 < p.fit.num_boxes < fit.MIN_BOXES]
  counts = [pages[i].fit.num_boxes for i in few]
  if sum(counts) < _MIN_POOLED:
    return
  mean = np.average([pages[i].fit for i in few], axis=0, weights=counts)
  if fit.Fit(float(mean[0]), float(mean[1]), sum(counts)).is_bad():
    yield Finding(
      level="error",
      kind="boxes of another picture",
      message=f"on {plural(len(few), 'page')} with few boxes each, all boxes"
      " together do not fit the ink",
      remedy="look at the overlays: axes swapped, picture resized?",
      pages=tuple(few),
    )


def find(
  pages: Sequence[Measures],
  tables: Tables,
  class_names: Sequence[str],
  limits: Limits,
) -> list[Finding]:
  """Finds all that the measures alone tell."""
  return [
    *_splits(tables),
    *_classes(tables, class_names),
    *_sizes(tables, class_names, limits),
    *_crowded(pages, limits),
    *_pages(pages),
    *_boxes(pages, class_names),
    *_two_classes(pages, class_names),
    *_skipped(pages),
  ]


def _splits(tables: Tables) -> Iterator[Finding]:
  if "train" not in tables.splits:
    yield Finding(
      level="warning",
      kind="no split train",
      message=f"the splits are {', '.join(tables.splits) or 'none'}",
      remedy="name the right one in data.train_split",
    )
  absent = [s for s in ("val", "test") if s not in tables.splits]
  if absent:
    yield Finding(
      level="info",
      kind="splits absent",
      message=f"no pages for {' and '.join(absent)}",
      remedy="name others in data.eval_split and data.test_split",
    )


def _classes(tables: Tables, class_names) -> Iterator[Finding]:
  if "train" not in tables.splits:
    return
  in_train = tables.objects[tables.splits.index("train")]
  elsewhere = tables.objects.sum(axis=0) - in_train
  unseen = np.flatnonzero((in_train == 0) & (elsewhere > 0))
  if len(unseen):
    names = listed(f"{class_names[c]} ({elsewhere[c]})" for c in unseen)
    yield Finding(
      level="warning",
      kind="classes not in train",
      message=f"{plural(len(unseen), 'class')} with objects in other splits"
      f" only: {names}",
      remedy="they cannot be learned: move pages, or set data.leave_out",
    )
  untested = np.flatnonzero((in_train > 0) & (elsewhere == 0))
  if len(tables.splits) > 1 and len(untested):
    yield Finding(
      level="info",
      kind="classes only in train",
      message=f"{plural(len(untested), 'class')}:"
      f" {listed(class_names[c] for c in untested)}",
      remedy="their scores will be null",
    )


def _sizes(tables: Tables, class_names, limits: Limits) -> Iterator[Finding]:
  total = tables.objects.sum(axis=0)
  for counts, kind, what, remedy in (
    (
      tables.too_small,
      "too small",
      f"with a side under {limits.min_px:g} px",
      "set larger data.scales and data.eval_scale",
    ),
    (
      tables.too_large,
      "larger than a crop",
      f"longer than {limits.crop_px} px",
      "no crop shows them whole: set a larger data.crop_hw, or data.leave_out",
    ),
  ):
    if counts.any():
      names = listed(
        f"{class_names[c]} {counts[c]}/{total[c]}" for c in _worst(counts)
      )
      share = 100 * counts.sum() / max(total.sum(), 1)
      yield Finding(
        level="warning",
        kind=kind,
        message=f"{plural(int(counts.sum()), 'object')} ({share:.3g} %) {what}"
        f" at scale {limits.scale:g}: {names}",
        remedy=remedy,
      )


def _crowded(pages, limits: Limits) -> Iterator[Finding]:
  in_crop = [p.max_in_crop for p in pages]
  on_page = [len(p.labels) for p in pages]
  for what, counts, limit, key in (
    ("crop", in_crop, limits.max_boxes, "data.max_boxes"),
    ("page", on_page, limits.max_detections, "decode.max_detections"),
  ):
    over = [i for i in _worst(counts) if counts[i] > limit]
    if over:
      most = counts[over[0]]
      yield Finding(
        level="warning",
        kind=f"crowded {what}s",
        message=f"{plural(len(over), 'page')} with more than {limit} objects in"
        f" a {what}, at most {most}: {_names(pages, over)}",
        remedy=f"set {key} to {-(-most // 64) * 64}",
      )


def _pages(pages) -> Iterator[Finding]:
  """Empty, black and odd-sized pages, and pages without objects."""
  ink = np.array([p.ink_share for p in pages])
  objects = np.array([len(p.labels) for p in pages])
  area = (
    np.array([p.image_hw for p in pages], float).reshape(-1, 2).prod(axis=1)
  )
  ratio = np.sqrt(area / max(np.median(area), 1))
  for is_bad, kind, what, remedy in (
    (
      ink < _EMPTY_INK,
      "nearly empty",
      "with hardly any ink",
      "look at the pictures; remove empty pages",
    ),
    (
      ink > _BLACK_INK,
      "nearly black",
      f"with ink on more than {100 * _BLACK_INK:.0f} % of the picture",
      "dark borders or a dark table around the page? crop or clean them",
    ),
    (
      objects == 0,
      "no objects",
      "without any object",
      "annotate or remove them, unless they are empty on purpose",
    ),
    (
      (ratio > _OTHER_SIZE) | (ratio < 1 / _OTHER_SIZE),
      "other page size",
      f"more than {_OTHER_SIZE:g} times as large or small as the median page",
      "scale them so that symbols are about as large as on the others",
    ),
  ):
    chosen = np.flatnonzero(is_bad).tolist()
    if chosen:
      yield Finding(
        level="warning",
        kind=kind,
        message=f"{plural(len(chosen), 'page')} {what}:"
        f" {_names(pages, chosen)}",
        remedy=remedy,
        pages=tuple(chosen),
      )


def _boxes(pages, class_names) -> Iterator[Finding]:
  total = sum(len(p.labels) for p in pages)
  for attribute, kind, what, remedy in (
    (
      "without_ink",
      "boxes without ink",
      "without any ink inside",
      "look at the overlays: wrong place, or a symbol erased from the page",
    ),
    (
      "repeated",
      "exact duplicates",
      "that repeat another one: same class, same box",
      "keep one of each; a symbol counts as missed otherwise",
    ),
    (
      "near",
      "near-duplicates",
      "with IoU > 0.8 to another one of their class",
      "keep one of each if it is one symbol",
    ),
  ):
    labels_of = [getattr(p, attribute) for p in pages]
    counts = collections.Counter(c for labels in labels_of for c in labels)
    if not counts:
      continue
    chosen = _worst([len(labels) for labels in labels_of])
    kinds = listed(f"{class_names[c]} {n}" for c, n in counts.most_common())
    share = 100 * counts.total() / max(total, 1)
    yield Finding(
      level="warning",
      kind=kind,
      message=f"{plural(counts.total(), 'box')} ({share:.2g} %) on"
      f" {plural(len(chosen), 'page')} {what}: {kinds}",
      remedy=remedy,
      pages=tuple(chosen),
    )


def _two_classes(pages, class_names) -> Iterator[Finding]:
  """Separates slips from pairs that a data set means (a letter, a word)."""
  pairs = collections.Counter(pair for p in pages for pair in p.two_classes)
  objects = np.zeros(len(class_names), np.int64)
  for page in pages:
    objects += np.bincount(page.labels, minlength=len(class_names))
  usual = {
    pair
    for pair, n in pairs.items()
    if n >= _USUAL_PAIRS and n >= _USUAL_SHARE * objects[list(pair)].min()
  }
  for chosen, level, remedy in (
    (pairs.keys() - usual, "warning", "labelled twice? keep the right class"),
    (usual, "info", "frequent, so intended; energy groups tell them apart"),
  ):
    if not chosen:
      continue
    counts = [sum(q in chosen for q in p.two_classes) for p in pages]
    kinds = listed(
      f"{class_names[a]} + {class_names[b]} {n}"
      for (a, b), n in pairs.most_common()
      if (a, b) in chosen
    )
    where = _worst(counts)
    yield Finding(
      level=level,
      kind="two classes on one box",
      message=f"{plural(sum(counts), 'box')} on {plural(len(where), 'page')}:"
      f" {kinds}",
      remedy=remedy,
      pages=tuple(where),
    )


def _skipped(pages) -> Iterator[Finding]:
  counts = collections.Counter()
  where = collections.defaultdict(list)
  for i, page in enumerate(pages):
    counts.update(page.skipped)
    for kind in page.skipped:
      where[kind].append(i)
  for kind, count in sorted(counts.items()):
    lost = "skipped" in kind
    yield Finding(
      level="warning" if lost else "info",
      kind="while reading",
      message=f"{count} {kind}, on {_names(pages, where[kind])}",
      remedy="correct the annotations unless this is on purpose",
      pages=tuple(where[kind]) if lost else (),
    )


def _worst(counts) -> list[int]:
  """Indices of the counts above 0, the highest first."""
  order = np.argsort(-np.asarray(counts), kind="stable").tolist()
  return [i for i in order if counts[i]]


def _names(pages, chosen, limit: int = 8) -> str:
  return listed((page_name(pages[i]) for i in chosen), limit)
