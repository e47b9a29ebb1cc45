"""A measure of tablature: digits on lines, on which nothing is to be found."""

import random

from dwd_jax.engrave.mei_layer import Staff
from dwd_jax.engrave.mei_rhythm import Node, Slot


def layer(rng: random.Random, staff: Staff, nodes: list[Node]) -> str:
  """The layer of one measure with that rhythm."""
  return f'<layer n="1">{"".join(_node(rng, staff, n) for n in nodes)}</layer>'


def _node(rng: random.Random, staff: Staff, node: Node) -> str:
  if isinstance(node, Slot):
    return _slot(rng, staff, node)
  inside = "".join(_node(rng, staff, child) for child in node.nodes)
  if node.num:
    tag = f'tuplet num="{node.num}" numbase="{node.base}"'
    hidden = 'num.visible="false" bracket.visible="false"'
    return f"<{tag} {hidden}>{inside}</tuplet>"
  return f"<beam>{inside}</beam>" if staff.durations else inside


def _slot(rng: random.Random, staff: Staff, slot: Slot) -> str:
  """Digits on one or several strings, or nothing for a rest."""
  head = f'dur="{slot.dur}"' + (' dots="1"' if slot.dots else "")
  if slot.rest or slot.dur == "breve":
    return f"<space {head}/>"
  strings = min(rng.choice((1, 1, 1, 2, 3, 4)), staff.lines)
  frets = (0, 0, 1, 2, 2, 3, 3, 4, 5, 7, 9, 10, 12)
  notes = "".join(
    f'<note tab.course="{course}" tab.fret="{rng.choice(frets)}"/>'
    for course in sorted(rng.sample(range(1, staff.lines + 1), strings))
  )
  stem = "<tabDurSym/>" if staff.durations else ""
  return f"<tabGrp {head}>{stem}{notes}</tabGrp>"
