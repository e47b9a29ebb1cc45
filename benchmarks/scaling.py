"""Scaling on paper: throughput of many GPUs from the step time of one.

python -m benchmarks.scaling --step_s=0.25 [--network=101x64x256] \
  [--batch_size=16] [--gpus=8,64,256] [--node=8] [--node_gb_s=450] \
  [--net_gb_s=50] [--latency_us=10] [--overlap=0.5] [--collectives=FILE] \
  [--json=FILE]

What a step sends is counted in the step compiled for 8 devices
(benchmarks/collectives.py, which takes minutes; FILE keeps what it found); the
step time of one GPU is given (benchmarks/train_step.py measures it). Prints
JSON and a Markdown table. Assumptions, all of them in the JSON:
- the batch of a GPU stays as it is, and so do the time it computes and the
  bytes of each message; `data` is the mesh 8x1, `fsdp` 1x8, over all GPUs;
- all-reduces go in a ring within a node, then in a ring between nodes in which
  every GPU has a share of the bytes and a link of its own (reduce-scatter,
  all-reduce, all-gather); an all-gather takes half as long;
- links give `efficiency` of their nominal rate, each step of a ring has a
  latency;
- a share `overlap` of the compute time can hide communication;
- messages of at most 64 KiB (the statistics of global batch norm) only cost
  their latency, and are not hidden.
"""

import argparse
import dataclasses
import json
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmarks import common

_MESHES = {"data": "8x1", "fsdp": "1x8"}


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


@dataclasses.dataclass(frozen=True)
class Traffic:
  """What a step sends.

  Attributes:
    reduced: bytes of all-reduces.
    gathered: bytes of all-gathers.
    small: messages that only cost their latency.
  """

  reduced: float
  gathered: float = 0.0
  small: int = 0


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


def communication_s(sent: Traffic, gpus: int, links: Links) -> float:
  """Seconds of communication of a step, but for what is `Traffic.small`.

  An all-reduce is a reduce-scatter and an all-gather.
  """
  reduced = 2 * pass_s(sent.reduced, gpus, links)
  return reduced + pass_s(sent.gathered, gpus, links)


def small_s(messages: int, gpus: int, links: Links) -> float:
  """Seconds of small all-reduces.

  They go over a tree: its depth, up and down, in latencies.
  """
  depth = int(np.ceil(np.log2(gpus)))
  return messages * 2 * depth * links.latency_s


def predict(
  step_s: float,
  traffic: Traffic,
  gpus: int,
  links: Links,
  overlap: float,
) -> dict[str, float]:
  """Step time and efficiency of a number of GPUs.

  Args:
    step_s: seconds of a step of one GPU.
    traffic: see `Traffic`.
    gpus: number of GPUs.
    links: see `Links`.
    overlap: share of the step that can hide communication.
  """
  sent = communication_s(traffic, gpus, links)
  left = max(0.0, sent - overlap * step_s)
  small = small_s(traffic.small, gpus, links)
  whole = step_s + left + small
  return {
    "communication_s": sent,
    "not_hidden_s": left,
    "batch_norm_s": small,
    "step_s": whole,
    "efficiency": step_s / whole,
  }


def count(args: argparse.Namespace) -> dict[str, Any]:
  """What benchmarks/collectives.py prints, of the file or of a run of it."""
  if args.collectives:
    return json.loads(pathlib.Path(args.collectives).read_text())
  with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder) / "collectives.json"
    command = [sys.executable, "-m", "benchmarks.collectives"]
    command += [f"--network={args.network}", f"--batch_size={args.batch_size}"]
    command += [f"--meshes={','.join(_MESHES.values())}", f"--json={path}"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return json.loads(path.read_text())


def traffic(counted: Mapping[str, Any]) -> dict[str, Traffic]:
  """By kind of mesh, from what benchmarks/collectives.py prints."""
  of_mesh = {row["mesh"]: row["sent"] for row in counted["rows"]}
  result = {}
  for kind, mesh in _MESHES.items():
    sent = of_mesh[mesh]
    size = {name: row["bytes"] for name, row in sent.items()}
    reduced = size.get("all-reduce", 0)
    gathered = sum(size.values()) - reduced
    small = sum(row["small"] for row in sent.values())
    result[kind] = Traffic(reduced, gathered, small)
  return result


def rows(
  args: argparse.Namespace, sent: Mapping[str, Traffic], links: Links
) -> list[dict[str, Any]]:
  """One row for each number of GPUs and kind."""
  result = []
  for gpus in map(int, args.gpus.split(",")):
    if gpus > links.node and gpus % links.node:
      raise SystemExit(f"--gpus={gpus}: use a multiple of --node={links.node}")
    for kind, messages in sent.items():
      found = predict(args.step_s, messages, gpus, links, args.overlap)
      rate = gpus * args.batch_size / found["step_s"]
      result.append(
        {
          "gpus": gpus,
          "kind": kind,
          "global_batch": gpus * args.batch_size,
          "examples_per_second": rate,
          "reduced_mb": messages.reduced / 1e6,
          "gathered_mb": messages.gathered / 1e6,
          "small_messages": messages.small,
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
  parser.add_argument(
    "--collectives", default="", help="JSON of that benchmark"
  )
  args = parser.parse_args(argv)
  links = Links(
    node=args.node,
    node_bytes_s=args.node_gb_s * 1e9,
    net_bytes_s=args.net_gb_s * 1e9,
    latency_s=args.latency_us * 1e-6,
    efficiency=args.efficiency,
  )
  counted = count(args)
  found = rows(args, traffic(counted), links)
  print(table(found), file=sys.stderr)
  common.report(
    "scaling",
    {
      "counted": counted,
      "assumptions": {
        "network": counted["network"],
        "step_s_of_one_gpu": args.step_s,
        "batch_size_of_a_gpu": args.batch_size,
        "overlap": args.overlap,
        **dataclasses.asdict(links),
        "all_reduce": "ring in a node, then a ring of nodes for each GPU",
        "input": "never waited for (benchmarks/input.py)",
      },
      "rows": found,
    },
    args.json,
  )


if __name__ == "__main__":
  main(sys.argv[1:])
