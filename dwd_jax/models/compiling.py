"""Compiler options of XLA, and the cache of compiled code."""

import functools
import os
import pathlib
import stat
from typing import Any

import jax
from absl import logging

USER_CACHE = "~/.cache/dwd_jax/compiled"
_WIDE = 128  # filters
# Convolutions by Eigen instead of YNNPACK (experimental).
_WITHOUT_YNNPACK = (
  "xla_cpu_experimental_ynn_fusion_type",
  "LIBRARY_FUSION_TYPE_REDUCE",
)
# Fusions by LLVM IR as before 2025: compiling needs less memory.
_WITHOUT_EMITTERS = ("xla_cpu_use_fusion_emitters", "False")
# The same results in each run: sums in one order, and no autotuning.
_DETERMINISTIC = ("xla_gpu_deterministic_ops", "True")
# Schedules for the least memory instead of the most concurrency.
_LEAST_MEMORY = (
  "xla_cpu_scheduler_type",
  "CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED",
)


def keep(folder: str | pathlib.Path = "", least_s: float = 1.0) -> None:
  """Caches compiled code on disk.

  What is found in the cache runs as machine code, so it lies where only the
  user writes, and never in a folder that is passed on. An own folder is used as
  it is: whoever shares it shares programs.

  Args:
    folder: created if missing; "" = `USER_CACHE`. The environment variable
      JAX_COMPILATION_CACHE_DIR takes precedence.
    least_s: code that compiles faster is not cached.
  """
  if os.environ.get("JAX_COMPILATION_CACHE_DIR"):
    return
  if not folder:
    try:
      folder = pathlib.Path(USER_CACHE).expanduser()
      for path in (folder.parent, folder):
        _make_private(path)
    except (OSError, RuntimeError) as e:  # RuntimeError: there is no home
      logging.warning("compiled code is not cached: %s", e)
      return
  jax.config.update("jax_compilation_cache_dir", str(folder))
  jax.config.update("jax_persistent_cache_min_compile_time_secs", least_s)


def keep_chosen(folder: str | None) -> None:
  """Caches what takes 0.5 s to compile: None = in `USER_CACHE`, "" = not."""
  if folder is None:
    keep(least_s=0.5)
  elif folder:
    keep(pathlib.Path(folder).expanduser(), least_s=0.5)


def _make_private(folder: pathlib.Path) -> None:
  """Makes a folder that only its owner, the user, may enter.

  Raises:
    OSError: it cannot be made, or others may have written there.
  """
  folder.mkdir(mode=0o700, parents=True, exist_ok=True)
  found = folder.lstat()
  mine = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
  if not mine or found.st_mode & 0o022:
    raise PermissionError(f"{folder}: others may write there; remove it")
  folder.chmod(0o700)


def options(model: Any) -> dict[str, str]:
  """`compiler_options` of `jax.jit` for predictions.

  On CPUs, the packaged detector compiles in 0.25 instead of 0.63 GB and runs
  3 % slower; detection compiles for several sizes. YNNPACK runs narrow
  convolutions a third faster than Eigen, and wide ones, as in the paper, slower
  (benchmarks/predict.py). Results differ by rounding only. A model without
  `cfg` counts as narrow.
  """
  cfg = getattr(model, "cfg", None)
  if cfg is None or cfg.filters < _WIDE:
    return _on_cpus(_WITHOUT_EMITTERS)
  return _on_cpus(_WITHOUT_EMITTERS, _WITHOUT_YNNPACK)


def training_options(deterministic: bool = False) -> dict[str, str]:
  """`compiler_options` of `jax.jit` for training, its validation included.

  On CPUs, Eigen's convolutions make a whole step faster than YNNPACK's, narrow
  or wide, as their gradients of the weights are faster. Scheduled for memory, a
  step needs a quarter to a third less of it and takes as long, within 3 %
  (benchmarks/train_step.py).

  Args:
    deterministic: GPUs give the same results in each run; CPUs do anyway.
  """
  if deterministic and jax.default_backend() == "gpu":
    return dict([_DETERMINISTIC])
  return _on_cpus(_WITHOUT_YNNPACK, _LEAST_MEMORY)


def _on_cpus(*options: tuple[str, str]) -> dict[str, str]:
  """The options that this version of XLA has; none on other devices."""
  if jax.default_backend() != "cpu":
    return {}
  return {name: value for name, value in options if _known(name, value)}


@functools.cache
def _known(name: str, value: str) -> bool:
  try:
    jax.jit(lambda x: x, compiler_options={name: value}).lower(0.0).compile()
  except jax.errors.JaxRuntimeError:
    return False
  return True
