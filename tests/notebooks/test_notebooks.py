"""The notebooks run from top to bottom, with small values."""

import os
import re

import nbclient
import nbformat
import notebook_helpers
import pytest

from dwd_jax.checkpoints import weights

pytestmark = pytest.mark.slow

# Warnings are errors in the cells, too.
_STRICT = """
import warnings
warnings.simplefilter("error")
# ipykernel and its friends, when they tidy up.
warnings.filterwarnings("ignore", category=ResourceWarning)
warnings.filterwarnings("ignore", module="ipykernel")
# tensorflow-datasets, see pyproject.toml.
warnings.filterwarnings("ignore", "label\\\\(\\\\) is deprecated")
"""
_NETWORK = [
  "--config.model.backbone_width=8",
  "--config.model.filters=8",
  "--config.model.class_hidden=0",
  "--config.data.crop_hw=(64,64)",
  "--config.train.batch_size=2",
  "--config.optimizer.warmup_steps=1",
  "--config.eval.overlays=1",
  # Only the last stage: each is compiled.
  *(f"--config.stages[{i}].steps=0" for i in range(4)),
]


@pytest.fixture(scope="module")
def execute(tmp_path_factory):
  """Runs a notebook with parameters; gives the folder and the notebook."""
  folder = tmp_path_factory.mktemp("notebooks")
  environment = os.environ | {
    "PYTHONPATH": str(notebook_helpers.REPO),
    "IPYTHONDIR": str(folder / "ipython"),  # not the user's start-up files
    "MPLCONFIGDIR": str(folder / "matplotlib"),
    "JAX_PLATFORMS": "cpu",
  }

  def execute_(name, **parameters):
    path = notebook_helpers.REPO / "notebooks" / f"{name}.ipynb"
    code = "\n".join(f"{k} = {v!r}" for k, v in parameters.items())
    notebook = notebook_helpers.with_parameters(
      notebook_helpers.read(path), _STRICT + code
    )
    client = nbclient.NotebookClient(
      notebook,
      timeout=300,
      kernel_name="python3",
      resources={"metadata": {"path": str(folder)}},
    )
    client.execute(env=environment)
    return folder, notebook

  return execute_


def _printed(notebook: nbformat.NotebookNode, cell_id: str) -> str:
  """What a cell has printed, and the text of what it shows."""
  (cell,) = (c for c in notebook.cells if c.id == cell_id)
  return "".join(
    out.get("text", "") or out.get("data", {}).get("text/plain", "")
    for out in cell.outputs
  )


def _num_pictures(notebook: nbformat.NotebookNode) -> int:
  return sum(
    "image/png" in out.get("data", {})
    for cell in notebook.cells
    for out in cell.get("outputs", ())
  )


def test_quickstart(execute):
  folder, notebook = execute("quickstart", PAGE_WIDTH=376, PAGE_HEIGHT=376)
  written = {path.name for path in (folder / "quickstart").iterdir()}
  assert {"coco.json", "mung.xml", "overlay.png", "symbols.csv"} <= written
  by_default = re.search(r"(\d+) symbols by", _printed(notebook, "low"))
  assert by_default
  # Nearly all of the page; the detector's own tests are stricter.
  assert int(by_default[1]) > 20
  lines = (folder / "quickstart/symbols.csv").read_text().splitlines()
  assert len(lines) == int(by_default[1]) + 1
  assert "noteheadBlack" in _printed(notebook, "mine-detect")
  assert _num_pictures(notebook) == 4


def test_look_inside(execute):
  _, notebook = execute("look_inside", PAGE_WIDTH=384, PAGE_HEIGHT=384)
  assert _num_pictures(notebook) == 8
  counts = {
    method: int(number)
    for method, number in re.findall(
      r"'(\w+)': (\d+)", _printed(notebook, "both")
    )
  }
  assert counts["threshold"] < counts["watershed"]


def test_train_on_your_data_then_evaluate_the_run(execute):
  folder, notebook = execute(
    "train_on_your_data", PAGES=6, STEPS=2, FLAGS=_NETWORK
  )
  mine = folder / "train_on_your_data"
  assert set(weights.read(mine / "mine.safetensors").class_names) == {
    "noteheadBlack",
    "rest8th",
    "gClef",
    "fClef",
  }
  assert "No errors" in _printed(notebook, "check")
  assert "<Detections of" in _printed(notebook, "detect")
  # The same training, which finds its compiled code.
  flags = [
    *_NETWORK,
    f"--config.data.manual_dir={mine / 'data'}",
    "--config.stages[4].steps=2",
  ]
  _, notebook = execute(
    "evaluate_a_run", CONFIG="boxes.py:runlocal", FLAGS=flags
  )
  assert "'mAP_50'" in _printed(notebook, "summary")
  of_all = re.search(r"^(\d+) true objects", _printed(notebook, "confusion"))
  assert of_all and int(of_all[1]) > 0
  assert (folder / "evaluate_a_run/eval/test/report.html").is_file()
  assert _num_pictures(notebook) == 4


def test_a_cell_that_fails_or_warns_fails_the_test(execute, tmp_path):
  notebook = nbformat.v4.new_notebook()
  for code in (_STRICT, "warnings.warn('aha', stacklevel=1)"):
    notebook.cells.append(nbformat.v4.new_code_cell(code))
  with pytest.raises(nbclient.exceptions.CellExecutionError, match="aha"):
    nbclient.NotebookClient(notebook, kernel_name="python3").execute()
