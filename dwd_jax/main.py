"""Trains and evaluates: python -m dwd_jax.main --config=... --workdir=...

Flags only; see `dwd_jax.train.loop`.
"""

import pathlib
import re
import sys

import jax
import ml_collections
from absl import app, flags, logging
from ml_collections import config_flags

from dwd_jax import files
from dwd_jax.errors import InputError, InterruptedRun

_CONFIG = config_flags.DEFINE_config_file(
  "config", None, "File of the config, e.g. configs/engraved.py."
)
_WORKDIR = flags.DEFINE_string(
  "workdir", None, "Folder of the run: checkpoints, metrics, results."
)
_MODE = flags.DEFINE_enum(
  "mode", "train_and_eval", ["train", "eval", "train_and_eval"], "What to do."
)

_PROFILE = flags.DEFINE_bool(
  "profile", False, "Write a trace of a few training steps to WORKDIR/profile."
)


def _fail(message: object) -> None:
  """One line on stderr, exit code 2."""
  line = " ".join(str(message).split())
  print(f"dwd_jax: {line}", file=sys.stderr)
  sys.exit(2)


def _parse(argv: list[str]) -> list[str]:
  """Reads flags and config; any mistake is one line and exit code 2."""
  try:
    rest = flags.FLAGS(argv)
    if len(rest) > 1:
      _fail(f"unexpected argument '{rest[1]}'; options start with --")
    for flag in ("config", "workdir"):
      given = flags.FLAGS[flag]
      if not given.present or given.value == "":
        _fail(f"--{flag} is missing; give --{flag}=...")
    if not isinstance(_CONFIG.value, ml_collections.ConfigDict):
      raise TypeError("get_config() does not return a ConfigDict")
    # The libraries tell much that nobody asked for; --verbosity=0 shows it.
    if flags.FLAGS["verbosity"].using_default_value:
      logging.set_verbosity(logging.WARNING)
    return rest
  except flags.UnrecognizedFlagError as e:
    _fail(f"{e}; --help lists the flags")
  except Exception as e:  # configs are programs: anything may happen
    _fail(_why(e, argv))
  raise AssertionError("not reached")


def _why(error: Exception, argv: list[str]) -> str:
  """Names the flag or the key that is wrong, and the remedy."""
  from dwd_jax import config as config_lib  # only needed where it fails

  text = " ".join(argv[1:])
  file = re.search(r"(?<!\S)--?config[= ]([^ :]*)", text)
  if file and not pathlib.Path(file[1]).is_file():
    return f"--config={file[1]}: no such file; see configs/ for those there are"
  for key in re.findall(r"(?<!\S)--?config\.([^= ]+)", text):
    problem = config_lib.unknown_key(key)
    if problem:
      return problem
  if isinstance(error, IndexError):
    return f"config: {text}: a list has fewer entries than that"
  name = f"--config={file[1] if file else ''}"
  # ml_collections puts a whole traceback into some messages.
  if "Traceback" in str(error):
    return f"{name}: {str(error).strip().splitlines()[-1]}"
  if isinstance(error, flags.IllegalFlagValueError):
    return str(error)
  return f"{name}: {type(error).__name__}: {error}"


def _run(mode: str, workdir: pathlib.Path) -> None:
  # Imported late: --help and a typing error should not wait for them.
  from dwd_jax import transfer
  from dwd_jax.pretraining import start
  from dwd_jax.train import calibrating, detection, evaluation, loop, setup
  from dwd_jax.train.logs import Logs

  run = setup.setup(_CONFIG.value, workdir)
  other = None
  if mode != "train" and run.config.eval.on.builder:
    # Before the training: what is wrong with it should not come up after it.
    other = transfer.open_set(run.config, workdir, run.classes)
  jax.config.update(
    "jax_compilation_cache_dir", str(workdir / "compilation_cache")
  )
  if mode != "eval":
    task = detection.make_task(run, start.initial_of(run))
    state = loop.train(task, profile=_PROFILE.value)
  else:
    state = evaluation.restore(run)
  if mode == "train":
    calibrating.calibrate(run, state)
  else:
    step = int(state.step)
    logs = Logs(workdir, step, step)
    data = run.config.data
    calibration = calibrating.for_checkpoint(run, state)
    # In this order: the first split makes the calibration if it is missing.
    for split in dict.fromkeys((data.eval_split, data.test_split)):
      result = evaluation.evaluate(run, state, split, logs, calibration)
      calibration = result.calibration
      logs.say(_summary(result.metrics, workdir, split))
    if other is not None:
      assert not callable(calibration)  # made by then
      result = evaluation.evaluate_on(run, state, other, logs, calibration)
      logs.say(_summary(result.metrics, workdir, other.name))
    logs.close()
  if jax.process_index() == 0:
    print(f"Look at {workdir / 'eval'} (overlays, scores) and, for the curves,")
    print(f"  tensorboard --logdir={workdir / 'tensorboard'}")


def _summary(metrics: dict, workdir: pathlib.Path, name: str) -> str:
  """The scores in one line."""

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


def main(argv: list[str]) -> None:
  """Runs; bad input ends with one line and exit code 2."""
  del argv
  try:
    _run(_MODE.value, pathlib.Path(str(_WORKDIR.value)))
  except InputError as e:
    _fail(e)
  except InterruptedRun as e:
    if jax.process_index() == 0:
      print(e, flush=True)
  except OSError as e:
    if e.errno not in files.UNWRITABLE:
      raise
    where = e.filename or _WORKDIR.value
    _fail(f"{where}: {e.strerror}; make room, or choose another --workdir")


if __name__ == "__main__":
  app.run(main, flags_parser=_parse)
