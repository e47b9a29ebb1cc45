"""Where a run goes when no --workdir is given."""

import pathlib
import re
from typing import Any

from dwd_jax.cluster import processes
from dwd_jax.core.errors import InputError

ROOT = pathlib.Path("runs")
_MANY = 1_000_000


def choose(config: Any, root: pathlib.Path = ROOT) -> pathlib.Path:
  """Makes `ROOT/<data set>/<pretraining>/<model>/run_N`, N the next free one.

  The same folder in all processes of a run. Runs that start at the same time
  get different ones.

  Args:
    config: of the run.
    root: in the current folder.

  Returns:
    The new folder.

  Raises:
    InputError: it cannot be made.

  Reference: the original's
  `experiments/<model>/<data set>/<pretraining>/run_N`.
  """
  if not processes.is_first():
    return pathlib.Path(processes.from_first("workdir", ""))
  parent = root / _data_set(config.data) / config.pretraining.level
  parent /= f"RefineNet-Res{config.model.backbone_depth}"
  try:
    made = _next(parent)
  except OSError as e:
    raise InputError(
      f"{parent}: cannot make the folder of the run ({e.strerror}); give"
      " --workdir"
    ) from None
  processes.from_first("workdir", str(made))
  return made


def _data_set(data: Any) -> str:
  """A name that can be a folder's."""
  if data.engrave.pages > 0 and not data.manual_dir:
    return "engraved"
  name = "-".join(filter(None, (data.builder, data.builder_config)))
  if data.builder == "boxes" and data.manual_dir:
    name = pathlib.Path(data.manual_dir).expanduser().absolute().name
  return re.sub(r"[^\w.-]+", "_", name).strip(".") or "data"


def _next(parent: pathlib.Path) -> pathlib.Path:
  parent.mkdir(parents=True, exist_ok=True)
  taken = [re.fullmatch(r"run_(\d{1,6})", p.name) for p in parent.iterdir()]
  first = max((int(m[1]) for m in taken if m), default=-1) + 1
  for number in range(first, _MANY):
    folder = parent / f"run_{number}"
    try:
      folder.mkdir()
    except FileExistsError:  # another run was faster
      continue
    return folder
  raise OSError(0, "all numbers are taken")
