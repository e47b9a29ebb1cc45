"""The ablation: variants are valid configs, the table is over the seeds."""

import argparse

import pytest

from benchmarks import ablation
from dwd_jax.train import settings as config_lib


def _args(tmp_path):
  return argparse.Namespace(workdir=str(tmp_path), steps=60, tiny=False)


@pytest.mark.parametrize("variant", ablation.VARIANTS)
def test_variants_are_valid_configs_and_differ_from_the_baseline(variant):
  config = config_lib.default()
  config.update_from_flattened_dict(ablation.VARIANTS[variant])
  config_lib.validate(config)
  same = {
    key: value
    for key, value in ablation.VARIANTS[variant].items()
    if ablation._BASELINE.get(key) == value
  }
  assert not same


def test_commands_have_all_sets_and_the_changes(tmp_path):
  command = ablation.command(_args(tmp_path), "up", 3, tmp_path / "up" / "3")
  assert "--config.seed=3" in command
  assert "--config.stages[4].steps=10" in command
  # The variant comes after the baseline: the last one counts.
  last = [x for x in command if x.startswith("--config.data.synthetic.layout")]
  assert last == ["--config.data.synthetic.layout=up"]
  for i, name in enumerate(("scan", "photo", "sizes")):
    assert f"--config.eval.on[{i}].name={name}" in command


def test_figures_and_table():
  def scores(ap):
    rows = (("often", 300, 0.9), ("rare", 12, ap), ("absent", 0, None))
    return {
      "mAP": ap / 2,
      "mAP_50": ap,
      "per_class": {
        name: {"AP_50": value, "num_objects": count}
        for name, count, value in rows
      },
    }

  found = [{"val": ablation.figures(scores(ap))} for ap in (0.2, 0.4)]
  assert found[0]["val"] == {"mAP": 0.1, "mAP_50": 0.2, "rare_AP_50": 0.2}
  rows = ablation.table({"up": found, "full": found[:1]})
  assert rows["up"]["seeds"] == 2
  assert rows["up"]["val"]["mAP_50"] == [0.3, pytest.approx(0.1414)]
  assert rows["full"]["val"]["mAP_50"] == [0.2, None]


def test_unknown_variants_are_refused(tmp_path, capsys):
  with pytest.raises(SystemExit):
    ablation.main([f"--workdir={tmp_path}", "--variants=up;down"])
  assert "'down'; known: baseline, uniform crops" in capsys.readouterr().err
