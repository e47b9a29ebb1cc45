"""A run's state -> scores on its own splits and on another data set."""

import functools

import jax
import numpy as np

from dwd_jax import evaluate as evaluate_lib
from dwd_jax import predict, transfer
from dwd_jax.calibration import Calibration
from dwd_jax.data import pipeline, sources, vocabulary
from dwd_jax.errors import InputError
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


def evaluate(
  run: setup_lib.Run,
  state: state_lib.TrainState,
  split: str,
  logs: Logs | None = None,
  calibration: Calibration | evaluate_lib.MakeCalibration | None = None,
) -> evaluate_lib.EvalResult:
  """Evaluates a state on a split, see `dwd_jax.evaluate`.

  Args:
    run: the run.
    state: its parameters are used.
    split: name of the split.
    logs: gets scores and pictures for TensorBoard.
    calibration: see `calibrating.for_checkpoint`; None: scores stay raw.

  Returns:
    The result; W/eval/<split>.json and the other files are written.
  """
  source = run.source(split)
  say_unmapped(source)
  pages = pipeline.eval_pages(source, run.config.data)
  return _evaluate(run, state, source, pages, logs, calibration)


def evaluate_on(
  run: setup_lib.Run,
  state: state_lib.TrainState,
  other: transfer.OtherSet,
  logs: Logs | None = None,
  calibration: Calibration | None = None,
) -> evaluate_lib.EvalResult:
  """Evaluates a state on pages of another data set, see `dwd_jax.transfer`.

  Args:
    run: the run.
    state: its parameters are used.
    other: the set, see `transfer.open_set`.
    logs: gets scores and pictures for TensorBoard.
    calibration: of the run, made on its own pages; None: scores stay raw.

  Returns:
    The result; W/eval/<builder>-<split>.json and others are written.
  """
  if jax.process_index() == 0:
    print(other.describe(), flush=True)
  pages = other.pages()
  return _evaluate(run, state, other.source, pages, logs, calibration, other)


def _evaluate(
  run, state, source, pages, logs, calibration, other=None
) -> evaluate_lib.EvalResult:
  config = run.config
  result = evaluate_lib.evaluate(
    bound_predict_fn(run, state),
    pages,
    other.class_names if other else run.class_names,
    run.settings.predict,
    out_dir=run.workdir / "eval",
    dataset=(other.data_cfg if other else config.data).builder,
    split=source.split,
    protocol=config.eval.protocol,
    checkpoint_step=int(state.step),
    min_score=config.eval.min_score,
    overlays=config.eval.overlays,
    num_pages=_num_pages(run, source),
    other=other,
    calibration=calibration,
  )
  if logs is not None:
    name = other.name if other else source.split
    logs.evaluation(int(state.step), name, result.metrics, result.pictures)
  return result


def bound_predict_fn(
  run: setup_lib.Run, state: state_lib.TrainState
) -> predict.PredictFn:
  """The run's network with the parameters of a state."""
  predict_fn = predict.make_predict_fn(
    run.model,
    run.settings.decode,
    np.asarray(run.group_of_class, np.int32),
  )
  variables = jax.device_put(
    state_lib.eval_variables(state), jax.local_devices()[0]
  )
  return functools.partial(predict_fn, variables)


def _num_pages(run, source) -> int:
  return min(len(source), run.config.data.max_pages or len(source))


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
