"""Whole pages, PNG in, detections out: seconds a page and where they go.

python -m benchmarks.predict [--networks=18x32x32,50x64x256] \
  [--pages=1485x1050,1344x960] [--workdir=W [--config=engraved]] \
  [--peer=torch [--compile]] [--json=FILE]

A network is DEPTHxWIDTHxFILTERS: with 256 filters the paper's decoder, else the
default one of this project (batch norm, a hidden layer of 128 in the class
head). A page is HEIGHTxWIDTH in pixels, engraved in this process. The weights
are random, so the maps of the page's own boxes are added to the network's
maps: the decode then has as much to do as with a trained network. --workdir
takes the weights of a finished run instead.

The peer is the same network with the same weights in PyTorch and the decode in
NumPy and OpenCV with the same settings, in this process, taking turns; the run
stops if the two disagree. --compile adds torch.compile, which takes minutes;
the faster one of the two counts. Reading, network and decode are also timed
alone; the rest of the whole is copying, and noise.
"""

import argparse
import functools
import statistics
import sys
from collections.abc import Callable, Iterable
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from benchmarks import common, predict_scene
from dwd_jax.cluster import huge_pages
from dwd_jax.core.structs import PageImage, Predictions
from dwd_jax.imaging import images, page_windows
from dwd_jax.models import dwd
from dwd_jax.predict import predict_pages
from dwd_jax.predict.predict_config import PredictConfig


def read(png: bytes) -> PageImage:
  """Decodes a page; it keeps its size."""
  return PageImage("page.png", images.read_page(png, "page.png"), 1.0)


def network_image(page: PageImage) -> Float[np.ndarray, "1 H W 1"]:
  """The padded page as `predict_page` gives it to the network."""
  multiple = PredictConfig().page_multiple
  window = page_windows.page_window(page.ink.shape, page.scale, multiple)
  ink = page_windows.cut(page.ink, window)[None, ..., None]
  return np.asarray(dwd.network_input(ink))


def measure_page(
  make: Callable[[np.ndarray, np.ndarray], predict_scene.Subject],
  page: predict_scene.Page,
  peer: str,
  compiled: bool,
  repeats: int,
) -> dict[str, Any]:
  """Times one network on one page.

  Args:
    make: padded page, boxes -> network; see `predict_scene.untrained`.
    page: the page.
    peer: "torch" or "".
    compiled: whether the peer may use torch.compile, too.
    repeats: rounds in which everything is timed once.

  Returns:
    Medians in seconds of us and the peer, and the ratios of the medians and of
    the smallest, which suffer less from a busy machine.
  """
  image = network_image(read(page.png))
  subject = make(image, page.boxes_yxyx)
  parts, wanted = _our_parts(subject, page.png, image)
  found = parts["jax"]()
  result = {
    "page_px": list(image.shape[1:3]),
    "objects": len(page.boxes_yxyx),
    "detections": len(found.labels),
  }
  names = ["jax"]
  if peer:
    from benchmarks import torch_predict

    peers = torch_predict.peers(
      subject.net.cfg, subject.decode, subject.variables, compiled
    )
    result["agree"] = torch_predict.check(peers, image, wanted, found)
    for name, other in peers.items():
      parts |= _peer_parts(name, other, page.png, image)
    names += peers
  taken = common.in_turns(parts, repeats)
  medians = {name: statistics.median(values) for name, values in taken.items()}
  least = {name: min(values) for name, values in taken.items()}
  for name in names:
    result[name] = _shares(medians, name) | {"min_s": least[name]}
  if peer:
    for part in ("", "_network", "_decode"):
      key = f"{part[1:] or 'page'}_times_faster"
      result[key] = _ratio(medians, names[1:], part)
      result[f"{key}_by_min"] = _ratio(least, names[1:], part)
  return result


def _our_parts(
  subject: predict_scene.Subject, png: bytes, image: np.ndarray
) -> tuple[dict[str, Callable[[], Any]], Predictions]:
  """What is timed of ours, and the maps of the network alone."""

  def bound(model: Any, variables: dict[str, Any]) -> Any:
    groups = subject.group_of_class
    fn: Any = predict_pages.make_predict_fn(model, subject.decode, groups)
    return functools.partial(fn, variables)

  weights = subject.weights
  whole = bound(subject.model, subject.variables)
  maps = subject.maps(image)
  decode = bound(predict_scene.Given(), {**weights, "maps": maps})
  parts = {
    "reading": lambda: network_image(read(png)),
    "jax": lambda: predict_pages.predict_page(whole, read(png)).detections,
    "jax_network": lambda: jax.block_until_ready(
      subject.network(weights, image)
    ),
    "jax_decode": lambda: jax.block_until_ready(decode(image)),
  }
  return parts, subject.network(weights, image)


def _peer_parts(
  name: str, peer: Any, png: bytes, image: np.ndarray
) -> dict[str, Callable[[], Any]]:
  """What is timed of a peer."""
  maps = peer.network(image)
  return {
    name: lambda: peer.detect(network_image(read(png))),
    f"{name}_network": lambda: peer.network(image),
    f"{name}_decode": lambda: peer.decode(maps),
  }


def _ratio(seconds: dict[str, float], peers: Iterable[str], part: str) -> float:
  """Seconds of the fastest peer over ours."""
  best = min(seconds[f"{name}{part}"] for name in peers)
  return best / seconds[f"jax{part}"]


def _shares(seconds: dict[str, float], name: str) -> dict[str, float]:
  """Seconds of a page and its parts, and what they are of the whole."""
  whole = seconds[name]
  parts = {
    "reading": seconds["reading"],
    "network": seconds[f"{name}_network"],
    "decode": seconds[f"{name}_decode"],
  }
  return {
    "seconds_per_page": whole,
    **{f"{part}_s": value for part, value in parts.items()},
    **{f"share_of_{part}": value / whole for part, value in parts.items()},
  }


def main(argv: list[str]) -> None:
  """Measures and prints JSON."""
  parser = common.parser("Whole pages end to end")
  parser.add_argument("--networks", default="18x32x32,50x64x256")
  parser.add_argument("--pages", default="1485x1050,1344x960")
  parser.add_argument("--workdir", default="", help="of a finished run")
  parser.add_argument("--config", default="engraved", help="of that run")
  parser.add_argument("--peer", default="", choices=("", "torch"))
  parser.add_argument("--compile", action=argparse.BooleanOptionalAction)
  args = parser.parse_args(argv)
  makers = {
    spec: functools.partial(predict_scene.untrained, spec)
    for spec in args.networks.split(",")
  }
  if args.workdir:
    subject = predict_scene.trained(args.config, args.workdir)
    makers = {f"trained, {args.config}": lambda *_: subject}
  rows = []
  for size in args.pages.split(","):
    page = predict_scene.engraved_page(*map(int, size.split("x")))
    for name, make in makers.items():
      row = measure_page(
        make, page, args.peer, bool(args.compile), args.repeats
      )
      rows.append({"network": name, **row})
      print(rows[-1], file=sys.stderr, flush=True)
  common.report("predict", {"rows": rows}, args.json)


if __name__ == "__main__":
  huge_pages.restart()
  main(sys.argv[1:])
