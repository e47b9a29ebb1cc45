"""Whole searches, with trials that take no time."""

import itertools
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import jax
import optuna
import pytest
import stand_in

from dwd_jax.core.errors import InputError
from launch import cluster, sweep, trials

# ml_collections loads config files so.
pytestmark = pytest.mark.filterwarnings(
  r"ignore:the load_module\(\) method is deprecated:DeprecationWarning"
)
RATE = stand_in.RATE
RATES = f"--set={RATE}=uniform(0.1,6)"
TWENTY = "--steps=20"


@pytest.fixture(autouse=True)
def _platforms():
  """The program asks no GPU; what follows may."""
  yield
  jax.config.update("jax_platforms", None)


def choices(*rates) -> str:
  return f"--set={RATE}=choices({','.join(map(str, rates))})"


def started(out: pathlib.Path) -> dict[str, list[int]]:
  """{folder: steps of the runs that were started there}."""
  return {
    path.parent.name: [
      int(line.split()[0]) for line in path.read_text().splitlines()
    ]
    for path in sorted(out.glob("trial_*/started"))
  }


def summary(out: pathlib.Path) -> dict:
  return json.loads((out / "sweep.json").read_text())


def rates(out: pathlib.Path) -> dict[str, float]:
  """{folder: rate of the trial}."""
  return {
    trial["workdir"]: float(trial["settings"][RATE])
    for trial in summary(out)["trials"]
  }


def enqueue(search, *found: float) -> None:
  """Makes a search that tries rates in this order."""
  out = search("--report", choices(*found), TWENTY)
  backend = optuna.storages.journal.JournalFileBackend(
    str(out / trials.STORAGE)
  )
  storage = optuna.storages.JournalStorage(backend)
  study = optuna.load_study(storage=storage, study_name="sweep")
  for i, rate in enumerate(found):
    name = f"trial_{i:03d}"
    study.enqueue_trial({RATE: str(rate)}, user_attrs={"folder": name})


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_a_search_ranks_all_trials(search, capsys, sampler):
  flags = ("--trials=7", RATES, "--workers=3", TWENTY, f"--sampler={sampler}")
  out = search(*flags)
  content = summary(out)
  assert content["finished"]
  scores = [t["score"] for t in content["trials"]]
  assert len(scores) == 7
  assert scores == sorted(scores, reverse=True)
  for trial in content["trials"]:
    assert trial["state"] == "complete"
    rate = float(trial["settings"][RATE])
    assert trial["score"] == stand_in.score(rate, 20)
    assert trial["workdir"] == f"trial_{trial['trial']:03d}"
    assert trial["history"] == [{"steps": 20, "score": trial["score"]}]
  assert content["best"] == content["trials"][0]
  told = capsys.readouterr().out
  rows = re.findall(
    r"^ *(\d)  +(\d{3})  complete +20 +(0\.\d{4}) ", told, re.MULTILINE
  )
  assert [int(row[1]) for row in rows] == [
    t["trial"] for t in content["trials"]
  ]
  best = content["best"]["settings"][RATE]
  assert f"--config.{RATE}={best}" in told.splitlines()[-1]


def test_random_settings_follow_from_seed_and_number(search, tmp_path):
  flags = ("--sampler=random", RATES, TWENTY)
  found = rates(search("--trials=4", *flags, "--workers=3"))
  (tmp_path / "s").rename(tmp_path / "first")
  assert rates(search("--trials=4", *flags)) == found
  (tmp_path / "s").rename(tmp_path / "second")
  assert rates(search("--trials=4", *flags, "--seed=1")) != found
  assert len(set(found.values())) == 4


def test_tpe_comes_to_try_what_is_good(search):
  found = sorted(rates(search("--trials=20", RATES, TWENTY)).items())
  near = [abs(rate - 3) < 1 for _, rate in found]
  assert sum(near[10:]) > 5 > sum(near[:10])


def test_trials_are_stopped_at_a_rung(search):
  flags = ("--rungs=3", "--steps=90", "--sampler=random", "--seed=2")
  out = search("--trials=9", RATES, *flags)
  content = summary(out)
  assert content["finished"]
  by_state = {
    state: [t for t in content["trials"] if t["state"] == state]
    for state in ("complete", "pruned")
  }
  assert len(by_state["complete"]) + len(by_state["pruned"]) == 9
  assert by_state["pruned"]
  for trial in by_state["pruned"]:
    assert trial["steps"] in (10, 30)
  for trial in by_state["complete"]:
    assert [h["steps"] for h in trial["history"]] == [*range(10, 91, 10)]
  # The best rate of all goes on to the end, whenever it comes.
  nearest = min(content["trials"], key=lambda t: -t["history"][0]["score"])
  assert nearest == content["best"]


def test_trials_that_fail_stay_so_until_they_are_retried(search, capsys):
  enqueue(search, 1, 666, 777, 2)
  flags = ("--trials=4", choices(1, 666, 777, 2), TWENTY)
  out = search(*flags)
  content = summary(out)
  assert content["finished"]
  states = [t["state"] for t in content["trials"]]
  assert states == ["complete", "complete", "failed", "failed"]
  assert content["best"]["settings"][RATE] == "2"
  reasons = {t["settings"][RATE]: t["reason"] for t in content["trials"]}
  assert reasons["666"] == "exit code 2: dwd_jax: the loss is nan at step 3"
  assert reasons["777"] == "exit code 1: RuntimeError: out of memory"
  told = capsys.readouterr().out
  assert told.count("failed: exit code 2: dwd_jax: the loss is nan") == 2
  before = started(search(*flags))
  assert before == {f"trial_{i:03d}": [20] for i in range(4)}
  (out / "mended").touch()
  search(*flags, "--retry")
  assert started(out) == before | {"trial_001": [20, 20], "trial_002": [20, 20]}
  content = summary(out)
  assert len(content["trials"]) == 4
  failed = [t for t in content["trials"] if t["state"] == "failed"]
  assert [t["settings"][RATE] for t in failed] == ["666"]


def test_a_search_without_any_score_is_an_error(search):
  with pytest.raises(InputError, match=r"no trial has a score; their logs"):
    search("--trials=2", choices(666), TWENTY)


def test_trials_that_hang_fail(search):
  enqueue(search, 1, 888)
  flags = ("--trials=2", choices(1, 888), TWENTY, "--timeout-s=1.5")
  worst = summary(search(*flags))["trials"][-1]
  assert worst["settings"][RATE] == "888"
  assert worst["reason"] == "not finished after 2 s"


def test_a_trial_that_was_stopped_goes_on(search):
  out = search("--trials=1", f"--set={RATE}=999", TWENTY)
  assert started(out) == {"trial_000": [20, 20]}
  assert summary(out)["best"]["score"] == stand_in.score(999, 20)


def test_each_gpu_has_one_trial(search, monkeypatch):
  monkeypatch.delenv("JAX_PLATFORMS", raising=False)
  monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,3")
  out = search("--trials=6", RATES, TWENTY)
  gpus = [path.read_text().split()[1] for path in out.glob("trial_*/started")]
  assert set(gpus) == {"0", "3"}
  with pytest.raises(InputError, match=r"3 processes with .* change --workers"):
    search("--trials=6", RATES, TWENTY, "--workers=3")


def test_more_trials_repeat_nothing(search):
  search("--trials=3", RATES, TWENTY)
  out = search("--trials=5", RATES, TWENTY)
  assert len(summary(out)["trials"]) == 5
  assert all(runs == [20] for runs in started(out).values())


def _wait_for(found, seconds=60.0):
  deadline = time.monotonic() + seconds
  while not found():
    assert time.monotonic() < deadline
    time.sleep(0.05)


HALF = ("--trials=4", choices(1, 888, 2, 3), TWENTY)


def _half_done(search, start_search, tmp_path):
  """A search that runs, and is at a trial that does not end."""
  enqueue(search, 1, 888, 2, 3)
  process = start_search(*HALF)
  folder = tmp_path / "s"
  _wait_for(lambda: "trial_001" in started(folder) or process.poll())
  assert process.poll() is None
  return process, folder


def test_a_search_that_is_stopped_goes_on(start_search, search, tmp_path):
  process, folder = _half_done(search, start_search, tmp_path)
  process.send_signal(signal.SIGTERM)
  _, errors = process.communicate(timeout=30)
  assert process.returncode == 75
  assert errors == (
    "launch.sweep: stopped by SIGTERM; the same command continues\n"
  )
  (folder / "go").touch()
  search(*HALF)
  runs = started(folder)
  assert runs.pop("trial_001") == [20, 20]
  assert list(runs.values()) == [[20]] * 3


def test_workers_share_a_search_and_continue_what_a_killed_one_left(
  start_search, search, tmp_path, monkeypatch, capsys
):
  """The second does what the first leaves, and does not wait for it."""
  process, folder = _half_done(search, start_search, tmp_path)
  search(*HALF)
  assert not summary(folder)["finished"]
  assert started(folder) == {f"trial_{i:03d}": [20] for i in range(4)}
  process.kill()
  process.communicate()
  # Its trial still runs, and is waited for.
  polls, sleep = itertools.count(), time.sleep

  def poll(seconds):
    if next(polls) == 10:
      (folder / "go").touch()
    sleep(seconds)

  monkeypatch.setattr(trials.time, "sleep", poll)
  capsys.readouterr()
  search(*HALF)
  assert next(polls) > 10
  told = capsys.readouterr().out
  assert "trial 1 has lost its worker; continuing it\ntrial 1: mAP" in told
  assert summary(folder)["finished"]
  assert started(folder) == {f"trial_{i:03d}": [20] for i in range(4)}


def test_jobs_of_slurm_share_a_search(
  search, repo_dir, records, tmp_path, capsys
):
  """The script runs in bash, with a stand-in for srun."""
  programs = {
    "srun": 'while [ "${1#--}" != "$1" ]; do shift; done; exec "$@"',
    "scontrol": "echo node7",
    # Instead of `python -m launch.sweep`.
    "python": f'shift 2; exec {sys.executable} {stand_in.STAND_IN} sweep "$@"',
  }
  for name, text in programs.items():
    (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
    (tmp_path / name).chmod(0o755)
  flags = ("--trials=6", RATES, TWENTY)
  argv = ["slurm", "--sweep=2", "--dry-run", "--gpus-per-node=0", "--"]
  cluster.main([*argv, *stand_in.arguments(tmp_path, records), *flags])
  script = capsys.readouterr().out
  environment = {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "node7"}
  environment["SLURM_CPUS_PER_TASK"] = "1"
  environment["PATH"] = f"{tmp_path}:{os.environ['PATH']}"
  job = subprocess.Popen(
    ["bash", "-c", script],
    cwd=repo_dir,
    env=os.environ | environment,
    text=True,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
  )
  out = tmp_path / "s"
  _wait_for(lambda: started(out) or job.poll() is not None)
  search(*flags)  # as another job
  _, errors = job.communicate(timeout=120)
  assert job.returncode == 0, errors
  assert summary(out)["finished"]
  assert started(out) == {f"trial_{i:03d}": [20] for i in range(6)}


# Caption: flags, what the line says.
BAD = {
  "eta": (["--eta=1"], "--eta must be at least 2"),
  "argument": (["more"], "unexpected argument 'more'"),
  "two words": (["--config.seed", "1"], "unexpected argument '--config.seed'"),
  "key": (["--config.sed=1"], "unknown key 'sed'"),
  "key of the space": (["--set=sed=1"], "unknown key 'sed'"),
  "space": (["--space=/nowhere.json"], "/nowhere.json: No such file"),
  "few steps": (["--steps=4"], "4 steps for 5 stages"),
  "rungs": (["--steps=8", "--rungs=3"], "8 steps are too few for 3 rungs"),
  "value": (["--set=optimizer.name=lion"], "would fail: .*is 'lion'; use"),
  "end of a range": (
    ["--set=train.batch_size=int(0,4)"],
    "would fail: .*batch_size must be at least 1",
  ),
  "type": (["--set=train.batch_size=uniform(1,2)"], "would fail: .*batch_size"),
  "split": (["--split=tset"], r"--split=tset: neither data.eval_split \(val\)"),
  "test": (
    ["--config.data.eval_split=test"],
    "has pages of the test, on which",
  ),
  "more than the test": (
    ["--config.data.eval_split=val+test[:50%]"],
    "has pages of the test, on which",
  ),
  "the test after a part of others": (
    ["--config.data.eval_split=val[:50%]+test"],
    "has pages of the test, on which",
  ),
  "test of another": (
    ["--config.eval.on[0].builder=boxes", "--split=boxes-test"],
    "has pages of the test, on which",
  ),
}


@pytest.mark.parametrize("caption", BAD)
def test_bad_flags_are_one_line(search, tmp_path, caption):
  flags, message = BAD[caption]
  with pytest.raises(InputError, match=message):
    search(*flags)
  assert not (tmp_path / "s").exists()


def test_the_program_fails_with_one_line(capsys, monkeypatch):
  for flags, message in (
    (["--trials=0"], "argument --trials: '0' is no whole number from 1 on"),
    (["--metric=mAP_99"], "argument --metric: invalid choice: 'mAP_99' (cho"),
    (["--sed=1"], "unexpected argument '--sed=1'; see --help"),
  ):
    argv = ["sweep", "--config=configs/smoke.py", "--out=x", *flags]
    monkeypatch.setattr(sys, "argv", argv)
    with pytest.raises(SystemExit) as e:
      sweep.main()
    assert e.value.code == 2
    errors = capsys.readouterr().err
    assert errors.startswith(f"launch.sweep: {message}")
    assert errors.count("\n") == 1


def test_without_optuna_the_extra_is_named(capsys, monkeypatch):
  monkeypatch.setitem(sys.modules, "optuna", None)
  monkeypatch.delitem(sys.modules, "launch.trials")
  monkeypatch.delattr("launch.trials")
  monkeypatch.setattr(sys, "argv", ["sweep", "--config=c", "--out=x"])
  with pytest.raises(SystemExit) as e:
    sweep.main()
  assert e.value.code == 2
  assert capsys.readouterr().err == (
    "launch.sweep: optuna is not installed; pip install 'dwd_jax[search]'\n"
  )


def test_results_of_another_search_are_refused(search):
  out = search("--trials=1", RATES, TWENTY)
  with pytest.raises(InputError, match=r"seed = 0, not 1; use another --out"):
    search("--trials=1", RATES, TWENTY, "--seed=1")
  (out / trials.STORAGE).write_text("{\n{\n")
  with pytest.raises(InputError, match=r"study.journal: damaged"):
    search("--trials=1", RATES, TWENTY)


def test_a_dry_run_does_nothing(search, capsys):
  out = search("--dry-run", "--rungs=3", "--steps=99")
  assert not out.exists()
  told = capsys.readouterr().out.splitlines()
  assert told[0] == (
    "18 trials of 99 steps, compared by mAP of val after [11, 33, 99] steps;"
    " such as"
  )
  assert len(told) == 2


def test_scores_of_a_shorter_training_do_not_count(search):
  """Nor do those of another set."""
  out = search("--report", "--trials=1", f"--set={RATE}=888", TWENTY)
  path = out / "trial_000/eval/curves.jsonl"
  path.parent.mkdir(parents=True)
  points = [{"step": 10, "name": "val", "mAP": 0.3}]
  points += [{"step": 20, "name": "boxes-val", "mAP": 0.4}]
  points += [{"step": 20, "name": "val", "mAP": None}]
  path.write_text("".join(json.dumps(point) + "\n" for point in points))
  (out / "go").touch()
  out = search("--trials=1", f"--set={RATE}=888", TWENTY)
  assert summary(out)["best"]["score"] == stand_in.score(888, 20)


def test_help_is_complete(capsys):
  with pytest.raises(SystemExit):
    sweep.run(["--help"])
  told = capsys.readouterr().out
  for flag in ("--trials", "--space", "--rungs", "--config.KEY=VALUE"):
    assert flag in told
