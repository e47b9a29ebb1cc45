"""Whatever source_files.json holds: what has changed, or nothing."""

import json

import fuzz_helpers as helpers
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dwd_jax.data import source_files

_KEYS = ("a.txt", "a.png", "bytes", "mtime_ns", "blake2b", "x")
_ODD = st.recursive(
  helpers.JSON_ODD,
  lambda inner: st.dictionaries(st.sampled_from(_KEYS), inner, max_size=4),
  max_leaves=8,
)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
  """A folder of records, and the files they were made of."""
  records, pages = (tmp_path_factory.mktemp(n) for n in ("records", "pages"))
  (pages / "a.txt").write_text("0 .5 .5 .1 .1")
  (pages / "a.png").write_bytes(b"...")
  return records, pages


def _changes(folders) -> str:
  found = source_files.changes(*folders, without=())
  assert isinstance(found, str)
  assert len(found.splitlines()) < 2
  return found


@helpers.cases()
@given(content=_ODD)
def test_odd_values(folders, content):
  (folders[0] / source_files.NAME).write_text(json.dumps(content))
  _changes(folders)


@helpers.cases()
@given(data=st.binary(max_size=50))
@example(data=b"[" * 200_000)
@example(data=b'{"a.txt": {}}')
@example(data=b'{"a\\n\\u001b[2Jb": {"bytes": 1}}')
def test_random_bytes(folders, data):
  (folders[0] / source_files.NAME).write_bytes(data)
  _changes(folders)


def test_facts_that_were_written_are_right(folders):
  records, pages = folders
  # A broken link, which no builder reads.
  (pages / "b.png").symlink_to(pages / "absent.png")
  source_files.write(records, source_files.facts(pages, without=()))
  assert _changes(folders) == ""
  (pages / "a.txt").write_text("1 .5 .5 .1 .1")
  assert _changes(folders) == "1 changed (a.txt)"
