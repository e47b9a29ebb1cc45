"""The device mesh, and the placement of arrays on it."""

import re
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from dwd_jax.core.errors import InputError

_MIN_SHARDED_SIZE = 2**14  # smaller arrays are replicated
# The other arrays of a state: counters and the history of the losses.
_OF_THE_STATE = r"^(step|skipped|loss_history|opt_state/.*count)$"

Rules: TypeAlias = Sequence[tuple[str, str]]
RULES: tuple[tuple[str, str], ...] = (
  (r"(^|/)kernel$", "fsdp"),
  (r"(^|/)(bias|scale|mean|var)$", "replicate"),
)


def make_mesh(fsdp: int = 1, devices: Sequence[Any] | None = None) -> Mesh:
  """Makes a mesh of devices (None = all) with the axes `data` and `fsdp`.

  Parameters are sharded over `fsdp` devices. InputError if the number of
  devices is not a multiple of it.
  """
  count = jax.device_count() if devices is None else len(devices)
  if fsdp < 1 or count % fsdp:
    raise InputError(
      f"train.fsdp: {count} devices are no multiple of {fsdp}; use a divisor"
    )
  return jax.make_mesh(
    (count // fsdp, fsdp),
    ("data", "fsdp"),
    axis_types=(AxisType.Auto,) * 2,
    devices=devices,
  )


def batch_sharding(mesh: Mesh, stacked: bool = False) -> NamedSharding:
  """Splits batches over all devices along their first axis.

  Args:
    stacked: the batches of several steps: along the second axis.
  """
  axes = [None] * stacked + [("data", "fsdp")]
  return NamedSharding(mesh, PartitionSpec(*axes))


def gathered(tree: Any, mesh: Mesh) -> Any:
  """The arrays whole on every device, in a compiled function.

  Where parameters are split, XLA would otherwise split some activations, too,
  and send those instead, which are larger.
  """
  return jax.lax.with_sharding_constraint(
    tree, NamedSharding(mesh, PartitionSpec())
  )


def _local_mesh() -> Mesh:
  return Mesh(np.array(jax.local_devices()), ("batch",))


def host_cpu() -> Any:
  """This host's CPU, a device; None if `JAX_PLATFORMS` excludes it."""
  try:
    return jax.local_devices(backend="cpu")[0]
  except RuntimeError:
    return None


def on_local_devices(tree: Any) -> Any:
  """Copies arrays, whole, to every device of this process."""
  return jax.device_put(tree, NamedSharding(_local_mesh(), PartitionSpec()))


def over_local_devices(batch: Any) -> jax.Array:
  """Divides a batch among the devices of this process along its first axis."""
  sharding = NamedSharding(_local_mesh(), PartitionSpec("batch"))
  return jax.device_put(batch, sharding)


def on_each_local_device(function: Callable[..., Any]) -> Callable[..., Any]:
  """A function of (variables, batch) that each device runs on its share.

  Args:
    function: its results have the batch as their first axis.
  """
  return jax.shard_map(
    function,
    mesh=_local_mesh(),
    in_specs=(PartitionSpec(), PartitionSpec("batch")),
    out_specs=PartitionSpec("batch"),
    check_vma=False,
  )


def state_shardings(shapes: Any, mesh: Mesh, rules: Rules = RULES) -> Any:
  """Shardings of the arrays of a state, by the first rule that matches.

  Args:
    shapes: pytree of arrays or `jax.ShapeDtypeStruct`, a `TrainState` or a part
      of it.
    mesh: see `make_mesh`.
    rules: (pattern of a path such as "params/backbone/stem/kernel",
      placement). "fsdp": the last divisible axis of large arrays is split over
      the mesh axis `fsdp`; "replicate": every device has the whole array. The
      optimizer's copies of a parameter follow its rule.

  Raises:
    InputError: an array that no rule covers.
  """

  def place(path, x):
    name = jax.tree_util.keystr(path, simple=True, separator="/")
    spec = PartitionSpec()
    if _placement(name, rules) == "fsdp":
      spec = _cut(x.shape, mesh.shape["fsdp"])
    return NamedSharding(mesh, spec)

  return jax.tree_util.tree_map_with_path(place, shapes)


def _placement(name: str, rules: Rules) -> str:
  if re.search(_OF_THE_STATE, name):
    return "replicate"
  for pattern, placement in rules:
    if re.search(pattern, name):
      return placement
  raise InputError(
    f"train.sharding: no rule covers '{name}'; add one, such as"
    f" ('{name.rsplit('/', 1)[-1]}$', 'replicate')"
  )


def _cut(shape: tuple[int, ...], parts: int) -> PartitionSpec:
  if parts == 1 or np.prod(shape) < _MIN_SHARDED_SIZE:
    return PartitionSpec()
  for axis in reversed(range(len(shape))):
    if shape[axis] % parts == 0:
      return PartitionSpec(*[None] * axis, "fsdp")
  return PartitionSpec()
