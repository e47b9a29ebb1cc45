"""The training loop: stages, compiled steps, logs, checkpoints, evaluations."""

import contextlib
import functools
import resource
import time
from collections.abc import Generator
from typing import Any

import jax
import jax.profiler
import numpy as np

from dwd_jax.checkpoints import checkpointer
from dwd_jax.cluster import processes, sharding
from dwd_jax.cluster.preemption import Preemption
from dwd_jax.core import files
from dwd_jax.core.errors import InputError, InterruptedRun
from dwd_jax.models import compiling
from dwd_jax.train import optim, resume
from dwd_jax.train import state as state_lib
from dwd_jax.train import step as step_lib
from dwd_jax.train.logs import Logs
from dwd_jax.train.stages import Progress, Stage
from dwd_jax.train.state import TrainState
from dwd_jax.train.task import Loader, Task

_PROFILED = 5  # steps of a trace, after as many that warm up


def train(task: Task, *, profile: bool = False) -> TrainState:
  """Trains to the last step, from the newest checkpoint if there is one.

  A run that was killed and is started again continues with the same batches
  and ends with the same parameters, bit for bit, on the same machine.

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
    stepper = _Stepper(task, jax.tree.map(lambda x: x.sharding, state))
    run = _Loop(task, loader, checkpoints, progress, logs, stepper)
    trace = _tracing(task, first, logs, profile)
    stack.enter_context(contextlib.closing(trace))
    step = first
    while step < progress.total:  # the total shrinks if a stage ends early
      next(trace, None)
      state = run.step(state, step)
      stop = preemption.reached(step)
      step += 1
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
    state = state_lib.create_state(task.init, shapes)
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
  """One step, then the logs, checkpoints and evaluations that are due."""

  def __init__(self, task: Task, loader, checkpoints, progress, logs, stepper):
    self._task = task
    self._loader = loader
    self._checkpoints = checkpoints
    self._progress = progress
    self._logs = logs
    self._stepper = stepper
    self._losses = jax.jit(
      functools.partial(step_lib.eval_step, losses_fn=task.losses_fn)
    )

  def step(self, state: TrainState, step: int) -> TrainState:
    """Runs step number `step` (0, 1, ...), then whatever is due."""
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
  task: Task, first: int, logs: Logs, enabled: bool
) -> Generator[None]:
  """Begins and ends a trace; advanced once before each step."""
  if not enabled:
    return
  for _ in range(_PROFILED):  # compilation and warm-up
    yield
  folder = task.workdir / "profile"
  with jax.profiler.trace(str(folder)):
    for _ in range(_PROFILED):
      yield
  logs.say(f"Trace of steps {first + _PROFILED + 1} on: {folder}")


class _Stepper:
  """Compiles and runs steps, and measures them since the last `values`.

  Attributes:
    batch: the last one, on the host.
  """

  def __init__(self, task: Task, shardings: Any):
    self._task = task
    self._shardings = shardings  # of the state
    self._batch_sharding = sharding.batch_sharding(task.mesh)
    self._compiled: dict[tuple[str, ...], Any] = {}
    self._flops = 0.0  # of a step, all devices together
    self._ceiling = 0.0
    self.batch: Any = None
    self.restart_clock()

  def restart_clock(self) -> None:
    """Forgets time and metrics since the last log."""
    self._metrics = None
    self._steps = 0
    self._waited_s = 0.0
    self._paused_s = 0.0
    self._started = time.perf_counter()

  def start_stage(self, state: TrainState, stage: Stage) -> TrainState:
    """The state at the first step of a stage."""
    tx = optim.make_optimizer(self._task.optimizer, stage.frozen)
    start = functools.partial(
      state_lib.start_stage, tx=tx, reset=stage.reset_optimizer
    )
    return jax.jit(start, out_shardings=self._shardings, donate_argnums=0)(
      state
    )

  def __call__(
    self, state: TrainState, loader: Loader, stage: Stage, step: int
  ) -> TrainState:
    """Runs step `step` (0, 1, ...) of a stage; donates the state's buffers."""
    waiting = time.perf_counter()
    self.batch = next(loader)
    batch = self.to_devices(self.batch)
    self._waited_s += time.perf_counter() - waiting
    schedule = optim.learning_rate(self._task.optimizer, stage)
    plan = step_lib.make_plan(stage, np.asarray(schedule(step)).item())
    state, metrics = self._step(stage, state, batch, plan)(state, batch, plan)
    if self._metrics is not None:
      metrics = _merge(self._metrics, metrics)
    self._metrics = metrics
    self._steps += 1
    return state

  def to_devices(self, batch: Any) -> Any:
    """Shards this process's batch over the mesh."""
    return jax.tree.map(
      lambda x: jax.make_array_from_process_local_data(self._batch_sharding, x),
      batch,
    )

  def _step(self, stage: Stage, *args: Any) -> Any:
    """The compiled step; stages with the same frozen parameters share it."""
    if stage.frozen not in self._compiled:
      began = time.perf_counter()
      step = functools.partial(
        step_lib.train_step,
        losses_fn=self._task.losses_fn,
        tx=optim.make_optimizer(self._task.optimizer, stage.frozen),
        cfg=self._task.update,
        frozen=stage.frozen,
      )
      lowered = jax.jit(
        step,
        in_shardings=(self._shardings, self._batch_sharding, None),
        out_shardings=(self._shardings, None),
        donate_argnums=0,
        compiler_options=compiling.training_options(),
      ).lower(*args)
      self._flops = flops(lowered, self._task.update.accumulate)
      self._compiled[stage.frozen] = lowered.compile()
      dtype = self._task.config.model.dtype
      self._ceiling = self._ceiling or matmul_ceiling(dtype)
      self._paused_s += time.perf_counter() - began
    return self._compiled[stage.frozen]

  def values(self) -> dict[str, float]:
    """Means of the metrics since the last call, speed and memory.

    `input_wait_share` is the share of the time spent waiting for batches,
    `flops_share` that of the speed of a large matrix product (absent if
    unknown).
    """
    assert self._metrics is not None  # a log follows a step
    found = jax.device_get(self._metrics.compute())
    seconds = time.perf_counter() - self._started - self._paused_s
    values = {key: float(value) for key, value in found.items()}
    step_s = seconds / self._steps
    values["examples_per_second"] = self._task.config.train.batch_size / step_s
    values["step_s"] = step_s
    values["input_wait_share"] = self._waited_s / seconds
    ceiling = self._ceiling * jax.device_count()
    if ceiling and self._flops:
      values["flops_share"] = self._flops / step_s / ceiling
    values["memory_gib"] = memory_gib()
    self.restart_clock()
    return values


@jax.jit
def _merge(a, b):
  return a.merge(b)


def flops(lowered: jax.stages.Lowered, parts: int) -> float:
  """Floating-point operations of a lowered `train_step`; 0 = unknown.

  XLA counts one of the `parts` of `UpdateConfig.accumulate`.
  """
  return parts * float((lowered.cost_analysis() or {}).get("flops", 0.0))


@functools.cache
def matmul_ceiling(dtype: str = "auto", side: int = 0) -> float:
  """Floating-point operations per second of one device in a matrix product.

  Args:
    dtype: "float32" (at XLA's default precision: TensorFloat-32 on GPUs that
      have it), "bfloat16", or "auto": as `model.dtype`.
    side: of the square matrices; 0 = 8192, on CPUs 1024.
  """
  on_cpu = jax.default_backend() == "cpu"
  if dtype == "auto":
    dtype = "float32" if on_cpu else "bfloat16"
  n = side or (1024 if on_cpu else 8192)
  device = jax.local_devices()[0]
  x = jax.device_put(np.full((n, n), 0.5, dtype), device)
  product = jax.jit(lambda a: a @ a)
  product(x).block_until_ready()
  seconds = []
  for _ in range(5):
    start = time.perf_counter()
    product(x).block_until_ready()
    seconds.append(time.perf_counter() - start)
  # Simulated devices of a CPU share its cores.
  sharers = len(jax.local_devices()) if on_cpu else 1
  return 2.0 * n**3 / min(seconds) / sharers


def memory_gib() -> float:
  """Peak memory of the first device; on CPUs of the process."""
  stats = jax.local_devices()[0].memory_stats()
  if stats and "peak_bytes_in_use" in stats:
    return stats["peak_bytes_in_use"] / 2**30
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
