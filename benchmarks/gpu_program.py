"""The program that an H200 would run, compiled on a CPU: kernels and bytes.

pip install --no-deps --target=PLUGIN jax-cuda12-pjrt==X jax-cuda12-plugin==X
PYTHONPATH=PLUGIN:. python -m benchmarks.gpu_program [--program=train,predict] \
  [--network=101x64x256] [--crop=480] [--batch_size=16] [--dtype=bfloat16] \
  [--page=1344x960] [--pages=1] [--set=targets.energy_strides=(2,)] \
  [--options=xla_gpu_deterministic_ops=true] [--top=20] [--hlo=FOLDER] \
  [--json=FILE]

X is the version of jaxlib; the two packages take 480 MB and need no GPU. What
XLA makes of the real training step, of network and decode of whole pages, and
of the decode alone (--program=threshold,watershed), for the device that
`h200.textproto` describes. Nothing is run or measured:

- memory: of the buffer assignment, without workspaces of cuDNN, which are
  chosen on the device;
- kernels: what is launched, calls of libraries and copies included. Loops with
  a known trip count are counted as often as they run, others once;
- decisions: loops and branches for which the host waits, see
  `hlo_kernels.Decision`; host_copies: transfers inside of the program;
- bytes: what a kernel must read and write (`hlo_kernels.fused_bytes`), with no
  cache between kernels;
- roofline_s: over all kernels, the sum of the longer of FLOPs / peak and bytes
  / bandwidth. FLOPs are those of matrix products and convolutions, the peaks
  those of the data sheet. A real step is slower: no kernel reaches its roof.
  with_launches_s adds --kernel_us for each kernel, an assumption;
- share: FLOPs / (roofline_s x bfloat16 peak), the most of the matmul ceiling
  that this program can reach.
"""

import ast
import collections
import dataclasses
import functools
import importlib.metadata
import pathlib
import re
import sys
from typing import Any
from unittest import mock

import jax
import numpy as np
from jax.experimental import topologies
from jax.sharding import SingleDeviceSharding

from benchmarks import common, decode, device, hlo_kernels, predict_scene
from benchmarks.train_scene import make_scene
from dwd_jax.core.errors import InputError
from dwd_jax.decode.decode_config import DecodeConfig
from dwd_jax.models import dwd
from dwd_jax.predict import predict_pages

TARGET = pathlib.Path(__file__).with_name("h200.textproto")
# FLOP/s of the H200's data sheet, without sparsity; float32 runs as TF32.
_PEAKS = {"bf16": 989e12, "f16": 989e12}
_PEAK_F32 = 494.5e12
_SMALL = 2**16  # bytes


def bandwidth() -> float:
  """Bytes a second of the memory, from the target's description."""
  found = re.search(r"memory_bandwidth: (\d+)", TARGET.read_text("utf8"))
  assert found
  return float(found[1])


def compile_for_gpu(
  function: Any,
  *arguments: Any,
  donate: tuple[int, ...] = (),
  options: dict[str, Any] | None = None,
) -> jax.stages.Compiled:
  """A function compiled for one H200.

  Args:
    function: not jitted.
    *arguments: pytrees of arrays or `jax.ShapeDtypeStruct`.
    donate: positions of arguments that the outputs may overwrite.
    options: `compiler_options` of `jax.jit`.

  Raises:
    InputError: the compiler is not installed.
  """
  try:
    topology = topologies.get_topology_desc(
      "1x1x1",
      platform="cuda",
      target_config=TARGET.read_text("utf8"),
      topology="1x1x1",
    )
  except RuntimeError as e:
    version = importlib.metadata.version("jaxlib")
    raise InputError(
      "no compiler for GPUs; pip install --no-deps --target=PLUGIN"
      f" jax-cuda12-pjrt=={version} jax-cuda12-plugin=={version} and put PLUGIN"
      f" on PYTHONPATH ({e})"
    ) from e
  sharding = SingleDeviceSharding(topology.devices[0])

  def on_gpu(x):
    return jax.ShapeDtypeStruct(np.shape(x), x.dtype, sharding=sharding)

  # The program asks for the backend where GPUs have a path of their own.
  with mock.patch.object(jax, "default_backend", lambda: "gpu"):
    jitted = jax.jit(
      function, donate_argnums=donate, compiler_options=options or {}
    )
    traced = jitted.trace(*jax.tree.map(on_gpu, arguments))
    return traced.lower(lowering_platforms=("cuda",)).compile()


def train_program(
  network: str,
  crop: int,
  batch_size: int,
  *,
  dtype: str = "bfloat16",
  options: dict[str, Any] | None = None,
  **overrides: Any,
) -> jax.stages.Compiled:
  """The training step of `make_scene`, whose arguments these are."""
  scene = make_scene(network, crop, batch_size, dtype=dtype, **overrides)
  step = functools.partial(scene.step, flat_update=True)
  return compile_for_gpu(step, *scene.shapes(), donate=(0,), options=options)


def predict_program(
  network: str,
  hw: tuple[int, int],
  pages: int,
  *,
  dtype: str = "bfloat16",
  options: dict[str, Any] | None = None,
) -> jax.stages.Compiled:
  """Network and decode of whole pages, see `predict_scene.network_config`."""
  cfg = dataclasses.replace(predict_scene.network_config(network), dtype=dtype)
  model = dwd.make_model(cfg)
  groups = np.zeros(cfg.num_classes, np.int32)
  variables = jax.eval_shape(
    functools.partial(dwd.init_variables, model, 0, (64, 64))
  )
  image = jax.ShapeDtypeStruct((pages, *hw, 1), np.uint8)
  return compile_for_gpu(
    predict_pages.network_and_decode(model, DecodeConfig(), groups),
    variables,
    image,
    options=options,
  )


def decode_program(
  method: str,
  hw: tuple[int, int],
  pages: int,
  options: dict[str, Any] | None = None,
) -> jax.stages.Compiled:
  """The decode alone, from maps, with the settings of `benchmarks.decode`."""
  maps = [
    jax.ShapeDtypeStruct((pages, *hw, 1, *more), dtype)
    for dtype, more in ((np.float32, ()), (np.float32, (2,)), (np.int32, ()))
  ]
  run = functools.partial(decode.decode_maps, cfg=decode.CFGS[method])
  return compile_for_gpu(run, *maps, options=options)


def roofline_s(kernel: hlo_kernels.Kernel, bytes_s: float) -> float:
  """The least seconds of one run of a kernel."""
  compute = kernel.flops / _PEAKS.get(kernel.dtype, _PEAK_F32)
  return max(compute, (kernel.read + kernel.written) / bytes_s)


def describe(
  compiled: jax.stages.Compiled, top: int = 20, kernel_us: float = 2.0
) -> dict[str, Any]:
  """What the module's text says of a program, in JSON types.

  Args:
    top: how many of the longest kernels are listed.
    kernel_us: assumed time between two kernels.
  """
  module = hlo_kernels.parse(compiled.as_text() or "")
  found = hlo_kernels.kernels(module)
  bytes_s = bandwidth()
  seconds, bytes_moved, flops, launches = 0.0, 0, 0, 0
  kinds: Any = collections.Counter()
  kind_s: Any = collections.Counter()
  for kernel in found:
    once = roofline_s(kernel, bytes_s)
    seconds += once * kernel.times
    bytes_moved += (kernel.read + kernel.written) * kernel.times
    flops += kernel.flops * kernel.times
    launches += kernel.times
    kinds[kernel.kind] += kernel.times
    kind_s[kernel.kind] += once * kernel.times
  with_launches = seconds + launches * kernel_us * 1e-6
  compute = flops / _PEAKS["bf16"]
  return {
    "memory_mib": device.compiled_memory(compiled),
    "kernels": launches,
    "kernels_by_kind": dict(kinds),
    "small_kernels": sum(
      k.times for k in found if k.read + k.written < _SMALL and not k.flops
    ),
    "kernels_in_open_loops": sum(not k.bounded for k in found),
    "decisions": [dataclasses.asdict(x) for x in hlo_kernels.decisions(module)],
    "host_copies": hlo_kernels.host_copies(module),
    "gigabytes": bytes_moved / 1e9,
    "gflops": flops / 1e9,
    "roofline_s": seconds,
    "roofline_s_by_kind": dict(kind_s),
    "with_launches_s": with_launches,
    "share": compute / seconds if seconds else 0.0,
    "share_with_launches": compute / with_launches if found else 0.0,
    "longest": [
      {
        "us": 1e6 * roofline_s(k, bytes_s) * k.times,
        "megabytes": (k.read + k.written) * k.times / 1e6,
        **{key: getattr(k, key) for key in ("kind", "name", "source", "times")},
      }
      for k in sorted(found, key=lambda k: -roofline_s(k, bytes_s) * k.times)[
        :top
      ]
    ],
  }


def _pairs(items: list[str]) -> dict[str, str]:
  """KEY=VALUE -> KEY: VALUE."""
  return dict(item.split("=", 1) for item in items)


def main(argv: list[str]) -> None:
  """Compiles and prints JSON."""
  parser = common.parser("Programs for a GPU, compiled without one")
  parser.add_argument("--program", default="train,predict")
  parser.add_argument("--network", default="101x64x256")
  parser.add_argument("--crop", type=int, default=480)
  parser.add_argument("--batch_size", type=int, default=16)
  parser.add_argument("--dtype", default="bfloat16")
  parser.add_argument("--page", default="1344x960", help="HEIGHTxWIDTH")
  parser.add_argument("--pages", type=int, default=1, help="pages of a batch")
  parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
  parser.add_argument("--options", default="", help="of XLA: KEY=VALUE,...")
  parser.add_argument("--top", type=int, default=20)
  parser.add_argument("--kernel_us", type=float, default=2.0)
  parser.add_argument("--hlo", default="", help="folder to write the HLO to")
  args = parser.parse_args(argv)
  jax.config.update("jax_platforms", "cpu")
  options: Any = _pairs(list(filter(None, args.options.split(","))))
  overrides: Any = {k: ast.literal_eval(v) for k, v in _pairs(args.set).items()}
  common_keys: Any = {"dtype": args.dtype, "options": options}
  height, width = map(int, args.page.split("x"))
  programs = {
    "train": lambda: train_program(
      args.network, args.crop, args.batch_size, **common_keys, **overrides
    ),
    "predict": lambda: predict_program(
      args.network,
      (height, width),
      args.pages,
      **common_keys,
    ),
    **{
      method: functools.partial(
        decode_program, method, (height, width), args.pages, options
      )
      for method in decode.CFGS
    },
  }
  results = {}
  for name in args.program.split(","):
    try:
      compiled = programs[name]()
    except InputError as e:
      raise SystemExit(str(e)) from e
    if args.hlo:
      path = pathlib.Path(args.hlo, f"{name}.hlo.txt")
      path.write_text(compiled.as_text() or "", encoding="utf8")
    results[name] = describe(compiled, args.top, args.kernel_us)
  shape = {
    k: v for k, v in vars(args).items() if k not in ("json", "repeats", "hlo")
  }
  common.report(
    "gpu_program",
    {"compiled_for": "NVIDIA H200", "arguments": shape, **results},
    args.json,
  )


if __name__ == "__main__":
  main(sys.argv[1:])
