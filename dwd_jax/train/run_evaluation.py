"""A run's state -> scores on its own splits and on other data sets.

The calibration of a run's checkpoint: read, or made on `data.eval_split`.

`--mode=eval` with `eval.from_saved`: all results of a run, measured anew.
"""

import dataclasses
import functools
import json
import pathlib
from collections.abc import Sequence
from typing import Any

import jax
import ml_collections
import numpy as np

from dwd_jax.cluster import processes
from dwd_jax.core import vocabulary
from dwd_jax.core.errors import InputError
from dwd_jax.core.structs import PageBoxes
from dwd_jax.data import pipeline, sources
from dwd_jax.evaluate import (
  among_processes,
  from_saved,
  other_data_sets,
  output_files,
)
from dwd_jax.evaluate import evaluate_split as evaluate_lib
from dwd_jax.metrics import calibration as calibration_lib
from dwd_jax.metrics.calibration import Calibration
from dwd_jax.predict import predict_pages
from dwd_jax.train import logs as logs_lib
from dwd_jax.train import settings as config_lib
from dwd_jax.train import setup as setup_lib
from dwd_jax.train import state as state_lib
from dwd_jax.train.logs import Logs


def say_unmapped(source: sources.PageSource) -> None:
  """Prints how many boxes `data.common_with` left out, if any."""
  kept = len(source.box_index().labels)  # counts the others, too
  if source.unmapped_boxes and jax.process_index() == 0:
    line = vocabulary.describe_unmapped(
      source.split, source.unmapped_boxes, kept
    )
    print(line, flush=True)


def evaluate_all(
  run: setup_lib.Run,
  state: state_lib.TrainState,
  others: Sequence[other_data_sets.OtherSet] = (),
  logs: Logs | None = None,
  splits: Sequence[str] = (),
  calibration: Calibration | evaluate_lib.MakeCalibration | None = None,
) -> dict[str, evaluate_lib.EvalResult]:
  """Evaluates a state on the run's own pages, then on other data sets.

  Args:
    run: the run.
    state: its parameters are used.
    others: the sets, see `transfer.open_sets`.
    logs: gets scores and pictures for TensorBoard, and a line for each set.
    splits: of the run's records; none: `data.eval_split`.
    calibration: see `calibrating.for_checkpoint`. Where it is a function, the
      first split makes it, and all others use it. None: scores stay raw.

  Returns:
    {name: result}. W/eval/NAME.json and the other files are written, and
    W/eval/curves.jsonl gets a line for each.
  """
  results = {}
  for split in dict.fromkeys(splits or (run.config.data.eval_split,)):
    results[split] = evaluate(run, state, split, logs, calibration)
    _note(run, split, results[split], logs)
    calibration = results[split].calibration
  assert not callable(calibration)  # made by then
  for other in others:
    result = evaluate_on(run, state, other, logs, calibration)
    results[other.name] = result
    _note(run, other.name, result, logs)
  return results


def _note(run, name: str, result, logs: Logs | None) -> None:
  """A point of the curves, a line for people."""
  if jax.process_index() == 0:
    logs_lib.append_curve(
      run.workdir / "eval" / logs_lib.CURVES, name, result.metrics
    )
  if logs is not None:
    logs.say(summary(result.metrics, run.workdir, name))


def summary(metrics: dict, workdir: pathlib.Path, name: str) -> str:
  """The scores of an evaluation in one line."""

  def number(value):
    return "-" if value is None else f"{value:.3f}"

  at_threshold = ""
  if metrics["calibrated"]:
    at_threshold = (
      f"; from score {metrics['threshold']:.3f} on precision"
      f" {number(metrics['precision'])}, recall {number(metrics['recall'])}"
    )
  return (
    f"{name}: mAP {number(metrics['mAP'])}, mAP_50 {number(metrics['mAP_50'])}"
    f" (classes with {metrics['min_objects']} objects or more:"
    f" {number(metrics['mAP_50_min10'])}), {metrics['num_objects']} objects,"
    f" {metrics['num_detections']} detections on {metrics['num_pages']} pages"
    f"{at_threshold};"
    f" {workdir / 'eval' / name}.json"
  )


def evaluate(
  run: setup_lib.Run,
  state: state_lib.TrainState,
  split: str,
  logs: Logs | None = None,
  calibration: Calibration | evaluate_lib.MakeCalibration | None = None,
) -> evaluate_lib.EvalResult:
  """Evaluates a state on a split, see `dwd_jax.evaluate.evaluate_split`.

  Args:
    run: the run.
    state: its parameters are used.
    split: name of the split.
    logs: gets scores and pictures for TensorBoard.
    calibration: see `calibrating.for_checkpoint`; None: scores stay raw.

  Returns:
    The result; `W/eval/<split>.json` and the other files are written. To be
    called in all processes: each predicts a part of the pages, all get the
    scores, and process 0 the pictures and the calibration.
  """
  source = run.source(split)
  say_unmapped(source)
  part = among_processes.part(
    pipeline.num_eval_pages(source, run.config.data), run.config.eval.overlays
  )
  pages = pipeline.read_eval_pages(source, run.config.data, part)
  return _evaluate(run, state, source, pages, part, logs, calibration)


def evaluate_on(
  run: setup_lib.Run,
  state: state_lib.TrainState,
  other: other_data_sets.OtherSet,
  logs: Logs | None = None,
  calibration: Calibration | None = None,
) -> evaluate_lib.EvalResult:
  """Evaluates a state on pages of another data set.

  See `dwd_jax.evaluate.other_data_sets`.

  Args:
    run: the run.
    state: its parameters are used.
    other: the set, see `transfer.open_sets`.
    logs: gets scores and pictures for TensorBoard.
    calibration: of the run, made on its own pages; None: scores stay raw.

  Returns:
    The result; W/eval/NAME.json and others are written, NAME being that of
    the set.
  """
  part = among_processes.part(
    pipeline.num_eval_pages(other.source, other.data_cfg),
    run.config.eval.overlays,
  )
  pages = other.pages(part)
  return _evaluate(
    *(run, state, other.source, pages, part, logs, calibration, other)
  )


def _evaluate(
  run, state, source, pages, part, logs, calibration, other=None
) -> evaluate_lib.EvalResult:
  config = run.config
  data = other.data_cfg if other else config.data
  predict_fn = bound_predict_fn(run, state)
  name = other.name if other else source.split
  if not processes.is_first():
    pictures = output_files.Pictures(
      run.workdir / "eval" / name, config.eval.viewer_pages, part.start
    )
    among_processes.collect(
      evaluate_lib.predict_all(
        predict_fn, pages, run.settings.predict, each=pictures
      )
    )
    metrics = json.loads(processes.from_first("scores", ""))
    return evaluate_lib.EvalResult(metrics, {}, None)
  result = evaluate_lib.evaluate(
    predict_fn,
    pages,
    other.class_names if other else run.class_names,
    run.settings.predict,
    out_dir=run.workdir / "eval",
    dataset=data.builder,
    split=source.split,
    protocol=config.eval.protocol,
    checkpoint_step=int(state.step),
    min_score=config.eval.min_score,
    overlays=config.eval.overlays,
    viewer_pages=config.eval.viewer_pages,
    num_pages=len(part),
    other=other,
    calibration=calibration,
    collect=among_processes.collect,
  )
  # Whoever goes by the scores does the same in all processes.
  processes.from_first("scores", json.dumps(result.metrics))
  if logs is not None:
    logs.evaluation(int(state.step), name, result.metrics, result.pictures)
  return result


def bound_predict_fn(
  run: setup_lib.Run, state: state_lib.TrainState
) -> predict_pages.PredictFn:
  """The run's network with the parameters of a state."""
  predict_fn = predict_pages.make_predict_fn(
    run.model,
    run.settings.decode,
    np.asarray(run.group_of_class, np.int32),
  )
  variables = among_processes.on_local_device(
    state_lib.eval_variables(state), run.mesh
  )
  return functools.partial(predict_fn, variables)


def restore(run: setup_lib.Run) -> state_lib.TrainState:
  """The newest checkpoint of a run, or the best: `eval.checkpoint`.

  Raises:
    InputError: there is none, or it belongs to another network.
  """
  checkpoints = run.checkpoints()
  try:
    steps = checkpoints.all_steps()
    if not steps:
      raise InputError(
        f"{run.workdir / 'checkpoints'}: no checkpoint; train first, or name"
        " the workdir of a finished run"
      )
    step = steps[0]
    if run.config.eval.checkpoint == "best":
      best = checkpoints.best_step()
      if best is None:
        raise InputError(
          f"{run.workdir / 'checkpoints'}: none was saved with a score; train"
          " with train.eval_every, or set eval.checkpoint=last"
        )
      step = best
    return checkpoints.restore(step, run.state_shapes(), run.card)[0]
  finally:
    checkpoints.close()


def calibration_of_checkpoint(
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
  make = calibration_of_checkpoint(run, state)
  if not callable(make):
    return
  try:
    data: Any = run.config.data
    source = run.source(data.eval_split)
  except InputError as e:
    _say(f"Scores are not calibrated: {e}")
    return
  part = among_processes.part(pipeline.num_eval_pages(source, data))
  predicted = among_processes.collect(
    evaluate_lib.predict_all(
      bound_predict_fn(run, state),
      pipeline.read_eval_pages(source, data, part),
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


def reevaluate_all(
  config: ml_collections.ConfigDict, workdir: pathlib.Path
) -> dict[str, dict[str, Any]]:
  """Measures what W/eval holds of the config's splits and other sets.

  No data set is opened, no network built, no checkpoint read.

  Args:
    config: overrides applied.
    workdir: of a run that was evaluated.

  Returns:
    {name: content of its summary}; a line of each is printed. With several
    processes the first does it all, the others have nothing.

  Raises:
    InputError: see `reevaluate`, or a bad config.
  """
  config_lib.validate(config)
  results: dict[str, dict[str, Any]] = {}
  if not processes.is_first():
    return results
  data: Any = config.data
  judged: Any = config.eval
  own = [split for split in (data.eval_split, data.test_split) if split]
  for name in dict.fromkeys([*own, *other_data_sets.names_in_config(config)]):
    results[name] = from_saved.reevaluate(
      workdir / "eval",
      name,
      protocol=judged.protocol,
      min_score=float(judged.min_score),
      viewer_pages=int(judged.viewer_pages),
    )
    print(summary(results[name], workdir, name), flush=True)
  return results
