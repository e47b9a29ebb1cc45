"""metrics.jsonl, curves.jsonl, TensorBoard and the terminal."""

import io
import json
import re
import resource

import numpy as np
import pytest

from dwd_jax.train import logs as logs_lib


@pytest.fixture
def open_logs(tmp_path):
  opened = []

  def open_(first_step=0, total=10):
    opened.append(logs_lib.Logs(tmp_path, first_step, total))
    return opened[-1]

  yield open_
  for logs in opened:
    logs.close()


def _lines(tmp_path):
  return [
    json.loads(line)
    for line in (tmp_path / "metrics.jsonl").read_text().splitlines()
  ]


def test_every_call_writes_a_line_at_once(open_logs, tmp_path, capsys):
  logs = open_logs()
  logs.scalars(1, "energy", {"loss": np.float32(0.5)})
  assert _lines(tmp_path) == [{"step": 1, "stage": "energy", "loss": 0.5}]
  logs.scalars(2, "class", {"loss": 0.25, "loss_class": 3})
  assert len(_lines(tmp_path)) == 2
  logs.scalars(2, "class", {"val_loss_class": 3.0, "val_loss": np.nan})
  logs.evaluation(2, "val", {"mAP_50": 0.25}, {})
  logs.evaluation(2, "other_set", {"mAP_50": 0.75}, {})
  logs.scalars(10, "class", {"loss": np.nan})
  said = capsys.readouterr().out.splitlines()
  assert said[0] == "step 1/10 energy: loss 0.5"
  assert re.fullmatch(r"step 2/10 class: loss 0.25, \d+ s left", said[1])
  assert said[2:] == [
    "step 2/10 class: val_loss_class 3, val_loss -",
    "step 10/10 class: loss -, mAP_50 0.250 at step 2",
  ]


# Caption: seconds, and how they are said.
DURATIONS = {"seconds": (40.4, "40 s"), "minutes": (150, "2 min")}
DURATIONS |= {"an hour": (3600, "60 min"), "hours": (12_600, "3.5 h")}


@pytest.mark.parametrize("caption", DURATIONS)
def test_durations_have_a_unit_that_suits_them(caption):
  seconds, wanted = DURATIONS[caption]
  assert logs_lib._duration(seconds) == wanted


def test_numbers_that_are_none_are_null(open_logs, tmp_path):
  values = {"loss": float("nan"), "loss_box": float("inf"), "step_s": 0.1}
  open_logs().scalars(3, "box", values)
  assert "NaN" not in (tmp_path / "metrics.jsonl").read_text()
  assert _lines(tmp_path) == [
    {"step": 3, "stage": "box", "loss": None, "loss_box": None, "step_s": 0.1}
  ]


# Caption: text of the file of a killed run, steps that stay at step 2.
FILES = {
  "whole lines": ('{"step": 1}\n{"step": 2}\n{"step": 3}\n', [1, 2]),
  "half a line at the end": ('{"step": 1}\n{"step": 2}\n{"st', [1, 2]),
  "a line of something else": ('{"step": 1}\n[]\nhello\n{"a": 2}\n', [1]),
  "an empty file": ("", []),
}


@pytest.mark.parametrize("caption", FILES)
def test_a_resumed_run_takes_back_what_it_does_again(
  open_logs, tmp_path, caption
):
  text, kept = FILES[caption]
  (tmp_path / "metrics.jsonl").write_text(text)
  open_logs(first_step=2).scalars(3, "box", {})
  assert [line["step"] for line in _lines(tmp_path)] == [*kept, 3]


def test_a_disk_that_is_full_on_resuming_costs_no_line(tmp_path):
  path = tmp_path / "metrics.jsonl"
  text = "".join(f'{{"step": {step}}}\n' for step in range(1, 1001))
  path.write_text(text)
  soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
  try:
    with pytest.raises(OSError, match="too large"):
      logs_lib.Logs(tmp_path, 900, 2000)
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
  assert path.read_text() == text
  assert [p.name for p in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_an_evaluation_beside_a_training_costs_no_line(open_logs, tmp_path):
  training = open_logs(first_step=0)
  training.scalars(3, "box", {})
  evaluation = logs_lib.Logs(tmp_path, None, 2)  # of an earlier checkpoint
  evaluation.evaluation(2, "val", {"split": "val", "mAP": 0.5}, {})
  training.scalars(4, "box", {})
  evaluation.close()
  assert [line["step"] for line in _lines(tmp_path)] == [3, 4]


def test_other_processes_write_nothing(tmp_path, monkeypatch, capsys):
  monkeypatch.setattr(logs_lib.jax, "process_index", lambda: 1)
  logs = logs_lib.Logs(tmp_path / "none", 0, 10)
  logs.say("hello")
  logs.scalars(1, "energy", {"loss": 1.0})
  logs.evaluation(1, "val", {"split": "val"}, {})
  logs.close()
  assert capsys.readouterr().out == ""
  assert not list(tmp_path.iterdir())


class _Terminal(io.StringIO):
  def isatty(self):
    return True


def test_a_terminal_gets_a_bar(tmp_path, monkeypatch, capsys):
  screen = _Terminal()
  monkeypatch.setattr("sys.stderr", screen)
  logs = logs_lib.Logs(tmp_path, 2, 10)
  logs.scalars(6, "combined", {"loss": 1.25})
  logs.close()
  assert "combined loss 1.25" in screen.getvalue()
  assert "6/10" in screen.getvalue()
  assert "step 6/10" not in capsys.readouterr().out


def test_evaluations_go_to_tensorboard(open_logs, tmp_path):
  logs = open_logs()
  picture = np.zeros((8, 6, 3), np.uint8)
  logs.evaluation(
    4,
    "val",
    {"split": "val", "mAP": 0.5, "mAP_50": None},
    {"a-overlay": picture},
  )
  logs.close()
  (events,) = (tmp_path / "tensorboard").iterdir()
  data = events.read_bytes()
  assert b"val/mAP" in data
  assert b"val/a-overlay" in data
  assert b"val/mAP_50" not in data


def _metrics(step, value):
  return {"checkpoint_step": step, "per_class": {}} | dict.fromkeys(
    logs_lib.CURVE_KEYS, value
  )


def _points(path):
  return [(p["name"], p["step"], p["mAP"]) for p in logs_lib.read_curves(path)]


def test_points_come_in_the_order_of_the_evaluations(tmp_path):
  path = tmp_path / "eval" / logs_lib.CURVES
  assert logs_lib.read_curves(path) == []
  for step in (10, 20):
    logs_lib.append_curve(path, "val", _metrics(step, step / 100))
    logs_lib.append_curve(path, "other", _metrics(step, None))
  assert _points(path) == [
    ("val", 10, 0.1),
    ("other", 10, None),
    ("val", 20, 0.2),
    ("other", 20, None),
  ]
  assert set(logs_lib.read_curves(path)[0]) == {
    "step",
    "name",
    *logs_lib.CURVE_KEYS,
  }


def test_what_is_done_again_replaces_what_was(tmp_path):
  path = tmp_path / logs_lib.CURVES
  for step in (10, 20, 30):
    logs_lib.append_curve(path, "val", _metrics(step, 0.1))
  logs_lib.append_curve(path, "other", _metrics(30, 0.1))
  # The run was killed at 30 and goes on from 15.
  logs_lib.append_curve(path, "val", _metrics(20, 0.5))
  assert _points(path) == [
    ("val", 10, 0.1),
    ("other", 30, 0.1),
    ("val", 20, 0.5),
  ]


def test_lines_that_are_no_points_are_dropped(tmp_path):
  path = tmp_path / logs_lib.CURVES
  lines = (b'{"step": 1, "name": "val"', b"[1]", b'{"step": 2}', b"\xff")
  lines += (b'{"step": "1", "name": "val"}', b"[" * 99_999)
  path.write_bytes(b"\n".join(lines) + b"\n")
  logs_lib.append_curve(path, "val", _metrics(3, 0.1))
  assert _points(path) == [("val", 3, 0.1)]
