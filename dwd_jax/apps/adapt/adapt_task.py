"""Adaptation of a trained run to pages without boxes, as a training task.

A mean teacher: the running mean of the parameters predicts boxes, on which the
network itself is trained with degraded crops of other scales. Reference:
Tarvainen and Valpola 2017; Deng et al., Unbiased Mean Teacher for
Cross-domain Object Detection, 2021.
"""

import dataclasses
import functools
import json
import pathlib
from collections.abc import Mapping

from dwd_jax.apps.adapt import pages as pages_lib
from dwd_jax.apps.adapt import pseudo_boxes
from dwd_jax.apps.adapt.crops import MixedLoader
from dwd_jax.checkpoints import finished_run
from dwd_jax.cluster import processes
from dwd_jax.core.errors import InputError
from dwd_jax.metrics import calibration as calibration_lib
from dwd_jax.metrics.calibration import Calibration
from dwd_jax.train import run_evaluation
from dwd_jax.train.setup import Run
from dwd_jax.train.stages import Stage
from dwd_jax.train.state import TrainState
from dwd_jax.train.task import Renewal, Task


def adapted(task: Task, run: Run) -> Task:
  """The task of a run that adapts to the pages of `config.adapt`.

  Args:
    task: of the same run without adaptation.

  Raises:
    InputError: pages that cannot be used, or a trained run with other classes,
      groups or without a calibration.
  """
  cfg = run.settings.adapt
  folder = run.workdir / "adaptation"
  calibration = _calibration(run)
  pages = pages_lib.prepare(run, folder / "pages")
  step = max(round(1 / cfg.held_out), 2)
  held_out = range(step - 1, len(pages), step) or range(1)
  used = [i for i in range(len(pages)) if i not in held_out]
  teacher = _Teacher(run, folder, pages, held_out, calibration)
  processes.say(
    f"Adaptation to {len(used)} pages of {cfg.pages}; {len(held_out)} more are"
    " kept aside"
  )
  return dataclasses.replace(
    task,
    stages=(_stage(run),),
    loader=functools.partial(MixedLoader, run, pages, used),
    validation=None,
    renewal=Renewal(cfg.every, "agreement", teacher.run, teacher.again),
  )


def _stage(run: Run) -> Stage:
  cfg = run.settings.adapt
  return dataclasses.replace(
    run.settings.stages[-1],
    name="adaptation",
    steps=cfg.steps,
    learning_rate=cfg.learning_rate or run.settings.optimizer.learning_rate / 3,
    patience=cfg.patience,
  )


class _Teacher:
  """Finds boxes now and then, and keeps them in W/adaptation."""

  def __init__(
    self,
    run: Run,
    folder: pathlib.Path,
    pages: pages_lib.Pages,
    held_out: range,
    calibration: Calibration,
  ):
    self._run, self._folder = run, folder
    self._pages, self._held_out = pages, held_out
    self._calibration = calibration

  def run(
    self, state: TrainState, loader: MixedLoader, done: int
  ) -> Mapping[str, float]:
    """See `Renewal.run`; process 0 predicts, the others wait."""
    predict_fn = run_evaluation.bound_predict_fn(self._run, state)
    values: dict[str, float] = {}
    if processes.is_first():
      boxes, values = pseudo_boxes.find(
        predict_fn,
        self._pages,
        self._held_out,
        self._calibration,
        cfg=self._run.settings.adapt,
        predict=run_evaluation.on_devices(self._run),
      )
      pseudo_boxes.save(self._path(done), boxes)
    values = json.loads(processes.from_first("agreement", json.dumps(values)))
    self.again(loader, done)
    return values

  def again(self, loader: MixedLoader, done: int) -> None:
    """See `Renewal.again`."""
    loader.renew(pseudo_boxes.load(self._path(done), self._pages))

  def _path(self, done: int) -> pathlib.Path:
    return self._folder / f"boxes-{done}.npz"


def _calibration(run: Run) -> Calibration:
  """The calibration of the trained run."""
  path = pathlib.Path(run.settings.pretraining.path)
  folder = finished_run.find_checkpoint(path)
  card = finished_run.read_card(folder)
  for key, own, what in (
    ("class_names", run.class_names, "classes"),
    ("group_of_class", run.group_of_class, "energy groups"),
  ):
    if tuple(card[key]) != tuple(own):
      raise InputError(
        f"{folder}: has other {what}; adapt with the config.data and"
        " config.groups of that run"
      )
  calibration = calibration_lib.read(folder, run.class_names)
  if calibration is None:
    raise InputError(
      f"{folder}: not calibrated, so that its scores say little; run"
      f" --mode=eval with --workdir={path} first"
    )
  return calibration
