"""Compiled steps of a task, and what is measured while they run."""

import functools
import resource
import time
from typing import Any

import jax
import numpy as np

from dwd_jax.cluster import sharding
from dwd_jax.models import compiling
from dwd_jax.train import optim
from dwd_jax.train import state as state_lib
from dwd_jax.train.stages import Stage
from dwd_jax.train.state import TrainState
from dwd_jax.train.task import Loader, Task
from dwd_jax.train.update import make_plan


class Stepper:
  """Does steps, and measures them since the last `values`.

  Attributes:
    batch: the last one, on the host.
  """

  def __init__(self, task: Task):
    """Args: `task` is trained."""
    self._task = task
    self._shardings = jax.tree.map(lambda x: x.sharding, task.state_shapes())
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
    """Does one step.

    Args:
      state: before the step; its buffers are used again.
      loader: gives the batch.
      stage: of the step.
      step: number of the step in its stage (0, 1, ...).
    """
    waiting = time.perf_counter()
    self.batch = next(loader)
    batch = self.to_devices(self.batch)
    self._waited_s += time.perf_counter() - waiting
    schedule = optim.learning_rate(self._task.optimizer, stage)
    plan = make_plan(stage, np.asarray(schedule(step)).item())
    state, metrics = self._step(stage, state, batch, plan)(state, batch, plan)
    self._metrics = (
      metrics if self._metrics is None else _merge(self._metrics, metrics)
    )
    self._steps += 1
    return state

  def to_devices(self, batch: Any) -> Any:
    """A batch of this process as part of the batch on the mesh."""
    return jax.tree.map(
      lambda x: jax.make_array_from_process_local_data(self._batch_sharding, x),
      batch,
    )

  def _step(self, stage: Stage, *args: Any) -> Any:
    """The compiled step; stages with the same frozen parameters share it."""
    if stage.frozen not in self._compiled:
      began = time.perf_counter()
      tx = optim.make_optimizer(self._task.optimizer, stage.frozen)
      lowered = jax.jit(
        self._task.make_step(tx),
        in_shardings=(self._shardings, self._batch_sharding, None),
        out_shardings=(self._shardings, None),
        donate_argnums=0,
        compiler_options=compiling.training_options(),
      ).lower(*args)
      self._flops = float((lowered.cost_analysis() or {}).get("flops", 0.0))
      self._compiled[stage.frozen] = lowered.compile()
      dtype = self._task.config.model.dtype
      self._ceiling = self._ceiling or matmul_ceiling(dtype)
      self._paused_s += time.perf_counter() - began
    return self._compiled[stage.frozen]

  def values(self) -> dict[str, float]:
    """Means of the metrics since the last call, speed and memory.

    `step_s`, `examples_per_second`, `input_wait_share` (of the time, waiting
    for batches), `flops_share` (of what the devices reach in a large matrix
    product; not where that is unknown), `memory_gib` (the most so far: of a
    device, or of the process on CPUs).
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


@functools.cache
def matmul_ceiling(dtype: str = "auto", side: int = 0) -> float:
  """Floating-point operations a second of one device in a matrix product.

  Args:
    dtype: "float32" (at XLA's default precision: TensorFloat-32 on GPUs that
      have it), "bfloat16", or "auto": as `model.dtype`.
    side: of the square matrices; 0 = 8192, on CPUs a quick 1024.
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
  # All pretended devices of a CPU share its cores.
  sharers = len(jax.local_devices()) if on_cpu else 1
  return 2.0 * n**3 / min(seconds) / sharers


def memory_gib() -> float:
  """The most memory used so far: of the first device, or of the process."""
  stats = jax.local_devices()[0].memory_stats()
  if stats and "peak_bytes_in_use" in stats:
    return stats["peak_bytes_in_use"] / 2**30
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
