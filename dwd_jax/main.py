"""Trains and evaluates: python -m dwd_jax.main --config=... --workdir=...

Flags only; see `dwd_jax.train.loop`.
"""

import pathlib
import sys
from typing import Any

import ml_collections
from absl import app, flags, logging
from ml_collections import config_flags

from dwd_jax.cluster import distributed, huge_pages, processes
from dwd_jax.core import cli, files
from dwd_jax.core.errors import InputError, InterruptedRun
from dwd_jax.train import config_file

_DESCRIPTION = """Train on a data set and evaluate.

--config.KEY=VALUE changes a key of the config, as --config.train.batch_size=8.
`python -m dwd_jax.train.settings` prints all keys with defaults and meanings,
as in docs/configuration.md; the config itself is a short file to read. Start
the same command again after an interruption, and it goes on."""
_CONFIG = config_flags.DEFINE_config_file(
  "config",
  None,
  "file, such as configs/engraved.py, or FILE:ARGUMENT",
)
_WORKDIR = flags.DEFINE_string(
  "workdir",
  None,
  "of the run; default: runs/<data set>/<pretraining>/<model>/run_N",
)
_MODE = flags.DEFINE_enum(
  "mode",
  "train_and_eval",
  ["train", "eval", "train_and_eval"],
  "what to do; default: train_and_eval",
)
_PROFILE = flags.DEFINE_bool(
  "profile", False, "write a trace of a few training steps to WORKDIR/profile"
)
_PREEMPTED_CODE = flags.DEFINE_integer(
  "preempted_code", 0, "exit code of a run that SIGTERM made save and end"
)
_DISTRIBUTED = flags.DEFINE_enum(
  "distributed",
  "",
  ["", "auto"],
  "ask the cluster for the processes of the run",
)
_COORDINATOR = flags.DEFINE_string(
  "coordinator", "", "HOST:PORT at which process 0 of several listens"
)
_NUM_PROCESSES = flags.DEFINE_integer(
  "num_processes", None, "processes of the run", lower_bound=1
)
_PROCESS_ID = flags.DEFINE_integer(
  "process_id", None, "number of this process, from 0 on", lower_bound=0
)
_LOCAL_DEVICES = flags.DEFINE_list(
  "local_devices", [], "GPUs of this machine for this process; default: all"
)
_CONNECT_TIMEOUT_S = flags.DEFINE_integer(
  "connect_timeout_s",
  300,
  "how long processes wait for each other to start; default: 300",
  lower_bound=1,
)
_LOST_AFTER_S = flags.DEFINE_integer(
  "lost_after_s",
  30,
  "a process without a sign of life for so long is lost; default: 30",
  lower_bound=5,
)
_HELP = {  # title: flags and their values
  "flags": {
    "config": "FILE",
    "workdir": "W",
    "mode": "MODE",
    "profile": None,
    "preempted_code": "N",
  },
  "of several processes, mostly set by launch/": {
    "distributed": "auto",
    "coordinator": "H:P",
    "num_processes": "N",
    "process_id": "N",
    "local_devices": "N,...",
    "connect_timeout_s": "S",
    "lost_after_s": "S",
  },
}


def program(argv: list[str]) -> None:
  """Prints help, or runs `main` with absl's flags."""
  parser = cli.parser(
    "dwd_jax.main",
    _DESCRIPTION,
    "--config=FILE [--workdir=W] [flags] [--config.KEY=VALUE ...]",
    more=flags.FLAGS.get_help,
  )
  # absl kept the stream from before: warnings name pages, too.
  logging.get_absl_handler().python_handler.setStream(sys.stderr)
  for title, group in _HELP.items():
    add = parser.add_argument_group(title).add_argument
    for name, value in group.items():
      more: Any = {"metavar": value} if value else {"action": "store_true"}
      add(f"--{name}", help=flags.FLAGS[name].help, **more)
  for word in argv:
    if word in ("-h", "-help", "--help", "--helpshort"):
      parser.parse_args(["--help"])
    if word in ("-helpfull", "--helpfull"):
      parser.parse_args(["--helpfull"])
  app.run(main, flags_parser=_parse)


def _parse(argv: list[str]) -> list[str]:
  """Reads flags and config; any mistake is one line and exit code 2."""
  try:
    rest = flags.FLAGS(config_file.found(argv))
    if len(rest) > 1:
      cli.fail(f"unexpected argument '{rest[1]}'; options start with --")
    if not flags.FLAGS["config"].present:
      cli.fail("--config is missing; give --config=...")
    if _WORKDIR.value == "" or (_MODE.value == "eval" and not _WORKDIR.value):
      cli.fail("--workdir is missing; give the folder of a run")
    if not isinstance(_CONFIG.value, ml_collections.ConfigDict):
      raise TypeError("get_config() does not return a ConfigDict")
    # Libraries log much that nobody asked for; --verbosity=0 shows it.
    if flags.FLAGS["verbosity"].using_default_value:
      logging.set_verbosity(logging.WARNING)
    return rest
  except flags.UnrecognizedFlagError as e:
    cli.fail(f"{e}; --help lists the flags")
  except InputError as e:
    cli.fail(e)
  except Exception as e:  # configs are programs: anything may happen
    cli.fail(config_file.why(e, argv))


def _run(mode: str, workdir: pathlib.Path) -> None:
  # Imported late: --help and a mistyped flag should not wait for them.
  from dwd_jax.apps.adapt import adapt_task
  from dwd_jax.evaluate import other_data_sets
  from dwd_jax.models import compiling
  from dwd_jax.train import detector_task, loop, run_evaluation, setup
  from dwd_jax.train.logs import Logs
  from dwd_jax.train.pretraining import initial_state

  if _CONFIG.value.get("eval", {}).get("from_saved"):
    if mode != "eval":
      raise InputError("config: eval.from_saved is for --mode=eval only")
    run_evaluation.reevaluate_all(_CONFIG.value, workdir)
    return
  run = setup.setup(_CONFIG.value, workdir)
  others = ()
  if mode != "train" or run.config.eval.on_during_training:
    # Before the training, so that bad input does not come up after it.
    others = other_data_sets.open_sets(run.config, workdir, run.classes)
    for other in others:
      processes.say(other.describe())
  compiling.keep(run.config.train.compilation_cache)
  if mode != "eval":
    watched = others if run.config.eval.on_during_training else ()
    task = detector_task.make_task(run, initial_state.initial_of(run), watched)
    if run.config.adapt.pages:
      task = adapt_task.adapted(task, run)
    state = loop.train(task, profile=_PROFILE.value)
  else:
    state = run_evaluation.restore(run)
  if mode == "train":
    run_evaluation.calibrate(run, state)
  else:
    step = int(state.step)
    logs = Logs(workdir, None, step)
    data = run.config.data
    calibration = run_evaluation.calibration_of_checkpoint(run, state)
    # In this order: the first split makes the calibration if it is missing.
    splits = [s for s in (data.eval_split, data.test_split) if s]
    run_evaluation.evaluate_all(run, state, others, logs, splits, calibration)
    logs.close()
  processes.say(
    f"Look at {workdir / 'eval'} (overlays, scores) and, for the curves,\n"
    f"  tensorboard --logdir={workdir / 'tensorboard'}"
  )


def _process_settings() -> distributed.ProcessSettings:
  if not all(i.strip().isdecimal() for i in _LOCAL_DEVICES.value):
    raise InputError("--local_devices: needs numbers, e.g. 0,1")
  return distributed.ProcessSettings(
    coordinator=str(_COORDINATOR.value),
    num_processes=_NUM_PROCESSES.value,
    process_id=_PROCESS_ID.value,
    auto=_DISTRIBUTED.value == "auto",
    local_devices=tuple(map(int, _LOCAL_DEVICES.value)),
    connect_timeout_s=_CONNECT_TIMEOUT_S.value,
    lost_after_s=_LOST_AFTER_S.value,
  )


def main(argv: list[str]) -> None:
  """Runs; bad input ends with one line and exit code 2."""
  del argv
  cli.print_anything()
  interrupted = False
  try:
    with distributed.running(_process_settings()):
      interrupted = _run_or_say_why(str(_MODE.value))
  except InputError as e:
    cli.fail(e)
  if interrupted:
    sys.exit(_PREEMPTED_CODE.value)


def _workdir() -> pathlib.Path:
  """The folder that was given, or a new one."""
  if _WORKDIR.value:
    return pathlib.Path(_WORKDIR.value)
  from dwd_jax.train import resume
  from dwd_jax.train import settings as config_lib  # only needed here

  config_lib.validate(_CONFIG.value)
  workdir = resume.choose_workdir(_CONFIG.value)
  processes.say(f"Run: {workdir} (--workdir={workdir} goes on with it)")
  return workdir


def _run_or_say_why(mode: str) -> bool:
  """Whether the run was interrupted, having saved what it did."""
  workdir = pathlib.Path()
  try:
    workdir = _workdir()
    _run(mode, workdir)
  except InterruptedRun as e:
    processes.say(str(e))
    return True
  except OSError as e:
    if e.errno not in files.UNWRITABLE:
      raise
    raise InputError(cli.why(e, workdir, "--workdir")) from e
  return False


if __name__ == "__main__":
  huge_pages.restart()
  cli.start(program)
