"""Where the numbers go: metrics.jsonl, curves.jsonl, TensorBoard, the terminal.

metrics.jsonl has a line for every log of the training, all with the same keys;
W/eval/curves.jsonl a line for each evaluation, which are fewer.
"""

import json
import pathlib
import sys
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import tensorboardX
import tqdm

from dwd_jax.core import files

CURVES = "curves.jsonl"
CURVE_KEYS = (
  "mAP",
  "mAP_50",
  "mAP_50_min10",
  "AP_50_weighted",
  "num_detections",
)


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
  if path.exists():
    kept = [line for line in _read(path) if line["step"] <= first_step]
    _write(path, kept)


def append_curve(
  path: pathlib.Path, name: str, metrics: dict[str, Any]
) -> None:
  """Adds the point of an evaluation to a file of curves.

  Points of the same name at the same step or later go: a run that was killed,
  or a workdir that was evaluated again, comes past them once more.

  Args:
    path: the file; made if missing, never half written.
    name: what was judged: a split, or another data set.
    metrics: see `dwd_jax.evaluate.evaluate_split`.
  """
  step = metrics["checkpoint_step"]
  kept = [
    point
    for point in read_curves(path)
    if point["name"] != name or point["step"] < step
  ]
  point = {"step": step, "name": name} | {k: metrics[k] for k in CURVE_KEYS}
  _write(path, [*kept, point])


def read_curves(path: pathlib.Path) -> list[dict[str, Any]]:
  """All points, in the order of their evaluations; lines that are none go."""
  return [p for p in _read(path) if "name" in p] if path.is_file() else []


def _read(path: pathlib.Path) -> list[dict[str, Any]]:
  """The lines of a file of JSON lines that have a step."""
  found = []
  for line in path.read_text(encoding="utf8").splitlines():
    try:
      values = json.loads(line)
      _ = int(values["step"])
      found.append(values)
    except (ValueError, KeyError, TypeError):
      continue
  return found


def _write(path: pathlib.Path, lines: list[dict[str, Any]]) -> None:
  """Replaces the file at once: a kill loses nothing."""
  files.write_atomic(path, "".join(json.dumps(line) + "\n" for line in lines))
