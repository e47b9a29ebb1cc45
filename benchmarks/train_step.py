"""Training: examples a second, FLOP/s, memory, and PyTorch beside it.

python -m benchmarks.train_step [--networks=18x32x32,101x64x256] [--crops=160] \
  [--dtypes=float32,bfloat16] [--optimizer=rmsprop] [--memory] \
  [--peer=torch [--compile=default]] [--json=FILE]

The combined stage of the default config, with balancing. A network is
DEPTHxWIDTHxFILTERS: with 256 filters the paper's decoder, else the default one
of this project. The peer is the same network with the same weights, losses,
optimizer and batch in PyTorch, in this process, taking turns; the run stops if
the losses of the first step differ. It comes with the dense full-resolution
heads of the original and with heads at stride 4 as ours, eager and, with
--compile=MODE, compiled (minutes); its target maps are rendered before the
clock starts, while ours are part of the step. --memory measures the peak of
each in a process of its own.

On a GPU, float32 means what XLA's default makes of it (TensorFloat-32 where
there is some), for both.
"""

import os
import sys

from benchmarks import common, train_peer
from dwd_jax.cluster import huge_pages


def main(argv: list[str]) -> None:
  """Measures and prints JSON."""
  parser = common.parser("Training throughput")
  parser.add_argument("--networks", default="18x32x32,18x64x64,50x64x64")
  parser.add_argument("--crops", default="160,256")
  parser.add_argument("--batch_size", type=int, default=4)
  parser.add_argument("--dtypes", default="float32")
  parser.add_argument("--optimizer", default="rmsprop")
  parser.add_argument("--peer", default="", choices=("", "torch"))
  parser.add_argument("--compile", default="", help="mode of torch.compile")
  parser.add_argument("--memory", action="store_true")
  args = parser.parse_args(argv)
  # Else JAX takes most of a GPU's memory before the peer has any.
  os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
  rows = []
  for network in args.networks.split(","):
    for crop in map(int, args.crops.split(",")):
      for dtype in args.dtypes.split(","):
        spec = {
          "spec": network,
          "crop": crop,
          "batch_size": args.batch_size,
          "dtype": dtype,
          "optimizer": args.optimizer,
        }
        row = train_peer.measure(
          spec, args.peer, args.compile, args.repeats, args.memory
        )
        rows.append(row)
        print(row, file=sys.stderr, flush=True)
  common.report(
    "train_step",
    {
      **train_peer.versions(args.peer),
      "rows": rows,
    },
    args.json,
  )


if __name__ == "__main__":
  huge_pages.restart()
  main(sys.argv[1:])
