"""Pages of one run, divided among processes and machines by their names."""

import hashlib
import pathlib
import re
from typing import NamedTuple

from dwd_jax.core.errors import InputError

_MOST = 100_000
_FOLDER = "shards"  # of manifests; no page has files there
_MANIFEST = re.compile(r"\d{1,6}-of-\d{1,6}\.json", re.ASCII)


class Shard(NamedTuple):
  """One of `count` parts, which every process computes alike.

  Attributes:
    index: from 0.
  """

  index: int
  count: int

  def has(self, page: str) -> bool:
    """Whether the page of that name falls to this part."""
    return self.index == of_page(page, self.count)

  @property
  def manifest(self) -> str:
    """Path of its manifest in the folder of results."""
    return f"{_FOLDER}/{self.index}-of-{self.count}.json"

  def __str__(self) -> str:
    return f"{self.index}/{self.count}"


def of_page(page: str, count: int) -> int:
  """The part that a page falls to, the same on every machine."""
  digest = hashlib.sha256(page.encode("utf8", "replace")).digest()
  return int.from_bytes(digest[:8]) % count


def parse(text: str) -> Shard:
  """Reads "i/n"; raises InputError unless 0 <= i < n."""
  found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text, re.ASCII)
  if found:
    shard = Shard(int(found[1]), int(found[2]))
    if shard.index < shard.count <= _MOST:
      return shard
  raise InputError(
    f"--shard: '{text}' is no part; the first of 8 is 0/8, the last is 7/8"
  )


def manifests(out: pathlib.Path) -> list[pathlib.Path]:
  """Paths of the manifests of shards in a folder of results.

  Raises:
    InputError: their folder is a link elsewhere.
  """
  folder = out / _FOLDER
  if folder.is_symlink():
    raise InputError(f"{folder}: a link; remove it, or choose another --out")
  paths = sorted(folder.glob("*-of-*.json"))
  return [path for path in paths if _MANIFEST.fullmatch(path.name)]
