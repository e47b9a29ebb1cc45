"""The calibration of a run's checkpoint: read, or made on `data.eval_split`."""

import dataclasses
import functools
import pathlib
from collections.abc import Sequence
from typing import Any

import jax

from dwd_jax.core.errors import InputError
from dwd_jax.core.structs import PageBoxes
from dwd_jax.data import eval_pages
from dwd_jax.evaluate import among_processes
from dwd_jax.evaluate import evaluate_split as evaluate_lib
from dwd_jax.metrics import calibration as calibration_lib
from dwd_jax.metrics.calibration import Calibration
from dwd_jax.train import run_evaluation
from dwd_jax.train import setup as setup_lib
from dwd_jax.train import state as state_lib


def for_checkpoint(
  run: setup_lib.Run, state: state_lib.TrainState
) -> Calibration | evaluate_lib.MakeCalibration | None:
  """How the scores of a state are to be calibrated.

  Args:
    run: the run.
    state: saved as a checkpoint of the run.

  Returns:
    What is stored with the checkpoint. Else a function that makes it of the
    pages of `data.eval_split` and stores it. None where scores stay raw: by
    config, in the legacy protocol, or because the only pages are those of the
    final test, which nothing may be chosen on; the last is said.

  Raises:
    InputError: what is stored is damaged.
  """
  data: Any = run.config.data
  judged: Any = run.config.eval
  if not judged.calibrate or judged.protocol == "legacy":
    return None
  folder = _folder(run, int(state.step))
  stored = calibration_lib.read(folder, run.class_names)
  if stored is not None and stored.made_with == _made_with(run):
    return stored
  if data.eval_split == data.test_split:
    _say(
      f"Scores are not calibrated: data.eval_split is the test split"
      f" '{data.test_split}'; name other pages, or set eval.calibrate=False"
    )
    return None
  if stored is not None:
    _say(f"{folder / calibration_lib.NAME}: of other settings; made anew")
  return functools.partial(_make, run, folder)


def calibrate(run: setup_lib.Run, state: state_lib.TrainState) -> None:
  """Makes and stores the calibration of a checkpoint where it is missing.

  Args:
    run: the run. Where `data.eval_split` does not exist, this is said.
    state: saved as a checkpoint of the run.
  """
  make = for_checkpoint(run, state)
  if not callable(make):
    return
  try:
    data: Any = run.config.data
    source = run.source(data.eval_split)
  except InputError as e:
    _say(f"Scores are not calibrated: {e}")
    return
  part = among_processes.part(eval_pages.count(source, data))
  predicted = among_processes.collect(
    evaluate_lib.predict_all(
      run_evaluation.bound_predict_fn(run, state),
      eval_pages.read(source, data, part),
      run.settings.predict,
    )
  )
  if jax.process_index() == 0:
    make(predicted.truth, predicted.detections)


def _make(
  run: setup_lib.Run,
  folder: pathlib.Path,
  truth: Sequence[PageBoxes],
  detections: Sequence[PageBoxes],
) -> Calibration:
  made = calibration_lib.make(
    truth, detections, len(run.class_names), _made_with(run)
  )
  if jax.process_index() == 0:
    calibration_lib.write(folder, made, run.class_names)
  _say(made.describe())
  return made


def _made_with(run: setup_lib.Run) -> dict[str, Any]:
  """What the scores depend on besides the checkpoint, as JSON has it."""
  data: Any = run.config.data
  cfg = run.settings.predict
  made_with = {
    "dataset": data.builder,
    "split": data.eval_split,
    "scales": [data.eval_scale * s for s in cfg.scales],
    "decode": dataclasses.asdict(run.settings.decode),
  }
  if cfg.staff_space_px and cfg.normalise != "off":
    made_with["staff_space"] = [cfg.normalise, cfg.staff_space_px]
  return made_with


def _folder(run: setup_lib.Run, step: int):
  checkpoints = run.checkpoints()
  try:
    return checkpoints.folder(step)
  finally:
    checkpoints.close()


def _say(text: str) -> None:
  if jax.process_index() == 0:
    print(text, flush=True)
