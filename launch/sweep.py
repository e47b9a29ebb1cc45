"""Searches settings: python -m launch.sweep --config=... --out=DIR [flags].

Flags only; see `launch.plan`, `launch.search_space` and `launch.trial_pool`.
"""

import contextlib
import shlex
import sys
from collections.abc import Sequence
from typing import Any

import jax

from dwd_jax.core.errors import InputError
from dwd_jax.data import prepare
from launch import sweep_flags, sweep_report, sweep_slurm, trial_pool
from launch.plan import Plan
from launch.results import Results


def _dry_run(plan: Plan) -> None:
  for index in range(plan.trials):
    print(shlex.join(plan.command(index, 0)))
  for rung, size in enumerate(plan.sizes()):
    goes_on = rung and all(
      plan.start(i, rung) < rung for i in range(plan.trials)
    )
    how = "from their checkpoints" if goes_on else "from the start"
    print(f"rung {rung}: {size} trials, {plan.rungs[rung]} steps, {how}")


def _prepare(plan: Plan) -> None:
  """Makes the records that all trials read, once."""
  data = plan.base.data.copy_and_resolve_references()
  data.data_dir = data.data_dir or str(plan.out / "data")
  prepare.prepare(data, plan.out)


def _say(line: str) -> None:
  print(line, flush=True)


def _search(plan: Plan, args: Any, results: Results) -> None:
  slots = args.gpus.split(",") if args.gpus else [""] * args.workers
  options = {"slots": slots, "timeout_s": args.timeout_s, "say": _say}
  if args.only:
    rung, _, place = args.only.partition(":")
    if not (rung.isdigit() and place.isdigit() and int(rung) < len(plan.rungs)):
      raise InputError(f"--only={args.only}: give RUNG:PLACE, two numbers")
    members = results.members(int(rung))[int(place) :][:1]
    trial_pool.run_trials(results, int(rung), members, **options)
    return
  for rung in range(len(plan.rungs)):
    members = results.members(rung)
    _say(f"rung {rung}: {len(members)} trials, {plan.rungs[rung]} steps")
    trial_pool.run_trials(results, rung, members, **options)
    sweep_report.write(results)


def _report(plan: Plan, results: Results, with_picture: bool) -> None:
  content = sweep_report.write(results)
  for line in sweep_report.lines(results, content):
    print(line)
  if with_picture:
    sweep_report.picture(content, plan.out / "sweep.png")
  if content["finished"] and content["best"] is None:
    raise InputError(
      f"{plan.out}: no trial has a score; their logs say why, --retry runs them"
      " again"
    )


def run(argv: Sequence[str]) -> None:
  """Does what the flags say.

  Raises:
    InputError: bad input.
    trial_pool.Stopped: by a signal.
  """
  # Of JAX only the number of devices is asked here: it should take no GPU.
  jax.config.update("jax_platforms", "cpu")
  args, rest = sweep_flags.make_parser().parse_known_args(argv)
  plan = sweep_flags.make_plan(args, rest)
  if not args.only:
    plan.check()
  if args.dry_run:
    _dry_run(plan)
    return
  plan.keep()
  results = Results(plan)
  if args.report:
    _report(plan, results, args.picture)
    return
  if args.retry:
    results.forget_failures()
  if not args.only:
    _prepare(plan)
  if args.slurm:
    place = ("slurm", "submit", "sbatch", "workers", "retry")
    script = sweep_slurm.write(
      plan,
      sweep_flags.as_arguments(args, rest, without=place),
      args.sbatch,
      args.workers if args.workers > 1 else 0,
    )
    print(f"Submit the search with: bash {script}")
    if args.submit:
      sweep_slurm.submit(script)
    return
  _search(plan, args, results)
  if not args.only:
    _report(plan, results, args.picture)


def main() -> None:
  """Runs; bad input ends with one line and exit code 2."""
  try:
    run(sys.argv[1:])
  except InputError as e:
    print(f"sweep: {' '.join(str(e).split())}", file=sys.stderr)
    sys.exit(2)
  except trial_pool.Stopped as e:
    print(f"sweep: stopped by {e}; the same command goes on", file=sys.stderr)
    sys.exit(1)
  except BrokenPipeError:  # the reader of the table has seen enough
    with contextlib.suppress(OSError):
      sys.stdout.close()


if __name__ == "__main__":
  main()
