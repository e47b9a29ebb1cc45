"""Evaluates a run on its splits and on other data sets.

`evaluate_all` evaluates a state, `reevaluate_all` evaluates saved detections
again (`eval.from_saved`). The calibration of a checkpoint is read from its
folder, or fitted on the pages of `data.eval_split`.
"""

import contextlib
import dataclasses
import functools
import json
import pathlib
import tempfile
from collections.abc import Sequence
from typing import Any

import jax
import ml_collections
import numpy as np

from dwd_jax.checkpoints import checkpointer
from dwd_jax.cluster import processes, sharding
from dwd_jax.core import files, vocabulary, words
from dwd_jax.core.errors import InputError
from dwd_jax.data import pipeline, sources
from dwd_jax.decode import contradictions
from dwd_jax.decode.contradictions import Contradictions
from dwd_jax.evaluate import (
  among_processes,
  evaluate_split,
  from_saved,
  other_data_sets,
  output_files,
)
from dwd_jax.evaluate.evaluate_split import EvalResult, MakeCalibration
from dwd_jax.evaluate.other_data_sets import OtherSet
from dwd_jax.metrics import calibration as calibration_lib
from dwd_jax.metrics.calibration import Calibration
from dwd_jax.metrics.reliability import Judged
from dwd_jax.predict import predict_pages
from dwd_jax.predict.predict_config import PredictConfig
from dwd_jax.train import logs as logs_lib
from dwd_jax.train import settings as config_lib
from dwd_jax.train import setup as setup_lib
from dwd_jax.train import state as state_lib
from dwd_jax.train.logs import Logs

_MOST_PAGES = 2000  # that contradictions are learned from


def say_unmapped(source: sources.PageSource) -> None:
  """Prints how many boxes `data.common_with` left out, if any."""
  kept = len(source.box_index().labels)  # also counts `unmapped_boxes`
  if source.unmapped_boxes:
    processes.say(
      vocabulary.describe_unmapped(source.split, source.unmapped_boxes, kept)
    )


def evaluate_all(
  run: setup_lib.Run,
  state: state_lib.TrainState,
  others: Sequence[OtherSet] = (),
  logs: Logs | None = None,
  splits: Sequence[str] = (),
  calibration: Calibration | MakeCalibration | None = None,
) -> dict[str, EvalResult]:
  """Evaluates a state on the run's own pages, then on others: {name: result}.

  Writes W/eval/NAME.json and the other files of each evaluation, and adds its
  line to W/eval/curves.jsonl.

  Args:
    others: see `other_data_sets.open_sets`.
    logs: gets scores and pictures for TensorBoard, and a line for each set.
    splits: of the run's records; default `data.eval_split`.
    calibration: see `calibration_of_checkpoint`. A function is called on the
      first split; its result applies to the others too. None: raw scores.
  """
  results = {}
  own = dict.fromkeys(splits or (run.config.data.eval_split,))
  for pages in (*own, *others):
    name = pages if isinstance(pages, str) else pages.name
    result = evaluate(run, state, pages, logs, calibration)
    results[name], calibration = result, result.calibration
    if processes.is_first():
      logs_lib.append_curve(
        run.workdir / "eval" / logs_lib.CURVES, name, result.metrics
      )
    if logs is not None:
      said = words.of_data(run.config.data)
      logs.say(describe(result.metrics, run.workdir, name, said))
  return results


def describe(
  metrics: dict,
  workdir: pathlib.Path,
  name: str,
  said: words.Words = words.MUSIC,
) -> str:
  """The scores of an evaluation in one line, in the words of its field."""

  def number(value):
    return "-" if value is None else f"{value:.3f}"

  at_threshold = ""
  if metrics["calibrated"]:
    at_threshold = (
      f"; from score {metrics['threshold']:.3f} on precision"
      f" {number(metrics['precision'])}, recall {number(metrics['recall'])}"
    )
  oriented = ""
  if rotated := metrics.get("rotated"):
    oriented = (
      f"; oriented boxes: mAP {number(rotated['mAP'])}, mAP_50"
      f" {number(rotated['mAP_50'])}"
    )
  return (
    f"{name}: mAP {number(metrics['mAP'])}, mAP_50 {number(metrics['mAP_50'])}"
    f" (classes with {metrics['min_objects']} objects or more:"
    f" {number(metrics['mAP_50_min10'])}), {metrics['num_objects']} objects,"
    f" {metrics['num_detections']} detections on"
    f" {said.count(metrics['num_pages'], 'images')}"
    f"{oriented}{at_threshold}; {workdir / 'eval' / name}.json"
  )


def evaluate(
  run: setup_lib.Run,
  state: state_lib.TrainState,
  split: str | OtherSet,
  logs: Logs | None = None,
  calibration: Calibration | MakeCalibration | None = None,
) -> EvalResult:
  """Evaluates a state on a split, see `dwd_jax.evaluate.evaluate_split`.

  Call it in all processes: each predicts a part of the pages. Process 0 writes
  W/eval/NAME.json and the other files.

  Args:
    split: one of the run's, by name, or pages of another data set.
    logs: gets scores and pictures for TensorBoard.
    calibration: see `calibration_of_checkpoint`; a function needs a split of
      the run. None: raw scores.

  Returns:
    The result; pictures and calibration in process 0 only.
  """
  if isinstance(split, str):
    other, source = None, run.source(split)
    data, name = run.config.data, split
    say_unmapped(source)
  else:
    other, source = split, split.source
    data, name = split.data_cfg, split.name
  settings: Any = run.config.eval
  part = among_processes.part(
    pipeline.num_eval_pages(source, data), settings.overlays
  )
  pages = (
    other.pages(part) if other else pipeline.read_eval_pages(source, data, part)
  )
  predict_fn, out_dir = bound_predict_fn(run, state), run.workdir / "eval"
  with among_processes.together(out_dir, int(state.step)) as shared:
    if shared.boxes is not None:  # not process 0
      pictures = output_files.Pictures(
        out_dir / name, settings.viewer_pages, part.start
      )
      shared.collect(
        evaluate_split.predict_all(
          predict_fn,
          pages,
          on_devices(run),
          each=pictures,
          boxes=shared.boxes,
        )
      )
      metrics = json.loads(processes.from_first("scores", ""))
      return EvalResult(metrics, {}, None)
    result = evaluate_split.evaluate(
      predict_fn,
      pages,
      other.class_names if other else run.class_names,
      on_devices(run),
      out_dir=out_dir,
      dataset=data.builder,
      dataset_config=data.builder_config,
      split=source.split,
      protocol=settings.protocol,
      checkpoint_step=int(state.step),
      min_score=settings.min_score,
      overlays=settings.overlays,
      viewer_pages=settings.viewer_pages,
      num_pages=len(part),
      other=other,
      calibration=calibration,
      collect=shared.collect,
    )
  # All processes must take the same decisions by the scores.
  processes.from_first("scores", json.dumps(result.metrics))
  if logs is not None:
    logs.evaluation(int(state.step), name, result.metrics, result.pictures)
  return result


def bound_predict_fn(
  run: setup_lib.Run, state: state_lib.TrainState
) -> predict_pages.PredictFn:
  """The run's network with the parameters of a state, on all local devices."""
  groups = np.asarray(run.group_of_class, np.int32)
  predict_fn = predict_pages.make_predict_fn(
    run.model, run.settings.decode, groups, run.class_names
  )
  variables = among_processes.on_local_device(
    state_lib.eval_variables(state), run.mesh
  )
  return functools.partial(predict_fn, sharding.on_local_devices(variables))


def on_devices(run: setup_lib.Run) -> PredictConfig:
  """The settings of its prediction, for all local devices."""
  count = jax.local_device_count()
  return dataclasses.replace(run.settings.predict, devices=count)


def restore(run: setup_lib.Run) -> state_lib.TrainState:
  """The newest checkpoint of a run, or the best: `eval.checkpoint`."""
  folder = run.workdir / "checkpoints"
  opened = checkpointer.Checkpoints(folder, read_only=True)
  with contextlib.closing(opened) as checkpoints:
    steps = checkpoints.all_steps()
    if not steps:
      raise InputError(
        f"{folder}: no checkpoint; train first, or name the workdir of a"
        " finished run"
      )
    step = steps[0]
    if run.config.eval.checkpoint == "best":
      best = checkpoints.best_step()
      if best is None:
        raise InputError(
          f"{folder}: none was saved with a score; train with train.eval_every,"
          " or set eval.checkpoint=last"
        )
      step = best
    shapes = state_lib.state_shapes(
      run.init, run.mesh, run.config.train.sharding
    )
    return checkpoints.restore(step, shapes, run.card)[0]


def calibration_of_checkpoint(
  run: setup_lib.Run, state: state_lib.TrainState
) -> Calibration | MakeCalibration | None:
  """The calibration of a state that is saved as a checkpoint of the run.

  Returns:
    The calibration stored with the checkpoint, or a function that fits it on
    the pages of `data.eval_split` and stores it. None for raw scores: set in
    the config, in the legacy protocol, or if the only pages are the test split,
    on which nothing may be tuned (prints a note).
  """
  data: Any = run.config.data
  judged: Any = run.config.eval
  if not judged.calibrate or judged.protocol == "legacy":
    return None
  folder = run.workdir / "checkpoints" / str(int(state.step))
  stored = calibration_lib.read(folder, run.class_names)
  if stored is not None and stored.made_with == _made_with(run):
    return stored
  if data.eval_split == data.test_split:
    processes.say(
      f"Scores are not calibrated: data.eval_split is the test split"
      f" '{data.test_split}'; name other pages, or set eval.calibrate=False"
    )
    return None
  if stored is not None:
    processes.say(
      f"{folder / calibration_lib.NAME}: of other settings; made anew"
    )
  return functools.partial(_make, run, folder)


def calibrate(run: setup_lib.Run, state: state_lib.TrainState) -> None:
  """Fits and stores the calibration of a checkpoint that has none.

  Prints a note instead if `data.eval_split` does not exist.
  """
  make = calibration_of_checkpoint(run, state)
  if not callable(make):
    return
  try:
    data: Any = run.config.data
    source = run.source(data.eval_split)
  except InputError as e:
    processes.say(f"Scores are not calibrated: {e}")
    return
  part = among_processes.part(pipeline.num_eval_pages(source, data))
  folder = run.workdir / "eval"
  files.make_dir(folder)
  with (
    among_processes.together(folder, int(state.step)) as shared,
    tempfile.TemporaryFile(dir=folder) as own,
  ):
    predicted = shared.collect(
      evaluate_split.predict_all(
        bound_predict_fn(run, state),
        pipeline.read_eval_pages(source, data, part),
        on_devices(run),
        boxes=shared.boxes or own,
      )
    )
    if processes.is_first():
      _, sample = evaluate_split.judged(predicted.pages)
      make(sample.judged(), sample.num_pages)


def _make(
  run: setup_lib.Run, folder: pathlib.Path, raw: Judged, num_pages: int
) -> Calibration:
  made = calibration_lib.make(
    raw,
    num_pages,
    len(run.class_names),
    made_with=_made_with(run),
    contradictions=_contradictions(run),
  )
  if processes.is_first():
    calibration_lib.write(folder, made, run.class_names)
  processes.say(made.describe(words.of_data(run.config.data).images))
  return made


def _contradictions(run: setup_lib.Run) -> Contradictions:
  """Learns them from the boxes of the training pages, or of a part of them."""
  index = run.source(run.config.data.train_split).box_index()
  step = -(-len(index.page_hw) // _MOST_PAGES) or 1
  rows = map(index.of_page, range(0, len(index.page_hw), step))
  pages = ((index.boxes_yxyx[page], index.labels[page]) for page in rows)
  return contradictions.learn(pages, run.class_names)


def _made_with(run: setup_lib.Run) -> dict[str, Any]:
  """The settings that scores depend on, as JSON values."""
  data: Any = run.config.data
  cfg = run.settings.predict
  made_with = {
    "dataset": data.builder,
    "split": data.eval_split,
    "scales": [data.eval_scale * s for s in cfg.scales],
    "decode": run.settings.decode.to_json(),
  }
  if cfg.normalises:
    made_with["staff_space"] = [cfg.normalise, cfg.staff_space_px]
  return made_with


def reevaluate_all(
  config: ml_collections.ConfigDict, workdir: pathlib.Path
) -> dict[str, dict[str, Any]]:
  """Evaluates the detections in W/eval again, and prints a line for each set.

  Opens no data set, network or checkpoint. Returns {name: content of its
  summary} in process 0, nothing in the others.
  """
  config_lib.validate(config)
  if not processes.is_first():
    return {}
  results = {}
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
    said = words.of_data(data)
    print(describe(results[name], workdir, name, said), flush=True)
  return results
