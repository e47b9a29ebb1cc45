"""Trains and evaluates: python -m dwd_jax.main --config=... --workdir=...

Flags only; see `dwd_jax.train.loop`.
"""

import pathlib
import sys

import jax
from absl import app, flags
from ml_collections import config_flags

from dwd_jax.errors import InputError

_CONFIG = config_flags.DEFINE_config_file(
  "config", None, "File of the config, e.g. configs/engraved.py."
)
_WORKDIR = flags.DEFINE_string(
  "workdir", None, "Folder of the run: checkpoints, metrics, results."
)
_MODE = flags.DEFINE_enum(
  "mode", "train_and_eval", ["train", "eval", "train_and_eval"], "What to do."
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
      if flags.FLAGS[flag].value is None:
        _fail(f"--{flag} is missing; give --{flag}=...")
    return rest
  except (flags.Error, OSError, AttributeError, KeyError, TypeError) as e:
    _fail(e)
  except (ValueError, SyntaxError, ImportError) as e:
    _fail(f"--config: {e}")
  raise AssertionError("not reached")


def _run(mode: str, workdir: pathlib.Path) -> None:
  # Imported late: --help and a typing error should not wait for them.
  from dwd_jax.train import loop, setup
  from dwd_jax.train.logs import Logs

  jax.config.update(
    "jax_compilation_cache_dir", str(workdir / "compilation_cache")
  )
  run = setup.setup(_CONFIG.value, workdir)
  if mode != "eval":
    state = loop.train(run)
  else:
    state = loop.restore_latest(run)
  if mode != "train":
    step = int(state.step)
    logs = Logs(workdir, step, step)
    data = run.config.data
    for split in dict.fromkeys((data.eval_split, data.test_split)):
      metrics = loop.evaluate(run, state, split, logs)
      logs.say(_summary(metrics, workdir))
    logs.close()
  if jax.process_index() == 0:
    print(f"Look at {workdir / 'eval'} (overlays, scores) and, for the curves,")
    print(f"  tensorboard --logdir={workdir / 'tensorboard'}")


def _summary(metrics: dict, workdir: pathlib.Path) -> str:
  """The scores in one line."""

  def number(value):
    return "-" if value is None else f"{value:.3f}"

  name = metrics["split"]
  return (
    f"{name}: mAP {number(metrics['mAP'])}, mAP_50 {number(metrics['mAP_50'])}"
    f" (classes with {metrics['min_objects']} objects or more:"
    f" {number(metrics['mAP_50_min10'])}), {metrics['num_objects']} objects,"
    f" {metrics['num_detections']} detections on {metrics['num_pages']} pages;"
    f" {workdir / 'eval' / name}.json"
  )


def main(argv: list[str]) -> None:
  """Runs; bad input ends with one line and exit code 2."""
  del argv
  try:
    _run(_MODE.value, pathlib.Path(_WORKDIR.value))
  except InputError as e:
    _fail(e)


if __name__ == "__main__":
  app.run(main, flags_parser=_parse)
