"""The training loop: stages, steps, logs, checkpoints, evaluations."""

import contextlib
import functools
from collections.abc import Generator

import jax
import jax.profiler
import numpy as np

from dwd_jax.checkpoints import checkpointer
from dwd_jax.cluster import processes
from dwd_jax.cluster.preemption import Preemption
from dwd_jax.core import files
from dwd_jax.core.errors import InputError, InterruptedRun
from dwd_jax.models import compiling
from dwd_jax.train import optim, resume
from dwd_jax.train import state as state_lib
from dwd_jax.train import step as step_lib
from dwd_jax.train.logs import Logs
from dwd_jax.train.stages import Progress
from dwd_jax.train.state import TrainState
from dwd_jax.train.stepper import Stepper, on_mesh
from dwd_jax.train.task import Renewal, Task

_PROFILED = 5  # calls of a trace, after as many that warm up


def train(task: Task, *, profile: bool = False) -> TrainState:
  """Trains to the last step, from the newest checkpoint if there is one.

  A run that was killed and is started again continues with the same batches
  and ends with the same parameters, bit for bit, on the same machine: on CPUs,
  and on GPUs with `config.train.deterministic`.

  Args:
    profile: write a trace of a few steps to W/profile.

  Raises:
    InputError: the checkpoint belongs to another network or config, or too many
      steps in a row had to be skipped.
    InterruptedRun: stopped by SIGTERM; the state is saved.
  """
  with contextlib.ExitStack() as stack:
    if processes.is_first():
      stack.enter_context(files.only_writer(task.workdir, "training"))
    loader = stack.enter_context(contextlib.closing(task.loader()))
    checkpoints = checkpointer.Checkpoints(
      task.workdir / "checkpoints", task.config.train.keep_checkpoints
    )
    stack.enter_context(contextlib.closing(checkpoints))
    preemption = stack.enter_context(contextlib.closing(Preemption()))
    state, progress = _start(task, checkpoints, loader)
    first = int(state.step)
    logs = Logs(task.workdir, first, progress.total)
    stack.enter_context(contextlib.closing(logs))
    if task.announce is not None:
      task.announce(logs, state)
    if first:
      logs.say(f"Continuing at step {first} of {progress.total}")
    stepper = Stepper(task, jax.tree.map(lambda x: x.sharding, state))
    run = _Loop(task, loader, checkpoints, progress, logs, stepper)
    trace = _tracing(task, stepper, logs, profile)
    stack.enter_context(contextlib.closing(trace))
    if task.renewal is not None:
      if first:
        task.renewal.again(loader, first - first % task.renewal.every)
      else:
        run.renew(task.renewal, state, 0)
    step = first
    while step < progress.total:  # the total shrinks if a stage ends early
      next(trace, None)
      state, step = run.call(state, step)
      stop = preemption.reached(step - 1)
      if stop and step < progress.total:
        run.save(state, step)
        checkpoints.wait()
        raise InterruptedRun(
          f"{task.workdir}: stopped and saved at step {step} of"
          f" {progress.total}; start the same command again to go on"
        )
    return state


def _start(task: Task, checkpoints, loader) -> tuple[TrainState, Progress]:
  """A new state, or the newest checkpoint with the loader set to match."""
  shapes = state_lib.state_shapes(
    task.init, task.mesh, task.config.train.sharding
  )
  for stage in task.stages:  # fail now, not when the stage begins
    optim.frozen_mask(shapes.params, stage.frozen)
  progress = Progress(task.stages)
  path = task.workdir / "config.json"
  found = resume.restore_newest(checkpoints, shapes, task.card, processes.say)
  if found is None:
    state = state_lib.create_state(task.init, task.config.seed, shapes)
    state = state if task.initial is None else task.initial(state)
  else:
    accept = task.config.train.accept_changes
    for change in resume.check_config(path, task.config, accept):
      processes.say(f"Changed: {change}")
    state, data, saved = found
    loader.set_state(data)
    progress.restore(saved, int(state.step))
  if jax.process_index() == 0:  # only if the config fits the checkpoint
    resume.write_config(path, task.config)
  return state, progress


class _Loop:
  """A call of some steps, then logs, checkpoints and evaluations if due."""

  def __init__(self, task: Task, loader, checkpoints, progress, logs, stepper):
    self._task = task
    self._loader = loader
    self._checkpoints = checkpoints
    self._progress = progress
    self._logs = logs
    self._stepper = stepper
    self._compiled: set[str] = set()  # names of stages
    self._losses = jax.jit(
      functools.partial(
        step_lib.eval_step, losses_fn=on_mesh(task.losses_fn, task.mesh)
      ),
      # They may end a stage.
      compiler_options=compiling.training_options(
        task.config.train.deterministic
      ),
    )

  def call(self, state: TrainState, step: int) -> tuple[TrainState, int]:
    """Runs steps, the first is number `step` (0, 1, ...), then what is due.

    Returns the new state and the number of steps done.
    """
    stage, first = self._progress.at(step)
    if self._progress.begins(step):
      self._progress.start_stage()
      state = self._stepper.start_stage(state, stage)
      self._stepper.restart_clock()
    if stage.name not in self._compiled:
      self._compiled.add(stage.name)
      self._logs.say(
        f"Stage {stage.name}, up to {stage.steps} steps: compiling first"
      )
    count = self._count(step, first + stage.steps)
    state = self._stepper(state, self._loader, stage, step - first, count)
    done, train = step + count, self._task.config.train
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
      if self._task.renewal is None:
        ended |= self._judge(done, stage.name, score)
        last = done == self._progress.total
    renewal = self._task.renewal
    if renewal is not None:
      score = None  # that of an evaluation is another measure
      if done % renewal.every == 0:
        score = self.renew(renewal, state, done)
        judged, last = True, done == self._progress.total
    if done % train.checkpoint_every == 0 or last or judged or ended:
      self.save(state, done, score)
    return state, done

  def _judge(self, done: int, stage: str, score: float | None) -> bool:
    """Counts an evaluation; returns whether the stage ends with it."""
    if score is None or not np.isfinite(score):
      return False  # there are no objects to be found
    ends = self._progress.judged(done, -score)
    if ends:
      self._logs.say(f"Stage {stage} ends at step {done}: no better mAP")
    return ends

  def renew(self, renewal: Renewal, state: TrainState, done: int) -> float:
    """Renews the batches; returns the score, which may end the stage."""
    values = renewal.run(state, self._loader, done)
    self._stepper.restart_clock()
    stage = self._progress.at(max(done - 1, 0))[0].name
    self._logs.scalars(done, stage, dict(values))
    score = values[renewal.score]
    if self._progress.judged(done, -score):
      why = f"no better {renewal.score}"
      self._logs.say(f"Stage {stage} ends at step {done}: {why}")
    return score

  def _count(self, step: int, end: int) -> int:
    """Steps of a call: `train.steps_per_call`, or 1 if less are left.

    As many lengths as there are rests would all be compiled.

    Args:
      step: number of the first one.
      end: steps done when the stage ends.
    """
    train = self._task.config.train
    due = (
      train.log_every,
      train.pictures_every,
      train.validate_every,
      train.eval_every,
      train.checkpoint_every,
    )
    if self._task.renewal is not None:
      due += (self._task.renewal.every,)
    left = min(end - step, *(every - step % every for every in due if every))
    return train.steps_per_call if train.steps_per_call <= left else 1

  def save(
    self, state: TrainState, done: int, score: float | None = None
  ) -> None:
    """Saves a checkpoint unless this step has one."""
    data, progress = self._loader.get_state(), self._progress.to_json()
    self._checkpoints.save(
      done, state, data, self._task.card, progress=progress, score=score
    )

  def _log(self, state: TrainState, done: int, stage: str) -> None:
    """Logs means since the last log; stops after too many skipped steps."""
    values = self._stepper.values()
    skipped, in_row = jax.device_get(state.skipped)
    values["skipped_steps"] = float(skipped)
    self._logs.scalars(done, stage, values)
    self._stepper.restart_clock()
    if in_row >= self._task.config.train.max_skipped:
      self._stop(done, stage, int(in_row))

  def _stop(self, done: int, stage: str, in_row: int) -> None:
    """Saves the last batch for inspection and raises `InputError`."""
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
    """Logs the losses on validation crops; returns whether the stage ends."""
    if self._task.validation is None:
      return False
    with contextlib.closing(self._task.validation()) as loader:
      found = [
        self._losses(state, self._stepper.to_devices(next(loader)))
        for _ in range(self._task.config.train.validate_batches)
      ]
    found = jax.device_get(found)
    means = {k: float(np.mean([f[k] for f in found])) for k in found[0]}
    values = {f"val_{k}": v for k, v in means.items()}
    self._logs.scalars(done, stage, values)
    self._stepper.restart_clock()
    if self._task.evaluate is not None and self._task.config.train.eval_every:
      return False  # evaluations judge
    reason = self._progress.validated(done, means)
    if reason:
      self._logs.say(f"Stage {stage} ends at step {done}: {reason}")
    return bool(reason)

  def _pictures(self, state: TrainState, done: int) -> None:
    if self._task.pictures is not None:
      pictures = self._task.pictures(state, self._stepper.batch)
      self._logs.pictures(done, "train", pictures)
      self._stepper.restart_clock()


def _due(done: int, every: int) -> bool:
  return every > 0 and done % every == 0


def _tracing(
  task: Task, stepper: Stepper, logs: Logs, enabled: bool
) -> Generator[None]:
  """Begins and ends a trace; advanced once before each call."""
  if not enabled:
    return
  for _ in range(_PROFILED):  # compilation and warm-up
    yield
  folder = task.workdir / "profile"
  stepper.wait()
  with jax.profiler.trace(str(folder)):
    for _ in range(_PROFILED):
      yield
    stepper.wait()
  logs.say(f"Trace of {_PROFILED} calls: {folder}")
