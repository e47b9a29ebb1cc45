"""The classes that two data sets have in common.

  python -m dwd_jax.core.vocabulary deepscores_v1 muscima_v2

prints them. `vocabularies.csv` has one row per finest concept and one column
per vocabulary with its name for the concept, empty if it has none. A name fills
every row it covers (noteheadBlack: on a line, in a space). The table draws on
SMuFL, the class lists of the data sets, the two names of each object in
DeepScoresV2, the links between the objects of MUSCIMA++, pages labelled in both
of its versions, and inspection of symbols; the column `note` has exceptions.

Rows in which both vocabularies have a name connect these names; each connected
set is one common class, the finest that both can express.
"""

import csv
import dataclasses
import functools
import pathlib
import textwrap
from collections.abc import Collection, Iterable, Mapping

from dwd_jax.core import cli
from dwd_jax.core.errors import InputError

_FILE = pathlib.Path(__file__).with_name("vocabularies.csv")
VOCABULARIES = (
  "deepscores_v1",
  "deepscores_v2",
  "deepscores_v2_muscima",
  "muscima_v1",
  "muscima_v2",
  "printed",
  "smufl",
)


@dataclasses.dataclass(frozen=True)
class Common:
  """The classes that the vocabularies a and b have in common.

  Attributes:
    names: of the common classes, in the order of the table; the same for
      (a, b) and (b, a).
    of_a: name in a -> common name; `of_b` likewise.
    unmapped_a: names of a without counterpart in b; `unmapped_b` likewise.
  """

  names: tuple[str, ...]
  of_a: Mapping[str, str]
  of_b: Mapping[str, str]
  unmapped_a: tuple[str, ...]
  unmapped_b: tuple[str, ...]


@functools.cache
def table() -> tuple[Mapping[str, str], ...]:
  """The rows of vocabularies.csv, as mappings from column to cell."""
  with _FILE.open(newline="", encoding="utf-8") as file:
    return tuple(csv.DictReader(file))


def first_with(class_names: Iterable[str], candidates: Iterable[str]) -> str:
  """The first vocabulary of `candidates` that has all names, or ""."""
  wanted = set(class_names)
  return next((v for v in candidates if wanted <= set(names_of(v))), "")


def names_of(vocabulary: str) -> tuple[str, ...]:
  """All names of a vocabulary, in the order of the table.

  Raises:
    InputError: the vocabulary is unknown.
  """
  if vocabulary not in VOCABULARIES:
    raise InputError(
      f"vocabulary {vocabulary!r} is unknown; use one of"
      f" {', '.join(VOCABULARIES)}"
    )
  names = dict.fromkeys(row[vocabulary] for row in table())
  return tuple(name for name in names if name)


@functools.cache
def common_classes(a: str, b: str) -> Common:
  """The finest classes that two vocabularies can both express.

  A common class takes its name from the vocabulary that has a single name for
  it, preferably the first in `VOCABULARIES`; if neither has one, from the names
  in the first, joined with "+". With itself, a vocabulary shares all names.

  Raises:
    InputError: a vocabulary is unknown.
  """
  all_a, all_b = names_of(a), names_of(b)
  links = [(row[a], row[b]) for row in table() if row[a] and row[b]]
  of_a, of_b = {}, {}
  for part_a, part_b in components(links):
    first, second = part_a, part_b
    if VOCABULARIES.index(a) > VOCABULARIES.index(b):
      first, second = second, first
    single = len(second) == 1 < len(first)
    name = second[0] if single else "+".join(first)
    of_a |= dict.fromkeys(part_a, name)
    of_b |= dict.fromkeys(part_b, name)
  return Common(
    names=tuple(dict.fromkeys(of_a[x] for x, _ in links)),
    of_a=of_a,
    of_b=of_b,
    unmapped_a=tuple(name for name in all_a if name not in of_a),
    unmapped_b=tuple(name for name in all_b if name not in of_b),
  )


def components(
  links: Iterable[tuple[str, str]],
) -> list[tuple[list[str], list[str]]]:
  """Connected sets (names of a, names of b) of a bipartite graph.

  They are in the order of the links (name of a, name of b).
  """
  parts: list[tuple[dict, dict]] = []
  for x, y in links:
    touched = [p for p in parts if x in p[0] or y in p[1]]
    merged = touched[0] if touched else ({}, {})
    for part in touched[1:]:
      merged[0].update(part[0])
      merged[1].update(part[1])
      parts.remove(part)
    if not touched:
      parts.append(merged)
    merged[0][x] = merged[1][y] = None
  return [(list(part[0]), list(part[1])) for part in parts]


def mapped_classes(
  class_names: Collection[str],
  leave_out: Collection[str],
  vocabulary: str,
  other: str,
  where: str,
) -> tuple[tuple[str, ...], dict[str, str]]:
  """Replaces the classes of a data set by those shared with a vocabulary.

  The new names depend on the vocabularies and `leave_out` alone, so data sets
  of one vocabulary get equal lists.

  Args:
    leave_out: names to leave out first.
    vocabulary: of the data set; "" raises `InputError`.
    other: one of `VOCABULARIES`.
    where: file or data set, for messages.

  Returns:
    Names of the new classes, without those that `leave_out` empties, and
    {old name: new name}, without unmapped names.
  """
  if not vocabulary:
    raise InputError(
      f"{where}: its class names belong to no known vocabulary"
      f" ({', '.join(VOCABULARIES)}), so nothing can be mapped; leave"
      " data.common_with empty, or give its classes the names of one"
    )
  common = common_classes(vocabulary, other)
  kept = {x: y for x, y in common.of_a.items() if x not in leave_out}
  left = set(kept.values())
  return (
    tuple(name for name in common.names if name in left),
    {name: kept[name] for name in class_names if name in kept},
  )


def describe_unmapped(
  split: str, unmapped: Mapping[str, int], kept: int
) -> str:
  """One line on the boxes left out, given {name: number of boxes}."""
  boxes = sum(unmapped.values())
  most = sorted(unmapped.items(), key=lambda item: -item[1])[:3]
  names = ", ".join(f"{name} {count}" for name, count in most)
  return (
    f"{split}: {boxes} of {boxes + kept} boxes are of no common class and left"
    f" out (most: {names})"
  )


def describe_left_out(left_out: Mapping[str, int], names: str) -> str:
  """One line on detections without a name in a vocabulary.

  Args:
    left_out: number by class of the detector, not empty.
    names: the vocabulary.
  """
  most = sorted(left_out.items(), key=lambda item: -item[1])
  shown = [f"{count} {name}" for name, count in most]
  why = f"as {names} has no name for them"
  if names == "deepscores_v2" and any(
    "notehead" in x.lower() for x in left_out
  ):
    why += ", or, for noteheads, no staff tells a line from a space"
  return f"{sum(left_out.values())} symbols left out, {why}: {', '.join(shown)}"


def describe(a: str, b: str) -> str:
  """The common classes of two vocabularies as a readable table."""
  common = common_classes(a, b)
  lines = [f"{len(common.names)} classes of {a} and {b}:"]
  for name in common.names:
    sides = [
      ", ".join(x for x, y in of.items() if y == name)
      for of in (common.of_a, common.of_b)
    ]
    lines.append(f"  {name}: {sides[0]} | {sides[1]}")
  for vocabulary, unmapped in ((a, common.unmapped_a), (b, common.unmapped_b)):
    if unmapped:
      lines.append(f"{len(unmapped)} of {vocabulary} only:")
    for name in unmapped:
      notes = dict.fromkeys(
        row["note"] for row in table() if row[vocabulary] == name
      )
      why = "; ".join(filter(None, notes))
      lines.append(f"  {name}{f' ({why})' if why else ''}")
  return "\n".join(lines)


def main(argv: list[str]) -> int:
  """Prints the common classes of two vocabularies; returns the exit code."""
  parser = cli.parser(
    "dwd_jax.core.vocabulary",
    "Print the classes that two data sets have in common.\n\n"
    + textwrap.fill(f"A and B are of {', '.join(VOCABULARIES)}."),
    "A B",
  )
  parser.add_argument("a", metavar="A", help="the one")
  parser.add_argument("b", metavar="B", help="the other")
  flags = parser.parse_args(argv)

  def run() -> int:
    print(describe(flags.a, flags.b))
    return 0

  return cli.run(run, "stdout")


if __name__ == "__main__":
  cli.start(main)
