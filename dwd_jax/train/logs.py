"""Where the numbers go: metrics.jsonl, TensorBoard, the terminal."""

import json
import pathlib
import sys
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import tensorboardX
import tqdm


class Logs:
  """Writes metrics and pictures of a run; only process 0 writes anything.

  A bar on a terminal, plain lines otherwise. On a resumed run the lines of
  steps that are done again are removed from metrics.jsonl first.
  """

  def __init__(self, workdir: pathlib.Path, first_step: int, total: int):
    """Args: `first_step` is where the run goes on; `total` steps in all."""
    self._active = jax.process_index() == 0
    self._total = total
    self._bar = None
    if not self._active:
      return
    self._path = workdir / "metrics.jsonl"
    _cut(self._path, first_step)
    self._file = self._path.open("a", encoding="utf8")
    self._board = tensorboardX.SummaryWriter(
      str(workdir / "tensorboard"), purge_step=first_step + 1, flush_secs=20
    )
    if sys.stderr.isatty():
      self._bar = tqdm.tqdm(total=total, initial=first_step, unit="step")

  def say(self, line: str) -> None:
    """A line for people."""
    if self._active:
      tqdm.tqdm.write(line)
      sys.stdout.flush()

  def scalars(self, step: int, stage: str, values: dict[str, Any]) -> None:
    """One line of metrics.jsonl, one point of each TensorBoard curve."""
    if not self._active:
      return
    values = {key: float(value) for key, value in values.items()}
    line = {"step": step, "stage": stage, **values}
    finite = {k: v if _is_finite(v) else None for k, v in line.items()}
    self._file.write(json.dumps(finite) + "\n")
    self._file.flush()
    for key, value in values.items():
      self._board.add_scalar(key, value, step)
    if self._bar is not None:
      self._bar.set_description(f"{stage} loss {values.get('loss', 0):.3f}")
      self._bar.update(step - self._bar.n)
    else:
      short = " ".join(f"{k} {v:.4g}" for k, v in values.items())
      self.say(f"step {step}/{self._total} {stage}: {short}")

  def evaluation(
    self,
    step: int,
    split: str,
    metrics: dict[str, Any],
    pictures: dict[str, np.ndarray],
  ) -> None:
    """Scores and pictures of an evaluation, to TensorBoard and the terminal."""
    if not self._active:
      return
    for key, value in metrics.items():
      if isinstance(value, float):
        self._board.add_scalar(f"{split}/{key}", value, step)
    self.pictures(step, split, pictures)
    self._board.flush()

  def pictures(
    self, step: int, where: str, pictures: Mapping[str, np.ndarray]
  ) -> None:
    """Pictures, uint8 [H, W, 3], to TensorBoard as WHERE/NAME."""
    if not self._active:
      return
    for name, picture in pictures.items():
      self._board.add_image(f"{where}/{name}", picture, step, dataformats="HWC")

  def close(self) -> None:
    """Flushes and closes all files."""
    if self._active:
      self._file.close()
      self._board.close()
      if self._bar is not None:
        self._bar.close()


def _is_finite(value: Any) -> bool:
  return not isinstance(value, float) or bool(np.isfinite(value))


def _cut(path: pathlib.Path, first_step: int) -> None:
  """Removes lines past `first_step`, and a last line that is not whole."""
  if not path.exists():
    return
  kept = []
  for line in path.read_text(encoding="utf8").splitlines():
    try:
      if json.loads(line)["step"] <= first_step:
        kept.append(line + "\n")
    except (ValueError, KeyError, TypeError):
      continue
  path.write_text("".join(kept), encoding="utf8")
