"""A step on a mesh of pretended devices; run by test_sharding.py.

python sharding_program.py DATAxFSDP

Prints a line of JSON: how far the step on the mesh is from the one on a single
device, relative to the largest change of each array, how the state lies, and
what the devices send.
"""

import dataclasses
import json
import sys

import jax
import numpy as np
import train_helpers as helpers

from benchmarks import collectives
from dwd_jax.cluster import sharding
from dwd_jax.train import optim, step, stepper
from dwd_jax.train.stages import LOSSES

# With sgd the change of a parameter is its gradient.
OPTIMIZER = optim.OptimizerConfig(name="sgd", l2=0.0)
RATE = 0.1
# Weights that are sums over the batch, or over the pixels of an image.
WEIGHTS = {"energy_weights": "balanced", "class_weights": "by_object"}


def _distance(before, after, wanted) -> float:
  """Largest difference of any array, as a share of its largest change."""
  worst = 0.0
  for x, a, b in zip(
    *map(jax.tree.leaves, (before, after, wanted)), strict=True
  ):
    x, a, b = (np.asarray(v, np.float64) for v in (x, a, b))
    change = np.abs(b - x).max()
    worst = max(worst, float(np.abs(a - b).max() / max(change, 1e-6)))
  return worst


def _bytes_of_device(tree, device) -> int:
  return sum(
    shard.data.nbytes
    for x in jax.tree.leaves(tree)
    for shard in x.addressable_shards
    if shard.device == device
  )


def _losses_apart(found, wanted) -> float:
  """Largest relative difference of a loss before it is balanced."""
  return max(
    abs(float(found[f"loss_{k}"] / wanted[f"loss_{k}"]) - 1) for k in LOSSES
  )


def _run(shape, start, batch, plan, single, wanted):
  """One step on a mesh of the first devices."""
  data, fsdp = map(int, shape.split("x"))
  mesh = sharding.make_mesh(fsdp, jax.devices()[: data * fsdp])
  shardings = sharding.state_shardings(start, mesh)
  run = stepper.jit_steps(mesh, shardings, **single.keywords)
  state = jax.device_put(start, shardings)
  batches = jax.tree.map(lambda x: x[None], batch)
  plan = plan.replace(learning_rate=plan.learning_rate[None])
  compiled = run.lower(state, batches, plan).compile()
  sent = collectives.total(collectives.find(compiled.as_text()))
  sizes = collectives.sizes(state, shardings)
  after, metrics = compiled(state, batches, plan)
  kernel = after.params["backbone"]["stage4_block1"]["conv2"]["kernel"]
  total = sum(x.nbytes for x in jax.tree.leaves(after))
  return {
    "kernel": kernel.shape,
    "shard": kernel.addressable_shards[0].data.shape,
    "share_of_a_device": _bytes_of_device(after, jax.devices()[0]) / total,
    "params": _distance(start.params, after.params, wanted[0].params),
    "averages": _distance(
      start.batch_stats, after.batch_stats, wanted[0].batch_stats
    ),
    "losses": _losses_apart(metrics.compute(), wanted[1].compute()),
    "step": int(after.step),
    "sent": sent,
    **sizes,
  }


def main() -> None:
  model = helpers.tiny_model()
  tx = optim.make_optimizer(OPTIMIZER)
  plan = step.make_plan(helpers.COMBINED, RATE)
  batch = helpers.tiny_batch(size=8)
  # With these parameters no ReLU sees what is 0 but for noise.
  start = jax.device_get(helpers.tiny_state(model, tx, seed=1))
  weighted = dataclasses.replace(helpers.LOSSES.losses, **WEIGHTS)
  cfg = dataclasses.replace(helpers.LOSSES, losses=weighted)
  single = helpers.step_fn(model, tx, cfg)
  wanted = jax.device_get(jax.jit(single)(start, batch, plan))
  print(json.dumps(_run(sys.argv[1], start, batch, plan, single, wanted)))


if __name__ == "__main__":
  main()
