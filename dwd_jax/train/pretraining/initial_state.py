"""Initial state of a run, as `config.pretraining` says."""

import functools
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from dwd_jax.checkpoints import finished_run, weights
from dwd_jax.cluster import processes
from dwd_jax.core.errors import InputError
from dwd_jax.predict import packaged
from dwd_jax.train import loop
from dwd_jax.train import setup as setup_lib
from dwd_jax.train.pretraining import parameter_matching, resnet_weights, tasks
from dwd_jax.train.pretraining_config import TRAINED
from dwd_jax.train.state import TrainState, eval_variables


class _Given(NamedTuple):
  """Pretrained variables.

  Attributes:
    variables: {"params": .., "batch_stats": ..} on the host.
    class_names: of the class head; None = no class head.
    origin: named in the report.
  """

  variables: Any
  class_names: tuple[str, ...] | None
  origin: str


def initial_of(
  run: setup_lib.Run,
) -> Callable[[TrainState], TrainState] | None:
  """`Task.initial` of the detection task; None without pretraining."""
  if run.settings.pretraining.level == "none":
    return None
  return functools.partial(_start, run)


def _start(run: setup_lib.Run, fresh: TrainState) -> TrainState:
  """A new state with the pretrained parameters that fit."""
  level = run.settings.pretraining.level
  own = {"params": fresh.params, "batch_stats": fresh.batch_stats}
  own = _to_host(own, run.mesh)
  if level in TRAINED:
    given = _trained(run)
  elif level == "imagenet":
    given = _imagenet(run, own)
  elif level == "packaged":
    given = _of_weights(run, packaged.PRINTED)
  else:
    given = _of_run(run)
  classes = None
  if given.class_names is not None:
    classes = parameter_matching.ClassNames(run.class_names, given.class_names)
  variables = parameter_matching.share_decoder(own, given.variables)
  variables = parameter_matching.fit_channels(own, variables)
  variables = parameter_matching.fit_energy_cells(own, variables)
  made, report = parameter_matching.match(own, variables, classes)
  if not report.numbers[0]:
    raise InputError(
      f"{given.origin}: nothing in there has the name and the shape of a"
      " parameter of this run; set config.model as it was there"
    )
  processes.say(
    "\n".join([f"Parameters from {given.origin}:", *report.lines()])
  )
  return _with(fresh, made)


def _trained(run: setup_lib.Run) -> _Given:
  """Starts, resumes or reads the pretraining."""
  task = tasks.make_task(run)
  setup_lib.make_workdir(task.workdir)
  state = loop.train(task)
  variables = _to_host(eval_variables(state), run.mesh)
  return _Given(variables, task.card.class_names, str(task.workdir))


def _imagenet(run: setup_lib.Run, own: Any) -> _Given:
  path = run.settings.pretraining.path
  shapes = {key: tree["backbone"] for key, tree in own.items()}
  found = resnet_weights.read(pathlib.Path(path))
  made = resnet_weights.backbone_variables(
    found, shapes, run.model.cfg.backbone_depth, path
  )
  backbone = {key: {"backbone": tree} for key, tree in made.items()}
  return _Given(backbone, None, path)


def _of_run(run: setup_lib.Run) -> _Given:
  path = pathlib.Path(run.settings.pretraining.path)
  if path.is_file():
    return _of_weights(run, path)
  found = finished_run.read(path, run.mesh)
  variables = _to_host(found.variables, run.mesh)
  _compare_polarity(run, found.card.get("polarity", ""), str(found.folder))
  return _Given(variables, found.class_names, str(found.folder))


def _of_weights(run: setup_lib.Run, path: pathlib.Path) -> _Given:
  found = weights.read(path)
  _compare_polarity(run, found.polarity, str(path))
  return _Given(found.variables, found.class_names, str(path))


def _compare_polarity(run: setup_lib.Run, had: str, origin: str) -> None:
  in_colour = run.model.cfg.channels == 3
  if had and run.polarity and had != run.polarity and not in_colour:
    processes.say(
      f"{origin}: trained with data.polarity={had}, these pages are"
      f" {run.polarity}: fewer of its features may fit"
    )


def _to_host(tree: Any, mesh: Mesh) -> Any:
  """Unsharded NumPy arrays in every process."""
  everywhere = NamedSharding(mesh, PartitionSpec())
  whole = jax.jit(lambda x: x, out_shardings=everywhere)(tree)
  return jax.tree.map(np.asarray, whole)


def _with(fresh: TrainState, variables: Any) -> TrainState:
  """A state with other parameters and the same shardings."""

  def place(old, new):
    return jax.make_array_from_callback(
      old.shape, old.sharding, lambda index: new[index]
    )

  ema = fresh.ema_params
  stats = variables["batch_stats"]
  return fresh.replace(
    params=jax.tree.map(place, fresh.params, variables["params"]),
    batch_stats=jax.tree.map(place, fresh.batch_stats, stats),
    # Separate arrays, as a step donates the buffers of both.
    ema_params=jax.tree.map(place, ema, variables) if ema else ema,
  )
