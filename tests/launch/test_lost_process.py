"""A process that is lost, or fails, ends the other with a line that says so.

Two real processes on a CPU; a process counts as lost after 5 s here.
"""

import itertools
import signal
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import launch_helpers as helpers
import pytest

LOST = (
  "dwd_jax: another of the 2 processes is lost, see above; start the same"
  " command again and the run goes on from its newest checkpoint"
)


def _wait_until_it_counts(process: subprocess.Popen) -> None:
  assert process.stdout
  line = process.stdout.readline()
  while not line.startswith("counted"):
    assert line, process.communicate()
    line = process.stdout.readline()


VICTIMS = ("coordinator", "other")
LOSSES = tuple(itertools.product(VICTIMS, (signal.SIGKILL, signal.SIGSTOP)))
TASKS = ("fail", "refuse", "alike")


@pytest.fixture(scope="module")
def pairs() -> Iterator[dict[Any, list[subprocess.Popen]]]:
  """Pairs that count, by what happens to them; others, by what they do.

  All run at the same time: most of it is waiting.
  """
  started = {}
  try:
    for task in TASKS:
      started[task] = helpers.pair("pair_program.py", task)
    for loss in LOSSES:
      started[loss] = helpers.pair("pair_program.py", "count")
    yield started
  finally:
    for process in itertools.chain(*started.values()):
      process.kill()
      process.communicate()


def test_a_lost_process_ends_the_other_with_a_line(pairs):
  for loss in LOSSES:
    for process in pairs[loss]:
      _wait_until_it_counts(process)
  start = time.monotonic()
  for victim, number in LOSSES:
    lost = pairs[victim, number][VICTIMS.index(victim)]
    lost.send_signal(number)
  for victim, number in LOSSES:
    survivor = pairs[victim, number][1 - VICTIMS.index(victim)]
    _, err = survivor.communicate(timeout=60)
    assert survivor.returncode == 75, (victim, number, err)
    assert err.splitlines()[-1] == LOST, (victim, number, err)
    assert time.monotonic() - start < 25, (victim, number)


@pytest.fixture(scope="module")
def ends(pairs) -> dict[str, list[tuple[int, str, str]]]:
  """{task: exit code, stdout and stderr of both processes}."""
  return {task: helpers.finish(pairs[task]) for task in TASKS}


def test_an_error_of_one_process_ends_the_other_with_its_reason(ends):
  (code0, out0, err0), (code1, _, err1) = ends["fail"]
  assert (code0, code1) == (1, 1)
  assert "Traceback" in err1
  assert "KeyError: 'a mistake of ours'" in err1
  assert err0.splitlines()[-1] == (
    "dwd_jax: process 1 of 2 ended: KeyError: 'a mistake of ours'"
  )
  assert "Traceback" not in err0
  assert "after" not in out0


def test_bad_input_of_one_process_is_a_line_in_both(ends):
  (code0, _, err0), (code1, _, err1) = ends["refuse"]
  assert (code0, code1) == (2, 2)
  assert err1 == "dwd_jax: this.key: is wrong; correct it\n"
  assert err0 == (
    "dwd_jax: process 1 of 2 ended: this.key: is wrong; correct it\n"
  )


def test_of_processes_that_fail_alike_one_speaks(ends):
  ends = ends["alike"]
  assert [code for code, _, _ in ends] == [2, 2]
  assert sorted(err for _, _, err in ends) == [
    "",
    "dwd_jax: this.key: is wrong; correct it\n",
  ]
