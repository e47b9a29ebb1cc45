"""Scores over the training: a line for each evaluation, W/eval/curves.jsonl.

metrics.jsonl has a line for every log of the training, all with the same keys;
evaluations are fewer and have other ones.
"""

import json
import pathlib
from typing import Any

from dwd_jax.core import files

NAME = "curves.jsonl"
KEYS = ("mAP", "mAP_50", "mAP_50_min10", "AP_50_weighted", "num_detections")


def append(path: pathlib.Path, name: str, metrics: dict[str, Any]) -> None:
  """Adds the point of an evaluation.

  Points of the same name at the same step or later go: a run that was killed,
  or a workdir that was evaluated again, comes past them once more.

  Args:
    path: the file; made if missing, never half written.
    name: what was judged: a split, or another data set.
    metrics: see `dwd_jax.evaluate.evaluate_split`.
  """
  step = metrics["checkpoint_step"]
  kept = [
    point
    for point in read(path)
    if point["name"] != name or point["step"] < step
  ]
  kept.append({"step": step, "name": name} | {k: metrics[k] for k in KEYS})
  files.write_atomic(path, "".join(json.dumps(point) + "\n" for point in kept))


def read(path: pathlib.Path) -> list[dict[str, Any]]:
  """All points, in the order of their evaluations; lines that are none go."""
  if not path.is_file():
    return []
  points = []
  for line in path.read_text(encoding="utf8").splitlines():
    try:
      point = json.loads(line)
      _ = int(point["step"]), point["name"]
      points.append(point)
    except (ValueError, KeyError, TypeError):
      continue
  return points
