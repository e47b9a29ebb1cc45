"""Parts of the train step: targets, losses, class loss sparse and dense.

python -m benchmarks.losses [--networks=18x32x32,101x64x256] \
  [--crops=160,256,480] [--batch_size=4] [--dense_mib=6000] [--json=FILE]

The parts of a step are compiled apart and take turns in one process; XLA may
fuse across them in the whole step, so they need not add up. Rendering the
targets should stay below 5 % of the step. Both class losses include their
gradients, as in the step; the dense one is left out where it would need more
than --dense_mib.
"""

import functools
import statistics
import sys
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from benchmarks import common, device
from benchmarks.common import NUM_CLASSES
from benchmarks.train_scene import Scene, make_scene
from dwd_jax.cluster import huge_pages
from dwd_jax.models import compiling, dwd
from dwd_jax.objectives import class_loss, detection_loss
from dwd_jax.objectives import targets as targets_lib

Parts = dict[str, tuple[Callable[..., Any], tuple[Any, ...]]]


def parts(scene: Scene) -> Parts:
  """Functions of a step by name, with their arguments.

  Args:
    scene: what is trained.
  """
  state, batch, plan = scene.inputs()
  boxes = (batch.boxes_yxyx, batch.labels, batch.box_mask)
  crop = scene.batch_shape[1]
  num_boxes = scene.batch_shape[2]
  cfg, model = scene.cfg, scene.model

  def render(boxes, labels, mask):
    groups = np.asarray(cfg.group_of_class, np.int32)
    return targets_lib.render(
      boxes, labels, mask, groups, (crop, crop), cfg.targets
    )

  def forward(params, image):
    return model.apply(
      {"params": params, "batch_stats": state.batch_stats},
      dwd.network_input(image),
      train=True,
      mutable=["batch_stats"],
    )

  def backward(params, image, cotangents):
    pull = jax.vjp(lambda p: forward(p, image)[0], params)[1]
    return pull(cotangents)[0]

  def loss(fn, params, predictions, targets):
    """With gradients, as the step needs them."""

    def total(params, predictions):
      return fn(params, predictions, targets)[0].sum()

    return jax.value_and_grad(total, (0, 1))(params, predictions)

  maps = jax.jit(render)(*boxes)
  predictions = jax.jit(forward)(state.params, batch.image)[0]
  given = (state.params, predictions, maps)
  all_losses = functools.partial(
    detection_loss.compute_losses, num_boxes=num_boxes, cfg=cfg
  )
  options = {
    "cfg": cfg.losses,
    "group_of_class": cfg.group_of_class,
    "num_boxes": num_boxes,
  }
  losses = {
    "all_losses": all_losses,
    **{
      fn.__name__: functools.partial(fn, **options)
      for fn in (class_loss.sparse_class_loss, class_loss.dense_class_loss)
    },
  }
  return {
    "step": (scene.step, (state, batch, plan)),
    "targets": (render, boxes),
    "network_forward": (forward, (state.params, batch.image)),
    "network_forward_backward": (
      backward,
      (state.params, batch.image, predictions),
    ),
    **{k: (functools.partial(loss, fn), given) for k, fn in losses.items()},
    "optimizer": (_optimizer(scene), (state, state.params)),
  }


def _optimizer(scene: Scene) -> Callable[..., Any]:
  """The optimizer's part, gradients given."""
  tx = scene.step.keywords["tx"]  # pyright: ignore

  def apply(state, gradients):
    updates, opt_state = tx.update(gradients, state.opt_state, state.params)
    return jax.tree.map(lambda p, u: p - u, state.params, updates), opt_state

  return apply


def dense_mib(scene: Scene) -> float:
  """A low estimate of what the dense class loss needs: logits, twice."""
  size, crop, _ = scene.batch_shape
  filters = scene.model.cfg.class_hidden + scene.model.cfg.filters
  return size * crop**2 * (2 * NUM_CLASSES + filters) * 4 / 2**20


def measure(
  spec: dict[str, Any], limit_mib: float, repeats: int
) -> dict[str, Any]:
  """Times the parts of one step, in turns.

  Args:
    spec: arguments of `make_scene`.
    limit_mib: the dense class loss is left out if it needs more.
    repeats: rounds.

  Returns:
    By part: median and smallest seconds, share of the step, memory of the
    compiled function in MiB.
  """
  scene = make_scene(**spec)
  made = parts(scene)
  if dense_mib(scene) > limit_mib:
    del made["dense_class_loss"]
  compiled, calls = {}, {}
  for name, (fn, args) in made.items():
    options = compiling.training_options()
    compiled[name] = (
      jax.jit(fn, compiler_options=options).lower(*args).compile()
    )
    calls[name] = functools.partial(_call, compiled[name], args)
  taken = common.in_turns(calls, repeats)
  whole = statistics.median(taken["step"])
  row: dict[str, Any] = dict(spec)
  row["boxes"] = int(scene.batch().box_mask.sum())
  for name, seconds in taken.items():
    row[name] = {
      "median_s": statistics.median(seconds),
      "min_s": min(seconds),
      "share_of_step": statistics.median(seconds) / whole,
      "memory_mib": device.compiled_memory(compiled[name]),
    }
  return row


def _call(compiled: Any, args: tuple[Any, ...]) -> None:
  jax.block_until_ready(compiled(*args))


def main(argv: list[str]) -> None:
  """Measures and prints JSON."""
  parser = common.parser("Parts of the train step")
  parser.add_argument("--networks", default="18x32x32")
  parser.add_argument("--crops", default="160,256,480")
  parser.add_argument("--batch_size", type=int, default=4)
  parser.add_argument("--dtype", default="float32")
  parser.add_argument("--dense_mib", type=float, default=6000)
  args = parser.parse_args(argv)
  rows = []
  for network in args.networks.split(","):
    for crop in map(int, args.crops.split(",")):
      spec = {
        "spec": network,
        "crop": crop,
        "batch_size": args.batch_size,
        "dtype": args.dtype,
      }
      rows.append(measure(spec, args.dense_mib, args.repeats))
      print(rows[-1], file=sys.stderr, flush=True)
  common.report("losses", {"rows": rows}, args.json)


if __name__ == "__main__":
  huge_pages.restart()
  main(sys.argv[1:])
