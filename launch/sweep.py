"""Searches settings: python -m launch.sweep --config=... --out=DIR [flags].

Flags and reports only; see `launch.search`, `launch.search_space` and
`launch.trials`.
"""

import argparse
import contextlib
import json
import pathlib
import shlex
import sys
from collections.abc import Sequence
from typing import Any

import jax

from dwd_jax.core import files
from dwd_jax.core.errors import InputError
from dwd_jax.data import prepare
from dwd_jax.train import config_file, logs
from launch import command_line, devices, search_space
from launch.command_line import AGAIN
from launch.search import Search, folder

_DESCRIPTION = """Try settings of a config and rank them by a score.

Every trial is a run of `python -m dwd_jax.main` in its own folder below DIR,
judged on data.eval_split, never on the test split. Optuna chooses the settings
and, with --rungs, stops the worse trials early. Started again with the same
flags, a search that was stopped or killed continues; started several times,
also on several machines that share DIR, all work on it together.
  --config.KEY=VALUE changes a key in every trial."""


def make_parser() -> argparse.ArgumentParser:
  """Parser of all flags but the overrides of the config."""
  parser = command_line.Parser(
    "sweep", _DESCRIPTION, "--config=... --out=DIR [--config.KEY=VALUE ...]"
  )
  add, positive = parser.add_argument, command_line.positive
  add("--config", required=True, help="file of the config")
  add("--out", required=True, type=pathlib.Path, help="folder of the search")
  add("--dry-run", action="store_true", help="print what would run, run none")
  add("--report", action="store_true", help="print the results, run none")
  add("--trials", type=positive, default=18, help="in all (18)")
  add("--sampler", choices=("tpe", "random"), default="tpe", help="(tpe)")
  add("--seed", type=command_line.not_negative, default=0, help="(0)")
  add(
    "--set",
    action="append",
    default=[],
    metavar="KEY=SPEC",
    help="a range as log_uniform(a,b), uniform(a,b), int(a,b), choices(a,b),"
    " or a value; added to --space, or instead of the default space",
  )
  add(
    "--space",
    type=pathlib.Path,
    help="a file of {key: range} in YAML or JSON; default:"
    " launch/optimizers.yaml, learning rate and decay of three optimizers",
  )
  add("--steps", type=positive, help="of a trial; default: the config's")
  add(
    "--rungs",
    type=positive,
    default=1,
    help="how often trials are compared: after --steps, before that after 1/eta"
    " of them, and so on (1: only at the end)",
  )
  add("--eta", type=positive, default=3, help="1/eta of a rung continue (3)")
  add("--split", default="", help="name of the scores; default: the config's")
  metrics = [key for key in logs.CURVE_KEYS if key != "num_detections"]
  add("--metric", choices=metrics, default="mAP", help="to rank by (mAP)")
  add(
    "--workers",
    type=positive,
    help="trials at the same time; default: one for each GPU, or 1",
  )
  add(
    "--timeout-s", type=float, default=0, help="a trial fails after that long"
  )
  add("--retry", action="store_true", help="continue trials that failed")
  return parser


def make_search(args: Any, rest: Sequence[str]) -> Search:
  """The search that the flags ask for.

  Args:
    args: of `make_parser`.
    rest: what that does not know: --config.KEY=VALUE.
  """
  for text in rest:
    if not text.startswith("--config.") or "=" not in text:
      raise InputError(f"unexpected argument '{text}'; see --help")
  if args.eta < 2:
    raise InputError("--eta must be at least 2")
  file = args.space or (None if args.set else search_space.DEFAULT)
  space = search_space.read(file) if file else {}
  for text in args.set:
    space |= search_space.parse(text)
  overrides = tuple(text.removeprefix("--config.") for text in rest)
  base = config_file.load(args.config, overrides)
  return Search(
    config=args.config,
    overrides=overrides,
    out=args.out,
    space=search_space.check(space, "the space"),
    sampler=args.sampler,
    seed=args.seed,
    trials=args.trials,
    steps=args.steps or sum(stage.steps for stage in base.stages),
    rungs=args.rungs,
    eta=args.eta,
    split=args.split or base.data.eval_split,
    metric=args.metric,
  )


def _dry_run(search: Search) -> None:
  rungs = [search.first_rung * search.eta**i for i in range(search.rungs - 1)]
  print(
    f"{search.trials} trials of {search.steps} steps, compared by"
    f" {search.metric} of {search.split} after {[*rungs, search.steps]} steps;"
    " such as"
  )
  settings = search_space.corners(search.space)[0]
  print(shlex.join(search.command(search.out / "trial_000", settings)))


def _environments(workers: int | None) -> list[dict[str, str]]:
  """Variables of the trials that run at the same time."""
  gpus = devices.visible_gpus()
  try:
    return devices.shares(workers or len(gpus) or 1, None, gpus)
  except ValueError as e:
    raise InputError(f"{e}; change --workers") from None


def summary(search: Search, study: Any) -> dict[str, Any]:
  """A search so far, as JSON values; the best trial comes first."""
  latest: dict[str, Any] = {}
  for trial in study.trials:  # one that was run again counts once
    name = folder(trial)
    latest[name] = {
      "trial": trial.number,
      "workdir": name,
      "state": trial.state.name.lower(),
      "score": trial.value,
      "steps": trial.last_step or 0,
      "settings": trial.user_attrs.get("settings", {}),
      "history": [
        {"steps": step, "score": score}
        for step, score in sorted(trial.intermediate_values.items())
      ],
      "reason": trial.user_attrs.get("reason", ""),
      "seconds": round(trial.duration.total_seconds(), 1)
      if trial.duration
      else None,
    }
    if latest[name]["reason"]:
      latest[name] |= {"state": "failed", "score": None}
  ranking = sorted(
    latest.values(),
    key=lambda t: (t["score"] is None, -t["steps"], -(t["score"] or 0)),
  )
  return {
    **search.facts(),
    "trials_wanted": search.trials,
    "finished": len(ranking) >= search.trials
    and all(t["state"] not in ("running", "waiting") for t in ranking),
    "best": next((t for t in ranking if t["state"] == "complete"), None),
    "trials": ranking,
  }


def _write(search: Search, study: Any) -> dict[str, Any]:
  content = summary(search, study)
  text = json.dumps(content, indent=2) + "\n"
  files.write_atomic(search.out / "sweep.json", text)
  return content


def table(content: dict[str, Any]) -> str:
  """The trials, best first, with the settings that differ.

  Args:
    content: see `summary`.
  """
  trials = content["trials"]
  keys = list(dict.fromkeys(key for t in trials for key in t["settings"]))
  keys = [k for k in keys if len({t["settings"].get(k) for t in trials}) > 1]
  rows = [["", "trial", "state", "steps", content["metric"], *keys, "s"]]
  for place, trial in enumerate(trials, 1):
    score, seconds = trial["score"], trial["seconds"]
    row = [str(place), trial["workdir"][6:], trial["state"]]
    row += [str(trial["steps"]), "-" if score is None else f"{score:.4f}"]
    row += [trial["settings"].get(key, "") for key in keys]
    rows.append([*row, "" if seconds is None else f"{seconds:.0f}"])
  widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
  return "\n".join(
    "  ".join(map(str.rjust, row, widths)).rstrip() for row in rows
  )


def _report(search: Search, study: Any) -> None:
  content = _write(search, study)
  print(table(content))
  for trial in content["trials"]:
    if trial["reason"]:
      print(f"{trial['workdir']} failed: {trial['reason']}")
  best = content["best"]
  if best:
    overrides = [*search.overrides, *map("=".join, best["settings"].items())]
    command = ["python", "-m", "dwd_jax.main", f"--config={search.config}"]
    command += ["--workdir=W", *(f"--config.{text}" for text in overrides)]
    print(f"Train with the best settings:\n{shlex.join(command)}")
  elif content["finished"]:
    raise InputError(
      f"{search.out}: no trial has a score; their logs say why, --retry runs"
      " them again"
    )


def run(argv: Sequence[str]) -> None:
  """Does what the flags say; a signal ends it with code 75."""
  # JAX only counts devices here, and should take no GPU.
  jax.config.update("jax_platforms", "cpu")
  args, rest = make_parser().parse_known_args(argv)
  from launch import trials  # needs optuna, --help does not

  search = make_search(args, rest)
  search.check()
  environments = _environments(args.workers)
  if args.dry_run:
    _dry_run(search)
    return
  study = trials.open_study(search)
  if not args.report:
    prepare.prepare(search.base.data, search.out)
    if args.retry:
      trials.retry(study)
    worker = trials.Worker(search, study, environments, args.timeout_s, _say)
    try:
      worker.run(lambda: _write(search, study))
    except trials.Stopped as e:
      command_line.say("sweep", f"stopped by {e}; the same command continues")
      sys.exit(AGAIN)
  _report(search, study)


def _say(line: str) -> None:
  print(line, flush=True)


def main() -> None:
  """Runs; bad input ends with one line and exit code 2."""
  try:
    run(sys.argv[1:])
  except InputError as e:
    command_line.fail("sweep", e)
  except BrokenPipeError:  # the table is piped to `head`, for example
    with contextlib.suppress(OSError):
      sys.stdout.close()


if __name__ == "__main__":
  main()
