"""A process of test_prepare.py, which imports no more than it needs."""

import os
import pathlib
import signal
import sys

import ml_collections

from dwd_jax.data import prepare


def prepare_in_a_process(
  data_cfg: ml_collections.ConfigDict, workdir: str, kill: bool
) -> None:
  """Prepares records; kills the process before they come to their place."""
  if kill:
    pathlib.Path.rename = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
  prepare.prepare(data_cfg, workdir)
  sys.stdout.flush()
