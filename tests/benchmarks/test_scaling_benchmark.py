"""Scaling on paper: limits and known cases of the formulas."""

import dataclasses
import json

import pytest

from benchmarks import scaling

LINKS = scaling.Links(latency_s=0.0, efficiency=1.0)
FAST = scaling.Links(
  node_bytes_s=float("inf"), net_bytes_s=float("inf"), latency_s=0.0
)


@pytest.mark.parametrize("kind", ["data", "fsdp"])
@pytest.mark.parametrize("gpus", [1, 8, 256])
def test_infinite_bandwidth_scales_perfectly(kind, gpus):
  found = scaling.predict(0.2, 4e8, 100, gpus, FAST, kind, 0.0)
  assert found["efficiency"] == 1.0


def test_one_gpu_does_not_communicate():
  slow = scaling.Links(node_bytes_s=1.0, latency_s=1.0)
  assert scaling.predict(0.2, 4e8, 100, 1, slow, "data", 0.0)["step_s"] == 0.2


def test_a_ring_within_a_node_sends_seven_eighths_twice():
  wanted = 2 * 7 / 8 * 4e8 / 450e9
  assert scaling.communication_s(4e8, 8, LINKS, "data") == pytest.approx(wanted)
  assert scaling.communication_s(4e8, 8, LINKS, "fsdp") == pytest.approx(
    1.5 * wanted
  )


def test_between_nodes_each_gpu_takes_its_share():
  within = 7 / 8 * 4e8 / 450e9
  between = 31 / 32 * (4e8 / 8) / 50e9
  assert scaling.pass_s(4e8, 256, LINKS) == pytest.approx(within + between)


def test_equal_links_make_the_hierarchy_one_ring():
  """Same bytes over the same rate, in whatever order."""
  equal = dataclasses.replace(LINKS, net_bytes_s=450e9)
  assert scaling.pass_s(4e8, 64, equal) == pytest.approx(63 / 64 * 4e8 / 450e9)


def test_what_is_hidden_costs_nothing():
  hidden = scaling.predict(0.2, 4e8, 0, 64, LINKS, "data", 1.0)
  assert hidden["step_s"] == 0.2 and hidden["communication_s"] > 0
  shown = scaling.predict(0.2, 4e8, 0, 64, LINKS, "data", 0.0)
  assert shown["step_s"] == pytest.approx(0.2 + shown["communication_s"])


def test_more_latency_or_less_bandwidth_is_never_better():
  rates = []
  for latency, rate in ((0, 50e9), (1e-5, 50e9), (1e-5, 5e9), (1e-4, 5e9)):
    links = scaling.Links(latency_s=latency, net_bytes_s=rate)
    rates.append(
      scaling.predict(0.2, 4e8, 100, 256, links, "data", 0.5)["efficiency"]
    )
  assert rates == sorted(rates, reverse=True)
  assert rates[0] > rates[-1]


def test_table_and_json_agree(tmp_path, capsys):
  out = tmp_path / "scaling.json"
  scaling.main(
    ["--network=10x4x8", "--step_s=0.1", "--gpus=8,16", f"--json={out}"]
  )
  written = json.loads(out.read_text())
  assert [row["gpus"] for row in written["rows"]] == [8, 8, 16, 16]
  assert written["assumptions"]["node_bytes_s"] == 450e9
  table = capsys.readouterr().err.splitlines()
  assert len(table) == 2 + 4
  assert f"{written['rows'][2]['efficiency']:.1%}" in table[4]


def test_gpus_that_fill_no_node_are_refused():
  with pytest.raises(SystemExit, match="multiple"):
    scaling.main(["--network=10x4x8", "--step_s=0.1", "--gpus=12"])
