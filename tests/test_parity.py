"""docs/parity.md names tests that are there; the config of the paper.

Its keys and files are checked as those of all pages, in test_docs.py.
"""

import pytest

from configs import deepscores
from dwd_jax.core.errors import InputError
from dwd_jax.train import config_file, settings


def _cells(repo_dir, column: int) -> list[str]:
  """The cells of a column of all tables, headings left out."""
  text = (repo_dir / "docs/parity.md").read_text()
  rows = [
    line.strip("|").split(" | ")
    for line in text.splitlines()
    if line.startswith("| ") and not line.startswith(("| ---", "| original"))
  ]
  assert {len(row) for row in rows} == {3}
  return [row[column].strip(" |") for row in rows]


def test_its_tests_are_tests(repo_dir):
  cells = [cell for cell in _cells(repo_dir, 2) if cell]
  assert len(cells) > 60
  for cell in cells:
    path, _, name = cell.partition("::")
    text = (repo_dir / path).read_text()
    assert not name or f"def {name}(" in text, cell


def test_an_option_without_an_equal_has_its_reason(repo_dir):
  rows = zip(_cells(repo_dir, 1), _cells(repo_dir, 2), strict=True)
  for here, test in rows:
    assert here, test
    assert not (test and here.startswith("not there")), here


def test_the_config_of_the_paper():
  c = deepscores.get_config()
  settings.validate(c)
  assert c.data.crop_hw == (960, 960)
  crops = c.data.corner_prob, c.data.nonempty_prob, c.data.min_visible
  assert crops == (0.3, 0.0, 0.0)
  assert c.data.redraw_empty
  assert (c.pretraining.level, c.pretraining.steps) == ("semseg", 50_000)
  assert c.train.batch_size == 1
  steps = [stage.steps for stage in c.stages]
  assert steps == [20_000, 20_000, 20_000, 10_000, 30_000]
  assert (c.decode.method, c.targets.disc_center) == ("threshold", "rounded")


def test_what_is_ours_is_another_config():
  c = deepscores.get_config("ours")
  settings.validate(c)
  assert (c.data.nonempty_prob, c.data.corner_prob) == (1.0, 0.0)
  assert (c.decode.method, c.targets.disc_center) == ("watershed", "exact")
  assert c.pretraining.level == "none"


@pytest.mark.parametrize("arg", ["runlocal", "ours,runlocal", "runlocal,ours"])
def test_both_shrink(arg):
  c = deepscores.get_config(arg)
  settings.validate(c)
  steps = [c.pretraining.steps, *(stage.steps for stage in c.stages)]
  assert max(steps) <= 10
  assert c.optimizer.name == ("adam" if "ours" in arg else "rmsprop")


def test_another_argument_is_named():
  with pytest.raises(
    InputError, match=r"^--config=configs/\S+: argument 'our'"
  ):
    config_file.load("configs/deepscores.py:our")
