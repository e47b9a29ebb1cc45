"""Notebooks are kept without what running them leaves behind."""

import re
import subprocess
import sys

import nbformat
import notebook_helpers
import pytest

_EACH = pytest.mark.parametrize(
  "path", notebook_helpers.NOTEBOOKS, ids=lambda path: path.stem
)


def test_there_are_notebooks_and_all_are_listed(repo_dir):
  names = {path.stem for path in notebook_helpers.NOTEBOOKS}
  assert {"quickstart", "look_inside"} <= names
  index = (repo_dir / "docs/README.md").read_text(encoding="utf8")
  for name in names:
    assert f"(../notebooks/{name}.ipynb)" in index


@_EACH
def test_it_is_valid_and_stripped(path):
  notebook = notebook_helpers.read(path)
  nbformat.validate(notebook)
  text = notebook_helpers.text_of(notebook_helpers.stripped(notebook))
  assert path.read_text(encoding="utf8") == text, (
    "run python tests/notebooks/notebook_helpers.py"
  )


@_EACH
def test_ids_are_names(path):
  # Not random ones, which would change with every edit by another program.
  ids = [cell.id for cell in notebook_helpers.read(path).cells]
  assert len(set(ids)) == len(ids)
  assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", name) for name in ids), ids


@_EACH
def test_it_begins_with_title_parameters_and_install(path):
  cells = notebook_helpers.read(path).cells
  assert cells[0].source.startswith("# ")
  parameters, install, *_ = (c for c in cells if c.cell_type == "code")
  assert parameters.metadata.tags == ["parameters"]
  assert parameters.source.startswith("SOURCE = ")
  assert "%pip install -q {SOURCE}" in install.source


@_EACH
def test_every_code_cell_is_explained_and_short(path):
  for cell in notebook_helpers.read(path).cells:
    lines = cell.source.splitlines()
    assert len(lines) <= (45 if cell.cell_type == "code" else 4), cell.id
    assert not re.search(r"/home/|/root/|/tmp/|https?://", cell.source), cell.id


def test_the_linter_is_content(repo_dir):
  for command in (["check"], ["format", "--check"]):
    done = subprocess.run(
      [sys.executable, "-m", "ruff", *command, "notebooks"],
      cwd=repo_dir,
      capture_output=True,
      text=True,
      check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_stripping_takes_out_what_running_leaves():
  cell = nbformat.v4.new_code_cell(
    "1 + 1",
    id="sum",
    metadata={"tags": ["kept"], "executionInfo": {"user": "somebody"}},
    execution_count=3,
    outputs=[nbformat.v4.new_output("stream", text="2")],
  )
  notebook = nbformat.v4.new_notebook(
    cells=[cell], metadata={"colab": {"name": "mine"}}
  )
  (clean,) = notebook_helpers.stripped(notebook).cells
  assert clean.metadata == {"tags": ["kept"]} and clean.id == "sum"
  assert clean.outputs == [] and clean.execution_count is None
  assert "somebody" not in notebook_helpers.text_of(
    notebook_helpers.stripped(notebook)
  )
  assert cell.outputs  # the original stays as it was
