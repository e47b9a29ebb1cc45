"""The writer of random scores: rhythms, weights, determinism."""

import random
import re

import pytest
from lxml import etree

from dwd_jax.core.errors import InputError
from dwd_jax.engrave import mei_rhythm
from dwd_jax.engrave.mei_score import ScoreWriter
from dwd_jax.engrave.rarities import CHOICES, Rarities

_LAYOUTS = [name for name in CHOICES["layout"] if name != "plain"]
_METERS = [m for m in CHOICES["meter"] if "/" in m]


def _ticks(nodes, factor=1.0):
  total = 0.0
  for node in nodes:
    if isinstance(node, mei_rhythm.Slot):
      total += node.ticks * factor
    else:
      inside = factor * node.base / node.num if node.num else factor
      total += _ticks(node.nodes, inside)
  return total


@pytest.mark.parametrize("meter", _METERS)
@pytest.mark.parametrize("cue", [False, True], ids=["plain", "cue"])
@pytest.mark.parametrize("rare", [0.0, 0.5], ids=["usual", "rare_tuplets"])
def test_measures_are_full(meter, cue, rare):
  count, unit = (int(n) for n in meter.split("/"))
  rng = random.Random(meter)
  for _ in range(50):
    weights = Rarities({"rare_tuplet": rare})
    nodes = mei_rhythm.fill_measure(rng, weights, count, unit, cue)
    assert _ticks(nodes) == pytest.approx(mei_rhythm.WHOLE * count / unit)


@pytest.mark.parametrize("meter", _METERS)
def test_long_notes_fill_a_measure(meter):
  count, unit = (int(n) for n in meter.split("/"))
  rng = random.Random(meter)
  for _ in range(20):
    nodes = mei_rhythm.long_notes(rng, count, unit)
    assert _ticks(nodes) == pytest.approx(mei_rhythm.WHOLE * count / unit)


def test_every_pattern_is_as_long_as_its_beat():
  every = [
    (length, pattern)
    for length, patterns in mei_rhythm._PATTERNS.items()
    for _, pattern in patterns
  ]
  for length, patterns in mei_rhythm._RARE.items():
    every += [(length, pattern) for pattern in patterns]
  for length, pattern in every:
    nodes = mei_rhythm.parse(pattern)
    assert _ticks(nodes) == pytest.approx(length), pattern


def test_texts_do_not_change_the_music():
  """They come from a generator of their own."""
  rates = ("text", "tempo", "lyrics", "song", "chord_symbols", "title")
  for seed in range(4):
    scores = [
      ScoreWriter(
        random.Random(seed), Rarities(dict.fromkeys(rates, rate))
      ).write(8)
      for rate in (0.0, 1.0)
    ]
    music = [re.findall(r"<(?:note|rest|artic|fing) [^>]*>", s) for s in scores]
    assert scores[0] != scores[1] and music[0] == music[1]
    assert "<verse" not in scores[0] and "<harm" in scores[1]


def test_same_generator_same_score():
  first, second = (
    ScoreWriter(random.Random("7/3"), Rarities()).write(20) for _ in range(2)
  )
  assert first == second
  assert first != ScoreWriter(random.Random("7/4"), Rarities()).write(20)


@pytest.mark.parametrize("kind", [*CHOICES["score"], *_LAYOUTS])
def test_scores_of_every_kind_are_well_formed(kind):
  group = "layout" if kind in _LAYOUTS else "score"
  weights = Rarities({"ossia": 1.0})
  weights.choices[group] = {kind: 1.0}
  layout = random.Random(1) if group == "layout" else None
  writer = ScoreWriter(random.Random(1), weights, layout)
  assert writer.kind == kind
  root = etree.fromstring(writer.write(12).encode())
  mei = "{http://www.music-encoding.org/ns/mei}"
  idents = [
    e.get("{http://www.w3.org/XML/1998/namespace}id")
    for e in root.iter(f"{mei}note", f"{mei}chord", f"{mei}rest")
  ]
  idents = [i for i in idents if i]
  assert len(idents) == len(set(idents))
  known = set(idents)
  for element in root.iter():
    for end in ("startid", "endid"):
      if element.get(end):
        assert element.get(end)[1:] in known


def test_weights_change_what_is_written():
  none = Rarities({"grace": 0.0, "key_change": 0.0, "lyrics": 0.0})
  many = Rarities({"grace": 1.0})
  for seed in range(5):
    assert "grace=" not in ScoreWriter(random.Random(seed), none).write(10)
  assert ScoreWriter(random.Random(0), many).write(10).count("grace=") > 20


@pytest.mark.parametrize(
  ("caption", "changes", "message"),
  [
    ("a typing error", {"grase": 1.0}, "did you mean 'grace'"),
    ("nothing like it", {"zzz": 1.0}, "'zzz' is unknown"),
    ("negative", {"grace": -1.0}, "must be a number >= 0"),
    ("not a number", {"grace": float("nan")}, "must be a number >= 0"),
    (
      "nothing left to choose",
      {"stringsDownBow": 0.0, "stringsUpBow": 0.0},
      "every choice of 'bowing' is 0",
    ),
  ],
)
def test_bad_weights(caption, changes, message):
  with pytest.raises(InputError, match=message):
    Rarities(changes)
