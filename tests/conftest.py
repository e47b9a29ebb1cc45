"""Shared setup: shapes are checked at run time, shared data is optional."""

import os
import pathlib
import shutil

import jax
import jaxtyping
import pytest

from dwd_jax.cluster import huge_pages

# Most of the time of the tests goes into compiling for CPUs; without LLVM's
# optimisations it takes half of that. Programs that the tests start inherit it.
if not shutil.which("nvidia-smi"):
  os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")

# Layers 0 to 2: array shapes and types are checked on every call in the tests
# (not in structs: tree operations build those with leaves of any kind).
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

# Golden values need float32 where a GPU's default is TensorFloat-32.
jax.config.update("jax_default_matmul_precision", "highest")

huge_pages.wish()  # for pytest-xdist's workers and for programs

_REPO = pathlib.Path(__file__).parent.parent


def _shared(name: str) -> pathlib.Path:
  path = _REPO.parent / "shared" / name
  if not path.is_dir():
    pytest.skip(f"needs the folder {name} of real pages and golden values")
  return path


@pytest.fixture(scope="session")
def repo_dir() -> pathlib.Path:
  return _REPO


@pytest.fixture(scope="session")
def shared_data() -> pathlib.Path:
  """Real pages (DeepScores, MUSCIMA++); skips where they are absent."""
  return _shared("data")


@pytest.fixture(scope="session")
def golden_dir() -> pathlib.Path:
  """Outputs of the original code; skips where they are absent."""
  return _shared("golden")


@pytest.fixture(scope="session")
def records(repo_dir, tmp_path_factory) -> pathlib.Path:
  """A data_dir with the dummy records of two builders."""
  # Imported late: most tests need neither.
  from configs import default
  from dwd_jax.data import prepare

  cfg = default.get_config().data
  cfg.data_dir = str(tmp_path_factory.mktemp("records"))
  for name in ("deepscores", "muscima_pp"):
    cfg.builder = name
    cfg.manual_dir = str(repo_dir / f"tfds_builders/{name}/dummy_data")
    prepare.prepare(cfg, tmp_path_factory.mktemp("work"))
  return pathlib.Path(cfg.data_dir)
