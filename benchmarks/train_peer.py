"""Our training step, and PyTorch's beside it: taking turns, memory apart."""

import functools
import importlib.metadata
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from benchmarks import common, device
from benchmarks.train_scene import VARIANTS, Scene, make_scene
from dwd_jax.train.stages import LOSSES

_CLOSE = {"float32": 1e-3, "bfloat16": 0.05}  # of the losses of the first step


class Ours:
  """Our compiled step: the state is donated, the batch comes from the host."""

  def __init__(self, scene: Scene):
    """Compiles."""
    self._state, self._batch, self._plan = scene.inputs()
    self.variables = jax.device_get(
      {"params": self._state.params, "batch_stats": self._state.batch_stats}
    )
    lowered = scene.lower(self._state, self._batch, self._plan)
    self.flops = float((lowered.cost_analysis() or {}).get("flops", 0.0))
    self.compiled = lowered.compile()
    self._metrics = None

  def step(self) -> None:
    """One step of training, to its end."""
    self._state, self._metrics = self.compiled(
      self._state, self._batch, self._plan
    )
    jax.block_until_ready(self._state)

  def losses(self) -> np.ndarray:
    """The losses of the last step."""
    assert self._metrics is not None
    values = self._metrics.compute()
    return np.array([float(values[f"loss_{name}"]) for name in LOSSES])


def our_step(**scene: Any) -> Callable[[], None]:
  """A step of ours, see `device.peak_memory` and `make_scene`."""
  return Ours(make_scene(**scene)).step


def _peers(scene: Scene, ours: Ours, mode: str) -> dict[str, Any]:
  """PyTorch's steps by name; each gives its losses."""
  from benchmarks import torch_train

  batch = scene.batch()
  maps = torch_train.host_maps(scene, batch)
  made = {}
  for variant in VARIANTS:
    for name in ("", *((mode,) if mode else ())):
      trainer = torch_train.Trainer(scene, ours.variables, variant, name)
      key = f"torch_{variant}{'_compiled' if name else ''}"
      made[key] = functools.partial(trainer.step_and_wait, batch.image, maps)
  return made


def check(name: str, ours: np.ndarray, theirs: np.ndarray, dtype: str) -> None:
  """Stops unless the losses of the first step agree.

  Raises:
    ValueError: they do not.
  """
  error = np.abs(theirs - ours).max() / np.abs(ours).max()
  if not error < _CLOSE[dtype]:
    raise ValueError(f"{name}: losses are {theirs}, ours {ours}")


def measure(
  spec: dict[str, Any], peer: str, mode: str, repeats: int, memory: bool
) -> dict[str, Any]:
  """Times a step, and the peer's in turns with it.

  Args:
    spec: arguments of `make_scene`.
    peer: "torch" or "".
    mode: of torch.compile, "" = eager only.
    repeats: rounds in which every step is timed once.
    memory: measure the peak memory in processes of their own, too.

  Returns:
    For each name seconds, examples a second, share of the ceiling (a large
    matrix product, in the framework that is faster at it), and memory; FLOPs
    as XLA counts those of our step before it optimises (the dense variant does
    more).
  """
  scene = make_scene(**spec)
  ours = Ours(scene)
  parts: dict[str, Callable[[], Any]] = {"jax": ours.step}
  if peer:
    others = _peers(scene, ours, mode)
    ours.step()
    wanted = ours.losses()
    for name, other in others.items():
      found = np.asarray(other().cpu())
      check(name, wanted, found, scene.model.cfg.dtype)
    parts |= others
  taken = common.in_turns(parts, repeats)
  batch_size = scene.batch_shape[0]
  row: dict[str, Any] = {**spec, "gflops": ours.flops / 1e9}
  for name, seconds in taken.items():
    row[name] = device.summary(seconds, batch_size)
  row["jax"]["compiled_mib"] = device.compiled_memory(ours.compiled)
  _add_shares(row, scene.model.cfg.dtype, bool(peer))
  if memory:
    del parts, ours
    _add_memory(row, spec, mode)
  return row


def versions(peer: str) -> dict[str, str]:
  """The version of the peer's framework."""
  return {"torch": importlib.metadata.version("torch")} if peer else {}


def _add_shares(row: dict[str, Any], dtype: str, peer: bool) -> None:
  """FLOP/s, their share of the ceiling, and ours over the peer's."""
  ceilings = {"jax": device.jax_ceiling(dtype)}
  if peer:
    ceilings["torch"] = device.torch_ceiling(dtype)
  row["ceiling_gflops_per_second"] = {k: v / 1e9 for k, v in ceilings.items()}
  for name in [name for name in row if name.startswith(("jax", "torch"))]:
    rate = row["gflops"] * 1e9 / row[name]["median_s"]
    row[name]["gflops_per_second"] = rate / 1e9
    row[name]["ceiling_share"] = rate / max(ceilings.values())
    if name != "jax":
      for key in ("median_s", "min_s"):
        times = row[name][key] / row["jax"][key]
        row[name][f"ours_times_faster{'_by_min' * (key == 'min_s')}"] = times


def _add_memory(row: dict[str, Any], spec: dict[str, Any], mode: str) -> None:
  """Peak memory of every step of the row."""
  row["jax"]["memory"] = device.peak_memory(our_step, **spec)
  for name in [name for name in row if name.startswith("torch")]:
    from benchmarks import torch_train

    variant = name.split("_")[1]
    compiled = mode if name.endswith("_compiled") else ""
    row[name]["memory"] = device.peak_memory(
      torch_train.own_step, variant=variant, mode=compiled, **spec
    )
