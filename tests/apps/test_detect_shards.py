"""--shard and --merge: several processes write into one folder."""

import itertools
import json
import pickle

import detect_helpers as helpers
import pytest

from dwd_jax.apps.detect import (
  detect_files,
  detect_pages,
  inputs,
  outputs,
  shards,
)
from dwd_jax.apps.detect.shards import Shard
from dwd_jax.core import threads
from dwd_jax.core.errors import InputError

NAMES = ("a", "b", "c", "d", "e")
BROKEN = "broken"
RUN_FILES = ("predictions.json", "coco_images.json", "detections.csv")


@pytest.fixture
def pages(tmp_path):
  folder = tmp_path / "in"
  for i, name in enumerate(NAMES):
    helpers.save(folder / f"{name}.png", helpers.ink(i))
  (folder / f"{BROKEN}.png").write_bytes(b"no picture")
  return folder


def _read(path):
  return json.loads(path.read_text(encoding="utf8"))


def test_shards_and_a_merge_write_what_one_run_does(run, tiny, pages, tmp_path):
  whole, out = tmp_path / "whole", tmp_path / "out"
  assert run(pages, f"--out={whole}")[0] == 1  # of the broken page
  settings = detect_pages.DetectSettings(checkpoint=str(tiny))

  def detect_part(i: int) -> detect_files.Summary:
    return detect_files.run([pages], out, settings, Shard(i, 2), log=None)

  parts = list(threads.in_order(detect_part, range(2), workers=2))
  assert sum(part.pages for part in parts) == len(NAMES)
  assert [len(part.failed) for part in parts] == [1, 0]
  assert not (out / "index.html").exists()
  assert not (out / "detect.json").exists()
  code, said, complained = run(pages, f"--out={out}", "--merge")
  assert code == 1 and "5 images, 1 failed" in said
  assert complained.count("\n") == 1 and f"{BROKEN}.png" in complained
  for file in (*RUN_FILES, "index.html", *(f"{name}.json" for name in NAMES)):
    assert (out / file).read_bytes() == (whole / file).read_bytes(), file
  assert _read(out / "detect.json") == _read(whole / "detect.json")
  # One run goes on from what shards have written.
  code, said, _ = run(pages, f"--out={out}")
  assert code == 1 and "5 images (5 done before), 1 failed" in said


def test_a_merge_tells_what_is_missing(run, pages, tmp_path):
  out = tmp_path / "out"
  (pages / f"{BROKEN}.png").unlink()
  assert run(pages, f"--out={out}", "--shard=0/2")[0] == 0
  code, said, complained = run(pages, f"--out={out}", "--merge")
  late = [name for name in NAMES if shards.of_page(name, 2)]
  assert code == 1 and f" on {len(NAMES) - len(late)} images" in said
  assert f"no results yet: {len(late)} image" in complained
  failed = _read(out / "detect.json")["failed"]
  assert [f["what"] for f in failed] == [str(pages / f"{n}.png") for n in late]
  # Of a page that has changed since, there are no results either.
  helpers.save(pages / "a.png", helpers.ink(9, (50, 60)))
  assert "(a" in run(pages, f"--out={out}", "--merge")[2]


def test_parts_cover_all_pages_once():
  names = [f"page {i}" for i in range(1000)]
  parts = [[n for n in names if Shard(i, 8).has(n)] for i in range(8)]
  assert sorted(itertools.chain(*parts)) == sorted(names)
  assert all(80 < len(part) < 170 for part in parts)
  # SHA-256, first eight bytes; the same on every machine and in every version.
  assert [shards.of_page(name, 8) for name in NAMES] == [2, 2, 2, 1, 2]


def test_a_worker_needs_only_what_can_be_pickled(run, tiny, pages, tmp_path):
  out = tmp_path / "out"
  settings = detect_pages.DetectSettings(checkpoint=str(tiny))
  sources, _ = inputs.find([pages])
  sources = [s for s in sources if s.name != "b"]
  settings, sources = pickle.loads(pickle.dumps((settings, sources)))
  detector = detect_pages.make_detector(settings)
  out.mkdir()
  found = list(detect_pages.detect_pages(detector, settings, sources, out))
  assert [o.source for o in found] == sources
  assert [o.source.name for o in found if o.failure] == [BROKEN]
  failed = [inputs.Failure(o.source.describe(), o.failure) for o in found]
  failed = [f for f in failed if f.reason]
  done = detect_files.merge_pages(
    out,
    detect_pages.facts(settings, detector),
    detect_files.run_facts(settings, detector),
    sources=sources,
    failed=failed,
  )
  assert done.pages == 4 and done.failed == tuple(failed)
  assert done.symbols == sum(o.symbols for o in found) > 0


# Caption: flags, what the one line says.
BAD_INPUT = {
  "past the last": (["--shard=3/3"], "--shard: '3/3' is no part; the first of"),
  "no number": (["--shard=x"], "--shard: 'x' is no part"),
  "none": (["--shard=1/0"], "--shard: '1/0' is no part"),
  "negative": (["--shard=-1/2"], "--shard: '-1/2' is no part"),
  "digits of others": (["--shard=\u0660/2"], "is no part"),
  "both": (["--shard=0/2", "--merge"], "--merge, --shard: give one of them"),
  "overwrite": (["--shard=0/2", "--overwrite"], "--overwrite: would remove"),
  "nothing to merge": (["--merge"], "no results of these pages; detect on"),
  "too often": (["--retries=-1"], "--retries: -1; use 0 to 100"),
}


@pytest.mark.parametrize("caption", BAD_INPUT)
def test_bad_input_is_one_line(run, pages, tmp_path, caption):
  args, message = BAD_INPUT[caption]
  code, said, complained = run(pages, f"--out={tmp_path / 'out'}", *args)
  assert (code, said) == (2, "")
  assert message in complained and complained.count("\n") == 1


def test_shards_have_the_same_settings(run, pages, tmp_path):
  out = tmp_path / "out"
  assert run(pages, f"--out={out}", "--shard=0/2")[0] < 2
  for part in ("--shard=1/2", "--merge"):
    code, _, said = run(pages, f"--out={out}", part, "--min-score=0.9")
    assert code == 2 and "0-of-2.json: holds results of other" in said
  assert [p.name for p in (out / "shards").glob("*.json")] == ["0-of-2.json"]


def test_shards_that_begin_at_once_with_other_settings(tmp_path):
  """Both have looked at the folder before one writes there."""
  out = tmp_path / "out"
  page = helpers.save(tmp_path / "a.png", helpers.ink())
  (source,), _ = inputs.find([page])
  settings = [{"min_score": 0.1}, {"min_score": 0.2}]
  for mine in settings:
    outputs.check_folder(out, mine)
  outputs.claim(out, settings[0], [source], Shard(0, 2))
  with pytest.raises(InputError, match="min_score was"):
    outputs.claim(out, settings[1], [], Shard(1, 2))
  assert [p.name for p in (out / "shards").glob("*.json")] == ["0-of-2.json"]
