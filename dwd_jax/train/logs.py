"""Logs of a run: metrics.jsonl, curves.jsonl, TensorBoard and the terminal.

W/metrics.jsonl has one line per log of the training, all with the same keys,
W/eval/curves.jsonl one line per evaluation.
"""

import contextlib
import json
import pathlib
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np
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
  """Writes metrics and pictures of a run, in process 0 only.

  Shows a progress bar on a terminal, plain lines otherwise. A resumed run first
  removes the lines of the steps that it repeats from metrics.jsonl.
  """

  def __init__(self, workdir: pathlib.Path, first_step: int | None, total: int):
    """Opens the logs.

    Args:
      workdir: the run's folder.
      first_step: where the training resumes; None = an evaluation, beside which
        the run may be training: it leaves metrics.jsonl alone.
      total: number of all steps.
    """
    self._active = jax.process_index() == 0
    self._total = total
    self._bar = None
    self._file = None
    self._before: tuple[int, float] | None = None  # a step and its time
    self._score: tuple[int, float] | None = None  # a step and its mAP_50
    if not self._active:
      return
    if first_step is not None:
      path = workdir / "metrics.jsonl"
      _write(path, [x for x in _read(path) if x["step"] <= first_step])
      self._file = path.open("a", encoding="utf8")
    import tensorboardX  # late: it imports torch where that is installed

    self._board = tensorboardX.SummaryWriter(
      str(workdir / "tensorboard"),
      purge_step=None if first_step is None else first_step + 1,
      flush_secs=20,
    )
    if sys.stderr.isatty() and first_step is not None:
      self._bar = tqdm.tqdm(total=total, initial=first_step, unit="step")

  def say(self, line: str) -> None:
    """Prints a line without breaking the progress bar."""
    if self._active:
      tqdm.tqdm.write(line)
      sys.stdout.flush()

  def scalars(self, step: int, stage: str, values: dict[str, Any]) -> None:
    """Adds a line to metrics.jsonl and a point to each TensorBoard curve."""
    if not self._active:
      return
    values = {key: float(value) for key, value in values.items()}
    finite = {k: v if np.isfinite(v) else None for k, v in values.items()}
    line = {"step": step, "stage": stage} | finite
    assert self._file is not None, "an evaluation has no steps"
    self._file.write(json.dumps(line) + "\n")
    self._file.flush()
    for key, value in values.items():
      self._board.add_scalar(key, value, step)
    if self._bar is not None:
      self._bar.set_description(f"{stage} loss {_short(values.get('loss', 0))}")
      if self._score is not None:
        self._bar.set_postfix_str(f"mAP_50 {self._score[1]:.3f}")
      self._bar.update(step - self._bar.n)
    else:
      parts = ", ".join(self._progress(step, values))
      self.say(f"step {step}/{self._total} {stage}: {parts}")

  def _progress(self, step: int, values: Mapping[str, float]) -> Iterator[str]:
    """What a line for people has; metrics.jsonl has everything."""
    if "loss" not in values:  # of a validation, or of new boxes
      yield from (f"{key} {_short(value)}" for key, value in values.items())
      return
    yield f"loss {_short(values['loss'])}"
    if self._score is not None:
      yield f"mAP_50 {self._score[1]:.3f} at step {self._score[0]}"
    now = time.monotonic()
    if self._before is not None and self._before[0] < step < self._total:
      pace = (now - self._before[1]) / (step - self._before[0])
      yield f"{_duration(pace * (self._total - step))} left"
    self._before = step, now

  def evaluation(
    self,
    step: int,
    split: str,
    metrics: dict[str, Any],
    pictures: dict[str, np.ndarray],
  ) -> None:
    """Writes scores and pictures of an evaluation to TensorBoard."""
    if not self._active:
      return
    for key, value in metrics.items():
      if isinstance(value, float):
        self._board.add_scalar(f"{split}/{key}", value, step)
    score = metrics.get("mAP_50")
    # The run's own pages come first, then those of other sets.
    if score is not None and (self._score is None or self._score[0] < step):
      self._score = step, float(score)
    self.pictures(step, split, pictures)
    self._board.flush()

  def pictures(
    self, step: int, where: str, pictures: Mapping[str, np.ndarray]
  ) -> None:
    """Writes pictures, uint8 [H, W, 3], to TensorBoard as WHERE/NAME."""
    if not self._active:
      return
    for name, picture in pictures.items():
      self._board.add_image(f"{where}/{name}", picture, step, dataformats="HWC")

  def close(self) -> None:
    """Flushes and closes all files."""
    if self._active:
      if self._file is not None:
        self._file.close()
      self._board.close()
      if self._bar is not None:
        self._bar.close()


def _short(value: float) -> str:
  """Four digits; "-" = none."""
  return f"{value:.4g}" if np.isfinite(value) else "-"


def _duration(seconds: float) -> str:
  """A time in the unit that suits it, such as "12 min"."""
  if seconds < 90:
    return f"{seconds:.0f} s"
  if seconds < 90 * 60:
    return f"{seconds / 60:.0f} min"
  return f"{seconds / 3600:.1f} h"


def append_curve(
  path: pathlib.Path, name: str, metrics: dict[str, Any]
) -> None:
  """Adds the point of an evaluation to a file of curves.

  Replaces points of the same name at this step or later, as left by a killed
  run or an earlier evaluation.

  Args:
    name: split or data set evaluated.
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
  """All points, in the order of the evaluations; skips malformed lines."""
  return [point for point in _read(path) if "name" in point]


def _read(path: pathlib.Path) -> list[dict[str, Any]]:
  """Lines of a JSON lines file that have a step; none if it is missing."""
  found = []
  if not path.is_file():
    return found
  for line in path.read_text(encoding="utf8", errors="replace").splitlines():
    with contextlib.suppress(ValueError):
      values = files.decode_json(line)
      if isinstance(values, dict) and type(values.get("step")) is int:
        found.append(values)
  return found


def _write(path: pathlib.Path, lines: list[dict[str, Any]]) -> None:
  """Replaces the file atomically, so that a kill loses nothing."""
  files.write_atomic(path, "".join(json.dumps(line) + "\n" for line in lines))
