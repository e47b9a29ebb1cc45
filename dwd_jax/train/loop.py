"""The training loop: stages x steps, logs, checkpoints, evaluations."""

import contextlib
from collections.abc import Generator, Iterator

import jax
import jax.profiler
import numpy as np

from dwd_jax.cluster.preemption import Preemption
from dwd_jax.core.errors import InputError, InterruptedRun
from dwd_jax.train import optim, resume
from dwd_jax.train.compiled_step import Stepper
from dwd_jax.train.logs import Logs
from dwd_jax.train.stages import Progress
from dwd_jax.train.state import TrainState
from dwd_jax.train.task import Task

_PROFILED = 5  # steps of a trace, after as many that warm up


def train(task: Task, *, profile: bool = False) -> TrainState:
  """Trains from the newest checkpoint, or from the start, to the end.

  A run that was killed and is started again continues with the same batches
  and ends with the same parameters, bit for bit, on the same machine.

  Args:
    task: what is trained.
    profile: write a trace of a few steps to W/profile.

  Returns:
    The final state; it is also the newest checkpoint.

  Raises:
    InputError: the checkpoint belongs to another network or config, or too many
      steps in a row had to be skipped.
    InterruptedRun: SIGTERM came; everything is saved.
  """
  with contextlib.ExitStack() as stack:
    loader = stack.enter_context(contextlib.closing(task.loader()))
    checkpoints = stack.enter_context(contextlib.closing(task.checkpoints()))
    preemption = stack.enter_context(contextlib.closing(Preemption()))
    state, progress = _start(task, checkpoints, loader)
    first = int(state.step)
    logs = Logs(task.workdir, first, progress.total)
    stack.enter_context(contextlib.closing(logs))
    if task.announce is not None:
      task.announce(logs, state)
    if first:
      logs.say(f"Continuing at step {first} of {progress.total}")
    run = _Loop(task, loader, checkpoints, progress, logs)
    trace = _tracing(task, first, logs) if profile else _nothing()
    stack.enter_context(contextlib.closing(trace))
    for step in _numbers(progress, first):
      next(trace, None)
      state = run.step(state, step)
      if preemption.reached(step) and step + 1 < progress.total:
        run.save(state, step + 1)
        checkpoints.wait()
        raise InterruptedRun(
          f"{task.workdir}: stopped and saved at step {step + 1} of"
          f" {progress.total}; start the same command again to go on"
        )
    return state


def _numbers(progress: Progress, first: int) -> Iterator[int]:
  """Numbers of the steps to do; the total may shrink on the way."""
  step = first
  while step < progress.total:
    yield step
    step += 1


def _start(task: Task, checkpoints, loader) -> tuple[TrainState, Progress]:
  """A fresh state, or the newest checkpoint; the loader is set to match."""
  shapes = task.state_shapes()
  for stage in task.stages:  # not only when the stage begins
    optim.frozen_mask(shapes.params, stage.frozen)
  progress = Progress(task.stages)
  path = task.workdir / "config.json"
  found = resume.restore_newest(checkpoints, shapes, task.card, _say)
  if found is None:
    state = task.new_state()
  else:
    accept = task.config.train.accept_changes
    for change in resume.check_config(path, task.config, accept):
      _say(f"Changed: {change}")
    state, data, saved = found
    loader.set_state(data)
    progress.restore(saved, int(state.step))
  if jax.process_index() == 0:  # once it is known to fit the checkpoint
    resume.write_config(path, task.config)
  return state, progress


def _say(line: str) -> None:
  if jax.process_index() == 0:
    print(line, flush=True)


class _Loop:
  """One step and everything that is due after it."""

  def __init__(self, task: Task, loader, checkpoints, progress, logs):
    self._task = task
    self._loader = loader
    self._checkpoints = checkpoints
    self._progress = progress
    self._logs = logs
    self._stepper = Stepper(task)
    self._losses = None if task.eval_step is None else jax.jit(task.eval_step)

  def step(self, state: TrainState, step: int) -> TrainState:
    """Does step number `step` (0, 1, ...), and what is due after it."""
    stage, first = self._progress.at(step)
    if self._progress.begins(step):
      self._progress.start_stage()
      state = self._stepper.start_stage(state, stage)
      self._stepper.restart_clock()
    state = self._stepper(state, self._loader, stage, step - first)
    done, train = step + 1, self._task.config.train
    last = done == self._progress.total
    if done % train.log_every == 0 or last:
      self._log(state, done, stage.name)
    if _due(done, train.pictures_every):
      self._pictures(state, done)
    ended = _due(done, train.validate_every) and self._validate(
      state, done, stage.name
    )
    last = done == self._progress.total
    judged = _due(done, train.eval_every) and not last
    score = None
    if judged and self._task.evaluate is not None:
      score = self._task.evaluate(state, self._logs)
      self._stepper.restart_clock()
    if done % train.checkpoint_every == 0 or last or judged or ended:
      self.save(state, done, score)
    return state

  def save(
    self, state: TrainState, done: int, score: float | None = None
  ) -> None:
    """Saves a checkpoint, if there is none of this step."""
    self._checkpoints.save(
      done,
      state,
      self._loader.get_state(),
      self._task.card,
      self._progress.to_json(),
      score,
    )

  def _log(self, state: TrainState, done: int, stage: str) -> None:
    """Writes the means since the last log; stops where nothing is learned."""
    values = self._stepper.values()
    skipped, in_row = jax.device_get(state.skipped)
    values["skipped_steps"] = float(skipped)
    self._logs.scalars(done, stage, values)
    self._stepper.restart_clock()
    if in_row >= self._task.config.train.max_skipped:
      self._stop(done, stage, int(in_row))

  def _stop(self, done: int, stage: str, in_row: int) -> None:
    """Ends a run that is lost, with what is needed to find out why."""
    path = self._task.workdir / "skipped_batch.npz"
    if jax.process_index() == 0:
      arrays = jax.tree_util.tree_leaves_with_path(self._stepper.batch)
      named = {jax.tree_util.keystr(k, simple=True): v for k, v in arrays}
      np.savez_compressed(path, **named)
    raise InputError(
      f"{self._task.workdir}: the last {in_row} steps up to step {done} (stage"
      f" {stage}) were skipped, as loss or gradient were not finite or"
      f" exploded (the last batch: {path.name}); lower optimizer.learning_rate"
      " or set optimizer.clip_norm, and start anew"
    )

  def _validate(self, state: TrainState, done: int, stage: str) -> bool:
    """Logs the losses on validation crops; whether the stage ends for them."""
    if self._losses is None:
      return False
    found = [
      self._losses(state, self._stepper.to_devices(batch))
      for batch in self._task.batches()
    ]
    found = [jax.device_get(losses) for losses in found]
    means = {k: float(np.mean([f[k] for f in found])) for k in found[0]}
    values = {f"val_{k}": v for k, v in means.items()}
    self._logs.scalars(done, stage, values)
    self._stepper.restart_clock()
    ended = self._progress.validated(done, means)
    if ended:
      self._logs.say(
        f"Stage {stage} ends at step {done}: no lower validation loss"
      )
    return ended

  def _pictures(self, state: TrainState, done: int) -> None:
    if self._task.pictures is not None:
      pictures = self._task.pictures(state, self._stepper.batch)
      self._logs.pictures(done, "train", pictures)
      self._stepper.restart_clock()


def _due(done: int, every: int) -> bool:
  return every > 0 and done % every == 0


def _nothing() -> Generator[None]:
  yield from ()


def _tracing(task: Task, first: int, logs: Logs) -> Generator[None]:
  """Begins and ends a trace; advanced once before each step."""
  for _ in range(_PROFILED):  # compilation and warm-up
    yield
  folder = task.workdir / "profile"
  with jax.profiler.trace(str(folder)):
    for _ in range(_PROFILED):
      yield
  logs.say(f"Trace of steps {first + _PROFILED + 1} on: {folder}")
