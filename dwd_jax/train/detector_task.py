"""A run of the detector as a task of the training loop."""

import functools
import io
from collections.abc import Callable, Iterable, Sequence
from contextlib import redirect_stdout
from typing import Any

import jax
import numpy as np
from clu import parameter_overview

from dwd_jax.core.structs import Batch
from dwd_jax.data import pipeline, synthetic
from dwd_jax.evaluate import among_processes, other_data_sets
from dwd_jax.train import batch_pictures, run_evaluation
from dwd_jax.train import setup as setup_lib
from dwd_jax.train import state as state_lib
from dwd_jax.train.logs import Logs
from dwd_jax.train.state import TrainState
from dwd_jax.train.step import eval_step, train_step
from dwd_jax.train.task import Task

_VALIDATION_SEED = 1  # crops of validations; any number


def make_task(
  run: setup_lib.Run,
  initial: Callable[[TrainState], TrainState] | None = None,
  others: Sequence[other_data_sets.OtherSet] = (),
) -> Task:
  """What `loop.train` trains for a run.

  Args:
    run: see `setup.setup`.
    initial: see `Task.initial`.
    others: data sets that are judged on during the training, too; checkpoints
      are compared by the run's own pages alone.
  """
  config: Any = run.config
  model, cfg = run.model, run.step_config
  return Task(
    workdir=run.workdir,
    config=config,
    stages=run.settings.stages,
    optimizer=run.settings.optimizer,
    card=run.card,
    mesh=run.mesh,
    loader=functools.partial(_loader, run),
    init=run.init,
    make_step=lambda tx: functools.partial(
      train_step, model=model, tx=tx, cfg=cfg
    ),
    initial=initial,
    announce=functools.partial(_announce, run),
    evaluate=functools.partial(_evaluate, run, others),
    eval_step=functools.partial(eval_step, model=model, cfg=cfg),
    validation=functools.partial(_validation, run),
    pictures=functools.partial(_pictures, run),
  )


def _loader(run: setup_lib.Run) -> pipeline.TrainLoader:
  source = run.source(run.config.data.train_split)
  return pipeline.train_loader(
    source,
    run.config.data,
    batch_size=run.config.train.batch_size,
    seed=run.config.seed,
    synthetic=synthetic.open_synthetic(source, run.config.data),
  )


def _validation(run: setup_lib.Run) -> Iterable[Batch]:
  """Crops of the validation pages, the same ones each time; no augmentation."""
  data_cfg = run.config.data.copy_and_resolve_references()
  data_cfg.degrade.scan_prob = data_cfg.degrade.photo_prob = 0.0
  loader = pipeline.train_loader(
    run.source(run.config.data.eval_split),
    data_cfg,
    batch_size=run.config.train.batch_size,
    seed=_VALIDATION_SEED,
  )
  try:
    for _ in range(run.config.train.validate_batches):
      yield next(loader)
  finally:
    loader.close()


def _evaluate(
  run: setup_lib.Run,
  others: Sequence[other_data_sets.OtherSet],
  state: TrainState,
  logs: Logs,
) -> float | None:
  results = run_evaluation.evaluate_all(run, state, others, logs)
  return results[run.config.data.eval_split].metrics["mAP"]


def _pictures(
  run: setup_lib.Run, state: TrainState, batch: Batch
) -> dict[str, np.ndarray]:
  variables = among_processes.on_local_device(
    state_lib.eval_variables(state), run.mesh
  )
  return batch_pictures.of_batch(
    run.model, run.step_config.targets, variables, batch
  )


def _announce(run: setup_lib.Run, logs: Logs, state: TrainState) -> None:
  table = io.StringIO()
  with redirect_stdout(table):
    overview = parameter_overview.get_parameter_overview(
      among_processes.on_local_device(state.params, run.mesh)
    )
  logs.say(overview.splitlines()[-1] if overview else "")
  logs.say(setup_lib.describe_groups(run))
  logs.say(setup_lib.describe_staff_space(run))
  run_evaluation.say_unmapped(run.source(run.config.data.train_split))
  if jax.process_index() == 0:
    (run.workdir / "parameters.txt").write_text(overview + "\n")
