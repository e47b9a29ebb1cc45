"""Runs the trials of a search, as Optuna's storage DIR/study.journal says.

Any number of workers may share a search, also on several machines, if DIR is on
a file system that all of them see. Locks tell who works on what; they end with
the processes that hold them. The worker that watches a trial holds
trial_NNN/.worker and trial_NNN/.run, its training holds trial_NNN/.run. A
worker continues a trial that is marked as running if nobody holds its locks.
"""

import contextlib
import dataclasses
import fcntl
import math
import os
import pathlib
import signal
import subprocess
import time
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import IO, Any

from dwd_jax.core import files
from dwd_jax.core.errors import InputError
from dwd_jax.train import logs
from launch import search_space
from launch.command_line import AGAIN, BAD_INPUT
from launch.search import Search, folder

try:
  import optuna
  import optuna.storages.journal
except ModuleNotFoundError:
  raise InputError(
    "optuna is not installed; pip install 'dwd_jax[search]'"
  ) from None

State = optuna.trial.TrialState
STORAGE = "study.journal"
LOG = "trial.log"
_NAME = "sweep"
_POLL_S = 0.5
_END_S = 100.0  # for trials to save their state when the search is stopped


class Stopped(Exception):
  """A signal asked the search to stop."""


def open_study(search: Search) -> optuna.Study:
  """Opens or makes the study of a search.

  Raises:
    InputError: it belongs to a search with other flags, or is damaged.
  """
  optuna.logging.set_verbosity(optuna.logging.WARNING)
  path = search.out / STORAGE
  facts = search.facts()
  with files.turn(path):
    try:
      backend = optuna.storages.journal.JournalFileBackend(str(path))
      study = optuna.create_study(
        storage=optuna.storages.JournalStorage(backend),
        study_name=_NAME,
        direction="maximize",
        pruner=optuna.pruners.SuccessiveHalvingPruner(
          min_resource=search.first_rung, reduction_factor=search.eta
        ),
        load_if_exists=True,
      )
    except (ValueError, KeyError, TypeError, AssertionError) as e:
      raise InputError(f"{path}: damaged ({e}); use another --out") from None
    had = study.user_attrs.get("search") or facts
    differing = [key for key in facts if had.get(key) != facts[key]]
    if differing:
      key = differing[0]
      raise InputError(
        f"{path}: the search there has {key} = {had.get(key)}, not"
        f" {facts[key]}; use another --out, or the flags it was started with"
      )
    if "search" not in study.user_attrs:
      study.set_user_attr("search", facts)
  return study


def retry(study: optuna.Study) -> None:
  """Enqueues the failed trials again; they continue in their folders."""
  latest = {folder(t): t for t in study.get_trials(deepcopy=False)}
  for name, trial in latest.items():
    if trial.state.is_finished() and "reason" in trial.user_attrs:
      study.enqueue_trial(trial.params, user_attrs={"folder": name})


@dataclasses.dataclass
class _Job:
  """A trial that this worker watches."""

  trial: optuna.Trial
  settings: dict[str, str]
  workdir: pathlib.Path
  locks: tuple[IO, IO]
  seen: dict[int, float]  # step -> score, as reported to Optuna
  slot: int = 0
  started: float = 0.0
  process: subprocess.Popen | None = None


@dataclasses.dataclass
class Worker:
  """Runs several trials of a search at a time.

  Attributes:
    study: see `open_study`.
    slots: environment variables of each of the trials that run at a time.
    timeout_s: a trial that takes longer fails; 0 = no limit.
    say: prints a line.
  """

  search: Search
  study: optuna.Study
  slots: Sequence[Mapping[str, str]]
  timeout_s: float = 0.0
  say: Callable[[str], None] = print
  _jobs: list[_Job] = dataclasses.field(default_factory=list)

  def run(self, after_trial: Callable[[], object]) -> None:
    """Works until no trial is left.

    Args:
      after_trial: called whenever a trial has ended.

    Raises:
      Stopped: by SIGTERM or SIGINT; the trials have saved, and continue if the
        program is started again.
    """
    with _signals():
      try:
        while True:
          for job in list(self._jobs):
            if self._watch(job):
              self._jobs.remove(job)
              for lock in job.locks:
                lock.close()
              after_trial()
          orphaned = False
          while len(self._jobs) < len(self.slots):
            job, orphaned = self._claim()
            if job is None:
              break
            self._start(job)
          if not self._jobs and not orphaned:
            return
          time.sleep(_POLL_S)
      finally:
        _end([job.process for job in self._jobs if job.process])

  def _claim(self) -> tuple[_Job | None, bool]:
    """A trial to run, if any, and whether another runs without a worker."""
    orphaned = False
    with files.turn(self.search.out / STORAGE):
      trials = self.study.get_trials(deepcopy=False)
      for trial in trials:
        if trial.state == State.RUNNING:
          watching = _lock(self._workdir(trial) / ".worker")
          running = watching and _lock(self._workdir(trial) / ".run")
          if watching and running:
            self.say(f"trial {trial.number} has lost its worker; continuing it")
            # Optuna has no public way to continue a running trial. A copy of
            # it would meet every rung again, and count twice there.
            again = optuna.trial.Trial(self.study, trial._trial_id)
            return self._job(again, watching, running), True
          if watching:
            orphaned = True
            watching.close()
      more = len({folder(t) for t in trials}) < self.search.trials
      if not more and all(t.state != State.WAITING for t in trials):
        return None, orphaned
      number = sum(t.state != State.WAITING for t in trials)
      self.study.sampler = _sampler(self.search, number)
      trial = self.study.ask()
      watching = _lock(self._workdir(trial) / ".worker")
      running = _lock(self._workdir(trial) / ".run")
      assert watching and running  # it is new
      return self._job(trial, watching, running), orphaned

  def _workdir(self, trial: Any) -> pathlib.Path:
    return self.search.out / folder(trial)

  def _job(self, trial: optuna.Trial, watching: IO, running: IO) -> _Job:
    settings = search_space.suggest(trial, self.search.space)
    trial.set_user_attr("settings", settings)
    seen = self.study.get_trials(deepcopy=False)[trial.number]
    return _Job(
      trial,
      settings,
      self._workdir(trial),
      (watching, running),
      dict(seen.intermediate_values),
    )

  def _start(self, job: _Job) -> None:
    taken = [other.slot for other in self._jobs]
    job.slot = min(set(range(len(self.slots))).difference(taken))
    self._jobs.append(job)
    job.started = time.monotonic()
    if self.search.steps in self._scores(job):  # it has ended, unreported
      return
    told = ", ".join(f"{k}={v}" for k, v in job.settings.items())
    self.say(f"trial {job.trial.number}: {told}")
    with (job.workdir / LOG).open("ab") as log:
      # In a session of its own, so that Ctrl-C reaches it through us alone.
      job.process = subprocess.Popen(
        self.search.command(job.workdir, job.settings),
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        env=os.environ | self.slots[job.slot],
        pass_fds=(job.locks[1].fileno(),),  # it holds .run while it lives
        start_new_session=True,
      )

  def _scores(self, job: _Job) -> dict[int, float]:
    """Scores of a trial so far: step -> score."""
    found = {}
    for point in logs.read_curves(job.workdir / "eval" / logs.CURVES):
      score = point.get(self.search.metric)
      if point["name"] != self.search.split:
        continue
      if isinstance(score, int | float) and math.isfinite(score):
        found[point["step"]] = float(score)
    return found

  def _watch(self, job: _Job) -> bool:
    """Reports new scores of a trial; returns whether it is over."""
    search, number = self.search, job.trial.number
    code = job.process.poll() if job.process else 0
    for step, score in self._scores(job).items():
      if step in job.seen or step > search.steps:
        continue
      job.seen[step] = score
      job.trial.report(score, step)
      if step == search.steps or job.process is None or code is not None:
        continue  # it has ended
      if job.trial.should_prune():
        _end([job.process])
        self.study.tell(job.trial, state=State.PRUNED)
        self.say(
          f"trial {number} is stopped at step {step}:"
          f" {search.metric} {score:.4f}"
        )
        return True
    late = self.timeout_s and time.monotonic() - job.started > self.timeout_s
    if job.process and code is None and late:
      _end([job.process], patience_s=0.0)
      self._fail(job, f"not finished after {self.timeout_s:.0f} s")
      return True
    if code is None:
      return False
    if search.steps in job.seen:
      score = job.seen[search.steps]
      self.study.tell(job.trial, score)
      self.say(f"trial {number}: {search.metric} {score:.4f}")
    elif code == 0:
      self._fail(
        job, f"no number '{search.metric}' of {search.split} at the last step"
      )
    elif code != AGAIN:  # then it waits to be claimed again
      self._fail(
        job, f"exit code {code}: {_last_line(job.workdir / LOG)}", code
      )
    return True

  def _fail(self, job: _Job, reason: str, code: int = 0) -> None:
    job.trial.set_user_attr("reason", reason)
    # The sampler ignores failed trials, and takes pruned ones without a score
    # for the worst.
    diverged = code == BAD_INPUT and not job.seen
    state = State.PRUNED if diverged else State.FAIL
    self.study.tell(job.trial, state=state)
    self.say(f"trial {job.trial.number} failed: {reason} ({job.workdir / LOG})")


def _sampler(search: Search, number: int) -> optuna.samplers.BaseSampler:
  """A sampler seeded for one trial, as workers share no random state."""
  seed = zlib.crc32(f"{search.seed}/{number}".encode())
  if search.sampler == "random":
    return optuna.samplers.RandomSampler(seed=seed)
  with warnings.catch_warnings():
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    # Running trials count as bad, so that workers try different settings.
    return optuna.samplers.TPESampler(seed=seed, constant_liar=True)


def _last_line(log: pathlib.Path) -> str:
  """The last line of a log, if possible one of dwd_jax; 300 characters."""
  with log.open("rb") as f:
    f.seek(max(0, log.stat().st_size - 2**14))
    text = f.read().decode(errors="replace")
  lines = [line.strip() for line in text.splitlines() if line.strip()]
  told = [line for line in lines if line.startswith("dwd_jax: ")]
  return (told or lines or ["no output"])[-1][:300]


def _lock(path: pathlib.Path) -> IO | None:
  """A lock, to be closed; None if another process holds it."""
  files.make_dir(path.parent)
  lock = path.open("a")  # which keeps what a link leads to
  try:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except BlockingIOError:
    lock.close()
    return None
  return lock


@contextlib.contextmanager
def _signals() -> Iterator[None]:
  """SIGTERM and SIGINT raise `Stopped` inside."""

  def stop(number, frame):
    del frame
    raise Stopped(signal.Signals(number).name)

  previous = {
    n: signal.signal(n, stop) for n in (signal.SIGTERM, signal.SIGINT)
  }
  try:
    yield
  finally:
    for number, handler in previous.items():
      signal.signal(number, handler)


def _end(processes: list[subprocess.Popen], patience_s: float = _END_S) -> None:
  """Terminates processes; kills those that do not end in time."""
  for process in processes:
    if process.poll() is None and patience_s:
      process.terminate()
  deadline = time.monotonic() + patience_s
  for process in processes:
    with contextlib.suppress(subprocess.TimeoutExpired):
      process.wait(max(0.0, deadline - time.monotonic()))
      continue
    with contextlib.suppress(ProcessLookupError):
      os.killpg(process.pid, signal.SIGKILL)  # with its loader's workers
    process.wait()
