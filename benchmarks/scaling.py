"""Scaling on paper: throughput of many GPUs from the step time of one.

python -m benchmarks.scaling --step_s=0.25 [--network=101x64x256] \
  [--batch_size=16] [--gpus=8,64,256] [--node=8] [--node_gb_s=450] \
  [--net_gb_s=50] [--latency_us=10] [--overlap=0.5] [--json=FILE]

Nothing is measured here but the number of parameters; the step time of one GPU
is given (benchmarks/train_step.py measures it). Prints JSON and a Markdown
table. Assumptions, all of them in the JSON:
- the batch of a GPU stays as it is, and so does the time it computes;
- `data`: one all-reduce of float32 gradients a step: ring within a node,
  then a ring between nodes in which every GPU has a share of the gradients and
  a link of its own (reduce-scatter, all-reduce, all-gather);
- `fsdp`: parameters are gathered for the forward and again for the backward
  pass, gradients are reduced and scattered, over all GPUs: 1.5 times the bytes;
- links give `efficiency` of their nominal rate, each step of a ring has a
  latency;
- a share `overlap` of the compute time can hide communication;
- batch norm over the global batch: two small all-reduces a layer, which only
  cost their latency, and are not hidden.
"""

import argparse
import dataclasses
import sys
from typing import Any

import jax
import numpy as np

from benchmarks import common
from benchmarks.train_scene import make_scene


@dataclasses.dataclass(frozen=True)
class Links:
  """How GPUs are connected.

  Attributes:
    node: GPUs of a node.
    node_bytes_s: bytes a second of a GPU within a node, each direction.
    net_bytes_s: bytes a second of a GPU to other nodes, each direction.
    latency_s: of each step of a ring.
    efficiency: what is left of the nominal rates.
  """

  node: int = 8
  node_bytes_s: float = 450e9
  net_bytes_s: float = 50e9
  latency_s: float = 10e-6
  efficiency: float = 0.8


def _ring(size: float, members: int, bytes_s: float, links: Links) -> float:
  """Seconds to scatter-reduce (or gather) `size` bytes over a ring."""
  if members == 1:
    return 0.0
  rate = bytes_s * links.efficiency
  return (members - 1) * (size / members / rate + links.latency_s)


def pass_s(size: float, gpus: int, links: Links) -> float:
  """Seconds of one reduce-scatter or one all-gather over all GPUs.

  Args:
    size: bytes of the whole array.
    gpus: a divisor or a multiple of `links.node`.
    links: see `Links`.
  """
  inner = min(gpus, links.node)
  within = _ring(size, inner, links.node_bytes_s, links)
  # Each GPU of a node takes its share to the other nodes.
  between = _ring(size / inner, gpus // inner, links.net_bytes_s, links)
  return within + between


def communication_s(size: float, gpus: int, links: Links, kind: str) -> float:
  """Seconds of communication of a step.

  Args:
    size: bytes of all gradients.
    gpus: number of GPUs.
    links: see `Links`.
    kind: "data" (reduce-scatter and all-gather) or "fsdp" (one more gather).
  """
  return {"data": 2, "fsdp": 3}[kind] * pass_s(size, gpus, links)


def norms_s(layers: int, gpus: int, links: Links) -> float:
  """Seconds of the global statistics: two tiny all-reduces a layer.

  Small all-reduces go over a tree: its depth, up and down, in latencies.
  """
  depth = int(np.ceil(np.log2(gpus)))
  return layers * 2 * 2 * depth * links.latency_s


def predict(
  step_s: float,
  size: float,
  layers: int,
  gpus: int,
  links: Links,
  kind: str,
  overlap: float,
) -> dict[str, float]:
  """Step time and efficiency of a number of GPUs.

  Args:
    step_s: seconds of a step of one GPU.
    size: bytes of all gradients.
    layers: batch norms.
    gpus: number of GPUs.
    links: see `Links`.
    kind: "data" or "fsdp".
    overlap: share of the step that can hide communication.
  """
  sent = communication_s(size, gpus, links, kind)
  left = max(0.0, sent - overlap * step_s)
  norms = norms_s(layers, gpus, links)
  whole = step_s + left + norms
  return {
    "communication_s": sent,
    "not_hidden_s": left,
    "batch_norm_s": norms,
    "step_s": whole,
    "efficiency": step_s / whole,
  }


def network_size(network: str) -> tuple[int, int]:
  """(bytes of the float32 gradients, batch norms) of a network."""
  state, _, _ = make_scene(network, 64, 1).shapes()
  parameters = jax.tree.leaves(state.params)
  norms = len(jax.tree.leaves(state.batch_stats)) // 2
  return 4 * sum(int(np.prod(x.shape)) for x in parameters), norms


def rows(args: argparse.Namespace, links: Links) -> list[dict[str, Any]]:
  """One row for each number of GPUs and kind."""
  size, layers = network_size(args.network)
  result = []
  for gpus in map(int, args.gpus.split(",")):
    if gpus > links.node and gpus % links.node:
      raise SystemExit(f"--gpus={gpus}: use a multiple of --node={links.node}")
    for kind in ("data", "fsdp"):
      found = predict(
        args.step_s, size, layers, gpus, links, kind, args.overlap
      )
      rate = gpus * args.batch_size / found["step_s"]
      result.append(
        {
          "gpus": gpus,
          "kind": kind,
          "global_batch": gpus * args.batch_size,
          "examples_per_second": rate,
          "gradient_mb": size / 1e6,
          **found,
        }
      )
  return result


def table(found: list[dict[str, Any]]) -> str:
  """The rows in Markdown."""
  lines = [
    "| GPUs | mesh | batch | communication, ms | not hidden, ms | batch norm,"
    " ms | efficiency | examples/s |",
    "| --- | --- | --- | --- | --- | --- | --- | --- |",
  ]
  for row in found:
    times = (
      f"{row[key] * 1e3:.1f}"
      for key in ("communication_s", "not_hidden_s", "batch_norm_s")
    )
    lines.append(
      f"| {row['gpus']} | {row['kind']} | {row['global_batch']} |"
      f" {' | '.join(times)} | {row['efficiency']:.1%} |"
      f" {row['examples_per_second']:.0f} |"
    )
  return "\n".join(lines)


def main(argv: list[str]) -> None:
  """Computes and prints JSON, and the table on stderr."""
  parser = common.parser("Scaling on paper")
  parser.add_argument("--network", default="101x64x256")
  parser.add_argument("--step_s", type=float, required=True)
  parser.add_argument("--batch_size", type=int, default=16, help="of a GPU")
  parser.add_argument("--gpus", default="8,64,256")
  parser.add_argument("--node", type=int, default=8)
  parser.add_argument("--node_gb_s", type=float, default=450.0, help="NVLink")
  parser.add_argument("--net_gb_s", type=float, default=50.0, help="400 Gb/s")
  parser.add_argument("--latency_us", type=float, default=10.0)
  parser.add_argument("--efficiency", type=float, default=0.8)
  parser.add_argument("--overlap", type=float, default=0.5)
  args = parser.parse_args(argv)
  links = Links(
    node=args.node,
    node_bytes_s=args.node_gb_s * 1e9,
    net_bytes_s=args.net_gb_s * 1e9,
    latency_s=args.latency_us * 1e-6,
    efficiency=args.efficiency,
  )
  found = rows(args, links)
  print(table(found), file=sys.stderr)
  common.report(
    "scaling",
    {
      "measured": "nothing but the number of parameters",
      "assumptions": {
        "network": args.network,
        "step_s_of_one_gpu": args.step_s,
        "batch_size_of_a_gpu": args.batch_size,
        "overlap": args.overlap,
        **dataclasses.asdict(links),
        "gradients": "float32, reduced once a step",
        "all_reduce": "ring in a node, then a ring of nodes for each GPU",
        "fsdp": "parameters gathered twice a step, over all GPUs",
        "input": "never waited for (benchmarks/input.py)",
      },
      "rows": found,
    },
    args.json,
  )


if __name__ == "__main__":
  main(sys.argv[1:])
