"""The outcome of a search: sweep.json, a table, a picture."""

import json
import pathlib
import shlex
import sys
from typing import Any

from dwd_jax.core import files
from launch import search_space
from launch.results import Results

OPTIMIZER = "optimizer.name"
RATE = "optimizer.learning_rate"
NAME = "sweep.json"


def summary(results: Results) -> dict[str, Any]:
  """Everything about a search so far, as JSON has it.

  Returns:
    What the search is (see `Plan.facts`); `finished`; `best`, the best trial of
    those that trained longest, and `best_by`, the same for each value of
    `Plan.by` (of the optimizer, if that is ""); all `trials`, best first.
  """
  plan = results.plan
  ranking = results.ranking()
  scored = [r for r in ranking if r["score"] is not None]
  by = plan.by or OPTIMIZER
  best_by: dict[str, Any] = {}
  for result in scored:
    if by in result["params"]:
      best_by.setdefault(str(result["params"][by]), result)
  finished = all(
    results.get(index, rung) is not None
    for rung in range(len(plan.rungs))
    for index in results.members(rung)
  )
  return {
    "config": plan.config,
    "trials_wanted": plan.trials,
    "finished": finished,
    **{k: v for k, v in plan.facts().items() if k != "config"},
    "best": scored[0] if scored else None,
    "by": by,
    "best_by": best_by,
    "trials": ranking,
  }


def write(results: Results) -> dict[str, Any]:
  """Writes DIR/sweep.json and returns its content."""
  content = summary(results)
  text = json.dumps(content, indent=2) + "\n"
  files.write_atomic(results.plan.out / NAME, text)
  return content


def table(content: dict[str, Any]) -> str:
  """The trials, best first, with the settings that differ.

  Args:
    content: see `summary`.
  """
  keys = list(search_space.varied(content["space"]))
  # Short names, where they are enough to tell keys apart.
  names = [key.rpartition(".")[2] for key in keys]
  names = [
    name if names.count(name) == 1 else key
    for key, name in zip(keys, names, strict=True)
  ]
  rows = [["", "trial", "steps", content["metric"], *names, "s"]]
  for place, result in enumerate(content["trials"], 1):
    rows.append(
      [
        str(place),
        str(result["trial"]),
        str(result["steps"]),
        "failed" if result["score"] is None else f"{result['score']:.4f}",
        *(search_space.as_text(result["params"].get(k, "")) for k in keys),
        "" if result["seconds"] is None else f"{result['seconds']:.0f}",
      ]
    )
  widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
  return "\n".join(
    "  ".join(
      cell.rjust(width) for cell, width in zip(row, widths, strict=True)
    ).rstrip()
    for row in rows
  )


def lines(results: Results, content: dict[str, Any]) -> list[str]:
  """What is told of a search at its end."""
  plan = results.plan
  told = [table(content)]
  for value, result in sorted(content["best_by"].items()):
    told.append(
      f"best of {content['by']}={value}: trial {result['trial']},"
      f" {result['steps']} steps, {content['metric']} {result['score']:.4f}"
    )
  for result in content["trials"]:
    if result["reason"]:
      told.append(f"trial {result['trial']} failed: {result['reason']}")
  best = content["best"]
  if best:
    command = [
      *("python", "-m", "dwd_jax.main", f"--config={plan.config}"),
      "--workdir=W",
      *(f"--config.{text}" for text in plan.overrides),
      *(
        f"--config.{key}={search_space.as_text(value)}"
        for key, value in best["params"].items()
      ),
    ]
    told.append("Train with the best settings:")
    told.append(f"  {shlex.join(command)}")
  return told


def picture(content: dict[str, Any], path: pathlib.Path) -> None:
  """Draws scores over the learning rate, a colour for each optimizer.

  Args:
    content: see `summary`.
    path: PNG to write.
  """
  from matplotlib.figure import Figure  # takes a second: only when it is used

  figure = Figure(figsize=(7, 4.5), layout="constrained")
  axes = figure.add_subplot()
  trials = [r for r in content["trials"] if RATE in r["params"]]
  if not trials:
    print(f"No picture: no trial has {RATE}", file=sys.stderr)
    return
  names = sorted({str(r["params"].get(OPTIMIZER, "")) for r in trials})
  points: dict[tuple, list[tuple[float, float]]] = {}
  for result in trials:
    name = str(result["params"].get(OPTIMIZER, ""))
    for point in result["history"]:
      key = (name, point["steps"], point["score"] is None)
      # Those without a score lie on the floor, as crosses.
      place = (result["params"][RATE], point["score"] or 0.0)
      points.setdefault(key, []).append(place)
  for (name, steps, failed), places in sorted(points.items()):
    axes.scatter(
      *zip(*places, strict=True),
      s=20 + 40 * content["rungs"].index(steps),
      marker="x" if failed else "o",
      color=f"C{names.index(name)}",
      label=f"{name}, {steps} steps{', failed' if failed else ''}",
    )
  axes.set_xscale("log")
  axes.set_xlabel("learning rate")
  axes.set_ylabel(f"{content['metric']} of {content['split']}")
  axes.grid(alpha=0.3)
  axes.legend(fontsize="small")
  figure.savefig(path, dpi=130)
