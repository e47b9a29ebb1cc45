"""The loop: what it logs, saves, skips, and how it ends and goes on."""

import contextlib
import dataclasses
import functools
import json
import os
import pathlib
import signal
import time

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
import toy_task as toy

from dwd_jax.checkpoints.checkpointer import Checkpoints
from dwd_jax.core.errors import InputError, InterruptedRun
from dwd_jax.models import compiling
from dwd_jax.train import loop, optim, stepper
from dwd_jax.train import state as state_lib
from dwd_jax.train import step as step_lib
from dwd_jax.train import task as task_lib


def _lines(workdir: pathlib.Path) -> list[dict]:
  text = (workdir / "metrics.jsonl").read_text()
  return [json.loads(line) for line in text.splitlines()]


def _saved(workdir: pathlib.Path) -> list[int]:
  folder = workdir / "checkpoints"
  return sorted(int(p.name) for p in folder.iterdir() if p.name.isdigit())


def _same(a, b) -> None:
  jax.tree.map(np.testing.assert_array_equal, a, b)


def test_it_learns_logs_and_saves(tmp_path):
  state = loop.train(toy.make(tmp_path, stages=toy.stages(30)))
  assert abs(toy.slope(state) - toy.SLOPE) < 0.1
  lines = _lines(tmp_path)
  assert [line["step"] for line in lines] == list(range(1, 31))
  assert lines[-1]["loss"] < 0.01 * lines[0]["loss"]
  for key in ("step_s", "examples_per_second", "memory_gib"):
    assert all(line[key] > 0 for line in lines), key
  assert all(0 <= line["input_wait_share"] <= 1 for line in lines)
  assert all(line["skipped_steps"] == 0 for line in lines)
  assert all(0 < line["flops_share"] < 1 for line in lines)
  for key in ("gradient_norm", "update_norm", "loss_energy", "mean_energy"):
    assert all(line[key] >= 0 for line in lines), key
  wanted = np.mean([line["loss_energy"] for line in lines[-5:]])
  np.testing.assert_allclose(lines[-1]["mean_energy"], wanted, rtol=1e-5)
  assert _saved(tmp_path) == [26, 28, 30]
  assert json.loads((tmp_path / "config.json").read_text())["seed"] == 0


def _killer(at: int, number=signal.SIGTERM):
  def spoil(step, batch):
    if step == at:
      os.kill(os.getpid(), number)
    return batch

  return spoil


def test_sigterm_saves_and_the_next_start_ends_with_the_same_bits(tmp_path):
  wanted = loop.train(toy.make(tmp_path / "whole"))
  handler = signal.getsignal(signal.SIGTERM)
  with pytest.raises(InterruptedRun, match="saved at step 4 of 6; start the"):
    loop.train(toy.make(tmp_path / "run", spoil=_killer(3)))
  assert signal.getsignal(signal.SIGTERM) is handler
  assert _saved(tmp_path / "run")[-1] == 4
  state = loop.train(toy.make(tmp_path / "run"))
  _same(state, wanted)
  steps = [line["step"] for line in _lines(tmp_path / "run")]
  assert steps == [1, 2, 3, 4, 5, 6]


def test_sigterm_in_the_last_step_ends_as_usual(tmp_path):
  state = loop.train(toy.make(tmp_path, spoil=_killer(5)))
  assert int(state.step) == 6 and _saved(tmp_path)[-1] == 6


def _calls(monkeypatch) -> list[int]:
  """Number of steps of each call, filled as a training runs."""
  counts = []
  call = stepper.Stepper.__call__

  def counting(self, state, loader, stage, step, count):
    counts.append(count)
    return call(self, state, loader, stage, step, count)

  monkeypatch.setattr(stepper.Stepper, "__call__", counting)
  return counts


# Calls of three steps, and of one before a log, a checkpoint, a stage's end.
SEVERAL = {
  "steps_per_call": 3,
  "log_every": 8,
  "checkpoint_every": 12,
  "stages": toy.stages(10, 14),
  "optimizer": optim.OptimizerConfig(
    "sgd", 0.05, schedule="cosine", l2=0.0, momentum=0.0
  ),
}


def test_several_steps_in_a_call_equal_single_ones(tmp_path, monkeypatch):
  counts = _calls(monkeypatch)
  bad = _nan(1, 6)  # the first within a call
  several = loop.train(toy.make(tmp_path / "several", spoil=bad, **SEVERAL))
  assert counts == [3, 3, 1, 1, 1, 1, 1, 1, 3, 1, 3, 3, 1, 1]
  assert _saved(tmp_path / "several") == [12, 24]
  one = SEVERAL | {"steps_per_call": 1}
  _same(several, loop.train(toy.make(tmp_path / "one", spoil=bad, **one)))
  assert counts[14:] == [1] * 24
  clocks = {"examples_per_second", "step_s", "input_wait_share"}
  clocks |= {"flops_share", "memory_gib"}
  found, wanted = (
    [{k: v for k, v in x.items() if k not in clocks} for x in _lines(path)]
    for path in (tmp_path / "several", tmp_path / "one")
  )
  assert [line["step"] for line in found] == [8, 16, 24]
  for line, same in zip(found, wanted, strict=True):
    assert line == {  # sums in another order
      k: v if isinstance(v, str) else pytest.approx(v, rel=1e-6)
      for k, v in same.items()
    }
  assert found[0]["skipped_steps"] == 2


def test_sigterm_in_a_call_of_several_steps(tmp_path):
  wanted = loop.train(toy.make(tmp_path / "whole", **SEVERAL))
  with pytest.raises(InterruptedRun, match="saved at step 6 of 24"):
    loop.train(toy.make(tmp_path / "run", spoil=_killer(4), **SEVERAL))
  _same(loop.train(toy.make(tmp_path / "run", **SEVERAL)), wanted)


def test_steps_and_validations_are_compiled_deterministic(
  tmp_path, monkeypatch
):
  """A validation may end a stage."""
  asked = []

  def options(deterministic):
    asked.append(deterministic)
    return {}

  monkeypatch.setattr(compiling, "training_options", options)
  loop.train(toy.make(tmp_path, stages=toy.stages(1), deterministic=True))
  assert asked == [True, True]


def _slow_losses(params, batch_stats, batch, train=True):
  """As the toy's, with products of matrices that take some 0.05 s."""
  square = jnp.full((512, 512), 1 / 512) + 0 * batch["x"][0]
  square = jax.lax.fori_loop(0, 40, lambda _, x: x @ square, square)
  losses, stats, metrics = toy.losses_fn(params, batch_stats, batch, train)
  return losses + 0 * square.sum(), stats, metrics


def test_nothing_blocks_the_host_between_logs(tmp_path, monkeypatch):
  """It asks for the last batch while the devices run the first steps."""
  reads, asked, logged = [], [], []

  def spy(owner, name, seen):
    method = getattr(owner, name)

    def spying(*args, **options):
      result = method(*args, **options)
      seen.append((time.perf_counter(), name))
      return result

    monkeypatch.setattr(owner, name, spying)

  # On CPUs `jax.transfer_guard` sees no transfer.
  names = "__array__", "item", "__float__", "__int__", "block_until_ready"
  for name in names:
    spy(type(jnp.zeros(())), name, reads)
  for name in ("device_get", "block_until_ready"):
    spy(jax, name, reads)
  spy(stepper.Stepper, "values", logged)
  spy(toy.Points, "__next__", asked)
  options = SEVERAL | {"steps_per_call": 1, "log_every": 6}
  options |= {"stages": toy.stages(6), "losses_fn": _slow_losses}
  loop.train(toy.make(tmp_path, **options))
  (first, _), *_, (last, _) = asked[1:]  # the first call compiles
  (end, _) = logged[0]
  assert [x for x in reads if first < x[0] < last] == []
  assert last - first < end - last
  assert len(reads) > 5


def test_waiting_for_batches_counts_where_nothing_runs(tmp_path, monkeypatch):
  idle = False
  kind = type(jnp.zeros(()))
  monkeypatch.setattr(kind, "is_ready", lambda _: idle)

  def slow(step, batch):
    nonlocal idle
    time.sleep(0.02)
    idle = step >= 6
    return batch

  loop.train(toy.make(tmp_path, stages=toy.stages(12), spoil=slow, log_every=6))
  busy, waiting = (
    6 * line["step_s"] * line["input_wait_share"] for line in _lines(tmp_path)
  )
  assert 0.02 <= busy < waiting / 2  # before the first step nothing runs
  assert waiting >= 6 * 0.02


def _nan(*steps: int):
  def spoil(step, batch):
    return batch | {"y": batch["y"] * (np.nan if step in steps else 1)}

  return spoil


def test_steps_that_are_not_finite_are_skipped_and_counted(tmp_path):
  state = loop.train(toy.make(tmp_path, spoil=_nan(1, 3)))
  assert int(state.step) == 6
  np.testing.assert_array_equal(state.skipped, [2, 0])
  lines = _lines(tmp_path)
  assert [line["skipped_steps"] for line in lines] == [0, 1, 1, 2, 2, 2]
  missing = [i for i, line in enumerate(lines) if line["loss"] is None]
  assert missing == [1, 3]
  # The same as without these batches: sgd's momentum has seen four.
  assert np.isfinite(toy.slope(state)) and toy.slope(state) > 0.1


def test_too_many_skipped_steps_in_a_row_end_the_run(tmp_path):
  bad = _nan(*range(3, 100))
  task = toy.make(tmp_path, stages=toy.stages(50), max_skipped=4, spoil=bad)
  with pytest.raises(
    InputError, match=r"last 4 steps up to step 7 \(stage stage0\) were skipped"
  ) as e:
    loop.train(task)
  assert "optimizer.learning_rate" in str(e.value) and "\n" not in str(e.value)
  with np.load(tmp_path / "skipped_batch.npz") as batch:
    assert np.isnan(batch["y"]).all() and np.isfinite(batch["x"]).all()
  # What is saved is sound.
  with ocp.CheckpointManager(tmp_path / "checkpoints") as manager:
    args = ocp.args.Composite(state=ocp.args.StandardRestore())
    saved = manager.restore(manager.latest_step(), args=args).state
  assert np.isfinite(saved["params"]["line"]["kernel"]).all()


def _damage(workdir: pathlib.Path, step: int) -> None:
  files = (workdir / "checkpoints" / str(step) / "state").rglob("*")
  path = max((p for p in files if p.is_file()), key=lambda p: p.stat().st_size)
  path.write_bytes(path.read_bytes()[:-1])


def test_a_damaged_checkpoint_costs_an_interval_not_the_run(tmp_path, capsys):
  wanted = loop.train(toy.make(tmp_path / "whole"))
  run = tmp_path / "run"
  with pytest.raises(InterruptedRun):
    loop.train(toy.make(run, spoil=_killer(4)))
  assert _saved(run) == [2, 4, 5]
  _damage(run, 5)
  state = loop.train(toy.make(run))
  said = capsys.readouterr().out
  assert "checkpoints/5: damaged" in said
  assert "moved to" in said and "going on from the checkpoint before" in said
  assert "Continuing at step 4 of 6" in said
  _same(state, wanted)
  assert (run / "checkpoints_damaged" / "5").is_dir()


def test_where_all_checkpoints_are_damaged_nothing_is_overwritten(tmp_path):
  with pytest.raises(InterruptedRun):
    loop.train(toy.make(tmp_path, spoil=_killer(2)))
  for step in _saved(tmp_path):
    _damage(tmp_path, step)
  with pytest.raises(InputError, match="there is no older one"):
    loop.train(toy.make(tmp_path))
  assert len(list((tmp_path / "checkpoints_damaged").iterdir())) == 2


def test_a_changed_config_is_refused_with_the_difference(tmp_path, capsys):
  with pytest.raises(InterruptedRun):
    loop.train(toy.make(tmp_path, spoil=_killer(2)))

  def changed(**more):
    task = toy.make(tmp_path, **more)
    task.config.optimizer.learning_rate = 0.5
    task.config.stages[1].steps = 7
    task.config.decode.smooth = 3  # changes nothing that is learned
    return task

  with pytest.raises(InputError) as e:
    loop.train(changed())
  text = str(e.value)
  assert "optimizer.learning_rate: 5e-05 -> 0.5" in text
  assert "stages[1].steps: 20000 -> 7" in text
  assert "smooth" not in text
  assert "--config.train.accept_changes=True" in text and "\n" not in text
  state = loop.train(changed(accept_changes=True))
  assert int(state.step) == 6
  assert "Changed: stages[1].steps: 20000 -> 7" in capsys.readouterr().out


def test_validation_losses_end_a_stage_early(tmp_path):
  # The slope is right after a while: then there is no lower loss.
  stages = (
    dataclasses.replace(toy.stages(500)[0], patience=2),
    *toy.stages(3),
  )
  options = {"validate_every": 5, "log_every": 5, "checkpoint_every": 50}
  task = toy.make(tmp_path, stages=stages, **options)
  state = loop.train(task)
  done = int(state.step)
  assert 30 < done < 400
  lines = [s for s in _lines(tmp_path) if "val_loss_energy" in s]
  assert lines[0]["val_loss_energy"] > 100 * lines[-1]["val_loss_energy"]
  assert _saved(tmp_path)[-1] == done
  # Started again it is still at its end, not in the planned stage.
  again = loop.train(dataclasses.replace(task))
  _same(again, state)


def test_evaluations_without_a_better_map_end_a_stage(tmp_path, capsys):
  scores = iter((0.2, None, 0.5, 0.4, 0.5))
  stages = (dataclasses.replace(toy.stages(500)[0], patience=2),)
  # Validation losses, which fall all the time, do not count then.
  options = {"eval_every": 5, "validate_every": 5, "log_every": 5}
  task = toy.make(
    tmp_path, stages=stages, evaluate=lambda *_: next(scores), **options
  )
  assert int(loop.train(task).step) == 25
  assert "ends at step 25: no better mAP" in capsys.readouterr().out
  assert _saved(tmp_path)[-1] == 25


def test_without_validation_pages_there_are_no_validation_losses(tmp_path):
  # As a pretraining on a folder of symbols.
  task = toy.make(tmp_path, validation=None, validate_every=2)
  assert int(loop.train(task).step) == 6
  assert not any("val_loss_energy" in line for line in _lines(tmp_path))


def test_a_resumed_stage_ends_early_at_the_same_step(tmp_path):
  stages = (
    dataclasses.replace(toy.stages(500)[0], patience=2),
    *toy.stages(3),
  )
  options = {"validate_every": 5, "log_every": 5, "checkpoint_every": 50}
  options |= {"stages": stages}
  wanted = loop.train(toy.make(tmp_path / "whole", **options))
  run = tmp_path / "run"
  for kill in (7, int(wanted.step) - 5, int(wanted.step) - 2):
    with pytest.raises(InterruptedRun):
      loop.train(toy.make(run, spoil=_killer(kill), **options))
  _same(loop.train(toy.make(run, **options)), wanted)


def test_operations_of_all_parts_of_a_batch_are_counted():
  weights = jnp.ones((64, 64))

  def losses_fn(params, batch_stats, batch, train=True):
    wide = (batch["x"] * params["line"]["kernel"]) @ jnp.ones((1, 64))
    losses, stats, metrics = toy.losses_fn(params, batch_stats, batch, train)
    return losses.at[0].add((wide @ weights @ weights).sum()), stats, metrics

  tx = optim.make_optimizer(optim.OptimizerConfig("sgd"))
  state = state_lib.new_state(toy.variables(), tx, 5)
  batch = {"x": np.ones((64, 1), np.float32), "y": np.ones((64, 1), np.float32)}
  counts = []
  for parts in (1, 4):
    run = functools.partial(
      step_lib.train_step,
      losses_fn=losses_fn,
      tx=tx,
      cfg=step_lib.UpdateConfig(accumulate=parts),
    )
    plan = step_lib.make_plan(toy.stages(1)[0], 0.1)
    lowered = jax.jit(run).lower(state, batch, plan)
    counts.append(stepper.flops(lowered, parts))
  # The same products of matrices, cut into parts.
  np.testing.assert_allclose(counts[1], counts[0], rtol=0.05)


def test_the_best_checkpoint_stays(tmp_path):
  scores = {2: 0.1, 4: 0.9, 6: 0.2, 8: 0.3}

  def evaluate(state, logs):
    del logs
    return scores.get(int(state.step))

  task = toy.make(
    tmp_path,
    stages=toy.stages(10),
    evaluate=evaluate,
    eval_every=2,
    checkpoint_every=1,
    keep_checkpoints=2,
  )
  loop.train(task)
  assert _saved(tmp_path) == [4, 9, 10]
  checkpoints = Checkpoints(tmp_path / "checkpoints")
  assert checkpoints.best_step() == 4
  checkpoints.close()


def test_two_trainings_do_not_write_in_one_folder(tmp_path):
  def evaluate(state, logs):
    with pytest.raises(InputError, match="another training is writing there"):
      loop.train(toy.make(tmp_path))

  task = toy.make(tmp_path, evaluate=evaluate, eval_every=3)
  assert int(loop.train(task).step) == int(loop.train(task).step)


def test_reading_a_run_changes_nothing(tmp_path):
  loop.train(toy.make(tmp_path))
  unfinished = tmp_path / "checkpoints" / "7.orbax-checkpoint-tmp-0"
  unfinished.mkdir()
  with contextlib.closing(
    Checkpoints(tmp_path / "checkpoints", read_only=True)
  ) as opened:
    assert opened.all_steps()
  assert unfinished.is_dir()
  with contextlib.closing(Checkpoints(tmp_path / "checkpoints")):
    assert not unfinished.exists()
  Checkpoints(tmp_path / "none", read_only=True).close()
  assert not (tmp_path / "none").exists()


def test_a_trace_is_written(tmp_path):
  loop.train(toy.make(tmp_path, stages=toy.stages(12)), profile=True)
  traces = list((tmp_path / "profile").rglob("*.xplane.pb"))
  assert len(traces) == 1 and traces[0].stat().st_size > 1000


def test_a_trace_of_a_short_run_ends_with_it(tmp_path):
  loop.train(toy.make(tmp_path, stages=toy.stages(7)), profile=True)
  assert list((tmp_path / "profile").rglob("*.xplane.pb"))


def test_pictures_reach_tensorboard(tmp_path):
  seen = []

  def pictures(state, batch):
    seen.append((int(state.step), batch["x"].shape))
    return {"crops": np.zeros((4, 4, 3), np.uint8)}

  loop.train(toy.make(tmp_path, pictures=pictures, pictures_every=3))
  assert seen == [(3, (4, 1)), (6, (4, 1))]
  data = b"".join(p.read_bytes() for p in (tmp_path / "tensorboard").iterdir())
  assert b"train/crops" in data


def test_new_states_of_all_seeds_are_compiled_once():
  traced = []

  def init(seed):
    traced.append(seed)
    return jax.random.normal(jax.random.key(seed), (3,))

  found = [state_lib.init_on_host(init, seed) for seed in (0, 1, 2**32 - 1)]
  assert len(traced) == 1
  for seed, values in zip((0, 1, 2**32 - 1), found, strict=True):
    wanted = jax.random.normal(jax.random.key(seed), (3,))
    np.testing.assert_array_equal(values, wanted)


class _Scores:
  """Renewals with given scores; batches depend on the last one's slope."""

  def __init__(self, scores):
    self.scores, self.kept, self.seen = scores, {}, []

  def run(self, state, loader, done):
    self.kept[done] = toy.slope(state)
    self.again(loader, done)
    return {"agreement": self.scores[done], "slope": self.kept[done]}

  def again(self, loader, done):
    self.seen.append(done)
    slope = self.kept[done]
    loader._spoil = lambda step, batch: batch | {"y": batch["y"] + 0.1 * slope}


def _renewed(workdir, scores, **changes):
  """A task with renewals every 2 steps, of which two in a row may be worse."""
  renewal = task_lib.Renewal(2, "agreement", scores.run, scores.again)
  stages = toy.stages(8, patience=2)
  return toy.make(workdir, renewal=renewal, stages=stages, **changes)


def test_batches_are_renewed_until_the_score_no_longer_rises(tmp_path):
  scores = _Scores({0: 0.1, 2: 0.5, 4: 0.5, 6: 0.2})
  task = _renewed(
    tmp_path,
    scores,
    checkpoint_every=100,
    keep_checkpoints=1,
    eval_every=5,
    evaluate=lambda state, logs: 0.9,  # counts for nothing here
  )
  assert loop.train(task).step == 6
  assert scores.seen == [0, 2, 4, 6]
  logged = {x["step"]: x["agreement"] for x in _lines(tmp_path) if "slope" in x}
  assert logged == scores.scores
  assert _saved(tmp_path) == [2, 6]  # the best, and the last


def test_a_run_goes_on_with_the_batches_of_its_last_renewal(tmp_path):
  rising = {done: done / 10 for done in range(0, 9, 2)}
  wanted = loop.train(_renewed(tmp_path / "whole", _Scores(rising)))
  scores = _Scores(rising)
  task = _renewed(tmp_path / "stopped", scores, accept_changes=True)
  state = loop.train(dataclasses.replace(task, stages=toy.stages(5)))
  assert state.step == 5
  scores.seen.clear()
  _same(loop.train(task).params, wanted.params)
  assert scores.seen == [4, 6, 8]
