"""Scores over the training, kept in a file."""

from dwd_jax.train import curves


def _metrics(step, value):
  return {"checkpoint_step": step, "per_class": {}} | dict.fromkeys(
    curves.KEYS, value
  )


def _points(path):
  return [(p["name"], p["step"], p["mAP"]) for p in curves.read(path)]


def test_points_come_in_the_order_of_the_evaluations(tmp_path):
  path = tmp_path / "eval" / curves.NAME
  assert curves.read(path) == []
  for step in (10, 20):
    curves.append(path, "val", _metrics(step, step / 100))
    curves.append(path, "other", _metrics(step, None))
  assert _points(path) == [
    *(("val", 10, 0.1), ("other", 10, None)),
    *(("val", 20, 0.2), ("other", 20, None)),
  ]
  assert set(curves.read(path)[0]) == {"step", "name", *curves.KEYS}


def test_what_is_done_again_replaces_what_was(tmp_path):
  path = tmp_path / curves.NAME
  for step in (10, 20, 30):
    curves.append(path, "val", _metrics(step, 0.1))
  curves.append(path, "other", _metrics(30, 0.1))
  # The run was killed at 30 and goes on from 15.
  curves.append(path, "val", _metrics(20, 0.5))
  assert _points(path) == [
    *(("val", 10, 0.1), ("other", 30, 0.1), ("val", 20, 0.5)),
  ]


def test_lines_that_are_no_points_are_dropped(tmp_path):
  path = tmp_path / curves.NAME
  path.write_text('{"step": 1, "name": "val"\n[1]\n{"step": 2}\n')
  curves.append(path, "val", _metrics(3, 0.1))
  assert _points(path) == [("val", 3, 0.1)]
