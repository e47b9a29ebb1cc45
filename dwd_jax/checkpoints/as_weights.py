"""A finished run -> the weights of its detector, without its data."""

import json
import pathlib
from typing import Any

import jax
import numpy as np

from dwd_jax.checkpoints import finished_run
from dwd_jax.checkpoints.weights import Weights
from dwd_jax.cluster import sharding
from dwd_jax.core.errors import InputError
from dwd_jax.decode.decode_config import DecodeConfig
from dwd_jax.metrics import calibration as calibration_lib
from dwd_jax.models import dwd

_CONFIG_BYTES = 64 << 20


def of_run(path: pathlib.Path, wanted_by: str = "--checkpoint") -> Weights:
  """The detector of a run.

  Args:
    path: workdir of the run (its newest checkpoint), or
      WORKDIR/checkpoints/STEP.
    wanted_by: flag or key that names the path; for errors.

  Returns:
    Its weights, with the calibration that lies in the checkpoint, if any.

  Raises:
    InputError: no checkpoint there, or a damaged one.
  """
  mesh = sharding.make_mesh(devices=jax.local_devices()[:1])
  found = finished_run.read(path, mesh, wanted_by)
  config = _config(found.folder.parent.parent / "config.json")
  names, card = found.class_names, found.card
  try:
    return Weights(
      variables=jax.tree.map(
        lambda x: np.asarray(x, np.float32), dict(found.variables)
      ),
      class_names=names,
      group_of_class=tuple(map(int, card["group_of_class"])),
      model=dwd.ModelConfig(**card["model"]),
      decode=DecodeConfig(
        **config["decode"],
        num_energy_levels=config["targets"]["num_energy_levels"],
      ),
      scale=float(config["data"]["eval_scale"]),
      staff_space_px=float(card.get("staff_space_px", 0.0)),
      calibration=calibration_lib.read(found.folder, names),
      about={
        "dataset": config["data"]["builder"],
        "steps": int(found.folder.name),
        "seed": int(config["seed"]),
      },
    )
  except (KeyError, TypeError, ValueError) as e:
    raise InputError(
      f"{found.folder}: of another version of dwd_jax ({e}); train again"
    ) from e


def _config(path: pathlib.Path) -> dict[str, Any]:
  """The resolved config beside the checkpoints."""
  try:
    if path.stat().st_size > _CONFIG_BYTES:
      raise ValueError("too large")
    config = json.loads(path.read_text(encoding="utf8"))
    if not isinstance(config, dict):
      raise ValueError("no object")
    return config
  except FileNotFoundError:
    raise InputError(
      f"{path}: missing; it says how the run's pages are read: copy it there"
    ) from None
  except (OSError, ValueError) as e:
    raise InputError(f"{path}: damaged ({e}); copy the file again") from e
