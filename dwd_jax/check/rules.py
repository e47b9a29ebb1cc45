"""Rules that pages, boxes and classes are judged by."""

import collections
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from dwd_jax.check import fit, measures
from dwd_jax.check.findings import Finding, listed, page_name, plural
from dwd_jax.check.measures import Limits, Measures, Page, Tables
from dwd_jax.core import words

_EMPTY_INK = 0.0005  # of a page; a page of 40 objects has 0.01 and more
_BLACK_INK = 0.4
# Pairs of classes on one box are meant where there are this many, and this
# share of the rarer class.
_USUAL_PAIRS = 5
_USUAL_SHARE = 0.05
_OTHER_SIZE = 3.0  # times the median page
_EXPLAINED = 24  # pages of each kind of misfit that are read again
_EXCHANGED = "those of another one fit: annotations are exchanged"
_REMEDIES = {
  _EXCHANGED: "give each picture its own annotation",
  "": "look at the overlays: pictures or annotations exchanged, axes swapped,"
  " picture resized?",
}
_MIN_POOLED = 30  # boxes on all pages with too few each
_NEAR_SHIFT_PX = 8  # apart, of shifts that count as one


def boxes_fit(pages: Sequence[Measures]) -> bool:
  """Whether the boxes of at least a quarter of the pages lie on edges.

  Else the objects may have none, unless the pages are ink on paper.
  """
  fits = [p.fit for p in pages if p.fit.num_boxes]
  fits = [f for f in fits if f.num_boxes >= fit.MIN_BOXES] or fits
  return bool(fits) and float(np.mean([f.is_sound() for f in fits])) >= 0.25


def find_misfits(
  pages: Sequence[Measures],
  read: Callable[[int], Page],
  said: words.Words = words.MUSIC,
) -> list[Finding]:
  """Finds pages whose boxes do not fit their picture, and the reasons.

  Args:
    read: reads a page by index again.
    said: what pages are called.
  """
  judged = [i for i, p in enumerate(pages) if p.fit.num_boxes >= fit.MIN_BOXES]
  judged.sort(key=lambda i: pages[i].fit.edge)
  bad = [i for i in judged if pages[i].fit.is_bad()]
  is_print = measures.is_print(pages)
  sure = boxes_fit(pages) or is_print
  reasons, shifts = _reasons(pages, sorted(bad), read, is_print)
  looked_at = min(len(bad), _EXPLAINED)
  # Of objects that may have no edges, chance explains a page now and then.
  least = 1 if sure else max(2, looked_at // 3)
  margins = {}
  found = []
  for reason, chosen in reasons.items():
    if sure or (reason and len(chosen) >= least):
      found.append(
        Finding(
          level="error",
          kind="boxes of another picture",
          message=f"on {said.count(len(chosen), 'images')} the boxes do not"
          f" fit the picture{reason and f': {reason}'};"
          f" {_names(pages, chosen, limit=4)}",
          remedy=_REMEDIES.get(reason, "correct the coordinates"),
          pages=tuple(chosen),
        )
      )
  # Large objects overlap themselves even when they are shifted.
  for i in [i for i in judged if not pages[i].fit.is_bad()][:_EXPLAINED]:
    page = read(i)
    edges = fit.edges(page.ink)
    shift = fit.find_shift(edges, page.boxes_yxyx)
    moved = page.boxes_yxyx + np.tile(shift, 2).astype(np.float32)
    if any(shift) and fit.measure(edges, moved, fit.SOME_BOXES).is_sound():
      shifts[i] = shift
    elif is_print and (margin := fit.find_margin(edges, page.boxes_yxyx)):
      margins[i] = margin
  found += _shifted(pages, shifts, least, said)
  if margins:
    typical = round(float(np.median([*margins.values()])))
    found.append(
      Finding(
        level="info",
        kind="loose boxes",
        message=f"on {said.count(len(margins), 'images')} of those that fit"
        f" least well, boxes are about {typical} px too large on each side",
        remedy="a margin costs IoU: make the boxes tight",
      )
    )
  return [*found, *(_pooled(pages, said) if sure else ())]


def _shifted(
  pages, shifts: dict[int, tuple[int, int]], least: int, said: words.Words
) -> Iterator[Finding]:
  """One finding of the pages that share a shift, then of the others.

  Args:
    least: number of pages that share a shift; with fewer, there is none.
  """
  left = dict(shifts)
  while left:
    common = _most_common(left.values())
    same = [i for i, s in left.items() if _are_near(s, common)]
    alone = len(same) < 2 <= len(left)
    if len(same) < least:
      return
    chosen = sorted(left if alone else same)
    middle = np.rint(np.median([left[i] for i in chosen], axis=0)).astype(int)
    where = (
      "the boxes lie beside their objects"
      if alone
      else fit.describe((middle[0], middle[1]))
    )
    bad = any(pages[i].fit.is_bad() for i in chosen)
    yield Finding(
      level="error" if bad else "warning",
      kind="boxes shifted",
      message=f"on {said.count(len(chosen), 'images')} {where};"
      f" {_names(pages, chosen, limit=4)}",
      remedy="correct the coordinates",
      pages=tuple(chosen),
      details=tuple(
        f"{page_name(pages[i])}: {fit.describe(left[i])}" for i in chosen
      )
      if alone
      else (),
    )
    for i in chosen:
      del left[i]


def _are_near(one: tuple[int, int], two: tuple[int, int]) -> bool:
  return max(abs(one[0] - two[0]), abs(one[1] - two[1])) <= _NEAR_SHIFT_PX


def _most_common(shifts: Iterable[tuple[int, int]]) -> tuple[int, int]:
  """The shift that has the most others near it."""
  counts = collections.Counter(shifts)
  return max(
    counts,
    key=lambda s: sum(n for t, n in counts.items() if _are_near(s, t)),
  )


def _reasons(pages, chosen, read, is_print: bool):
  """Misfits by reason, and shifts; only the first pages are read again.

  Returns:
    Reason ("" = none found) -> pages, and page -> shift.
  """
  found: dict[str, list[int]] = collections.defaultdict(list)
  shifts: dict[int, tuple[int, int]] = {}
  again = chosen[:_EXPLAINED]
  boxes = {i: read(i).boxes_yxyx for i in again}
  for i in again:
    page = read(i)
    edges = fit.edges(page.ink)
    if any(
      fit.measure(edges, boxes[j], fit.SOME_BOXES // 2).is_sound()
      for j in again
      if j != i
    ):
      found[_EXCHANGED].append(i)
      continue
    reason, shift = fit.explain(edges, boxes[i], pages[i].image_hw)
    # Other objects than symbols have edges inside, too.
    if is_print and not reason and (margin := fit.find_margin(edges, boxes[i])):
      reason = f"they are about {margin} px too large on each side"
    if any(shift):
      shifts[i] = shift
    else:
      found[reason].append(i)
  rest = chosen[len(again) :]
  common = max(found, key=lambda text: len(found[text]), default="")
  if len(shifts) > len(found[common]):
    typical = np.median([*shifts.values()], axis=0).astype(int)
    shifts |= dict.fromkeys(rest, (int(typical[0]), int(typical[1])))
  else:
    found[common] += rest
  return {text: sorted(where) for text, where in found.items() if where}, shifts


def _pooled(pages, said: words.Words) -> Iterator[Finding]:
  """Pages with few boxes are judged together."""
  few = [i for i, p in enumerate(pages) if 0 < p.fit.num_boxes < fit.MIN_BOXES]
  counts = [pages[i].fit.num_boxes for i in few]
  if sum(counts) < _MIN_POOLED:
    return
  mean = np.average([pages[i].fit.edge for i in few], weights=counts)
  if fit.Fit(float(mean), sum(counts)).is_bad():
    yield Finding(
      level="error",
      kind="boxes of another picture",
      message=f"on {said.count(len(few), 'images')} with few boxes each, all"
      " boxes together do not fit the picture",
      remedy="look at the overlays: axes swapped, picture resized?",
      pages=tuple(few),
    )


def find(
  pages: Sequence[Measures],
  tables: Tables,
  class_names: Sequence[str],
  limits: Limits,
  said: words.Words = words.MUSIC,
) -> list[Finding]:
  """Finds all that the measures alone tell; `said`: what pages are called."""
  return [
    *_splits(tables, said),
    *_classes(tables, class_names, said),
    *_sizes(tables, class_names, limits),
    *_crowded(pages, tables, limits, said),
    *_pages(pages, tables.is_print, said),
    *_boxes(pages, class_names, tables.is_print, said),
    *_two_classes(pages, class_names, said),
    *_skipped(pages),
  ]


def _splits(tables: Tables, said: words.Words) -> Iterator[Finding]:
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
      message=f"no {said.images} for {' and '.join(absent)}",
      remedy="name others in data.eval_split and data.test_split",
    )


def _classes(
  tables: Tables, class_names, said: words.Words
) -> Iterator[Finding]:
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
      remedy=f"they cannot be learned: move {said.images}, or set"
      " data.leave_out",
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


def _crowded(
  pages, tables: Tables, limits: Limits, said: words.Words
) -> Iterator[Finding]:
  on_page = [len(p.labels) for p in pages]
  for what, counts, limit, key in (
    ("crop", tables.max_in_crop, limits.max_boxes, "data.max_boxes"),
    (said.image, on_page, limits.max_detections, "decode.max_detections"),
  ):
    over = [i for i in _worst(counts) if counts[i] > limit]
    if over:
      most = counts[over[0]]
      yield Finding(
        level="warning",
        kind=f"crowded {what}s",
        message=f"{said.count(len(over), 'images')} with more than {limit}"
        f" objects in one {what}, at most {most}: {_names(pages, over)}",
        remedy=f"set {key} to {-(-most // 64) * 64}",
      )


def _pages(pages, is_print: bool, said: words.Words) -> Iterator[Finding]:
  """Empty, black and odd-sized pages, and pages without objects."""
  ink = np.array([p.ink_share for p in pages])
  flat = np.array([not p.print_.any() for p in pages])
  objects = np.array([len(p.labels) for p in pages])
  area = (
    np.array([p.image_hw for p in pages], float).reshape(-1, 2).prod(axis=1)
  )
  ratio = np.sqrt(area / max(np.median(area), 1))
  for is_bad, kind, what, remedy in (
    (
      flat & (not is_print),
      "of one tone",
      "without any detail",
      "look at the pictures; remove empty ones",
    ),
    (
      (ink < _EMPTY_INK) & is_print,
      "nearly empty",
      "with hardly any ink",
      "look at the pictures; remove empty ones",
    ),
    (
      (ink > _BLACK_INK) & is_print,
      "nearly black",
      f"with ink on more than {100 * _BLACK_INK:.0f} % of the picture",
      "dark borders, or a dark table around it? crop or clean it",
    ),
    (
      objects == 0,
      "no objects",
      "without any object",
      "annotate or remove them, unless they are empty on purpose",
    ),
    (
      (ratio > _OTHER_SIZE) | (ratio < 1 / _OTHER_SIZE),
      f"other {said.image} size",
      f"more than {_OTHER_SIZE:g} times as large or small as the median",
      "scale them so that objects are about as large as on the others",
    ),
  ):
    chosen = np.flatnonzero(is_bad).tolist()
    if chosen:
      yield Finding(
        level="warning",
        kind=kind,
        message=f"{said.count(len(chosen), 'images')} {what}:"
        f" {_names(pages, chosen)}",
        remedy=remedy,
        pages=tuple(chosen),
      )


def _boxes(
  pages, class_names, is_print: bool, said: words.Words
) -> Iterator[Finding]:
  total = sum(len(p.labels) for p in pages)
  for attribute, kind, what, remedy in (
    (
      "without_ink",
      "boxes without ink",
      "without any ink inside",
      f"look at the overlays: wrong place, or erased {said.objects}?",
    ),
    (
      "repeated",
      "exact duplicates",
      "that repeat another one: same class, same box",
      "keep one of each; an object counts as missed otherwise",
    ),
    (
      "near",
      "near-duplicates",
      "with IoU > 0.8 to another one of their class",
      "keep one of each if it is one object",
    ),
  ):
    if attribute == "without_ink" and not is_print:
      continue
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
      f" {said.count(len(chosen), 'images')} {what}: {kinds}",
      remedy=remedy,
      pages=tuple(chosen),
    )


def _two_classes(pages, class_names, said: words.Words) -> Iterator[Finding]:
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
      message=f"{plural(sum(counts), 'box')} on"
      f" {said.count(len(where), 'images')}: {kinds}",
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
