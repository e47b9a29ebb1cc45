"""What a check found, and how bad it is."""

import dataclasses
from collections.abc import Iterable

LEVELS = ("error", "warning", "info")
_NAMED = 8  # pages that a line of text names


@dataclasses.dataclass(frozen=True)
class Finding:
  """One kind of fault, or something to know.

  Attributes:
    level: error (training or scores would be wrong), warning (probably not
      meant), info.
    kind: two or three words; the same for findings of the same kind.
    message: one line of what was found, with figures.
    remedy: one line of what to do.
    pages: indices of the pages that show it, the worst first.
    details: more lines, for example one for each bad file.
  """

  level: str
  kind: str
  message: str
  remedy: str
  pages: tuple[int, ...] = ()
  details: tuple[str, ...] = ()

  def __post_init__(self):
    assert self.level in LEVELS


def by_level(findings: Iterable[Finding]) -> list[Finding]:
  """Errors first."""
  return sorted(findings, key=lambda f: LEVELS.index(f.level))


def plural(count: int, noun: str) -> str:
  """ "1 page", "2 pages"."""
  if count == 1:
    return f"1 {noun}"
  many = f"{noun}es" if noun.endswith(("x", "ss")) else f"{noun}s"
  return f"{count:,} {many}"


def listed(names: Iterable[str], limit: int = _NAMED) -> str:
  """The first names, and how many more there are."""
  names = list(names)
  more = f" and {len(names) - limit:,} more" if len(names) > limit else ""
  return ", ".join(names[:limit]) + more
