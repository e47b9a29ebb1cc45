"""Which score goes to which split."""

from collections.abc import Mapping

from dwd_jax.core.errors import InputError

NAMES = ("train", "val", "test")
DEFAULT_SHARES = {"train": 0.80, "val": 0.08, "test": 0.12}


class Splitter:
  """Deals scores out so that pages meet the shares; same order, same deal."""

  def __init__(self, shares: Mapping[str, float] | None = None):
    """A splitter.

    Args:
      shares: of the pages, by split; any scale.

    Raises:
      InputError: if a share is negative, a name unknown or all are 0.
    """
    shares = dict(DEFAULT_SHARES if shares is None else shares)
    total = sum(shares.values())
    if set(shares) - set(NAMES) or min(shares.values()) < 0 or not total > 0:
      raise InputError(
        f"split shares {shares}: give train, val and test numbers >= 0"
      )
    self.shares = {name: shares.get(name, 0.0) / total for name in NAMES}
    self.pages: dict[str, list[str]] = {name: [] for name in NAMES}
    self._of: dict[str, str] = {}

  def add(self, score: str, pages: list[str]) -> str:
    """Adds the pages of a score.

    Args:
      score: its name; pages of a name seen before go where that went.
      pages: page names.

    Returns:
      The split.
    """
    if score not in self._of:
      self._of[score] = self._next(len(pages))
    split = self._of[score]
    self.pages[split] += pages
    return split

  def _next(self, size: int) -> str:
    # Every split that is asked for gets a score before any gets two.
    for name in NAMES:
      if self.shares[name] and not self.pages[name]:
        return name
    total = sum(len(p) for p in self.pages.values()) + size
    return max(NAMES, key=lambda n: self.shares[n] * total - len(self.pages[n]))
