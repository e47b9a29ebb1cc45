"""A process that is lost, or fails, ends the other with a line that says so.

Two real processes on a CPU; a process counts as lost after 5 s here.
"""

import signal
import time

import launch_helpers as helpers
import pytest

LOST = (
  "dwd_jax: another of the 2 processes is lost, see above; start the same"
  " command again and the run goes on from its newest checkpoint"
)


def _counting() -> list:
  pair = helpers.pair("pair_program.py", "count")
  for process in pair:
    assert process.stdout
    line = process.stdout.readline()
    while not line.startswith("counted"):
      assert line, process.communicate()
      line = process.stdout.readline()
  return pair


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
@pytest.mark.parametrize("victim", [0, 1], ids=["coordinator", "other"])
def test_a_lost_process_ends_the_other_with_a_line(victim, number):
  pair = _counting()
  try:
    pair[victim].send_signal(number)
    start = time.monotonic()
    _, err = pair[1 - victim].communicate(timeout=60)
    seconds = time.monotonic() - start
  finally:
    for process in pair:
      process.kill()
      process.communicate()
  assert pair[1 - victim].returncode == 75, err
  assert err.splitlines()[-1] == LOST, err
  assert seconds < 25


def _ends(task: str) -> list[tuple[int, str, str]]:
  return helpers.finish(helpers.pair("pair_program.py", task))


def test_an_error_of_one_process_ends_the_other_with_its_reason():
  (code0, out0, err0), (code1, _, err1) = _ends("fail")
  assert (code0, code1) == (1, 1)
  assert "Traceback" in err1
  assert "KeyError: 'a mistake of ours'" in err1
  assert err0.splitlines()[-1] == (
    "dwd_jax: process 1 of 2 ended: KeyError: 'a mistake of ours'"
  )
  assert "Traceback" not in err0
  assert "after" not in out0


def test_bad_input_of_one_process_is_a_line_in_both():
  (code0, _, err0), (code1, _, err1) = _ends("refuse")
  assert (code0, code1) == (2, 2)
  assert err1 == "dwd_jax: this.key: is wrong; correct it\n"
  assert err0 == (
    "dwd_jax: process 1 of 2 ended: this.key: is wrong; correct it\n"
  )


def test_of_processes_that_fail_alike_one_speaks():
  ends = _ends("alike")
  assert [code for code, _, _ in ends] == [2, 2]
  assert sorted(err for _, _, err in ends) == [
    "",
    "dwd_jax: this.key: is wrong; correct it\n",
  ]


def test_processes_that_are_done_end_together():
  for i, (code, out, err) in enumerate(_ends("done")):
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == f"after {i == 0}"
