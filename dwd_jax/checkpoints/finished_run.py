"""Reads the parameters or the detector of a run from its checkpoints."""

import pathlib
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from absl import logging
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from dwd_jax.checkpoints import weights
from dwd_jax.checkpoints.checkpointer import first_wrong_file
from dwd_jax.checkpoints.weights import Weights
from dwd_jax.cluster import sharding
from dwd_jax.core import config_sections, files
from dwd_jax.core.errors import InputError
from dwd_jax.decode.decode_config import DecodeConfig
from dwd_jax.metrics import calibration
from dwd_jax.models import dwd


class FinishedRun(NamedTuple):
  """The network of a run.

  Attributes:
    variables: {"params": .., "batch_stats": ..} on all devices; the running
      mean if the run has one.
    card: see `ModelCard.to_json`.
    folder: of the checkpoint.
  """

  variables: Any
  card: dict[str, Any]
  folder: pathlib.Path

  @property
  def class_names(self) -> tuple[str, ...]:
    """C names, in the order of the class head."""
    return tuple(self.card["class_names"])


def find_checkpoint(path: pathlib.Path) -> pathlib.Path:
  """The checkpoint at a path, or the newest one of a workdir.

  Raises:
    InputError: no checkpoint.
  """

  def is_checkpoint(folder: pathlib.Path) -> bool:
    return folder.name.isdigit() and (folder / "state").is_dir()

  if is_checkpoint(path):
    return path.absolute()
  for folder in (path / "checkpoints", path):
    steps = filter(is_checkpoint, folder.iterdir() if folder.is_dir() else ())
    newest = max(steps, key=lambda child: int(child.name), default=None)
    if newest is not None:
      return newest.absolute()
  raise InputError(
    f"{path}: no checkpoint there; name the workdir of a run, or"
    " WORKDIR/checkpoints/STEP"
  )


def read(path: pathlib.Path, mesh: Mesh) -> FinishedRun:
  """Reads the parameters of a checkpoint, replicated over a mesh.

  Args:
    path: workdir of a run (its newest checkpoint), or WORKDIR/checkpoints/STEP.

  Raises:
    InputError: no checkpoint, or a damaged one.
  """
  folder = find_checkpoint(path)
  wrong = first_wrong_file(folder)
  if wrong is not None:
    raise _damaged(folder, f"{wrong} has changed")
  card = read_card(folder)
  verbosity = logging.get_verbosity()
  logging.set_verbosity(logging.ERROR)  # orbax warns of files not its own
  try:
    variables = _restore(folder / "state", mesh)
  except (ValueError, KeyError, TypeError, OSError, AttributeError) as e:
    raise _damaged(folder, str(e)) from e
  finally:
    logging.set_verbosity(verbosity)
  return FinishedRun(variables, card, folder)


def _restore(folder: pathlib.Path, mesh: Mesh) -> Any:
  """Parameters and batch statistics, without the optimizer's state."""
  everywhere = NamedSharding(mesh, PartitionSpec())
  with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
    saved: Any = checkpointer.metadata(folder).item_metadata
    tree = saved.tree
    mean = tree.get("ema_params") or {}
    whole = "batch_stats" in mean  # older runs have the parameters alone
    params = "ema_params" if mean else "params"
    keys = (params,) if whole else (params, "batch_stats")
    wanted = jax.tree.map(
      lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=everywhere),
      {key: tree[key] for key in keys},
    )
    found = checkpointer.restore(
      folder,
      args=ocp.args.PyTreeRestore(
        item=wanted,
        restore_args=ocp.checkpoint_utils.construct_restore_args(wanted),
        partial_restore=True,
      ),
    )
  if whole:
    return found["ema_params"]
  return {"params": found[params], "batch_stats": found["batch_stats"]}


def read_card(folder: pathlib.Path) -> dict[str, Any]:
  """The card of a checkpoint, see `ModelCard.to_json`.

  Raises:
    InputError: a damaged one.
  """
  try:
    card = _read_json(folder / "card" / "metadata")
    if not all(isinstance(name, str) for name in card["class_names"]):
      raise ValueError("class names that are no text")
  except (OSError, ValueError, KeyError, TypeError) as e:
    raise _damaged(folder, f"its card: {e}") from e
  return card


def _damaged(folder: pathlib.Path, reason: str) -> InputError:
  reason = " ".join(reason.split())[:160]
  return InputError(
    f"{folder}: a damaged checkpoint ({reason}); name another one of the run"
  )


def weights_of_run(path: pathlib.Path) -> Weights:
  """Reads the detector of a run, with the checkpoint's calibration, if any.

  Arguments and errors are those of `read`.
  """
  mesh = sharding.make_mesh(devices=jax.local_devices()[:1])
  found = read(path, mesh)
  config = _config(found.folder.parent.parent / "config.json")
  names, card = found.class_names, found.card
  try:
    model, variables = dwd.for_inference(
      weights.read_model(card["model"]), found.variables
    )
    return Weights(
      variables=jax.tree.map(lambda x: np.asarray(x, np.float32), variables),
      class_names=names,
      group_of_class=tuple(map(int, card["group_of_class"])),
      model=model,
      decode=config_sections.read(
        DecodeConfig,
        config["decode"],
        "decode",
        num_energy_levels=config["targets"]["num_energy_levels"],
      ),
      scale=float(config["data"]["eval_scale"]),
      staff_space_px=float(card.get("staff_space_px", 0.0)),
      polarity=card.get("polarity", ""),
      calibration=calibration.read(found.folder, names),
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
  try:
    return _read_json(path)
  except FileNotFoundError:
    raise InputError(
      f"{path}: missing; it says how pages are read: copy it from the run"
    ) from None
  except (OSError, ValueError) as e:
    raise InputError(f"{path}: damaged ({e}); copy the file again") from e


def _read_json(path: pathlib.Path) -> dict[str, Any]:
  content = files.read_json(path)
  if not isinstance(content, dict):
    raise ValueError("no object")
  return content
