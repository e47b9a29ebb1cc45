"""Shared setup: shapes are checked at run time, shared data is optional."""

import atexit
import contextlib
import ctypes
import fcntl
import gc
import importlib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable

import jax
import jaxtyping
import pytest
from absl import flags, logging
from absl.testing import flagsaver

from dwd_jax.cluster import huge_pages

# Most of the time of the tests goes into compiling for CPUs. Without LLVM's
# optimisations, XLA's newer emitters and threads it takes a third of the time
# and half of the memory. Workers and programs that tests start inherit this.
_QUICK = "--xla_backend_optimization_level=0"
_QUICKER = (
  f"{_QUICK} --xla_cpu_use_fusion_emitters=false"
  " --xla_cpu_parallel_codegen_split_count=1"
)
if "XLA_FLAGS" not in os.environ and not shutil.which("nvidia-smi"):
  _tried = subprocess.run(  # a flag that XLA does not know ends the process
    [sys.executable, "-c", "import jax; jax.devices()"],
    env=os.environ | {"XLA_FLAGS": _QUICKER, "JAX_PLATFORMS": "cpu"},
    capture_output=True,
    check=False,
  )
  os.environ["XLA_FLAGS"] = _QUICK if _tried.returncode else _QUICKER

# Workers share a GPU; the first would take most of its memory.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

# What is compiled once is found by every worker, by programs that the tests
# start, and where a folder is given by the next session, too.
_CACHE = "DWD_TEST_CACHE"
if not os.environ.get(_CACHE):
  os.environ[_CACHE] = tempfile.mkdtemp(prefix="dwd-test-cache-")
  atexit.register(shutil.rmtree, os.environ[_CACHE], ignore_errors=True)
for _name, _value in {
  "jax_compilation_cache_dir": os.environ[_CACHE],
  "jax_persistent_cache_min_compile_time_secs": 0.0,
  "jax_persistent_cache_min_entry_size_bytes": -1,
  # Otherwise the name of the folder is a part of the key.
  "jax_persistent_cache_enable_xla_caches": "none",
}.items():
  os.environ[_name.upper()] = str(_value)
  jax.config.update(_name, _value)

# Array shapes and types are checked on every call in the tests (not in structs:
# tree operations build those with leaves of any kind).
jaxtyping.install_import_hook(
  [
    "dwd_jax.core.boxes",
    "dwd_jax.objectives.targets",
    "dwd_jax.objectives.losses",
    "dwd_jax.objectives.energy_groups",
    "dwd_jax.decode",
    "dwd_jax.models",
    "dwd_jax.imaging.page_windows",
    "dwd_jax.imaging.staff_space",
    "dwd_jax.data.degraded_crops",
    "dwd_jax.imaging.degrade",
  ],
  "beartype.beartype",
)

# Golden values need float32 where a GPU's default is TensorFloat-32. Programs,
# too: they find what tests have compiled only if all settings are the same.
jax.config.update("jax_default_matmul_precision", "highest")
os.environ["JAX_DEFAULT_MATMUL_PRECISION"] = "highest"

huge_pages.request()  # for pytest-xdist's workers and for programs

_REPO = pathlib.Path(__file__).parent.parent


def _shared(name: str) -> pathlib.Path:
  path = _REPO.parent / "shared" / name
  if not path.is_dir():
    pytest.skip(f"needs the folder {name} of real pages and golden values")
  return path


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
  """What needs a browser is slow; what takes longest comes first.

  While one worker makes the run that many files look at, the other has files
  that do without.
  """
  first, *later = dict.fromkeys(
    item.path for item in items if "smoke_run" in item.fixturenames
  ) or [None]

  def order(item):
    away = "train" not in item.path.parts
    return away, not away and item.path != first and item.path in later

  items.sort(key=order)
  for item in items:
    if "needs_chromium" in item.fixturenames:
      item.add_marker("slow")


def pytest_collection_finish():
  """What has been imported is no garbage: it is not looked at again."""
  gc.freeze()


_MEMORY = pathlib.Path("/proc/self/statm")  # of Linux, in pages of 4 KiB
_GIB = 2**18
_forgets_at = [_GIB]


@pytest.fixture(scope="module", autouse=True)
def forget_what_was_compiled():
  """A worker would grow by gigabytes."""
  yield

  def used() -> int:
    return int(_MEMORY.read_text().split()[1])

  if _MEMORY.exists() and used() < _forgets_at[0]:
    return
  jax.clear_caches()
  gc.collect()
  libc = ctypes.CDLL(None)
  if hasattr(libc, "malloc_trim"):  # of glibc, which keeps what is free
    libc.malloc_trim(0)
  if _MEMORY.exists():  # what is left will not go: not to be sought each time
    _forgets_at[0] = max(_GIB, used() + _GIB // 4)


@pytest.fixture
def bounded_memory():
  """Lets this process and its children grow by no more than 4 GiB."""
  if not _MEMORY.exists():  # elsewhere the limit is not kept, or not there
    yield
    return
  resource = importlib.import_module("resource")
  used = int(_MEMORY.read_text().split()[0]) * resource.getpagesize()
  soft, hard = resource.getrlimit(resource.RLIMIT_AS)
  lowest = min(n for n in (soft, hard, used + (4 << 30)) if n >= 0)
  resource.setrlimit(resource.RLIMIT_AS, (lowest, hard))
  yield
  resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@pytest.fixture(scope="session")
def repo_dir() -> pathlib.Path:
  return _REPO


@pytest.fixture(scope="session")
def once(tmp_path_factory):
  """Makes a folder in one worker; the others wait for it."""
  root = tmp_path_factory.getbasetemp()
  if "PYTEST_XDIST_WORKER" in os.environ:
    root = root.parent

  def once_(name: str, make: Callable[[pathlib.Path], object]) -> pathlib.Path:
    folder, done = root / name, root / f"{name}.done"
    with (root / f"{name}.lock").open("w") as lock:
      fcntl.flock(lock, fcntl.LOCK_EX)
      if not done.exists():
        make(folder)
        done.touch()
    return folder

  return once_


@pytest.fixture(scope="session")
def records(repo_dir, once) -> pathlib.Path:
  """A data_dir with records of the dummy pages of two builders."""
  from dwd_jax.data import prepare
  from dwd_jax.train.settings import default

  def build(folder):
    cfg = default().data
    cfg.data_dir = str(folder)
    for name in ("deepscores", "muscima_pp"):
      cfg.builder = name
      cfg.manual_dir = str(repo_dir / f"tfds_builders/{name}/dummy_data")
      prepare.prepare(cfg, folder)

  return once("records", build)


@pytest.fixture
def parse(monkeypatch, repo_dir):
  """Parses flags as dwd_jax.main would, and forgets them after the test."""
  from dwd_jax import main

  # Its libraries define flags, which must not be forgotten with the others.
  importlib.import_module("dwd_jax.train.loop")
  monkeypatch.chdir(repo_dir)

  def parse_(*args):
    argv = ["dwd_jax.main", *args]
    monkeypatch.setattr(sys, "argv", argv)  # where overrides are looked up
    calls.close()  # forgets the flags of the last one
    calls.enter_context(flagsaver.flagsaver())
    sys.modules.pop("config_config", None)  # the last config file
    with warnings.catch_warnings():
      # ml_collections loads config files so.
      warnings.filterwarnings("ignore", r"the load_module\(\) method")
      return main._parse(argv)

  verbosity = logging.get_verbosity() if flags.FLAGS.is_parsed() else None
  with contextlib.ExitStack() as calls:
    yield parse_
  if verbosity is not None:
    logging.set_verbosity(verbosity)


@pytest.fixture
def refusal(parse, capsys):
  """Runs dwd_jax.main in this process; gives the line that it ends with."""
  from dwd_jax import main

  def refusal_(*args):
    with pytest.raises(SystemExit) as e:
      parse(*args)
      main.main([])
    assert e.value.code == 2
    err = capsys.readouterr().err
    assert err.startswith("dwd_jax: ") and err.count("\n") == 1, err
    return err

  return refusal_


@pytest.fixture(scope="session")
def shared_data() -> pathlib.Path:
  """Real pages (DeepScores, MUSCIMA++); skips where they are absent."""
  return _shared("data")


@pytest.fixture(scope="session")
def golden_dir() -> pathlib.Path:
  """Outputs of the original code; skips where they are absent."""
  return _shared("golden")


@pytest.fixture(scope="module")
def needs_chromium():
  """Skips where there is no Chromium, or no playwright to drive it."""
  from benchmarks import screenshot
  from dwd_jax.core.errors import InputError

  try:
    screenshot.chromium_path()
  except InputError as e:
    pytest.skip(str(e))


# Not of the whole session: while playwright's loop lives, nothing else in the
# process can use asyncio.
@pytest.fixture(scope="module")
def browser(needs_chromium):
  """A headless Chromium."""
  from benchmarks import screenshot

  with screenshot.chromium() as running:
    yield running
