"""What is wrong with objects and pages, told from their measures."""

import collections
from collections.abc import Iterator, Sequence

import numpy as np

from dwd_jax.check.findings import Finding, listed, plural
from dwd_jax.check.measures import Measures
from dwd_jax.check.statistics import Limits, Tables

_EMPTY_INK = 0.0005  # of a page; a page of 40 objects has 0.01 and more
_BLACK_INK = 0.4
# Pairs of classes on one box that are no slips: this many, and this share of
# the rarer class.
_USUAL_PAIRS = 5
_USUAL_SHARE = 0.05
_OTHER_SIZE = 3.0  # times the median page


def find(
  pages: Sequence[Measures],
  tables: Tables,
  class_names: Sequence[str],
  limits: Limits,
) -> list[Finding]:
  """All findings that need no second look at the pictures."""
  return [
    *_splits(tables),
    *_classes(tables, class_names),
    *_sizes(tables, class_names, limits),
    *_crowded(pages, limits),
    *_page_pictures(pages),
    *_boxes(pages, class_names),
    *_skipped(pages),
  ]


def _splits(tables: Tables) -> Iterator[Finding]:
  if "train" not in tables.splits:
    yield Finding(
      "warning",
      "no split train",
      f"the splits are {', '.join(tables.splits) or 'none'}",
      "name the right one in data.train_split",
    )
  absent = [s for s in ("val", "test") if s not in tables.splits]
  if absent:
    yield Finding(
      "info",
      "splits absent",
      f"no pages for {' and '.join(absent)}",
      "name others in data.eval_split and data.test_split",
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
      "warning",
      "classes not in train",
      f"{plural(len(unseen), 'class')} with objects in other splits only:"
      f" {names}",
      "they cannot be learned: move pages, or data.leave_out",
    )
  if len(tables.splits) > 1:
    untested = np.flatnonzero((in_train > 0) & (elsewhere == 0))
    if len(untested):
      yield Finding(
        "info",
        "classes only in train",
        f"{plural(len(untested), 'class')}:"
        f" {listed(class_names[c] for c in untested)}",
        "their scores will be null",
      )


def _sizes(tables: Tables, class_names, limits: Limits) -> Iterator[Finding]:
  total = tables.objects.sum(axis=0)
  for counts, kind, what, remedy in (
    (
      tables.too_small,
      "too small",
      f"with a side under {limits.min_px:g} px at scale {limits.scale:g}",
      "train at a larger data.scales and data.eval_scale",
    ),
    (
      tables.too_large,
      "larger than a crop",
      f"longer than {limits.crop_px} px at scale {limits.scale:g}",
      "they are not learned whole: larger data.crop_hw, or data.leave_out",
    ),
  ):
    if counts.any():
      worst = [c for c in np.argsort(-counts, kind="stable") if counts[c]]
      names = listed(f"{class_names[c]} {counts[c]}/{total[c]}" for c in worst)
      yield Finding(
        "warning",
        kind,
        f"{plural(int(counts.sum()), 'object')} ({_share(counts, total)})"
        f" {what}: {names}",
        remedy,
      )


def _share(part: np.ndarray, whole: np.ndarray) -> str:
  return f"{100 * part.sum() / max(whole.sum(), 1):.3g} %"


def _crowded(pages, limits: Limits) -> Iterator[Finding]:
  for counts, limit, kind, key in (
    (
      [p.max_in_crop for p in pages],
      limits.max_boxes,
      "crowded crops",
      "data.max_boxes",
    ),
    (
      [len(p.labels) for p in pages],
      limits.max_detections,
      "crowded pages",
      "decode.max_detections",
    ),
  ):
    over = [i for i, count in enumerate(counts) if count > limit]
    if over:
      over.sort(key=lambda i: -counts[i])
      yield Finding(
        "warning",
        kind,
        f"{plural(len(over), 'page')} with more than {limit} objects in a"
        f" {'crop' if 'crop' in kind else 'page'}, at most {counts[over[0]]}:"
        f" {_names(pages, over)}",
        f"set {key} to {-(-counts[over[0]] // 64) * 64}",
      )


def _page_pictures(pages) -> Iterator[Finding]:
  """Empty, black and odd-sized pages, and pages without objects."""
  shares = [p.ink_share for p in pages]
  sides = np.array([p.image_hw for p in pages], float).reshape(-1, 2)
  ratio = np.sqrt(sides.prod(axis=1) / max(np.median(sides.prod(axis=1)), 1))
  for chosen, kind, what, remedy in (
    (
      [i for i, share in enumerate(shares) if share < _EMPTY_INK],
      "nearly empty",
      "with hardly any ink",
      "look at the pictures; take empty pages out",
    ),
    (
      [i for i, share in enumerate(shares) if share > _BLACK_INK],
      "nearly black",
      f"with ink on more than {100 * _BLACK_INK:.0f} % of the picture",
      "dark borders or a dark table around the page? crop or clean them",
    ),
    (
      [i for i, p in enumerate(pages) if not len(p.labels)],
      "no objects",
      "without any object",
      "annotate them or take them out, unless they are empty on purpose",
    ),
    (
      np.flatnonzero(
        (ratio > _OTHER_SIZE) | (ratio < 1 / _OTHER_SIZE)
      ).tolist(),
      "other page size",
      f"more than {_OTHER_SIZE:g} times as large or small as the median page",
      "scale them so that symbols are about as large as on the others",
    ),
  ):
    if chosen:
      yield Finding(
        "warning",
        kind,
        f"{plural(len(chosen), 'page')} {what}: {_names(pages, chosen)}",
        remedy,
        tuple(chosen),
      )


def _boxes(pages, class_names) -> Iterator[Finding]:
  total = sum(len(p.labels) for p in pages)
  for name, kind, what, remedy in (
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
    yield from _counted(
      pages,
      [getattr(p, name) for p in pages],
      total,
      class_names,
      (kind, what, remedy),
    )
  yield from _two_classes(pages, class_names)


def _two_classes(pages, class_names) -> Iterator[Finding]:
  """Slips apart from what a data set does on purpose (a letter, a word)."""
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
    (usual, "info", "so often that it is meant; energy groups tell them apart"),
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
      level,
      "two classes on one box",
      f"{plural(sum(counts), 'box')} on {plural(len(where), 'page')}: {kinds}",
      remedy,
      tuple(where),
    )


def _counted(pages, labels_of, total, class_names, texts) -> Iterator[Finding]:
  kind, what, remedy = texts
  counts = collections.Counter(c for labels in labels_of for c in labels)
  if not counts:
    return
  chosen = _worst([len(labels) for labels in labels_of])
  kinds = listed(f"{class_names[c]} {n}" for c, n in counts.most_common())
  share = 100 * counts.total() / max(total, 1)
  yield Finding(
    "warning",
    kind,
    f"{plural(counts.total(), 'box')} ({share:.2g} %) on"
    f" {plural(len(chosen), 'page')} {what}: {kinds}",
    remedy,
    tuple(chosen),
  )


def _worst(counts) -> list[int]:
  chosen = [i for i, n in enumerate(counts) if n]
  return sorted(chosen, key=lambda i: -counts[i])


def _skipped(pages) -> Iterator[Finding]:
  counts = collections.Counter()
  where = collections.defaultdict(list)
  for i, page in enumerate(pages):
    counts.update(page.skipped)
    for kind in page.skipped:
      where[kind].append(i)
  for kind, count in sorted(counts.items()):
    yield Finding(
      "warning" if "skipped" in kind else "info",
      "while reading",
      f"{count} {kind}, on {_names(pages, where[kind])}",
      "correct the annotations, if it is not on purpose",
      tuple(where[kind]) if "skipped" in kind else (),
    )


def _names(pages, chosen) -> str:
  return listed(f"{pages[i].split}/{pages[i].filename}" for i in chosen)
