"""Loads the packaged weights, or those that a user names."""

import pathlib

from dwd_jax.checkpoints import finished_run, weights
from dwd_jax.checkpoints.weights import Weights
from dwd_jax.core.errors import InputError

PRINTED = pathlib.Path(__file__).parent / "pretrained/printed.safetensors"


def weights_of(checkpoint: str | pathlib.Path = "") -> Weights:
  """Loads the weights of a trained detector.

  Args:
    checkpoint: workdir of a run, WORKDIR/checkpoints/STEP, or a file of
      weights; "" = the packaged detector of printed music.

  Raises:
    InputError: missing or damaged.
  """
  path = pathlib.Path(checkpoint) if checkpoint else PRINTED
  if not path.exists():
    raise InputError(
      f"{path}: no such file or folder; a checkpoint is the workdir of a run or"
      " a file of weights"
    )
  if path.is_dir():
    return finished_run.weights_of_run(path)
  return weights.read(path)
