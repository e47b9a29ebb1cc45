"""The command that builds records, and the same records through Beam."""

import json
import shutil
import subprocess
import sys

import pytest

from dwd_jax import build
from dwd_jax.core.errors import InputError
from dwd_jax.data import sources
from dwd_jax.train import settings

_XML = "segmentation_detection/xml_annotations/dummy-rgba-page-1.xml"


@pytest.fixture
def scores(repo_dir, tmp_path):
  """DeepScores pages, one box of which is no number."""
  folder = tmp_path / "scores"
  shutil.copytree(repo_dir / "tfds_builders/deepscores/dummy_data", folder)
  text = (folder / _XML).read_text()
  (folder / _XML).write_text(text.replace("<xmin>0.", "<xmin>nan", 1))
  return folder


def _build(scores, out, *args):
  return build.main(
    ["deepscores", f"--manual-dir={scores}", f"--data-dir={out}", *args]
  )


def _shards(out):
  return {p.name: p.read_bytes() for p in out.rglob("*.array_record*")}


def test_one_command_builds(scores, tmp_path, capsys):
  assert _build(scores, tmp_path / "out") == 0
  said = capsys.readouterr().out
  assert "train 3, val 1, test 1" in said
  assert "1 boxes skipped: not a usable number" in said
  (folder,) = (tmp_path / "out/deepscores/dense_2017").iterdir()
  assert len(sources.open_records(folder, "train")) == 3


@pytest.mark.parametrize("workers", [1, 3])
def test_threads_change_nothing(scores, tmp_path, workers):
  assert _build(scores, tmp_path / "a") == 0
  assert _build(scores, tmp_path / "b", f"--workers={workers}") == 0
  assert len(_shards(tmp_path / "a")) == 3
  assert _shards(tmp_path / "a") == _shards(tmp_path / "b")


_BAD = {
  "no such builder": (["nothing"], "no builder 'nothing'"),
  "no such folder": (["deepscores", "--manual-dir=none"], "none: no such"),
  "no such option": (["deepscores", "--option=mergevaltest=1"], "did you mean"),
  "option without a value": (["deepscores", "--option=masks"], "masks=VALUE"),
  "option of another builder": (
    ["deepscores", "--option=masks=1"],
    "data.options.masks: the builder deepscores has no such option",
  ),
}


@pytest.mark.parametrize("caption", _BAD)
def test_bad_flags_are_one_line(caption, scores, tmp_path, capsys):
  args, message = _BAD[caption]
  given = [f"--manual-dir={scores}", f"--data-dir={tmp_path / 'out'}"]
  assert build.main([args[0], *given, *args[1:]]) == 2
  said = capsys.readouterr().err
  assert said.startswith("dwd_jax: ")
  assert message in said
  assert said.count("\n") == 1


def test_options_keep_their_types():
  options = settings.default().data.options
  settings.parse_option("merge_val_test=true", options)
  settings.parse_option('class_names=a,"b, ""c""",d', options)
  settings.parse_option("official_split=dependent", options)
  assert options.merge_val_test is True
  assert options.class_names == ("a", 'b, "c"', "d")
  assert options.official_split == "dependent"
  with pytest.raises(InputError, match="merge_val_test=VALUE"):
    settings.parse_option("merge_val_test=perhaps", options)


# Apache Beam is an extra; CI installs it after the other tests.
_BEAM = ("--", "--runner=FnApiRunner")


def test_beam_makes_the_same_records(scores, tmp_path):
  pytest.importorskip("apache_beam", reason="needs dwd_jax[beam]")
  (scores / "train_val_test/again.txt").write_text("dummy-rgb-page-1\n")
  assert _build(scores, tmp_path / "plain") == 0
  assert _build(scores, tmp_path / "beam", *_BEAM) == 0
  assert len(_shards(tmp_path / "plain")) == 4
  assert _shards(tmp_path / "plain") == _shards(tmp_path / "beam")
  for name in ("build_report.json", "metadata.json"):
    plain, beam = (
      json.loads(next((tmp_path / d).rglob(name)).read_text())
      for d in ("plain", "beam")
    )
    assert plain == beam


def test_beam_reports_a_bad_file_in_one_line(scores, tmp_path, capsys):
  pytest.importorskip("apache_beam", reason="needs dwd_jax[beam]")
  (scores / _XML).write_text("<annotation>")
  assert _build(scores, tmp_path / "out", *_BEAM) == 2
  said = capsys.readouterr().err
  assert "dummy-rgba-page-1.xml: broken XML" in said
  assert len(said.strip().splitlines()[-1]) < 400
  assert not list((tmp_path / "out").rglob("metadata.json"))


@pytest.mark.parametrize(
  ("args", "message"),
  [
    (["--runner=NoSuchRunner"], "--runner=NoSuchRunner: "),
    (["--direct_num_workers=2"], "--: no engine; name it"),
  ],
)
def test_an_unknown_runner_is_one_line(args, message, scores, tmp_path, capsys):
  pytest.importorskip("apache_beam", reason="needs dwd_jax[beam]")
  assert _build(scores, tmp_path / "out", "--", *args) == 2
  said = capsys.readouterr().err
  assert f"dwd_jax: {message}" in said
  assert said.count("\n") == 1


# The size of files is limited: a write then fails as on a full disk.
_ON_A_FULL_DISK = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
from dwd_jax import build
sys.exit(build.main(sys.argv[1:]))
"""


def test_a_full_disk_is_one_line_and_leaves_nothing(scores, tmp_path, repo_dir):
  out = tmp_path / "out"
  flags = ["deepscores", f"--manual-dir={scores}", f"--data-dir={out}"]
  done = subprocess.run(
    [sys.executable, "-c", _ON_A_FULL_DISK, *flags],
    cwd=repo_dir,
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 2, done.stderr
  line = done.stderr.strip().splitlines()[-1]
  assert line.startswith(f"dwd_jax: {out}: cannot write the records (File too")
  assert "make room or make it writable" in line
  assert [p.name for p in out.iterdir()] == [".records.lock"]
