"""The training loop: stages x steps, logs, checkpoints, evaluations."""

import functools
import io
import math
import time
from contextlib import redirect_stdout
from typing import Any

import jax
import numpy as np
from clu import parameter_overview

from dwd_jax import optim, stages
from dwd_jax.data import pipeline
from dwd_jax.errors import InputError
from dwd_jax.train import evaluation, shares
from dwd_jax.train import setup as setup_lib
from dwd_jax.train import state as state_lib
from dwd_jax.train.logs import Logs
from dwd_jax.train.step import make_plan, train_step


def train(run: setup_lib.Run) -> state_lib.TrainState:
  """Trains from the newest checkpoint, or from the start, to the end.

  A run that was killed and is started again continues with the same batches
  and ends with the same parameters, bit for bit, on the same machine.

  Args:
    run: see `setup.setup`.

  Returns:
    The final state; it is also the newest checkpoint.

  Raises:
    InputError: the checkpoint belongs to another network, or the loss is not
      finite any more.
  """
  config = run.config
  total = stages.total_steps(run.settings.stages)
  loader = pipeline.train_loader(
    run.source(config.data.train_split),
    config.data,
    batch_size=config.train.batch_size,
    seed=config.seed,
  )
  checkpoints = run.checkpoints()
  state, shardings = _start(run, checkpoints, loader)
  setup_lib.write_config(run)  # once it is known to fit the checkpoint
  first = int(state.step)
  logs = Logs(run.workdir, first, total)
  try:
    _announce(run, state, first, total, logs)
    steps = _Steps(run, shardings)
    for step in range(first, total):
      state = steps(state, step, loader)
      done = step + 1
      if done % config.train.log_every == 0 or done == total:
        _log(logs, steps, run, done)
      last = done == total
      if done % config.train.checkpoint_every == 0 or last:
        checkpoints.save(done, state, loader.get_state(), run.card)
      every = config.train.eval_every
      if every and done % every == 0 and not last:
        evaluation.evaluate(run, state, config.data.eval_split, logs)
        steps.restart_clock()
    return state
  finally:
    loader.close()
    checkpoints.close()
    logs.close()


def _start(run, checkpoints, loader) -> tuple[state_lib.TrainState, Any]:
  """A fresh state, or the newest checkpoint; the loader is set to match.

  Returns:
    The state and its shardings.
  """
  shapes = run.state_shapes()
  for stage in run.settings.stages:  # not only when the stage begins
    optim.frozen_mask(shapes.params, stage.frozen)
  latest = checkpoints.latest_step()
  if latest is None:
    state = run.new_state()
  else:
    state, data = checkpoints.restore(latest, shapes, run.card)
    loader.set_state(data)
  return state, jax.tree.map(lambda x: x.sharding, shapes)


class _Steps:
  """Compiled steps of the stages, and what they measured since the last log."""

  def __init__(self, run: setup_lib.Run, shardings: Any):
    self._run = run
    self._shardings = shardings
    self._batch_sharding = state_lib.batch_sharding(run.mesh)
    self._compiled = {}
    self.stage = run.settings.stages[0]
    self.restart_clock()

  def restart_clock(self) -> None:
    """Forgets time and metrics since the last log."""
    self.metrics = None
    self.steps = 0
    self.waited_s = 0.0
    self.started = time.perf_counter()

  def __call__(self, state, step: int, loader):
    """Does step number `step` (0, 1, ...) and returns the new state."""
    stages_ = self._run.settings.stages
    index, first = stages.stage_at(stages_, step)
    self.stage = stages_[index]
    tx = optim.make_optimizer(self._run.settings.optimizer, self.stage.frozen)
    if step == first and index > 0:
      state = jax.jit(
        functools.partial(
          state_lib.start_stage, tx=tx, reset=self.stage.reset_optimizer
        ),
        out_shardings=self._shardings,
        donate_argnums=0,
      )(state)
      self.restart_clock()
    waiting = time.perf_counter()
    batch = jax.tree.map(
      lambda x: jax.make_array_from_process_local_data(self._batch_sharding, x),
      next(loader),
    )
    self.waited_s += time.perf_counter() - waiting
    schedule = optim.learning_rate(self._run.settings.optimizer, self.stage)
    rate = np.asarray(schedule(step - first)).item()
    plan = make_plan(self.stage, rate)
    state, metrics = self._step(tx)(state, batch, plan)
    self.metrics = (
      metrics if self.metrics is None else _merge(self.metrics, metrics)
    )
    self.steps += 1
    return state

  def _step(self, tx):
    """The compiled step; stages with the same frozen parameters share it."""
    frozen = self.stage.frozen
    if frozen not in self._compiled:
      self._compiled[frozen] = jax.jit(
        functools.partial(
          train_step,
          model=self._run.model,
          tx=tx,
          cfg=self._run.step_config,
        ),
        in_shardings=(self._shardings, self._batch_sharding, None),
        out_shardings=(self._shardings, None),
        donate_argnums=0,
      )
    return self._compiled[frozen]


@jax.jit
def _merge(a, b):
  return a.merge(b)


def _log(logs: Logs, steps: _Steps, run: setup_lib.Run, done: int) -> None:
  """Writes the means since the last log; stops where the loss is not finite."""
  assert steps.metrics is not None  # a log follows a step
  values = jax.device_get(steps.metrics.compute())
  seconds = time.perf_counter() - steps.started
  batch_size = run.config.train.batch_size
  values["examples_per_second"] = steps.steps * batch_size / seconds
  values["step_s"] = seconds / steps.steps
  values["input_wait_share"] = steps.waited_s / seconds
  logs.scalars(done, steps.stage.name, values)
  if not math.isfinite(values["loss"]):
    raise InputError(
      f"{run.workdir}: the loss is {values['loss']} at step {done}; lower"
      " optimizer.learning_rate or set optimizer.clip_norm, and start anew"
    )
  steps.restart_clock()


def _announce(run, state, first: int, total: int, logs: Logs) -> None:
  table = io.StringIO()
  with redirect_stdout(table):
    overview = parameter_overview.get_parameter_overview(
      shares.on_local_device(state.params, run.mesh)
    )
  logs.say(overview.splitlines()[-1] if overview else "")
  logs.say(setup_lib.describe_groups(run))
  evaluation.say_unmapped(run.source(run.config.data.train_split))
  if jax.process_index() == 0:
    (run.workdir / "parameters.txt").write_text(overview + "\n")
  if first:
    logs.say(f"Continuing at step {first} of {total}")
