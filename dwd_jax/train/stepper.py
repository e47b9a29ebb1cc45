"""Compiled training steps on a mesh, and what they take.

The host runs ahead: only `Stepper.wait`, `Stepper.values` and compiling wait
for the devices.
"""

import dataclasses
import functools
import resource
import time
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding

from dwd_jax.cluster import sharding
from dwd_jax.models import compiling
from dwd_jax.train import optim
from dwd_jax.train import state as state_lib
from dwd_jax.train import step as step_lib
from dwd_jax.train.stages import Stage
from dwd_jax.train.state import TrainState
from dwd_jax.train.step import LossesFn
from dwd_jax.train.task import Loader, Task


def on_mesh(losses_fn: LossesFn, mesh: Mesh) -> LossesFn:
  """The same losses; every device computes those of its part of the batch."""

  def local(params, *args, **options):
    return losses_fn(sharding.gathered(params, mesh), *args, **options)

  return local


def jit_steps(
  mesh: Mesh,
  shardings: Any,
  *,
  losses_fn: LossesFn,
  deterministic: bool = False,
  **options: Any,
) -> Any:
  """`step.train_steps` compiled for a mesh.

  Args:
    shardings: of the state, whose buffers are donated.
    losses_fn: see `step.train_step`.
    deterministic: see `compiling.training_options`.
    **options: the other ones of `step.train_step`.
  """
  whole = all(x.is_fully_replicated for x in jax.tree.leaves(shardings))
  step = functools.partial(
    step_lib.train_step,
    losses_fn=on_mesh(losses_fn, mesh),
    flat_update=whole and jax.default_backend() != "cpu",
    **options,
  )
  return jax.jit(
    functools.partial(step_lib.train_steps, step=step),
    in_shardings=(shardings, sharding.batch_sharding(mesh, stacked=True), None),
    out_shardings=(shardings, None),
    donate_argnums=0,
    compiler_options=compiling.training_options(deterministic),
  )


@dataclasses.dataclass
class _Program:
  """Steps with the same frozen parameters.

  Attributes:
    run: see `jit_steps`.
    lengths: numbers of steps of a call that it is compiled for.
    flops: of a step, all devices together; 0 = unknown.
  """

  run: Any
  lengths: set[int] = dataclasses.field(default_factory=set)
  flops: float = 0.0


class Stepper:
  """Compiles and runs steps, and measures them since `restart_clock`.

  Attributes:
    batch: the last one, on the host.
  """

  def __init__(self, task: Task, shardings: Any):
    self._task = task
    self._shardings = shardings  # of the state
    self._programs: dict[tuple[str, ...], _Program] = {}
    self._flops = 0.0  # of the last step
    self._ceiling = 0.0
    self.batch: Any = None
    self.restart_clock()

  def restart_clock(self) -> None:
    """Forgets time and metrics so far."""
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
    self,
    state: TrainState,
    loader: Loader,
    stage: Stage,
    step: int,
    count: int = 1,
  ) -> TrainState:
    """Runs steps of a stage in one call; donates the state's buffers.

    Args:
      step: number of the first of them in the stage: 0, 1, ...
      count: number of steps. Each one is compiled.
    """
    batches = self._batches(loader, count)
    rates = optim.learning_rate(
      self._task.optimizer, stage, np.arange(step, step + count)
    )
    plan = step_lib.make_plan(stage, rates)
    state, metrics = self._run(stage, count, state, batches, plan)
    if self._metrics is not None:
      metrics = _merge(self._metrics, metrics)
    self._metrics = metrics
    self._steps += count
    return state

  def to_devices(self, batch: Any) -> Any:
    """Shards this process's batch over the mesh."""
    return self._placed(batch, sharding.batch_sharding(self._task.mesh))

  def _batches(self, loader: Loader, count: int) -> Any:
    """The batches of a call as [steps, B, ...], on the mesh."""

    def stack(*arrays):
      return np.stack(arrays) if count > 1 else arrays[0][None]

    began = time.perf_counter()
    batches = [next(loader) for _ in range(count)]
    self.batch = batches[-1]
    where = sharding.batch_sharding(self._task.mesh, stacked=True)
    placed = self._placed(jax.tree.map(stack, *batches), where)
    if all(x.is_ready() for x in jax.tree.leaves(self._metrics)):
      # The devices have had nothing else to do.
      self._waited_s += time.perf_counter() - began
    return placed

  def _placed(self, batch: Any, where: NamedSharding) -> Any:
    return jax.tree.map(
      lambda x: jax.make_array_from_process_local_data(where, x), batch
    )

  def _run(self, stage: Stage, count: int, *args: Any) -> Any:
    """Calls the program of a stage; compiling does not count as time."""
    program = self._programs.get(stage.frozen)
    if program is None:
      run = jit_steps(
        self._task.mesh,
        self._shardings,
        losses_fn=self._task.losses_fn,
        tx=optim.make_optimizer(self._task.optimizer, stage.frozen),
        cfg=self._task.update,
        frozen=stage.frozen,
        deterministic=self._task.config.train.deterministic,
      )
      program = self._programs[stage.frozen] = _Program(run)
    compiles = count not in program.lengths
    if compiles:
      self.wait()  # what still runs is not paused
    began = time.perf_counter()
    if compiles:
      # What is lowered here is not lowered again by the call.
      lowered = program.run.lower(*args)
      program.flops = flops(lowered, self._task.update.accumulate)
      dtype = self._task.config.model.dtype
      self._ceiling = self._ceiling or matmul_ceiling(dtype)
      program.lengths.add(count)
    self._flops = program.flops
    result = program.run(*args)
    if compiles:
      self._paused_s += time.perf_counter() - began
    return result

  def wait(self) -> None:
    """Waits until the devices have done all steps."""
    jax.block_until_ready(self._metrics)

  def values(self) -> dict[str, float]:
    """Means of the metrics since `restart_clock`, speed and memory.

    `input_wait_share` is the share of the time in which the devices waited for
    batches, `flops_share` that of the speed of a large matrix product (absent
    if unknown).
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
