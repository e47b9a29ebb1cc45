"""Whole searches, with trials that take no time."""

import json
import os
import pathlib
import re
import signal
import time

import pytest
import stand_in

from dwd_jax.core.errors import InputError
from launch import sweep, sweep_flags
from launch.plan import Plan
from launch.results import Results

# ml_collections loads config files so.
pytestmark = pytest.mark.filterwarnings(
  r"ignore:the load_module\(\) method is deprecated:DeprecationWarning"
)
RATE = stand_in.RATE
RATES = f"--set={RATE}=uniform(0.1,6)"


def choices(*rates) -> str:
  return f"--set={RATE}=choices({','.join(map(str, rates))})"


def started(out: pathlib.Path) -> dict[str, list[int]]:
  """{folder: steps of the runs that were started there}."""
  return {
    str(path.parent.relative_to(out)): [
      int(line.split()[0]) for line in path.read_text().splitlines()
    ]
    for path in sorted(out.glob("trial_*/**/started"))
  }


def summary(out: pathlib.Path) -> dict:
  return json.loads((out / "sweep.json").read_text())


def test_random_search_ranks_all_trials(search, capsys):
  out = search("--trials=7", RATES, "--workers=3", "--steps=20", "--picture")
  content = summary(out)
  assert content["finished"]
  scores = [t["score"] for t in content["trials"]]
  assert len(scores) == 7
  assert scores == sorted(scores, reverse=True)
  for trial in content["trials"]:
    assert trial["score"] == stand_in.score(trial["params"][RATE], 20)
    assert trial["workdir"] == f"trial_{trial['trial']:03d}"
  assert content["best"] == content["trials"][0]
  assert (out / "sweep.png").stat().st_size > 5000
  told = capsys.readouterr().out
  rows = re.findall(r"^(\d) +(\d) +20 +(0\.\d{4}) ", told, re.MULTILINE)
  assert [int(row[1]) for row in rows] == [
    t["trial"] for t in content["trials"]
  ]
  rate = content["best"]["params"][RATE]
  assert f"--config.{RATE}={rate}" in told.splitlines()[-1]


def test_each_optimizer_has_its_best(search, capsys):
  names = "--set=optimizer.name=choices(rmsprop,adam,sgd)"
  content = summary(search("--trials=6", RATES, names, "--steps=20"))
  assert set(content["best_by"]) == {"rmsprop", "adam", "sgd"}
  for name, best in content["best_by"].items():
    same = [
      t["score"]
      for t in content["trials"]
      if t["params"]["optimizer.name"] == name
    ]
    assert len(same) == 2
    assert best["score"] == max(same)
  assert "best of optimizer.name=sgd: trial " in capsys.readouterr().out


def test_halving_trains_the_better_ones_longer(search):
  """The cosine schedule: longer runs start anew, in folders of their own."""
  flags = ("--method=halving", "--eta=3", "--steps=90", "--trials=9", RATES)
  out = search(*flags, "--config.optimizer.schedule=cosine", "--workers=2")
  content = summary(out)
  by_distance = sorted(
    content["trials"], key=lambda t: abs(t["params"][RATE] - 3)
  )
  assert [t["trial"] for t in content["trials"][:3]] == [
    t["trial"] for t in by_distance[:3]
  ]
  steps = [[h["steps"] for h in t["history"]] for t in content["trials"]]
  assert steps == [[10, 30, 90]] + [[10, 30]] * 2 + [[10]] * 6
  first, second, third, *_ = (f"trial_{t['trial']:03d}" for t in by_distance)
  found = started(out)
  assert len(found) == 13
  assert found[f"{first}/rung_2"] == [90]
  assert found[f"{second}/rung_1"] == found[f"{third}/rung_1"] == [30]


def test_halving_goes_on_from_checkpoints_where_it_can(search):
  """A constant rate, and only the last stage gets longer."""
  flags = ("--method=halving", "--eta=2", "--steps=40", "--trials=4", RATES)
  out = search(*flags, "--scale=last", "--config.optimizer.warmup_steps=0")
  assert sorted(started(out).values()) == [[10], [10], [10, 20], [10, 20, 40]]


def test_halving_by_a_key_keeps_the_best_of_each_value(search):
  names = "--set=optimizer.name=choices(rmsprop,adam,sgd)"
  flags = ("--method=halving", "--eta=2", "--rungs=2", "--steps=20", RATES)
  out = search(*flags, names, "--trials=12", "--by=optimizer.name")
  longest = [t for t in summary(out)["trials"] if t["rung"] == 1]
  assert len(longest) == 6
  names = [t["params"]["optimizer.name"] for t in longest]
  assert sorted(set(names)) == ["adam", "rmsprop", "sgd"]
  assert all(names.count(name) == 2 for name in names)


def test_trials_that_fail_are_the_worst_and_stay_so(search, capsys):
  flags = ("--trials=4", choices(1, 666, 777, 2), "--steps=20")
  content = summary(search(*flags))
  assert [t["status"] for t in content["trials"]] == ["done"] * 2 + [
    "failed"
  ] * 2
  assert content["best"]["params"][RATE] == 2
  reasons = {t["params"][RATE]: t["reason"] for t in content["trials"]}
  assert reasons[666] == "exit code 2: dwd_jax: the loss is nan at step 3"
  assert reasons[777] == "exit code 1: RuntimeError: out of memory"
  told = capsys.readouterr().out
  assert told.count("failed: exit code 2: dwd_jax: the loss is nan") == 2
  before = started(search(*flags))
  assert all(runs == [20] for runs in before.values())
  after = started(search(*flags, "--retry"))
  assert sorted(after.values()) == [[20], [20], [20, 20], [20, 20]]


def test_a_search_without_any_score_is_an_error(search):
  with pytest.raises(InputError, match=r"no trial has a score; their logs"):
    search("--trials=2", choices(666, 777), "--steps=20")


def test_trials_that_hang_fail(search):
  flags = ("--trials=2", choices(1, 888), "--steps=20", "--timeout-s=1.5")
  worst = summary(search(*flags))["trials"][-1]
  assert worst["params"][RATE] == 888
  assert worst["reason"] == "not finished after 2 s"


def test_a_trial_that_was_stopped_goes_on(search):
  out = search("--trials=1", f"--set={RATE}=999", "--steps=20")
  assert started(out) == {"trial_000": [20, 20]}
  assert summary(out)["best"]["score"] == stand_in.score(999, 20)


def test_each_gpu_has_one_trial(search):
  out = search("--trials=8", RATES, "--steps=20", "--gpus=0,3")
  gpus = [path.read_text().split()[1] for path in out.glob("trial_*/started")]
  assert set(gpus) == {"0", "3"}


def test_more_trials_repeat_nothing(search):
  search("--trials=3", RATES, "--steps=20")
  out = search("--trials=5", RATES, "--steps=20")
  assert len(summary(out)["trials"]) == 5
  assert all(runs == [20] for runs in started(out).values())


def _wait_for(found, seconds=30.0):
  deadline = time.monotonic() + seconds
  while not found():
    assert time.monotonic() < deadline
    time.sleep(0.05)


HALF = ("--trials=4", choices(1, 2, 888, 3), "--steps=20", "--seed=1")


def _half_done(start_search, tmp_path):
  """A search that has results, and a trial that does not end."""
  process = start_search(*HALF)
  folder = tmp_path / "s"
  waits = f"trial_{_place(888):03d}"
  _wait_for(lambda: started(folder).get(waits) and process.poll() is None)
  return process, folder


def _place(rate: float) -> int:
  """Which trial of `HALF` has a rate."""
  plan = sweep_flags.make_plan(
    sweep_flags.make_parser().parse_args(
      ["--config=configs/smoke.py", "--out=x", *HALF]
    ),
    [],
  )
  return next(i for i in range(4) if plan.params(i)[RATE] == rate)


def test_a_search_that_is_stopped_goes_on(start_search, search, tmp_path):
  process, folder = _half_done(start_search, tmp_path)
  process.send_signal(signal.SIGTERM)
  _, errors = process.communicate(timeout=30)
  assert process.returncode == 1
  assert errors == "sweep: stopped by SIGTERM; the same command goes on\n"
  (folder / "go").touch()
  search(*HALF)
  runs = started(folder)
  assert runs.pop(f"trial_{_place(888):03d}") == [20, 20]
  assert list(runs.values()) == [[20]] * 3


def test_what_a_killed_search_left_running_is_waited_for(
  start_search, search, tmp_path
):
  process, folder = _half_done(start_search, tmp_path)
  process.kill()
  process.communicate()
  other = start_search(*HALF)
  done = folder / "results"
  _wait_for(lambda: len(list(done.glob("*"))) == 3)
  time.sleep(0.5)
  assert other.poll() is None
  (folder / "go").touch()
  told, errors = other.communicate(timeout=30)
  assert other.returncode == 0, errors
  assert started(folder) == {f"trial_{i:03d}": [20] for i in range(4)}
  assert "0.6667" in told


# Caption: flags, what the line says.
BAD = {
  "no number": (["--trials=0"], "--trials must be at least 1"),
  "eta": (["--eta=1"], "--eta must be at least 2"),
  "seed": (["--seed=-1"], "--seed must be at least 0"),
  "argument": (["more"], "unexpected argument 'more'"),
  "two words": (["--config.seed", "1"], "unexpected argument '--config.seed'"),
  "key": (["--config.sed=1"], "unknown key 'sed'"),
  "space": (["--space=/nowhere.json"], "/nowhere.json: No such file"),
  "by": (["--by=seed"], r"--by=seed: no key of the space; known: \['opt"),
  "few steps": (["--steps=4"], "4 steps for 5 stages"),
  "value": (
    ["--set=optimizer.name=lion"],
    "trial 0: .*is 'lion'; use",
  ),
  "type": (["--set=train.batch_size=uniform(1,2)"], "trial 0: .*batch_size"),
  "split": (["--split=tset"], r"--split=tset: neither data.eval_split \(val\)"),
  "test": (["--config.data.eval_split=test"], "pages of the test, and nothing"),
  "more than the test": (
    ["--config.data.eval_split=val+test[:50%]"],
    "pages of the test, and nothing",
  ),
  "test of another": (
    ["--config.eval.on[0].builder=boxes", "--split=boxes-test"],
    "pages of the test, and nothing",
  ),
  "only": (["--only=3:1"], "give RUNG:PLACE, two numbers"),
  "sbatch": (["--slurm", "--sbatch=gpu"], "--sbatch=gpu: give an option"),
}


@pytest.mark.parametrize("caption", BAD)
def test_bad_flags_are_one_line(search, caption):
  flags, message = BAD[caption]
  with pytest.raises(InputError, match=message):
    search(*flags)


def test_the_program_fails_with_one_line(start_search):
  process = start_search("--trials=0")
  _, errors = process.communicate()
  assert process.returncode == 2
  assert errors == "sweep: --trials must be at least 1\n"


def test_results_of_another_search_are_refused(search):
  out = search("--trials=1", RATES, "--steps=20")
  with pytest.raises(InputError, match=r"seed = 0, not 1; use another --out"):
    search("--trials=1", RATES, "--steps=20", "--seed=1")
  (out / "plan.json").write_text("{")
  with pytest.raises(InputError, match=r"plan.json: damaged"):
    search("--trials=1", RATES, "--steps=20")


def test_trials_never_see_the_test_pages(repo_dir, monkeypatch):
  monkeypatch.chdir(repo_dir)
  args = ["--config=configs/smoke.py", "--out=x", "--steps=11"]
  parsed, rest = sweep_flags.make_parser().parse_known_args(
    [*args, "--config.data.test_split=heldout", "--config.seed=3"]
  )
  plan = sweep_flags.make_plan(parsed, rest)
  overrides = plan.trial_overrides(0, 0)
  assert "data.test_split=" in overrides
  assert "seed=3" in overrides
  assert len({text.partition("=")[0] for text in overrides}) == len(overrides)
  assert Plan.command(plan, 0, 0)[1:3] == ["-m", "dwd_jax.main"]


def test_another_set_can_be_what_trials_are_judged_on(repo_dir, monkeypatch):
  monkeypatch.chdir(repo_dir)
  other = ["--config.eval.on[0].builder=boxes", "--config.eval.on[0].split=val"]
  args = ["--config=configs/smoke.py", "--out=x", *other]
  for split, kept in (("boxes-val", True), ("val", False)):
    parsed, rest = sweep_flags.make_parser().parse_known_args(
      [*args, f"--split={split}"]
    )
    plan = sweep_flags.make_plan(parsed, rest)
    plan.check()
    overrides = plan.trial_overrides(0, 0)
    assert ("eval.on[0].builder=boxes" in overrides) is kept
    assert ("eval.on=()" in overrides) is not kept
    shared = f"eval.on[0].data_dir={pathlib.Path('x/data/on').absolute()}"
    assert (shared in overrides) is kept


def test_a_dry_run_does_nothing(search, capsys):
  out = search("--dry-run", "--method=halving", "--steps=99")
  assert not out.exists()
  told = capsys.readouterr().out.splitlines()
  assert len(told) == 18 + 3
  assert told[-3:] == [
    "rung 0: 18 trials, 11 steps, from the start",
    "rung 1: 6 trials, 33 steps, from the start",
    "rung 2: 2 trials, 99 steps, from the start",
  ]


SBATCH = """#!/usr/bin/env python3
import json, os, pathlib, re, subprocess, sys
log = pathlib.Path(os.environ["FAKE_SLURM"])
jobs = log.read_text().splitlines() if log.exists() else []
with log.open("a") as f:
  f.write(json.dumps(sys.argv[1:]) + "\\n")
print(f"{len(jobs) + 1};cluster")
text = pathlib.Path(sys.argv[-1]).read_text()
array = re.search(r"#SBATCH --array=0-(\\d+)", text)
for task in range(int(array[1]) + 1 if array else 1):
  env = os.environ | {"SLURM_ARRAY_TASK_ID": str(task)}
  subprocess.run(["bash", sys.argv[-1]], check=True, env=env, stdout=2)
"""


def test_a_search_as_jobs_of_slurm(start_search, tmp_path, monkeypatch):
  """A stand-in for sbatch runs every task at once, one after the other."""
  folder = tmp_path / "bin"
  folder.mkdir()
  (folder / "sbatch").write_text(SBATCH)
  (folder / "sbatch").chmod(0o755)
  # Tasks are `python -m launch.sweep`, with trials of the stand-in.
  (folder / "sitecustomize.py").write_text(
    "import sys\n"
    f"sys.path.insert(0, {str(stand_in.STAND_IN.parent)!r})\n"
    "import stand_in\n"
    "if 'launch.sweep' in sys.orig_argv:\n"
    "  from launch import plan\n"
    "  plan.Plan.command = stand_in.command\n"
  )
  log = tmp_path / "jobs"
  path = f"{folder}:{os.environ['PATH']}"
  monkeypatch.setenv("PATH", path)
  monkeypatch.setenv("PYTHONPATH", str(folder))
  monkeypatch.setenv("FAKE_SLURM", str(log))
  process = start_search(
    *("--method=halving", "--rungs=2", "--eta=2", "--trials=2", RATES),
    *("--steps=20", "--slurm", "--submit", "--workers=2", "--sbatch=--gpus=1"),
  )
  told, errors = process.communicate()
  assert process.returncode == 0, errors
  jobs = [json.loads(line) for line in log.read_text().splitlines()]
  assert jobs == [
    ["--parsable", "rung_0.sbatch"],
    ["--parsable", "--dependency=afterany:1", "rung_1.sbatch"],
    ["--parsable", "--dependency=afterany:2", "report.sbatch"],
  ]
  script = (tmp_path / "s/slurm/rung_0.sbatch").read_text()
  assert "#SBATCH --array=0-1%2\n#SBATCH --gpus=1\n" in script
  assert "--gpus=1" not in (tmp_path / "s/slurm/report.sbatch").read_text()
  assert "rung 1: job 2, 1 trials" in told
  content = summary(tmp_path / "s")
  assert content["finished"]
  assert [t["rung"] for t in content["trials"]] == [1, 0]


def test_without_slurm_its_scripts_are_written_all_the_same(
  search, monkeypatch, capsys
):
  monkeypatch.setenv("PATH", "")
  with pytest.raises(InputError, match=r"sbatch: not found; run bash .*submit"):
    search("--trials=1", "--steps=20", "--slurm", "--submit")
  assert "Submit the search with: bash " in capsys.readouterr().out


def test_a_job_without_a_trial_does_nothing(search, tmp_path):
  """Rung 1 has fewer trials than planned: the others have failed."""
  flags = ("--method=halving", "--rungs=2", "--eta=2", "--steps=20")
  flags += ("--trials=4", choices(666, 777, 888, 3), "--timeout-s=1")
  for task in range(4):
    search(*flags, f"--only=0:{task}")
  for task in range(2):
    out = search(*flags, f"--only=1:{task}")
  names = sorted(path.name for path in (out / "results").glob("*_rung_1.json"))
  assert len(names) == 1
  search(*flags, "--report")
  assert summary(out)["finished"]
  assert summary(out)["best"]["params"][RATE] == 3


def test_results_that_are_damaged_do_not_count(search, tmp_path):
  out = search("--trials=1", RATES, "--steps=20")
  path = out / "results/trial_000_rung_0.json"
  path.write_text(path.read_text()[:40])
  # The run's own file still tells how it ended.
  search("--trials=1", RATES, "--steps=20")
  assert started(out) == {"trial_000": [20]}
  assert json.loads(path.read_text())["status"] == "done"


def test_scores_of_a_shorter_training_do_not_count(tmp_path, repo_dir):
  parsed = sweep_flags.make_parser().parse_args(
    [f"--config={repo_dir}/configs/smoke.py", f"--out={tmp_path}"]
  )
  plan = sweep_flags.make_plan(parsed, [])
  scores = plan.workdir(0, 0) / "eval" / "val.json"
  scores.parent.mkdir(parents=True)
  results = Results(plan)
  for step, counts in ((10, False), (11, True)):
    scores.write_text(json.dumps({"checkpoint_step": step, "mAP": 0.1}))
    assert bool(results.scores_of_run(0, 0)) is counts
  scores.write_text(json.dumps({"checkpoint_step": 11, "mAP": None}))
  assert results.record(0, 0, 1.0)["reason"] == "eval/val.json: no number 'mAP'"


def test_help_is_complete(capsys):
  with pytest.raises(SystemExit):
    sweep.run(["--help"])
  told = capsys.readouterr().out
  for flag in ("--trials", "--space", "--slurm", "--config.KEY=VALUE"):
    assert flag in told
