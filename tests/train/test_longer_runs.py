"""Where a run stands when it goes on with more steps than were planned."""

import dataclasses

from dwd_jax.train.stages import Progress, Stage


def _stages(*steps, patience=0):
  return tuple(
    Stage(f"s{i}", n, ("energy",), (1.0,), patience=patience)
    for i, n in enumerate(steps)
  )


def _again(steps, progress, done):
  """The progress of a run that goes on with other steps."""
  found = Progress(_stages(*steps))
  found.restore(progress.to_json(), done)
  return found.total


def test_a_finished_run_can_get_more_steps():
  progress = Progress(_stages(2, 4))
  assert _again((2, 9), progress, 6) == 11
  assert _again((2, 4), progress, 6) == 6
  # In the middle of its last stage, too.
  assert _again((2, 9), progress, 5) == 11
  # Stages that are over stay as they were.
  assert _again((7, 9), progress, 6) == 11


def test_a_last_stage_that_ended_early_stays_as_it_is():
  stages = _stages(2, 9)
  stages = (stages[0], dataclasses.replace(stages[1], patience=1))
  progress = Progress(stages)
  assert not progress.validated(3, {"loss_energy": 1.0})
  assert progress.validated(4, {"loss_energy": 2.0})
  assert progress.total == 4
  assert _again((2, 9), progress, 4) == 4
