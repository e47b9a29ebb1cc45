"""Translates detections into the class names of another vocabulary.

`core.vocabulary` has the table. What one vocabulary boxes as a whole and
another by its characters (`core.compounds`) is split or joined. Whether a
notehead is on a line or in a space follows from its place on the staff.
"""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from dwd_jax.core import boxes as box_lib
from dwd_jax.core import compounds, vocabulary
from dwd_jax.core.errors import InputError
from dwd_jax.core.structs import NO_POSITION, PageBoxes
from dwd_jax.imaging.staff_pieces import Pieces

NAMES = ("deepscores_v1", "deepscores_v2", "muscima_v2", "smufl")
_CHARACTERS = {concept: c for c, concept in compounds.PARTS.items()}
_SUFFIXES = ("Small", "Change")
_MOST_STEPS = 16  # from the middle line; further away no staff tells a place
_GAP = 0.3  # heights, between two characters of a word
_OVERLAP = 0.3  # of the smaller height


class Spelling:
  """Translates what a detector finds.

  Attributes:
    class_names: all names of the target, in the order of the table.
  """

  def __init__(self, class_names: Sequence[str], target: str):
    """Looks the names up.

    Args:
      class_names: of the detector.
      target: one of `NAMES`.

    Raises:
      InputError: the target or the vocabulary of the detector is unknown.
    """
    if target not in NAMES:
      raise InputError(
        f"names: {target!r} is unknown; use one of {', '.join(NAMES)}"
      )
    source = vocabulary.first_with(class_names, vocabulary.VOCABULARIES)
    if not source:
      raise InputError(
        "names: the detector's classes are of no known vocabulary"
        f" ({', '.join(vocabulary.VOCABULARIES)}), so that nothing says what"
        f" they are in {target}; leave the names as they are"
      )
    self._old_names = tuple(class_names)
    self.class_names = vocabulary.names_of(target)
    ids = {name: i for i, name in enumerate(self.class_names)}
    by_concept = {
      row["concept"]: ids[row[target]]
      for row in vocabulary.table()
      if row[target] in ids
    }
    # New labels by old ones, -1 = none: elsewhere, on a line, in a space.
    self._labels = np.full((3, len(class_names)), -1, np.int32)
    self._words: dict[int, tuple[str, list[int]]] = {}
    letters: dict[int, str] = {}
    whole_names = False
    for label, name in enumerate(class_names):
      rows = [row for row in vocabulary.table() if row[source] == name]
      self._labels[:, label] = _labels(rows, target, ids)
      for concept in (row["concept"] for row in rows):
        word = compounds.WHOLES.get(concept, "")
        parts = [by_concept.get(compounds.PARTS[c], -1) for c in word]
        whole_names |= bool(word)
        if word and concept not in by_concept and min(parts) >= 0:
          self._words[label] = word, parts
        # A digit that may also be one of a fingering has more rows.
        if len(rows) <= 2 and concept in _CHARACTERS:
          letters[label] = _CHARACTERS[concept]
    # Characters are joined where the detector has no wholes.
    self._letters = {} if whole_names else letters
    self._wholes = {
      word: by_concept[concept]
      for concept, word in compounds.WHOLES.items()
      if concept in by_concept
    }

  def apply(
    self, found: PageBoxes, pieces: Pieces | None
  ) -> tuple[PageBoxes, dict[str, int]]:
    """Renames the detections of a page.

    Args:
      found: on the page upright, with scores.
      pieces: of its staves, for noteheads without positions; None = none.

    Returns:
      The detections, and how many of which class are left out, as they have no
      name in the target or more than one.
    """
    labels = self._labels[0][found.labels]
    heads = self._labels[1][found.labels] >= 0
    steps = _steps(found, heads, pieces)
    placed = steps != NO_POSITION
    at = 1 + (steps[placed] % 2)
    labels[placed] = self._labels[at, found.labels[placed]]
    parts = []
    for label in self._words:
      rows = np.flatnonzero(found.labels == label)
      if len(rows):
        parts.append(self._split(found, rows, label))
    for rows, whole in self._joined(found):
      labels[rows] = -2 if whole >= 0 else -1
      if whole >= 0:
        parts.append(_union(found, rows, whole))
    lost = (labels == -1) & ~np.isin(found.labels, list(self._words))
    left_out = Counter(self._old_names[i] for i in found.labels[lost].tolist())
    kept = _relabelled(found.keep(labels >= 0), labels[labels >= 0])
    return PageBoxes.concatenated([kept, *parts]), dict(left_out.most_common())

  def _split(
    self, found: PageBoxes, rows: Int[np.ndarray, " n"], label: int
  ) -> PageBoxes:
    """The characters of words."""
    word, labels = self._words[label]
    places = []
    for y0, x0, y1, x1 in found.boxes_yxyx[rows].astype(np.float64):
      boxes = compounds.split(word, max(y1 - y0, 1e-3), max(x1 - x0, 1e-3))
      places.append(boxes + np.array([y0, x0, y0, x0]))
    whole = found.keep(np.repeat(rows, len(word)))
    new = np.tile(np.array(labels, np.int32), len(rows))
    return _relabelled(whole, new, np.concatenate(places))

  def _joined(
    self, found: PageBoxes
  ) -> Iterator[tuple[Int[np.ndarray, " n"], int]]:
    """Characters that are a word: their rows, and its label; -1 = no word."""
    for kind in ("pmfsrz", "126"):
      alphabet = {i: c for i, c in self._letters.items() if c in kind}
      known = [word for word in self._wholes if word[0] in kind]
      rows = np.flatnonzero(np.isin(found.labels, list(alphabet)))
      if not known or not len(rows):
        continue
      spelled = all(self._labels[0][i] >= 0 for i in alphabet)
      for line in _lines(found.boxes_yxyx, rows):
        word = "".join(alphabet[i] for i in found.labels[line].tolist())
        if len(word) > 1 and (word in known or not spelled):
          yield line, self._wholes.get(word, -1)


def _labels(
  rows: Iterable[Mapping[str, str]], target: str, ids: dict[str, int]
) -> list[int]:
  """Labels of a class elsewhere, on a line, in a space; -1 = not known."""
  names: dict[str, dict[str, None]] = {"": {}, "OnLine": {}, "InSpace": {}}
  for row in rows:
    for place, found in names.items():
      if row[target] and place in row["concept"]:
        found[row[target]] = None
  every, on_line, in_space = (ids.get(_plain(n), -1) for n in names.values())
  by_place = every < 0 and min(on_line, in_space) >= 0
  return [-1, on_line, in_space] if by_place else [every, -1, -1]


def _plain(names: Iterable[str]) -> str:
  """The only name, or the one that others make small or a change; else ""."""
  names = tuple(names)
  kinds = {name: name for name in names}
  for name in names:
    for suffix in _SUFFIXES:
      short = name.removesuffix(suffix)
      if short in names:
        kinds[name] = short
  found = set(kinds.values())
  return found.pop() if len(found) == 1 else ""


def _steps(
  found: PageBoxes, heads: Bool[np.ndarray, " n"], pieces: Pieces | None
) -> Int[np.ndarray, " n"]:
  """Positions of the detections in `heads`, else `NO_POSITION`."""
  steps = np.full(len(heads), NO_POSITION, np.int32)
  if found.positions is not None:
    steps[heads] = found.positions[heads]
  rows = np.flatnonzero(heads & (steps == NO_POSITION))
  if pieces is None or not len(pieces.y) or not len(rows):
    return steps
  points = np.asarray(box_lib.centers_yx(found.boxes_yxyx[rows]), np.float64)
  nearest = pieces.nearest(points)
  away = np.clip(
    points[:, 1] - pieces.x[nearest], -pieces.half_width, pieces.half_width
  )
  middle = pieces.y[nearest] + pieces.slope[nearest] * away
  seen = np.rint(2 * (middle - points[:, 0]) / pieces.space[nearest])
  steps[rows] = np.where(np.abs(seen) <= _MOST_STEPS, seen, NO_POSITION)
  return steps


def _lines(
  boxes_yxyx: Float[np.ndarray, "n 4"], rows: Int[np.ndarray, " k"]
) -> Iterator[Int[np.ndarray, " m"]]:
  """Boxes that stand close beside each other, from left to right."""
  x = boxes_yxyx[rows][:, [1, 3]].mean(1)
  lines: list[list[int]] = []
  for row in rows[np.argsort(x, kind="stable")].tolist():
    y0, x0, y1, _ = boxes_yxyx[row]
    for line in lines:
      top, _, bottom, right = boxes_yxyx[line[-1]]
      shared = min(y1, bottom) - max(y0, top)
      height = max(y1 - y0, bottom - top)
      if shared > _OVERLAP * min(y1 - y0, bottom - top) and (
        x0 - right < _GAP * height
      ):
        line.append(row)
        break
    else:
      lines.append([row])
  for line in lines:
    yield np.array(line)


def _union(
  found: PageBoxes, rows: Int[np.ndarray, " n"], label: int
) -> PageBoxes:
  """One detection around several, with the least of their scores."""
  assert found.scores is not None
  boxes = found.boxes_yxyx[rows]
  around = np.concatenate([boxes[:, :2].min(0), boxes[:, 2:].max(0)])
  worst = rows[np.argmin(found.scores[rows])]
  return _relabelled(
    found.keep(np.array([worst])), np.array([label]), around[None]
  )


def _relabelled(
  found: PageBoxes,
  labels: Int[np.ndarray, " n"],
  boxes_yxyx: Float[np.ndarray, "n 4"] | None = None,
) -> PageBoxes:
  """Detections with other labels, and perhaps other boxes, then upright."""
  changes: dict = {"labels": labels.astype(found.labels.dtype)}
  if boxes_yxyx is not None:
    boxes = boxes_yxyx.astype(found.boxes_yxyx.dtype)
    changes["boxes_yxyx"] = boxes
    if found.oriented_yx is not None:
      changes["oriented_yx"] = np.asarray(box_lib.corners_yx(boxes))
    if found.positions is not None:
      changes["positions"] = np.full_like(found.positions, NO_POSITION)
  return dataclasses.replace(found, **changes)
