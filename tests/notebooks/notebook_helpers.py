"""Notebooks as they are kept and as they are run.

    python tests/notebooks/notebook_helpers.py

strips all notebooks: what running one leaves behind is not kept.
"""

import copy
import pathlib

import nbformat

REPO = pathlib.Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((REPO / "notebooks").glob("*.ipynb"))
METADATA = {
  "kernelspec": {
    "display_name": "Python 3",
    "language": "python",
    "name": "python3",
  },
  "language_info": {"name": "python"},
}


def read(path: pathlib.Path) -> nbformat.NotebookNode:
  return nbformat.read(path, as_version=4)


def stripped(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
  """A copy without outputs, counts, and metadata of people and programs."""
  notebook = copy.deepcopy(notebook)
  notebook.metadata = nbformat.from_dict(METADATA)
  for cell in notebook.cells:
    tags = cell.metadata.get("tags")
    cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})
    cell.pop("attachments", None)
    if cell.cell_type == "code":
      cell.outputs = []
      cell.execution_count = None
  return notebook


def text_of(notebook: nbformat.NotebookNode) -> str:
  """The text of its file."""
  return nbformat.writes(notebook) + "\n"


def with_parameters(
  notebook: nbformat.NotebookNode, code: str
) -> nbformat.NotebookNode:
  """A copy with a cell after the one with the tag `parameters`.

  As papermill does it: what the cell says replaces what stood before.
  """
  notebook = copy.deepcopy(notebook)
  (place,) = (
    i
    for i, cell in enumerate(notebook.cells)
    if "parameters" in cell.metadata.get("tags", ())
  )
  cell = nbformat.v4.new_code_cell(code, id="injected-parameters")
  notebook.cells.insert(place + 1, cell)
  return notebook


if __name__ == "__main__":
  for each in NOTEBOOKS:
    each.write_text(text_of(stripped(read(each))), encoding="utf8")
