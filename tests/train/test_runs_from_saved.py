"""`--mode=eval --config.eval.from_saved=True`."""

import json
import re
import shutil

import pytest
import run_helpers

from dwd_jax import main

SAVED = ("--mode=eval", "--config.eval.from_saved=True")


@pytest.fixture
def evaluated(smoke_run, tmp_path):
  """A workdir with nothing but the results of an evaluation."""
  shutil.copytree(smoke_run / "eval", tmp_path / "eval")
  return tmp_path


def _json(path):
  return json.loads(path.read_text())


def test_every_evaluation_has_a_report_and_a_viewer(smoke_run):
  for split in ("val", "test"):
    folder = smoke_run / "eval" / split
    scores = _json(smoke_run / "eval" / f"{split}.json")
    report = _json(folder / "report.json")
    assert report["point"]["threshold"] == max(scores["threshold"], 0.05)
    assert len(report["pages"]) == len(list(folder.glob("pages/*.jpg"))) == 2
    page = (folder / "report.html").read_text()
    assert page.count("index.html#page=engraved-0-") == 2
    assert (folder / "index.html").is_file()
    assert report["sizes"]["staff_spaces"] is not None


def test_results_are_measured_anew_from_nothing_else(
  smoke_run, evaluated, parse, capsys
):
  parse(*run_helpers.flags(evaluated, *SAVED))
  main.main([])
  # No data set, no checkpoint, no compiled code, nothing but the results.
  assert [p.name for p in evaluated.iterdir()] == ["eval"]
  for name in ("val.json", "test.json", "test/report.json", "res-0.5.txt"):
    file = evaluated / "eval" / name
    assert file.read_bytes() == (smoke_run / "eval" / name).read_bytes()
  assert re.search(r"^val: mAP .*\ntest: mAP ", capsys.readouterr().out, re.M)


def test_protocol_and_least_score_are_those_of_the_flags(evaluated, parse):
  given = ("--config.eval.protocol=voc", "--config.eval.min_score=.2")
  parse(*run_helpers.flags(evaluated, *SAVED, *given))
  main.main([])
  for split in ("val", "test"):
    scores = _json(evaluated / "eval" / f"{split}.json")
    assert (scores["protocol"], scores["min_score"]) == ("voc", 0.2)
    saved = _json(evaluated / "eval" / split / "predictions.json")
    kept = sum(row["score"] >= 0.2 for row in saved)
    assert scores["num_detections"] == kept


# Caption: flags, what the line says.
REFUSED = {
  "nothing is saved": (
    [*SAVED, "--config.data.test_split=other"],
    r"eval/other\.json: cannot be read .* --mode=eval with the same config",
  ),
  "a score below the saved one": (
    [*SAVED, "--config.eval.min_score=0.01"],
    r"eval\.min_score is 0\.01, but .*val/predictions\.json holds .* 0\.05",
  ),
  "a training": (
    ["--config.eval.from_saved=True"],
    r"config: eval\.from_saved is for --mode=eval only",
  ),
  "pages below none": (
    [*SAVED, "--config.eval.viewer_pages=-2"],
    r"config: eval\.viewer_pages is -2; use a number of pages, -1 for all",
  ),
}


@pytest.mark.parametrize("caption", REFUSED)
def test_what_makes_no_sense_ends_with_one_line(evaluated, refusal, caption):
  flags, message = REFUSED[caption]
  assert re.search(message, refusal(*run_helpers.flags(evaluated, *flags)))
