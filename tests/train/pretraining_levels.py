"""Every level of pretraining on a tiny config, as facts about what came out."""

import dataclasses
import signal
import zlib

import jax
import numpy as np
import resnet_helpers
import safetensors.numpy

from configs import smoke
from dwd_jax.core.errors import InputError, InterruptedRun
from dwd_jax.train import loop, setup
from dwd_jax.train import state as state_lib
from dwd_jax.train.pretraining import initial_state, tasks

STEPS = 6


def make_run(smoke_run, workdir, level, path="", **data):
  """A run of configs/smoke.py on the records of another one."""
  config = smoke.get_config()
  config.data.data_dir = str(smoke_run / "data")
  config.data.update(data)
  config.pretraining.level, config.pretraining.path = level, str(path)
  config.pretraining.steps, config.pretraining.batch_size = STEPS, 2
  config.train.checkpoint_every = STEPS
  return setup.setup(config, workdir)


def checksum(tree) -> int:
  """Of all bytes of a tree of arrays."""
  leaves = jax.tree.leaves(jax.device_get(tree))
  return zlib.crc32(b"".join(np.asarray(x).tobytes() for x in leaves))


def parts_of(state) -> dict[str, int]:
  """Checksums of the modules of a state."""
  found = {
    f"{key}/{name}": checksum(module)
    for key in ("params", "batch_stats")
    for name, module in getattr(state, key).items()
  }
  return found | {"optimizer": checksum(state.opt_state)}


def stopped(run, at: int) -> str:
  """What a pretraining says that SIGTERM ends after step `at`."""
  task = tasks.make_task(run)
  setup.make_workdir(task.workdir)

  def loader():
    opened = task.loader()

    class Stopping:
      """Batches; one of them comes with the signal."""

      get_state, set_state = opened.get_state, opened.set_state
      close = opened.close

      def __next__(self):
        if opened.get_state()["step"] == at - 1:
          signal.raise_signal(signal.SIGTERM)
        return next(opened)

    return Stopping()

  try:
    loop.train(dataclasses.replace(task, loader=loader))
  except InterruptedRun as e:
    return str(e)
  raise AssertionError("the signal had no effect")


def started(run, fresh):
  """What the detection starts with, if it had no pretraining with `fresh`."""
  initial = initial_state.initial_of(run)
  assert initial is not None
  return initial(fresh)


def made_up_state(run):
  """A fresh state of the detector; compiling its initialisation takes long."""
  rules = run.config.train.sharding
  shapes = state_lib.state_shapes(run.init, run.mesh, rules)
  return jax.tree.map(
    lambda s: jax.device_put(np.full(s.shape, 0.25, s.dtype), s.sharding),
    shapes,
  )


def levels(smoke_run, out):
  """Facts by level."""
  found = {}
  plain = make_run(smoke_run, out / "none", "none")
  assert initial_state.initial_of(plain) is None
  fresh = made_up_state(plain)
  found["none"] = parts_of(fresh)

  pixels = make_run(smoke_run, out / "semseg", "semseg")
  found["interrupted"] = stopped(pixels, STEPS // 2)
  found["semseg"] = parts_of(started(pixels, fresh))  # does the other half
  whole = started(pixels, fresh)
  found["semseg again"] = parts_of(whole)

  symbols = make_run(smoke_run, out / "class", "class")
  found["class"] = parts_of(started(symbols, fresh))

  # The pretraining of one run as the start of another, with other classes.
  names = tuple(sorted(pixels.class_names)[:100])
  path = out / "semseg" / "pretraining"
  other = make_run(smoke_run, out / "other", "run", path, leave_out=names)
  state = started(other, made_up_state(other))
  found["run"] = parts_of(state)
  rows = [pixels.class_names.index(name) for name in other.class_names]
  mine = np.asarray(state.params["class_head"]["kernel"])
  theirs = np.asarray(whole.params["class_head"]["kernel"])
  found["run rows"] = bool(np.array_equal(mine, theirs[:, rows]))
  found["run classes"] = len(other.class_names)
  try:
    started(make_run(smoke_run, out / "other", "run", out / "semseg"), fresh)
  except InputError as e:
    found["no run there"] = str(e)

  weights = out / "resnet10.safetensors"
  safetensors.numpy.save_file(
    resnet_helpers.resnet((1, 1, 1, 1), False, 8), weights
  )
  image_net = make_run(smoke_run, out / "imagenet", "imagenet", weights)
  found["imagenet"] = parts_of(started(image_net, fresh))
  return found
