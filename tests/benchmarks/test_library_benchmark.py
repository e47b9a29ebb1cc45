"""benchmarks.library writes what a detection would, for pages it makes up."""

import json

import pytest

from benchmarks import library


@pytest.mark.slow
def test_made_up_pages_are_merged(tmp_path):
  library.make(tmp_path, num_pages=3, symbols=4)
  done = library.merge(tmp_path)
  assert (done["pages"], done["symbols"]) == (3, 12)
  rows = json.loads((tmp_path / "out/predictions.json").read_text())
  assert [row["image_id"] for row in rows] == [1] * 4 + [2] * 4 + [3] * 4
