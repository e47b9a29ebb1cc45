"""Whole pages, PNG in, detections out: seconds a page and where they go.

python -m benchmarks.predict [--networks=18x32x32,50x64x256] \
  [--pages=1485x1050,1344x960] [--peer=torch [--compile]] [--json=FILE]

A network is DEPTHxWIDTHxFILTERS: with 256 filters the paper's decoder, else the
default one of this project (batch norm, a hidden layer of 128 in the class
head). A page is HEIGHTxWIDTH in pixels, engraved in this process. The weights
are random, so the maps of the page's own boxes are added to the network's
maps: the decode then has as much to do as with a trained network.

The peer is the same network with the same weights in PyTorch and the decode in
NumPy and OpenCV, in this process, taking turns; the run stops if the two
disagree. --compile adds torch.compile, which takes minutes; the faster one of
the two counts. The decode's share is what reading and network leave.
"""

import argparse
import functools
import statistics
import sys
import time
from collections.abc import Iterable
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from benchmarks import common, predict_scene
from dwd_jax import predict
from dwd_jax.data import images, transforms
from dwd_jax.decode.config import DecodeConfig
from dwd_jax.models import dwd
from dwd_jax.pages.config import PredictConfig
from dwd_jax.structs import PageImage


def network_config(spec: str) -> dwd.ModelConfig:
  """DEPTHxWIDTHxFILTERS -> configuration; see the module."""
  depth, width, filters = map(int, spec.split("x"))
  paper = filters == 256
  return dwd.ModelConfig(
    predict_scene.NUM_CLASSES,
    backbone_depth=depth,
    backbone_width=width,
    filters=filters,
    class_hidden=0 if paper else 128,
    decoder_norm=not paper,
  )


def read(png: bytes) -> PageImage:
  """Decodes a page; it keeps its size."""
  return PageImage("page.png", images.decode_page(png, "page.png"), 1.0)


def network_image(page: PageImage) -> Float[np.ndarray, "1 H W 1"]:
  """The padded page as `predict_page` gives it to the network."""
  multiple = PredictConfig().page_multiple
  window = transforms.page_window(page.ink.shape, page.scale, multiple)
  return transforms.to_network(transforms.cut(page.ink, window))[None]


def measure_page(
  spec: str, page: predict_scene.Page, peer: str, compiled: bool, repeats: int
) -> dict[str, Any]:
  """Times one network on one page.

  Args:
    spec: see `network_config`.
    page: the page.
    peer: "torch" or "".
    compiled: whether the peer may use torch.compile, too.
    repeats: rounds in which everything is timed once.

  Returns:
    Medians in seconds of us and the peer, and the ratios of the medians and of
    the smallest, which suffer less from a busy machine.
  """
  cfg, decode_cfg = network_config(spec), DecodeConfig()
  model = dwd.make_model(cfg)
  image = network_image(read(page.png))
  network = jax.jit(model.apply)
  variables = predict_scene.variables_of(model, network, image, page.boxes_yxyx)  # pyright: ignore
  known = predict_scene.WithTruth(model)
  groups = np.zeros(predict_scene.NUM_CLASSES, np.int32)
  predict_fn: Any = predict.make_predict_fn(known, decode_cfg, groups)  # pyright: ignore
  ours = functools.partial(predict_fn, variables)
  weights = {k: variables[k] for k in ("params", "batch_stats")}
  detect = {
    "jax": lambda: predict.predict_page(ours, read(page.png)).detections
  }
  peers = {}
  if peer:
    from benchmarks import torch_predict

    wanted = jax.tree.map(np.asarray, network(weights, image))
    peers = torch_predict.peers(cfg, decode_cfg, variables, compiled)
    torch_predict.check(peers, image, wanted, detect["jax"]())
  parts = {
    "reading": lambda: network_image(read(page.png)),
    "jax": detect["jax"],
    "jax_network": lambda: jax.block_until_ready(network(weights, image)),
  }
  for name, other in peers.items():
    parts[name] = lambda other=other: other.detect(
      network_image(read(page.png))
    )
    parts[f"{name}_network"] = lambda other=other: other.network(image)
  taken = _in_turns(parts, repeats)
  seconds = {name: statistics.median(values) for name, values in taken.items()}
  result = {
    "network": spec,
    "page_px": list(image.shape[1:3]),
    "objects": len(page.boxes_yxyx),
    "detections": len(detect["jax"]().labels),
    "reading_s": seconds["reading"],
  }
  for name in ("jax", *peers):
    result[name] = _shares(seconds, name) | {"min_s": min(taken[name])}
  for key, part in (("page", ""), ("network", "_network")):
    if peers:
      result[f"{key}_times_faster"] = _ratio(seconds, peers, part)
      least = {name: min(values) for name, values in taken.items()}
      result[f"{key}_times_faster_by_min"] = _ratio(least, peers, part)
  return result


def _ratio(seconds: dict[str, float], peers: Iterable[str], part: str) -> float:
  """Seconds of the fastest peer over ours."""
  best = min(seconds[f"{name}{part}"] for name in peers)
  return best / seconds[f"jax{part}"]


def _in_turns(parts, repeats: int) -> dict[str, list[float]]:
  """Seconds of each; all of them once in every round."""
  taken = {name: [] for name in parts}
  for i in range(repeats + 1):  # the first round compiles
    for name, part in parts.items():
      start = time.perf_counter()
      part()
      if i:
        taken[name].append(time.perf_counter() - start)
  return taken


def _shares(seconds: dict[str, float], name: str) -> dict[str, float]:
  whole, network = seconds[name], seconds[f"{name}_network"]
  reading = seconds["reading"]
  return {
    "seconds_per_page": whole,
    "network_s": network,
    "decode_s": whole - network - reading,
    "share_of_reading": reading / whole,
    "share_of_network": network / whole,
    "share_of_decode": 1 - (network + reading) / whole,
  }


def main(argv: list[str]) -> None:
  """Measures and prints JSON."""
  parser = common.parser("Whole pages end to end")
  parser.add_argument("--networks", default="18x32x32,50x64x256")
  parser.add_argument("--pages", default="1485x1050,1344x960")
  parser.add_argument("--peer", default="", choices=("", "torch"))
  parser.add_argument("--compile", action=argparse.BooleanOptionalAction)
  args = parser.parse_args(argv)
  rows = []
  for size in args.pages.split(","):
    page = predict_scene.engraved_page(*map(int, size.split("x")))
    for spec in args.networks.split(","):
      rows.append(
        measure_page(spec, page, args.peer, bool(args.compile), args.repeats)
      )
      print(rows[-1], file=sys.stderr)
  common.report({"benchmark": "predict", "rows": rows}, args.json)


if __name__ == "__main__":
  main(sys.argv[1:])
