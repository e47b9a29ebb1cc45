"""The flags of `launch.sweep`, and the search they ask for."""

import argparse
import pathlib
from collections.abc import Sequence
from typing import Any

from dwd_jax.core.errors import InputError
from launch import budget, search_space
from launch.plan import Plan

_DESCRIPTION = """Try settings of a config and rank them by a score.

Every trial is a run of `python -m dwd_jax.main` in its own folder below DIR,
judged on data.eval_split, never on the test split. Started again with the same
flags, a search goes on where it was stopped or killed.
  --config.KEY=VALUE changes a key in every trial.

random: every trial trains --steps. halving: all trials train a fraction of
--steps, the best 1/eta of them eta times as long, and so on up to --steps. They
go on from their checkpoints where the longer training begins as the shorter one
(a constant learning rate, one stage or --scale=last), and start anew
otherwise (a cosine schedule)."""

_SPACE = """a file of {key: range} in JSON, YAML or as a Python literal; ranges
are {"choices": [...]}, {"choices": {value: {key: range}}}, {"uniform": [a, b]},
{"log_uniform": [a, b]}, {"int": [a, b]}; default: learning rate and decay of
rmsprop, adam and sgd"""


def make_parser() -> argparse.ArgumentParser:
  """The parser; what it does not know are overrides of the config."""
  parser = argparse.ArgumentParser(
    prog="python -m launch.sweep",
    description=_DESCRIPTION,
    formatter_class=argparse.RawDescriptionHelpFormatter,
    allow_abbrev=False,
  )
  add = parser.add_argument
  add("--config", required=True, help="file of the config")
  add("--out", required=True, type=pathlib.Path, help="folder of the search")
  add("--dry-run", action="store_true", help="print the trials, run none")
  add("--report", action="store_true", help="print the results, run none")
  add("--picture", action="store_true", help="DIR/sweep.png: score over rate")
  _add_search(parser.add_argument_group("what is tried"))
  _add_place(parser.add_argument_group("where the trials run"))
  return parser


def _add_search(group: Any) -> None:
  add = group.add_argument
  add("--trials", type=int, default=18, help="how many start (18)")
  add("--method", choices=("random", "halving"), default="random")
  add("--seed", type=int, default=0, help="of the settings that are tried")
  add("--space", type=pathlib.Path, help=_SPACE)
  add(
    "--set",
    action="append",
    default=[],
    metavar="KEY=SPEC",
    help="a range as log_uniform(a,b), uniform(a,b), int(a,b), choices(a,b),"
    " or a value; added to --space, or instead of the default space",
  )
  add("--steps", type=int, help="of the longest trials; default: the config's")
  add(
    "--scale",
    choices=("all", "last"),
    default="all",
    help="stages that --steps and rungs change: all in proportion (default),"
    " or the last one alone",
  )
  add("--rungs", type=int, default=3, help="rounds of halving (3)")
  add("--eta", type=int, default=3, help="1/eta of a round go on (3)")
  add(
    "--by",
    default="",
    metavar="KEY",
    help="the best 1/eta of each value of KEY go on, instead of all",
  )
  add("--split", default="", help="name of the scores; default: the config's")
  add("--metric", default="mAP", help="of eval/SPLIT.json (mAP)")


def _add_place(group: Any) -> None:
  add = group.add_argument
  add("--workers", type=int, default=1, help="trials at the same time (1)")
  add("--gpus", default="", help="numbers, as 0,1,2: a trial on each of them")
  add("--timeout-s", type=float, default=0, help="what takes longer has failed")
  add("--retry", action="store_true", help="run failed trials again")
  add("--slurm", action="store_true", help="write DIR/slurm/, run none")
  add("--submit", action="store_true", help="with --slurm: submit the jobs")
  add(
    "--sbatch",
    action="append",
    default=[],
    metavar="OPTION",
    help="of the jobs, such as --sbatch=--gres=gpu:1",
  )
  add("--only", default="", metavar="RUNG:PLACE", help="what one job runs")


def as_arguments(
  args: Any, rest: Sequence[str], without: Sequence[str]
) -> list[str]:
  """The command line again, without some flags.

  Args:
    args: parsed.
    rest: what the parser does not know.
    without: names of flags, as attributes of `args`.
  """
  found = []
  for name, value in vars(args).items():
    if name in without or value in (None, "", False):
      continue
    flag = "--" + name.replace("_", "-")
    values = value if isinstance(value, list) else [value]
    found += [flag if v is True else f"{flag}={v}" for v in values]
  return [*found, *rest]


def make_plan(args: Any, rest: Sequence[str]) -> Plan:
  """The search that the flags ask for.

  Args:
    args: parsed.
    rest: what the parser does not know: --config.KEY=VALUE.

  Raises:
    InputError: a flag is wrong.
  """
  for text in rest:
    if not text.startswith("--config.") or "=" not in text:
      raise InputError(f"unexpected argument '{text}'; see --help")
  for name in ("trials", "rungs", "workers"):
    if getattr(args, name) < 1:
      raise InputError(f"--{name} must be at least 1")
  if args.eta < 2:
    raise InputError("--eta must be at least 2")
  if args.seed < 0:
    raise InputError("--seed must be at least 0")
  space = {} if args.set or args.space else search_space.DEFAULT
  if args.space:
    space = search_space.read(args.space)
  for text in args.set:
    space = space | search_space.parse(text)
  space = search_space.check(space, "the space")
  if args.by and args.by not in space:
    raise InputError(
      f"--by={args.by}: no key of the space; known: {list(space)}"
    )
  overrides = tuple(text.removeprefix("--config.") for text in rest)
  base = budget.load(args.config, overrides)
  steps = args.steps or sum(stage.steps for stage in base.stages)
  count = args.rungs if args.method == "halving" else 1
  return Plan(
    config=args.config,
    overrides=overrides,
    out=args.out,
    space=space,
    seed=args.seed,
    trials=args.trials,
    rungs=budget.rungs(steps, count, args.eta),
    eta=args.eta,
    by=args.by,
    scale=args.scale,
    split=args.split or base.data.eval_split,
    metric=args.metric,
  )
