"""The decode against NumPy and OpenCV, interleaved in one process.

python -m benchmarks.decode [--json=FILE] [--repeats=7] [--parts=maps,logits]
"""

import dataclasses
import functools
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import cv2
import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import common, decode_scenes, numpy_decode
from dwd_jax.apps.export.standalone import numpy_basins
from dwd_jax.cluster import huge_pages
from dwd_jax.decode import decode_config, votes, watershed
from dwd_jax.models import pixel_sampling, refinenet

_HW = (1344, 960)
_COUNT = 1500
_C = common.NUM_CLASSES
CFGS = {
  "threshold": decode_config.DecodeConfig(
    method="threshold",
    energy_cutoff=10.0,
    size="mean",
    class_vote="majority",
  ),
  "watershed": decode_config.DecodeConfig(),
}


def interleave(repeats: int, *fns: Callable) -> list[float]:
  """Median seconds of each function; they take turns."""
  for fn in fns:
    jax.block_until_ready(fn())
  seconds: list[list[float]] = [[] for _ in fns]
  for _ in range(repeats):
    for fn, taken in zip(fns, seconds, strict=True):
      start = time.perf_counter()
      jax.block_until_ready(fn())
      taken.append(time.perf_counter() - start)
  return [statistics.median(taken) for taken in seconds]


def decode_maps(energy, sizes, ids, cfg):
  """The decode of maps: levels, sizes, class ids."""

  def class_fn(page, y, x, group):
    return votes.Likeliest(ids[page, y, x, group], _C)

  return watershed.decode_levels(energy, sizes, class_fn, cfg)


def compile_decode(cfg, *args) -> tuple[Callable, dict[str, float]]:
  """`decode_maps`, compiled."""
  return _compile(functools.partial(decode_maps, cfg=cfg), *args)


def _compile(fn, *args):
  start = time.perf_counter()
  compiled = jax.jit(fn).lower(*args).compile()
  seconds = time.perf_counter() - start
  memory = compiled.memory_analysis()
  temp = getattr(memory, "temp_size_in_bytes", 0) / 2**20
  return lambda: compiled(*args), {"compile_s": seconds, "temp_mib": temp}


def peer_of_maps(cfg, host, page: int) -> numpy_decode.Found:
  """NumPy and OpenCV on one page of the same maps."""
  energy, sizes, ids = host
  hw = sizes[page, :, :, 0].reshape(-1, 2)
  labels = ids[page, :, :, 0].reshape(-1)
  return numpy_decode.decode(
    energy[page, :, :, 0],
    functools.partial(hw.take, axis=0),
    lambda at: labels[at],
    _C,
    cfg,
  )


def from_maps(repeats: int) -> list[dict[str, Any]]:
  """Maps for both: energy levels, sizes and class ids."""
  rows = []
  for disc in ("fixed", "box"):
    for batch in (1, 4):
      maps = decode_scenes.symbols(_HW, _COUNT, disc, batch)
      host = (maps.energy.astype(np.float32), maps.sizes_px, maps.classes - 1)
      for name, cfg in CFGS.items():
        ours, stats = compile_decode(cfg, *map(jnp.asarray, host))

        def peer(cfg=cfg, host=host, batch=batch):
          return [peer_of_maps(cfg, host, page) for page in range(batch)]

        found, expected = ours(), peer()
        for page in range(batch):
          numpy_decode.check_equal(found, page, expected[page])
        ours_s, peer_s = interleave(repeats, ours, peer)
        rows.append(
          {
            "disc": disc,
            "batch": batch,
            "method": name,
            "ours_s": ours_s,
            "numpy_s": peer_s,
            "ratio": peer_s / ours_s,
            **stats,
          }
        )
        print(rows[-1], file=sys.stderr)
  return rows


def from_logits(repeats: int) -> list[dict[str, Any]]:
  """Network outputs for us; dense logits, or the outputs, for NumPy.

  Dense logits are what a network with heads at full resolution gives: energy
  and classes of every pixel, which the peer reduces to levels and classes.
  """
  maps = decode_scenes.symbols(_HW, _COUNT, "fixed")
  outputs, head = decode_scenes.outputs(maps)
  size = (_HW[1], _HW[0])
  dense = (
    cv2.resize(np.asarray(outputs.energy_logits[0, :, :, 0]), size),
    cv2.resize(np.asarray(outputs.class_features[0]) @ head, size),
  )
  rows = []
  for name, base in CFGS.items():
    # The likeliest class of a pixel has one vote: that is the dense argmax.
    cfg = dataclasses.replace(base, class_vote="majority")
    on_device = jax.tree.map(jnp.asarray, (outputs, head))
    ours, stats = _compile(functools.partial(_decode_outputs, cfg), *on_device)
    given = functools.partial(peer_of_outputs, cfg, outputs, head, dense)
    resized = functools.partial(peer_of_outputs, cfg, outputs, head)
    numpy_decode.check_equal(ours(), 0, resized(), 0.01)
    ours_s, given_s, resized_s = interleave(repeats, ours, given, resized)
    rows.append(
      {
        "method": name,
        # Upsampled logits and upsampled levels differ, the objects hardly.
        "objects": int(ours().count[0]),
        "objects_dense_logits": len(given()[1]),
        "ours_s": ours_s,
        "numpy_dense_logits_given_s": given_s,
        "numpy_same_outputs_s": resized_s,
        "ratio_dense_logits_given": given_s / ours_s,
        "ratio_same_outputs": resized_s / ours_s,
        **stats,
      }
    )
    print(rows[-1], file=sys.stderr)
  return rows


def _decode_outputs(cfg, outputs, head):
  """Our decode of network outputs at stride 4, as `predict` does it."""

  def class_fn(page, y, x, group):
    del group  # one
    at = pixel_sampling.gather_bilinear(outputs.class_features, y, x, page)
    logits = jnp.asarray(at @ head)
    if cfg.class_vote == "majority":
      return votes.Likeliest(votes.first_max(logits)[0], _C)
    return jax.nn.softmax(logits)

  def size_fn(page, y, x, group):
    return jnp.asarray(pixel_sampling.boxes_at(outputs, page, y, x, group))

  energy = watershed.levels_from_logits(outputs.energy_logits, cfg)
  energy = jnp.asarray(refinenet.upsample(energy, decode_scenes.STRIDE))
  return watershed.decode_levels(energy, size_fn, class_fn, cfg)


def peer_of_outputs(cfg, outputs, head, dense=None) -> numpy_decode.Found:
  """NumPy and OpenCV on the first page of network outputs at stride 4.

  Args:
    cfg: settings of the decode.
    outputs: `structs.Predictions` on the host.
    head: [F, C], of the classes.
    dense: energy logits [H, W, E] and class logits [H, W, C], if they are
      there already.
  """
  size = tuple(
    decode_scenes.STRIDE * side for side in outputs.energy_logits.shape[2:0:-1]
  )
  if dense is None:
    logits = outputs.energy_logits[0, :, :, 0]
    class_logits = cv2.resize(outputs.class_features[0] @ head, size)
  else:
    logits, class_logits = dense
  energy = (
    numpy_decode.expected_levels(logits)
    if cfg.mean_energy
    else logits.argmax(-1).astype(np.float32)
  )
  if dense is None:
    energy = cv2.resize(energy, size)
  hw = np.exp(cv2.resize(outputs.log_sizes[0, :, :, 0], size)).reshape(-1, 2)
  class_logits = class_logits.reshape(-1, class_logits.shape[-1])
  if cfg.class_vote == "majority":
    ids = class_logits.argmax(-1)
    class_fn = ids.__getitem__
  else:

    def class_fn(at):
      return numpy_basins.softmax(class_logits[at])

  return numpy_decode.decode(
    energy, functools.partial(hw.take, axis=0), class_fn, head.shape[-1], cfg
  )


def worst_cases(repeats: int) -> list[dict[str, Any]]:
  """Masks that tangle the components, against the typical page."""
  maps = decode_scenes.symbols(_HW, _COUNT, "fixed")
  typical = maps.energy.astype(np.float32)
  scenes = {
    name: 19.0 * mask(_HW)[None, :, :, None].astype(np.float32)
    for name, mask in (
      ("maze", decode_scenes.maze),
      ("noise 0.41", decode_scenes.noise),
      ("serpentine", decode_scenes.serpentine),
    )
  }
  rows = []
  for method, cfg in CFGS.items():
    rest = (jnp.asarray(maps.sizes_px), jnp.asarray(maps.classes - 1))
    ours = {
      name: compile_decode(cfg, jnp.asarray(energy), *rest)[0]
      for name, energy in {"typical": typical, **scenes}.items()
    }
    seconds = dict(zip(ours, interleave(repeats, *ours.values()), strict=True))
    for name, taken in seconds.items():
      ratio = taken / seconds["typical"]
      rows.append(
        {
          "method": method,
          "scene": name,
          "ours_s": taken,
          "times_typical": ratio,
        }
      )
      print(rows[-1], file=sys.stderr)
  return rows


def scaling(repeats: int) -> list[dict[str, Any]]:
  """Square pages as dense as the typical one."""
  rows = []
  for side in (512, 1024, 2048, 4096):
    count = _COUNT * side**2 // (_HW[0] * _HW[1])
    maps = decode_scenes.symbols((side, side), count, "fixed")
    host = (maps.energy.astype(np.float32), maps.sizes_px, maps.classes - 1)
    for name, cfg in CFGS.items():
      ours, stats = compile_decode(cfg, *map(jnp.asarray, host))
      (ours_s,) = interleave(repeats, ours)
      rows.append({"side_px": side, "method": name, "ours_s": ours_s, **stats})
      print(rows[-1], file=sys.stderr)
  return rows


def main(argv: list[str]) -> None:
  """Measures the parts that are asked for and prints JSON."""
  parser = common.parser("The decode against NumPy and OpenCV")
  parts = {
    "maps": from_maps,
    "logits": from_logits,
    "worst": worst_cases,
    "scaling": scaling,
  }
  parser.add_argument("--parts", default=",".join(parts))
  args = parser.parse_args(argv)
  results = {part: parts[part](args.repeats) for part in args.parts.split(",")}
  common.report("decode", results, args.json)


if __name__ == "__main__":
  huge_pages.restart()
  main(sys.argv[1:])
