"""A run's state -> scores on its own splits and on other data sets."""

import functools
import json
import pathlib
from collections.abc import Sequence

import jax
import numpy as np

from dwd_jax.cluster import processes
from dwd_jax.core import vocabulary
from dwd_jax.core.errors import InputError
from dwd_jax.data import eval_pages, sources
from dwd_jax.evaluate import among_processes, other_data_sets, page_pictures
from dwd_jax.evaluate import evaluate_split as evaluate_lib
from dwd_jax.metrics.calibration import Calibration
from dwd_jax.predict import predict_pages
from dwd_jax.train import curves
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
    curves.append(run.workdir / "eval" / curves.NAME, name, result.metrics)
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
    eval_pages.count(source, run.config.data), run.config.eval.overlays
  )
  pages = eval_pages.read(source, run.config.data, part)
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
    eval_pages.count(other.source, other.data_cfg),
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
    pictures = page_pictures.Pictures(
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
