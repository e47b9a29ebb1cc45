"""The parts run one after another, and each leaves what it found."""

import json

import pytest

from benchmarks import on_gpu
from benchmarks.on_gpu import Part

_PARTS = {
  "good": Part("timeit -n 1 -r 1 pass"),
  "wrong": Part("timeit -n 1 -r 1 1/0"),
  "slow": Part("timeit __import__('time').sleep(60)", 0.5),
  "last": Part("timeit -n 1 -r 1 pass"),
}


@pytest.fixture
def said(monkeypatch, tmp_path, capsys):
  monkeypatch.setattr(on_gpu, "PARTS", _PARTS)
  monkeypatch.setattr(on_gpu, "_LEAST_S", 0.1)
  code = on_gpu.main([f"--out={tmp_path}", f"--parts={','.join(_PARTS)}"])
  lines = capsys.readouterr().out.splitlines()
  return code, {part["part"]: part["ended"] for part in map(json.loads, lines)}


def test_a_part_that_fails_does_not_end_the_others(said, tmp_path):
  code, ended = said
  assert code == 1
  assert ended["good"] == ended["last"] == "done"
  assert ended["wrong"] == "exit code 1"
  assert "ZeroDivisionError" in (tmp_path / "wrong.log").read_text()
  assert ended["slow"] == "limit"


def test_an_unknown_part_is_refused_before_any_runs(tmp_path, capsys):
  with pytest.raises(SystemExit):
    on_gpu.main([f"--out={tmp_path / 'out'}", "--parts=tests,decoding"])
  assert "no decoding; use tests, step_small" in capsys.readouterr().err
  assert not list(tmp_path.iterdir())


def test_without_time_left_a_part_is_left_out(monkeypatch, tmp_path, capsys):
  monkeypatch.setattr(on_gpu, "PARTS", _PARTS)
  code = on_gpu.main([f"--out={tmp_path}", "--minutes=0", "--parts=wrong"])
  assert code == 0
  assert json.loads(capsys.readouterr().out)["ended"] == "left out"
