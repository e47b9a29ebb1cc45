"""Memory of a train step by XLA's buffer assignment; nothing is allocated.

python -m benchmarks.memory [--network=101x64x256] [--crop=480] \
  [--batches=1,4,16,32] [--dtypes=float32,bfloat16] [--remat=0,1] \
  [--accumulate=1,4] [--gib=80] [--json=FILE]

Compiles the step from shapes alone and prints what its arguments, outputs and
temporary arrays need, and whether all of it fits. On a CPU the figures are a
stand-in for a GPU's: XLA's passes and convolution libraries differ (a GPU adds
workspaces of convolutions; a CPU computes bfloat16 convolutions in float32 and
keeps copies in that type; it also merges again what rematerialisation computes
twice, so that the temporaries do not shrink). On a GPU they are what the step
will take. The residuals, which the forward pass hands to the backward one, are
the same on every backend. The state is donated, as in training.
"""

import itertools
import sys
import time
from typing import Any

import jax

from benchmarks import common, device
from benchmarks.train_scene import Scene, make_scene
from dwd_jax.objectives import detection_loss


def residuals_mib(scene: Scene) -> float:
  """What the backward pass is handed by the forward one, before XLA.

  Parameters are among it. It does not depend on the backend, and bounds what
  the step needs from below where XLA computes nothing twice by itself.
  """
  state, batch, _ = scene.shapes()

  def pullback(params, batch_stats, batch):
    def loss(params):
      losses, _, _ = detection_loss.detection_losses(
        params, batch_stats, batch, model=scene.model, cfg=scene.cfg
      )
      return losses.sum()

    return jax.vjp(loss, params)[1]  # a pytree of what is kept

  kept = jax.eval_shape(pullback, state.params, state.batch_stats, batch)
  return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(kept)) / 2**20


def _part(spec: dict[str, Any]) -> dict[str, Any]:
  """Of a batch that is cut into parts, one."""
  parts = spec["train.accumulate"]
  size = spec["batch_size"] // parts
  return {**spec, "batch_size": size, "train.accumulate": 1}


def measure(spec: dict[str, Any], limit_gib: float) -> dict[str, Any]:
  """Compiles one step.

  Args:
    spec: arguments of `make_scene`, "train.remat" and others among them.
    limit_gib: memory of a device.

  Returns:
    Memory in MiB, whether it fits, parameters, seconds to compile.
  """
  scene = make_scene(**spec)
  state, batch, plan = scene.shapes()
  started = time.perf_counter()
  compiled = scene.lower(state, batch, plan).compile()
  found = device.compiled_memory(compiled)
  parameters = sum(x.size for x in jax.tree.leaves(state.params))
  return {
    **spec,
    "parameters": parameters,
    "compile_s": time.perf_counter() - started,
    "mib": found,
    "residuals_mib": residuals_mib(make_scene(**_part(spec))),
    "total_gib": found["total"] / 1024,
    "mib_per_example": found["temporaries"] / spec["batch_size"],
    "fits": found["total"] / 1024 < limit_gib,
  }


def table(rows: list[dict[str, Any]]) -> str:
  """The rows in Markdown."""
  lines = [
    "| type | batch | remat | parts | arguments, GiB | temporaries, GiB | in"
    " all, GiB | fits | residuals, GiB |",
    "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
  ]
  for row in rows:
    sizes = (row["mib"][key] / 1024 for key in ("arguments", "temporaries"))
    lines.append(
      f"| {row['dtype']} | {row['batch_size']} |"
      f" {'yes' if row['train.remat'] else 'no'} | {row['train.accumulate']} |"
      f" {' | '.join(f'{size:.2f}' for size in sizes)} |"
      f" {row['total_gib']:.1f} | {'yes' if row['fits'] else 'no'} |"
      f" {row['residuals_mib'] / 1024:.1f} |"
    )
  return "\n".join(lines)


def main(argv: list[str]) -> None:
  """Compiles every combination; prints JSON, and a table on stderr."""
  parser = common.parser("Memory of a train step")
  parser.add_argument("--network", default="101x64x256")
  parser.add_argument("--crop", type=int, default=480)
  parser.add_argument("--batches", default="1,4,16,32")
  parser.add_argument("--dtypes", default="float32,bfloat16")
  parser.add_argument("--remat", default="0,1")
  parser.add_argument("--accumulate", default="1", help="parts of a batch")
  parser.add_argument("--gib", type=float, default=80, help="of a device")
  args = parser.parse_args(argv)
  rows = []
  for dtype, size, remat, parts in itertools.product(
    args.dtypes.split(","),
    map(int, args.batches.split(",")),
    map(int, args.remat.split(",")),
    map(int, args.accumulate.split(",")),
  ):
    if size % parts:
      continue
    spec = {
      "spec": args.network,
      "crop": args.crop,
      "batch_size": size,
      "dtype": dtype,
      "train.remat": bool(remat),
      "train.accumulate": parts,
    }
    rows.append(measure(spec, args.gib))
    print(rows[-1], file=sys.stderr, flush=True)
  print(table(rows), file=sys.stderr)
  common.report(
    "memory",
    {
      "limit_gib": args.gib,
      "rows": rows,
    },
    args.json,
  )


if __name__ == "__main__":
  main(sys.argv[1:])
