"""A run of the detector as a task of the training loop."""

import functools
import io
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from typing import Any

import cv2
import jax
import jax.numpy as jnp
import numpy as np
from clu import parameter_overview

from dwd_jax.core import files, words
from dwd_jax.core.structs import Batch, PageBoxes
from dwd_jax.data import pipeline, sources, synthetic
from dwd_jax.evaluate import among_processes, other_data_sets
from dwd_jax.imaging import grey
from dwd_jax.models import dwd
from dwd_jax.objectives import targets as targets_lib
from dwd_jax.objectives.detection_loss import detection_losses
from dwd_jax.show import drawing
from dwd_jax.train import from_data, run_evaluation
from dwd_jax.train import setup as setup_lib
from dwd_jax.train import state as state_lib
from dwd_jax.train.logs import Logs
from dwd_jax.train.state import TrainState
from dwd_jax.train.task import Task

_VALIDATION_SEED = 1  # crops of validations; any number
_CROPS = 2  # in a picture of a batch
_GAP_PX = 4
_BOX_RGB = (0, 114, 178)


def make_task(
  run: setup_lib.Run,
  initial: Callable[[TrainState], TrainState] | None = None,
  others: Sequence[other_data_sets.OtherSet] = (),
) -> Task:
  """The task of `loop.train` for a run.

  Args:
    initial: see `Task.initial`.
    others: data sets that evaluations during the training include; only the
      run's own pages decide which checkpoint is best.
  """
  config: Any = run.config
  return Task(
    workdir=run.workdir,
    config=config,
    stages=run.settings.stages,
    optimizer=run.settings.optimizer,
    card=run.card,
    mesh=run.mesh,
    loader=functools.partial(_loader, run),
    init=run.init,
    losses_fn=functools.partial(
      detection_losses, model=run.model, cfg=run.losses
    ),
    update=run.settings.train,
    initial=initial,
    announce=functools.partial(_announce, run),
    evaluate=functools.partial(_evaluate, run, others),
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
    oriented=run.model.cfg.oriented,
    positions=run.model.cfg.staff_positions,
    with_masks=run.settings.targets.energy_disc == "mask",
    mixed=sources.open_mixed(run.config.data, source),
  )


def _validation(run: setup_lib.Run) -> pipeline.TrainLoader:
  """Crops of the validation pages, always the same, without degradation."""
  data_cfg = run.config.data.copy_and_resolve_references()
  data_cfg.degrade.scan_prob = data_cfg.degrade.photo_prob = 0.0
  data_cfg.kind = "document"  # as they are
  return pipeline.train_loader(
    run.source(run.config.data.eval_split),
    data_cfg,
    batch_size=run.config.train.batch_size,
    seed=_VALIDATION_SEED,
    oriented=run.model.cfg.oriented,
    positions=run.model.cfg.staff_positions,
    with_masks=run.settings.targets.energy_disc == "mask",
  )


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
  return batch_pictures(
    run.model, run.settings.targets, variables, batch, run.polarity
  )


def _announce(run: setup_lib.Run, logs: Logs, state: TrainState) -> None:
  table = io.StringIO()
  with redirect_stdout(table):
    overview = parameter_overview.get_parameter_overview(
      among_processes.on_local_device(state.params, run.mesh)
    )
  logs.say(overview.splitlines()[-1] if overview else "")
  for line in from_data.lines(run.choices):
    logs.say(f"Chosen {line}")
  logs.say(setup_lib.describe_groups(run))
  logs.say(setup_lib.describe_polarity(run))
  if words.of_data(run.config.data) is words.MUSIC:
    logs.say(setup_lib.describe_staff_space(run))
  run_evaluation.say_unmapped(run.source(run.config.data.train_split))
  if jax.process_index() == 0:
    files.write_atomic(run.workdir / "parameters.txt", overview + "\n")


@functools.partial(jax.jit, static_argnames=("model", "cfg"))
def _energies(variables, batch: Batch, *, model, cfg):
  """Target and expected energy of each crop, 0..1, maximum over groups."""
  levels = cfg.num_energy_levels
  groups = np.zeros(model.cfg.num_classes, np.int32)
  hw = batch.image.shape[1], batch.image.shape[2]
  wanted = targets_lib.render(
    batch.boxes_yxyx,
    batch.labels,
    batch.box_mask,
    groups,
    hw,
    cfg,
    masks=batch.masks,
  ).energy.max(-1)
  found = model.apply(variables, dwd.network_input(batch.image), train=False)
  probs = jax.nn.softmax(dwd.energy_logits_full(found))
  expected = (probs * jnp.arange(levels)).sum(-1).max(-1)
  return wanted / (levels - 1), expected / (levels - 1)


def batch_pictures(
  model: dwd.DWDNet,
  cfg: targets_lib.TargetConfig,
  variables: Any,
  batch: Batch,
  polarity: str = "",
) -> dict[str, np.ndarray]:
  """Draws the first crops of a batch with boxes and energies.

  Args:
    variables: of the network, on a device of this process.
    batch: on the host.
    polarity: of its images, see `grey.tones_of`.

  Returns:
    {"crops": uint8 [H, W, 3]}: from left to right the crop with its boxes, the
    target energy and the predicted energy, each the maximum over groups.
  """
  batch = jax.tree.map(lambda x: x[:_CROPS], batch)
  wanted, found = _energies(variables, batch, model=model, cfg=cfg)
  rows = []
  for i in range(len(batch.image)):
    image = np.asarray(dwd.network_input(jnp.asarray(batch.image[i])))
    image = np.rint(255 * image).astype(np.uint8)
    image = image[..., 0] if image.shape[-1] == 1 else image
    paper = grey.shown(image, polarity)
    oriented, mask = batch.oriented_yx, batch.box_mask[i]
    boxes = PageBoxes(
      filename="",
      image_hw=image.shape[:2],
      boxes_yxyx=np.asarray(batch.boxes_yxyx[i][mask]),
      labels=np.asarray(batch.labels[i][mask]),
      oriented_yx=None if oriented is None else np.asarray(oriented[i][mask]),
    )
    for outline in drawing.outlines_px(boxes):
      drawing.draw_outline(paper, outline, _BOX_RGB)
    rows.append([paper, _heat(wanted[i]), _heat(found[i])])
  return {"crops": _grid(rows)}


def _heat(energy: Any) -> np.ndarray:
  heat = (255 * np.clip(np.asarray(energy), 0, 1)).astype(np.uint8)
  return cv2.applyColorMap(heat, cv2.COLORMAP_INFERNO)[..., ::-1]


def _grid(rows: list[list[np.ndarray]]) -> np.ndarray:
  """Lays pictures of one size out in rows, with white gaps."""
  gap = ((0, _GAP_PX), (0, _GAP_PX), (0, 0))
  padded = [[np.pad(x, gap, constant_values=255) for x in row] for row in rows]
  return np.concatenate([np.concatenate(row, 1) for row in padded])
