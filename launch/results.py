"""What came out of a search, and which trials go on.

  DIR/results/trial_NNN_rung_R.json  a trial that ended, written whole or not

Who goes on to the next rung follows from these alone. So any process can find
out, and jobs on a cluster need nobody to direct them.
"""

import json
import math
import pathlib
from typing import Any

from dwd_jax.core import files
from launch.plan import Plan

_SCORES = ("mAP", "mAP_50", "mAP_50_min10", "AP_50_weighted")


class Results:
  """What came out so far; every read looks at the disk."""

  def __init__(self, plan: Plan):
    """Args: `plan` says what and where."""
    self.plan = plan
    self._known: dict[tuple[int, int], dict[str, Any]] = {}

  def get(self, index: int, rung: int) -> dict[str, Any] | None:
    """The result of a trial, None: it is not finished."""
    if (index, rung) not in self._known:
      try:
        value = json.loads(self._path(index, rung).read_text())
        _ = value["status"], value["score"], value["steps"], value["reason"]
      except (OSError, ValueError, KeyError, TypeError):
        return None
      self._known[index, rung] = value
    return self._known[index, rung]

  def score(self, index: int, rung: int) -> float | None:
    """Its score; None where it failed or is not finished."""
    result = self.get(index, rung)
    return None if result is None else result["score"]

  def rank(self, index: int, rung: int) -> tuple[float, int]:
    """Sorts the best first, those without a score last."""
    score = self.score(index, rung)
    return (math.inf if score is None else -score, index)

  def scores_of_run(self, index: int, rung: int) -> dict[str, Any] | None:
    """W/eval/<split>.json of a trial, if it is of the end of its training."""
    workdir = self.plan.workdir(index, rung)
    try:
      path = workdir / "eval" / f"{self.plan.split}.json"
      scores = json.loads(path.read_text())
      finished = scores["checkpoint_step"] == self.plan.rungs[rung]
    except (OSError, ValueError, KeyError, TypeError):
      return None
    return scores if finished else None

  def record(
    self, index: int, rung: int, seconds: float | None, reason: str = ""
  ) -> dict[str, Any]:
    """Writes the result of a trial that ended.

    Args:
      index: number of the trial.
      rung: which of its runs.
      seconds: it took; None: not known.
      reason: why it failed; "" = it did not.
    """
    plan = self.plan
    scores = (not reason and self.scores_of_run(index, rung)) or {}
    score = scores.get(plan.metric)
    if not reason and not (
      isinstance(score, int | float) and math.isfinite(score)
    ):
      score, reason = None, f"eval/{plan.split}.json: no number '{plan.metric}'"
    result = {
      "trial": index,
      "rung": rung,
      "steps": plan.rungs[rung],
      "status": "failed" if reason else "done",
      "score": None if reason else score,
      "reason": reason,
      "params": plan.params(index),
      "scores": {key: scores[key] for key in _SCORES if key in scores},
      "seconds": seconds if seconds is None else round(seconds, 1),
      "workdir": str(plan.workdir(index, rung).relative_to(plan.out)),
    }
    text = json.dumps(result, indent=2) + "\n"
    files.write_atomic(self._path(index, rung), text)
    self._known[index, rung] = result
    return result

  def forget_failures(self) -> None:
    """Removes the results of failed trials, so that they run again."""
    for rung in range(len(self.plan.rungs)):
      for index in range(self.plan.trials):
        result = self.get(index, rung)
        if result and result["status"] == "failed":
          self._path(index, rung).unlink(missing_ok=True)
          del self._known[index, rung]

  def members(self, rung: int) -> list[int]:
    """Trials of a rung, best first; needs the results of the rung before.

    A trial without a result counts as the worst.
    """
    plan = self.plan
    found = list(range(plan.trials))
    for above in range(rung):
      groups: dict[str, list[int]] = {}
      for index in found:
        groups.setdefault(plan.group(index), []).append(index)
      kept = []
      for group in groups.values():
        count = max(1, len(group) // plan.eta)
        scored = [i for i in group if self.score(i, above) is not None]
        kept += sorted(scored, key=lambda i: self.rank(i, above))[:count]
      found = sorted(kept, key=lambda i: self.rank(i, above))
    return found

  def ranking(self) -> list[dict[str, Any]]:
    """The last result of every trial, the furthest and best first.

    `history` holds the steps and the score of all its results.
    """
    found = []
    for index in range(self.plan.trials):
      of_trial = [
        result
        for rung in range(len(self.plan.rungs))
        if (result := self.get(index, rung)) is not None
      ]
      history = [{k: r[k] for k in ("steps", "score")} for r in of_trial]
      found += [result | {"history": history} for result in of_trial[-1:]]
    return sorted(
      found, key=lambda r: (-r["rung"], *self.rank(r["trial"], r["rung"]))
    )

  def _path(self, index: int, rung: int) -> pathlib.Path:
    name = f"trial_{index:03d}_rung_{rung}.json"
    return self.plan.out / "results" / name
