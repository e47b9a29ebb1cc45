"""Scaling on paper: what a step sends, known cases of the formulas."""

import dataclasses
import json
import os
import subprocess
import sys

import pytest

from benchmarks import collectives, scaling
from benchmarks.scaling import Traffic

LINKS = scaling.Links(latency_s=0.0, efficiency=1.0)
FAST = scaling.Links(
  node_bytes_s=float("inf"), net_bytes_s=float("inf"), latency_s=0.0
)


SENT = Traffic(4e8, 4e8, 200)


@pytest.mark.parametrize("gpus", [1, 8, 256])
def test_infinite_bandwidth_scales_perfectly(gpus):
  assert scaling.predict(0.2, SENT, gpus, FAST, 0.0)["efficiency"] == 1.0


def test_one_gpu_does_not_communicate():
  slow = scaling.Links(node_bytes_s=1.0, latency_s=1.0)
  assert scaling.predict(0.2, SENT, 1, slow, 0.0)["step_s"] == 0.2


def test_a_ring_within_a_node_sends_seven_eighths_twice():
  wanted = 2 * 7 / 8 * 4e8 / 450e9
  reduced = scaling.communication_s(Traffic(4e8), 8, LINKS)
  assert reduced == pytest.approx(wanted)
  assert scaling.communication_s(SENT, 8, LINKS) == pytest.approx(1.5 * wanted)


def test_between_nodes_each_gpu_takes_its_share():
  within = 7 / 8 * 4e8 / 450e9
  between = 31 / 32 * (4e8 / 8) / 50e9
  assert scaling.pass_s(4e8, 256, LINKS) == pytest.approx(within + between)


def test_equal_links_make_the_hierarchy_one_ring():
  """Same bytes over the same rate, in whatever order."""
  equal = dataclasses.replace(LINKS, net_bytes_s=450e9)
  assert scaling.pass_s(4e8, 64, equal) == pytest.approx(63 / 64 * 4e8 / 450e9)


def test_what_is_hidden_costs_nothing():
  hidden = scaling.predict(0.2, Traffic(4e8), 64, LINKS, 1.0)
  assert hidden["step_s"] == 0.2 and hidden["communication_s"] > 0
  shown = scaling.predict(0.2, Traffic(4e8), 64, LINKS, 0.0)
  assert shown["step_s"] == pytest.approx(0.2 + shown["communication_s"])


def test_more_latency_or_less_bandwidth_is_never_better():
  rates = []
  for latency, rate in ((0, 50e9), (1e-5, 50e9), (1e-5, 5e9), (1e-4, 5e9)):
    links = scaling.Links(latency_s=latency, net_bytes_s=rate)
    rates.append(scaling.predict(0.2, SENT, 256, links, 0.5)["efficiency"])
  assert rates == sorted(rates, reverse=True)
  assert rates[0] > rates[-1]


@pytest.fixture
def counted(tmp_path):
  """A file as benchmarks/collectives.py writes it."""
  reduced = {"messages": 100, "small": 90, "bytes": 10**6}
  gathered = {"messages": 5, "small": 0, "bytes": 8 * 10**5}
  rows = [
    {"mesh": "8x1", "sent": {"all-reduce": reduced}},
    {"mesh": "1x8", "sent": {"all-reduce": reduced, "all-gather": gathered}},
  ]
  path = tmp_path / "collectives.json"
  path.write_text(json.dumps({"network": "18x32x32", "rows": rows}))
  return path


def test_table_and_json_agree(tmp_path, capsys, counted):
  out = tmp_path / "scaling.json"
  scaling.main(
    [
      "--step_s=0.1",
      "--gpus=8,16",
      f"--collectives={counted}",
      f"--json={out}",
    ]
  )
  written = json.loads(out.read_text())
  assert [row["gathered_mb"] for row in written["rows"]] == [0, 0.8, 0, 0.8]
  assert all(row["small_messages"] == 90 for row in written["rows"])
  assert [row["gpus"] for row in written["rows"]] == [8, 8, 16, 16]
  assert written["assumptions"]["node_bytes_s"] == 450e9
  assert written["assumptions"]["network"] == "18x32x32"
  table = capsys.readouterr().err.splitlines()
  assert len(table) == 2 + 4
  assert f"{written['rows'][2]['efficiency']:.1%}" in table[4]


def test_gpus_that_fill_no_node_are_refused(counted):
  with pytest.raises(SystemExit, match="multiple"):
    scaling.main(["--step_s=0.1", "--gpus=12", f"--collectives={counted}"])


# As XLA writes it; what is no message is left out.
PROGRAM = """
ENTRY %main (a: f32[9]) -> bf16[4,2] {
  %sum.3 = (f32[8]{0}, /*index=1*/pred[]) all-reduce(%a, %b), channel_id=1
  %copies = (f32[9]{0}, f32[20000]{0}) all-gather-start(%a), dimensions={0}
  %whole = f32[20000]{0} all-gather-done(%copies)
  %fusion = f32[8]{0} fusion(%all-gather), kind=kLoop, calls=%all-to-all
  ROOT %all-gather = bf16[4,2]{1,0} all-gather(%sum.3), dimensions={0}
}
"""


def test_messages_are_read_from_a_program():
  assert collectives.total(collectives.find(PROGRAM)) == {
    "all-reduce": {"messages": 1, "small": 1, "bytes": 33},
    "all-gather": {"messages": 2, "small": 1, "bytes": 80016},
  }


@pytest.mark.slow
def test_a_step_sends_parameters_and_small_statistics(tmp_path, repo_dir):
  out = tmp_path / "collectives.json"
  subprocess.run(
    [
      *(sys.executable, "-m", "benchmarks.collectives", "--network=10x8x8"),
      *("--crop=64", "--batch_size=1", f"--json={out}"),
    ],
    env=os.environ | {"PYTHONPATH": str(repo_dir)},
    check=True,
    capture_output=True,
  )
  data, fsdp = json.loads(out.read_text())["rows"]
  for row in (data, fsdp):
    room = 2 * row["statistics_bytes"]
    assert set(row["sent"]) <= {"all-reduce", "all-gather"}
    most = row["parameter_bytes"] + room
    assert row["sent"]["all-reduce"]["bytes"] <= most
  assert "all-gather" not in data["sent"]
  assert fsdp["sent"]["all-gather"]["bytes"] <= fsdp["split_bytes"]
