"""How processes find each other, what they say, and what flags are refused."""

import json
import socket

import launch_helpers as helpers
import pytest

from dwd_jax.cluster import distributed
from dwd_jax.cluster.distributed import ProcessSettings
from dwd_jax.core.errors import InputError

# Caption: settings, what the line says.
REFUSED = {
  "a flag is missing": ({"coordinator": "a:1", "process_id": 0}, "num_proc"),
  "only a number": ({"num_processes": 2}, "--coordinator is missing"),
  "auto and a flag": ({"auto": True, "process_id": 0}, "--distributed=auto"),
  "no port": (
    {"coordinator": "node1", "num_processes": 2, "process_id": 0},
    "HOST:PORT",
  ),
  "no such port": (
    {"coordinator": "node1:70000", "num_processes": 2, "process_id": 0},
    "HOST:PORT",
  ),
  "a number too large": (
    {"coordinator": "a:1", "num_processes": 2, "process_id": 2},
    "0 to --num_processes - 1 = 1",
  ),
}


@pytest.mark.parametrize("caption", REFUSED)
def test_contradictory_flags_are_refused(caption):
  settings, message = REFUSED[caption]
  with pytest.raises(InputError) as e:
    ProcessSettings(**settings).check()
  assert message in str(e.value)
  assert "\n" not in str(e.value)


def test_flags_that_agree_are_taken():
  for settings in (
    {},
    {"auto": True},
    {"coordinator": "[::1]:7123", "num_processes": 2, "process_id": 1},
  ):
    ProcessSettings(**settings).check()


def test_the_program_refuses_them_in_a_line(refusal, tmp_path):
  assert refusal(
    f"--config={helpers.CONFIG}",
    f"--workdir={tmp_path}",
    "--coordinator=a:1",
    "--process_id=0",
  ) == (
    "dwd_jax: --num_processes is missing; --coordinator, --num_processes,"
    " --process_id go together\n"
  )


def _connect(*settings):
  program = helpers.PROGRAMS / "connect_program.py"
  return helpers.start(program, *map(json.dumps, settings))


def test_what_keeps_processes_apart_is_a_line():
  with socket.socket() as busy:
    busy.bind(("127.0.0.1", 0))
    busy.listen()
    free, taken = helpers.free_port(), busy.getsockname()[1]
    hosts = [f"127.0.0.1:{port}" for port in (free, helpers.free_port(), taken)]
    alone = {"num_processes": 2, "connect_timeout_s": 2}
    started = [
      _connect({"coordinator": hosts[0], "process_id": 1, **alone}),
      _connect({"coordinator": hosts[1], "process_id": 0, **alone}),
      _connect(
        {"coordinator": hosts[2], "process_id": 0, **alone},
        {"auto": True, "connect_timeout_s": 2},
        {"coordinator": hosts[0], "num_processes": 1, "process_id": 0},
      ),
    ]
    unanswered, unjoined, others = helpers.finish(started)
  assert unanswered[0] == 75
  assert unanswered[2].startswith(
    f"dwd_jax: 127.0.0.1:{free}: no coordinator answered within 2 s; check"
  )
  assert unjoined[0] == 75
  assert ": not all 2 processes came within 2 s; check" in unjoined[2]
  for _, out, err in (unanswered, unjoined):
    assert out == ""
    assert err.count("\n") == 1, err
  code, out, err = others
  in_use, unknown, single = out.splitlines()
  assert in_use.startswith(
    f"refused: 127.0.0.1:{taken}: process 0 cannot listen"
  )
  assert unknown.startswith(
    "refused: --distributed=auto: the cluster does not say"
  )
  assert (code, single, err) == (0, "connected", "")


def test_what_processes_send_each_other_arrives(tmp_path):
  """And processes that are done end together."""
  left = tmp_path / "parts" / "7-of a killed evaluation-1.npz"
  left.parent.mkdir()
  left.write_bytes(b"")
  ends = helpers.finish(helpers.pair("shares_program.py", tmp_path))
  assert [(code, err) for code, _, err in ends] == [(0, "")] * 2
  (*_, told, first), (*_, second) = (out.splitlines() for _, out, _ in ends)
  assert (first, second) == ("after True", "after False")
  found = json.loads(told)
  assert found == {
    "parts": [[0, 1, 2], [0, 1, 2, 3, 4]],
    "order": [f"é{i}.png" for i in range(5)],
    "files": ["1.boxes", "1.npz"],
    "left": [],
    "equal": [True] * 5,
    "overflowing": ["é1.png", "é4.png"],
    "seconds": pytest.approx((3 * 2.0 + 2 * 4.0) / 5),
    "staff_spaces": ["nan", "1.5", "2.5", "3.5", "4.5"],
  }


# Caption: what a stranger sends, how the run ends: reason, exit code.
SENT = {
  "success": ("null", None),
  "a process fails": ('[1, "disk full", 2]', (1, "disk full", 2)),
  "no exit code is success": ('[1, "bye", 0]', (1, "bye", 1)),
  "nor one that the system would cut": ('[1, "bye", 256]', (1, "bye", 1)),
  "a long text": (json.dumps([0, "x" * 5000, 3]), (0, "x" * 1000, 3)),
}
NOT_OURS = (
  "",
  "{}",
  "[]",
  "[1, 2]",
  "[1, [], 2]",
  '["1", "a", true]',
  "[" * 9999,
)


@pytest.mark.parametrize("caption", SENT)
def test_reasons_of_other_processes(caption):
  text, wanted = SENT[caption]
  assert distributed.read_verdict(text) == wanted


@pytest.mark.parametrize("text", NOT_OURS)
def test_what_is_no_reason_is_no_success(text):
  found = distributed.read_verdict(text)
  assert found is not None
  assert found[2] == 1


def test_what_others_say_does_not_reach_the_terminal_raw(capfd):
  distributed._say("\x1b]0;title\x07 \x1b[2Jgone\u202e\ud800\nsecond")
  assert capfd.readouterr().err == "dwd_jax: ?]0;title? ?[2Jgone?? second\n"


def test_process_0_listens_at_the_address_given():
  port = helpers.free_port()
  assert distributed.bind_address(f"127.0.0.1:{port}") == f"127.0.0.1:{port}"
  assert distributed.bind_address(f"[::1]:{port}") in (
    f"[::1]:{port}",
    f"[::]:{port}",  # a machine without IPv6
  )
  assert distributed.bind_address(f"127.9.9.9:{port}") == f"127.9.9.9:{port}"
  # No name, or an address of another machine, such as a cluster's service.
  for host in ("192.0.2.1", "x" * 64):
    assert distributed.bind_address(f"{host}:{port}") == f"[::]:{port}"


def test_a_name_that_means_only_this_machine_is_open_to_the_others(monkeypatch):
  found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.1.1", 7123))]
  monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
  assert distributed.bind_address("node1:7123") == "[::]:7123"
