"""What devices send to each other in a training step, by its compiled program.

python -m benchmarks.collectives [--network=101x64x256] [--crop=480] \
  [--batch_size=16] [--meshes=8x1,1x8] [--json=FILE]

Compiles the combined stage of the default config from shapes alone, for
pretended devices of this CPU, and counts in the program's text; nothing runs. A
mesh is DATAxFSDP. A GPU's compiler may combine more arrays into one message,
and scatter gradients that the CPU's reduces for every device.
"""

import math
import sys
import time
from collections.abc import Iterable
from typing import Any

import jax

from benchmarks import common, hlo_kernels
from benchmarks.train_scene import make_scene
from dwd_jax.cluster import sharding
from dwd_jax.train import stepper

KINDS = (
  "all-reduce",
  "all-gather",
  "reduce-scatter",
  "collective-permute",
  "all-to-all",
)
SMALL = 2**16  # bytes; what a message costs below is its latency


def find(program: str) -> list[tuple[str, int]]:
  """Kind and bytes of all messages of a program; in a loop they count once.

  Args:
    program: `jax.stages.Compiled.as_text()` of one for several devices.

  Returns:
    One of `KINDS`, and bytes of the results on one device.
  """
  found = []
  for computation in hlo_kernels.parse(program).computations.values():
    for instruction in computation.values():
      # Of an asynchronous pair, the end has the result.
      kind = instruction.op.removesuffix("-done")
      if kind in KINDS:
        found.append((kind, instruction.bytes))
  return found


def total(found: Iterable[tuple[str, int]]) -> dict[str, dict[str, int]]:
  """Messages, how many of them are `SMALL`, and bytes, of each kind."""
  result = {}
  for kind, size in found:
    row = result.setdefault(kind, {"messages": 0, "small": 0, "bytes": 0})
    row["messages"] += 1
    row["small"] += size <= SMALL
    row["bytes"] += size
  return result


def sizes(state: Any, shardings: Any) -> dict[str, int]:
  """Bytes of parameters, of those that are split, of batch statistics.

  Args:
    state: a `TrainState` of arrays or shapes.
    shardings: of the same structure.
  """

  def count(tree: Any) -> int:
    leaves = jax.tree.leaves(tree)
    return sum(x.dtype.itemsize * math.prod(x.shape) for x in leaves)

  split = jax.tree.map(
    lambda x, where: None if where.is_fully_replicated else x,
    state.params,
    shardings.params,
  )
  return {
    "parameter_bytes": count(state.params),
    "split_bytes": count(split),
    "statistics_bytes": count(state.batch_stats),
  }


def of_step(network: str, crop: int, batch_size: int, mesh: str) -> Any:
  """One row: the messages of a step.

  Args:
    network: DEPTHxWIDTHxFILTERS.
    crop: side of the crops, px.
    batch_size: crops of a device.
    mesh: DATAxFSDP, of all devices.
  """
  devices = sharding.make_mesh(int(mesh.split("x")[1]))
  scene = make_scene(network, crop, batch_size * jax.device_count())
  state, batch, plan = scene.shapes()
  shardings = sharding.state_shardings(state, devices)
  stacked = jax.tree.map(
    lambda x: jax.ShapeDtypeStruct((1, *x.shape), x.dtype), batch
  )
  plan = plan.replace(learning_rate=jax.ShapeDtypeStruct((1,), "float32"))
  start = time.perf_counter()
  run = stepper.jit_steps(devices, shardings, **scene.step.keywords)
  lowered = run.lower(state, stacked, plan)
  # Machine code is not wanted.
  compiled = lowered.compile({"xla_backend_optimization_level": 0})
  found = find(compiled.as_text())
  return {
    "mesh": mesh,
    "compile_s": time.perf_counter() - start,
    **sizes(state, shardings),
    "sent": total(found),
  }


def main(argv: list[str]) -> None:
  """Compiles, counts and prints JSON."""
  parser = common.parser("Collectives of a training step")
  parser.add_argument("--network", default="101x64x256")
  parser.add_argument("--crop", type=int, default=480)
  parser.add_argument("--batch_size", type=int, default=16, help="of a device")
  parser.add_argument("--meshes", default="8x1,1x8", help="DATAxFSDP, ...")
  args = parser.parse_args(argv)
  meshes = args.meshes.split(",")
  counts = {math.prod(map(int, mesh.split("x"))) for mesh in meshes}
  if len(counts) > 1:
    raise SystemExit(f"--meshes={args.meshes}: of different numbers of devices")
  jax.config.update("jax_platforms", "cpu")
  jax.config.update("jax_num_cpu_devices", counts.pop())
  rows = []
  for mesh in meshes:
    rows.append(of_step(args.network, args.crop, args.batch_size, mesh))
    print(rows[-1], file=sys.stderr, flush=True)
  setting = {
    "network": args.network,
    "crop": args.crop,
    "batch_size_of_a_device": args.batch_size,
  }
  common.report("collectives", {**setting, "rows": rows}, args.json)


if __name__ == "__main__":
  main(sys.argv[1:])
