"""Rhythms of one measure: beats filled with patterns of notes and rests.

Durations are in ticks of a 128th note. A rhythm is a list of nodes: a `Slot`
(one note, chord or rest) or a `Bundle` (a beam or a tuplet).
"""

import dataclasses
import functools
import random

from dwd_jax.engrave.rarities import Rarities

WHOLE = 128


@dataclasses.dataclass(frozen=True)
class Slot:
  """A note or rest; `dur` as in MEI ("breve", "1" ... "128")."""

  dur: str
  dots: int
  rest: bool
  beamed: bool = False

  @property
  def ticks(self) -> int:
    """The length outside tuplets."""
    plain = 2 * WHOLE if self.dur == "breve" else WHOLE // int(self.dur)
    return plain * 3 // 2 if self.dots else plain


@dataclasses.dataclass(frozen=True)
class Bundle:
  """A beam (num = 0) or a tuplet of `num` in the time of `base`."""

  num: int
  base: int
  nodes: tuple["Slot | Bundle", ...]


Node = Slot | Bundle

# n = note, r = rest, [ ] = beam, N{ } = tuplet; the first number is a weight.
_PATTERNS: dict[int, tuple[tuple[float, str], ...]] = {
  24: (  # a dotted eighth
    (2, "[ n16 n16 n16 ]"), (2, "n8."), (1, "n8 n16"), (1, "r16 [ n16 n16 ]"),
    (1, "[ n16 n32 n32 n16 ]"),
  ),
  32: (  # a quarter
    (7, "n4"), (6, "[ n8 n8 ]"), (4, "[ n16 n16 n16 n16 ]"),
    (2, "[ n8 n16 n16 ]"), (2, "[ n16 n16 n8 ]"), (1, "[ n16 n8 n16 ]"),
    (2, "[ n8. n16 ]"), (1.6, "r4"), (2, "n8 r8"), (2, "r8 n8"),
    (1, "r16 [ n16 n16 n16 ]"), (1, "n16 r16 n8"),
    (1, "[ n32 n32 n32 n32 n16 n16 ]"), (1.6, "3{ [ n8 n8 n8 ] }"),
    (0.5, "3{ n4 n8 }"), (0.5, "3{ [ n8 r8 n8 ] }"),
    (1.3, "6{ [ n16 n16 n16 n16 n16 n16 ] }"),
    (0.3, "5{ [ n16 n16 n16 n16 n16 ] }"),
  ),
  48: (  # a dotted quarter
    (4, "n4."), (5, "[ n8 n8 n8 ]"), (3, "n4 n8"), (2, "n8 n4"),
    (2, "[ n8. n16 n8 ]"), (2, "[ n16 n16 n16 n16 n16 n16 ]"), (1, "r4 n8"),
    (1, "n4 r8"), (1, "r8 [ n8 n8 ]"), (1, "[ n8 n16 n16 n8 ]"), (0.6, "r4."),
  ),
  64: (  # a half
    (6, "n2"), (2, "n4. n8"), (1.5, "n8 n4 n8"), (2, "[ n8 n8 n8 n8 ]"),
    (1.5, "r2"), (0.8, "3{ n4 n4 n4 }"),
  ),
  96: ((4, "n2."), (1, "n2 r4"), (1, "r2 n4"), (1, "r2.")),
  128: (
    (5, "n1"), (1, "r1"), (1, "n2. n4"),
    (1, "[ n8 n8 n8 n8 ] [ n8 n8 n8 n8 ]"),
  ),
  256: ((4, "nbreve"), (2, "rbreve"), (2, "n1 n1"), (1, "n1 r1")),
}  # fmt: skip
# Beats for vocabularies that have names for these numbers.
_RARE: dict[int, tuple[str, ...]] = {
  32: (
    "7{ [ n16 n16 n16 n16 n16 n16 n16 ] }", "7{ n8. [ n16 n16 n16 n16 ] }",
    "9{ [ n32 n32 n32 n32 n32 n32 n32 n32 n32 ] }", "9{ n8 [ n16 n16 n32 ] }",
    "11{ n8 [ n16 n16 n16 n32 ] }", "12{ n8 n8 [ n16 n16 ] }",
    "13{ n8 r8 [ n16 n16 n32 ] }",
  ),
  48: (
    "2{ [ n8 n8 ] }", "2{ n8 r8 }", "4{ [ n8 n8 n8 n8 ] }", "4{ n4 r8 n8 }",
    "8{ [ n16 n16 n16 n16 n16 n16 n16 n16 ] }", "8{ n8 r8 [ n8 n16 n16 ] }",
  ),
  96: (
    "2{ n4 n4 }", "4{ n4 n4 n4 n4 }", "8{ [ n8 n8 n8 n8 ] [ n8 n8 n8 n8 ] }",
    "8{ n4 n4 n4 r8 n8 }",
  ),
}  # fmt: skip
_BASES = {
  2: 3, 3: 2, 4: 3, 5: 4, 6: 4, 7: 4, 8: 6, 9: 8, 11: 8, 12: 8, 13: 8,
}  # fmt: skip
_SPANS = {32: 12, 64: 4, 96: 1, 128: 1.5, 256: 40}  # weights of lengths
_CUE_SPANS = {32: 4, 64: 4, 96: 1, 128: 3, 256: 60}


@functools.cache
def parse(pattern: str) -> tuple[Node, ...]:
  """The nodes of a pattern."""
  stack: list[tuple[str, list[Node]]] = [("", [])]
  for token in pattern.split():
    if token == "[" or token.endswith("{"):
      stack.append((token, []))
    elif token in ("]", "}"):
      opening, nodes = stack.pop()
      num = int(opening[:-1]) if opening != "[" else 0
      base = _BASES.get(num, 0)
      stack[-1][1].append(Bundle(num, base, tuple(nodes)))
    else:
      dur = token[1:].rstrip(".")
      beamed = any(opening == "[" for opening, _ in stack)
      dots = token.count(".")
      stack[-1][1].append(Slot(dur, dots, token[0] == "r", beamed))
  return tuple(stack[0][1])


def measure_ticks(count: int, unit: int) -> int:
  """Length of a measure."""
  return WHOLE // unit * count


def _beats(count: int, unit: int) -> list[int]:
  """Divides a measure into beats of 24, 32 or 48 ticks."""
  if unit == 16:
    return [24] * (count // 3)
  if unit == 8:
    threes = count // 3 if count % 3 != 1 else count // 3 - 1
    return [48] * threes + [32] * ((count - 3 * threes) // 2)
  return [32] * (count * 4 // unit)


def fill_measure(
  rng: random.Random,
  weights: Rarities,
  count: int,
  unit: int,
  cue: bool = False,
) -> list[Node]:
  """A random rhythm that fills one measure exactly.

  Args:
    weights: rates of `ladder` and `rare_tuplet`.
    count: upper number of the meter.
    unit: lower number of the meter.
    cue: prefer longer notes, as cues have.
  """
  beats = _beats(count, unit)
  if unit >= 8:
    rng.shuffle(beats)
  spans = _CUE_SPANS if cue else _SPANS
  nodes: list[Node] = []
  at = 0
  while at < len(beats):
    length = beats[at]
    if length == 32 and unit < 8:
      rest = 32 * (len(beats) - at)
      # Long notes start where they are easy to read.
      fitting = [
        s for s in spans if s <= rest and (s != 64 or at % 2 == 0 or rest <= 96)
      ]
      length = rng.choices(fitting, [spans[s] for s in fitting])[0]
    if length == 32 and not cue and weights.happens(rng, "ladder"):
      nodes += _ladder(rng, length)
    elif not cue and _is_rare(rng, weights, length):
      nodes += parse(rng.choice(_RARE[length]))
    else:
      nodes += parse(_choose(rng, length, cue))
    at += max(1, length // 32) if unit < 8 else 1
  return nodes


def long_notes(rng: random.Random, count: int, unit: int) -> list[Node]:
  """A measure of half notes and longer, as far as they fit in."""
  left = measure_ticks(count, unit)
  lengths = {256: 1, 192: 1, 128: 4, 96: 2, 64: 6}  # and their weights
  nodes: list[Node] = []
  while left:
    fitting = [n for n in lengths if n <= left] or [
      next(n for n in (48, 32, 24, 16, 12, 8) if n <= left)
    ]
    length = rng.choices(fitting, [lengths.get(n, 1) for n in fitting])[0]
    plain = length * 2 // 3 if length % 3 == 0 else length
    dur = "breve" if plain > WHOLE else str(WHOLE // plain)
    nodes.append(Slot(dur, int(plain != length), rest=False))
    left -= length
  return nodes


def _is_rare(rng: random.Random, weights: Rarities, length: int) -> bool:
  """Whether to write a tuplet of an unusual number."""
  rate = weights.rates["rare_tuplet"]
  return rate > 0 and length in _RARE and weights.happens(rng, "rare_tuplet")


def _choose(rng: random.Random, length: int, cue: bool) -> str:
  """A pattern of that length; for cues without flags that have no class."""
  fitting = [
    (weight, pattern)
    for weight, pattern in _PATTERNS[length]
    if not cue or not any(map(_is_short_flag, parse(pattern)))
  ]
  weights, patterns = zip(*fitting, strict=True)
  return rng.choices(patterns, weights)[0]


def _is_short_flag(node: Node) -> bool:
  """Whether it is a single note shorter than an eighth."""
  return isinstance(node, Slot) and not node.rest and node.ticks < WHOLE // 8


def _ladder(rng: random.Random, length: int) -> list[Node]:
  """A beat halved repeatedly, as single notes with flags and rests."""
  depth = rng.choice((2, 3, 4, 4, 5, 5))
  pieces = [length >> (i + 1) for i in range(depth)]
  pieces.append(pieces[-1])
  if rng.random() < 0.5:
    pieces.reverse()
  return [
    Slot(str(WHOLE // piece), 0, rest=rng.random() < 0.45) for piece in pieces
  ]


def tstamp(ticks: int, unit: int) -> str:
  """MEI's position in a measure: beats of the meter from 1.

  Args:
    unit: lower number of the meter.
  """
  return f'tstamp="{1 + ticks * unit / WHOLE:g}"'
