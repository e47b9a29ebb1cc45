"""What one of two processes sends the other; run by test_distributed.py.

Arguments: port of the coordinator, number of this process, folder of both, in
which parts of an evaluation that was killed are left. Process 0 prints
what it has got as JSON, both print whether they were first at the end.
"""

import json
import pathlib
import sys
import tempfile
from typing import BinaryIO

import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from dwd_jax.cluster import distributed, processes
from dwd_jax.core.structs import PageBoxes
from dwd_jax.evaluate import among_processes
from dwd_jax.evaluate.evaluate_split import Predicted
from dwd_jax.evaluate.page_store import PageStore

PAGES = 5


def _page(i: int, scores: bool) -> PageBoxes:
  n = i % 3  # page 0 and page 3 are empty
  boxes = np.arange(4 * n, dtype=np.float32).reshape(n, 4) + i
  return PageBoxes(
    filename=f"é{i}.png",
    image_hw=(10 + i, 20 + i),
    boxes_yxyx=boxes,
    labels=np.arange(n, dtype=np.int32) + i,
    scores=np.arange(n, dtype=np.float32) / 7 if scores else None,
  )


def _equal(a: PageBoxes, b: PageBoxes) -> bool:
  pairs = zip(
    (a.boxes_yxyx, a.labels, a.scores),
    (b.boxes_yxyx, b.labels, b.scores),
    strict=True,
  )
  return (a.filename, a.image_hw) == (b.filename, b.image_hw) and all(
    (x is None and y is None) or (x.dtype == y.dtype and np.array_equal(x, y))
    for x, y in pairs
  )


def _predicted(pages: range, boxes: BinaryIO) -> Predicted:
  store = PageStore(boxes)
  for i in pages:
    store.add(_page(i, False), _page(i, True))
  return Predicted(
    pages=store,
    shown=[],
    overflowing_pages=[f"é{i}.png" for i in pages if i in (1, 4)],
    seconds_per_page=2.0 if 0 in pages else 4.0,
    staff_spaces=[i + 0.5 if i else np.nan for i in pages],
  )


def main() -> None:
  port, process, folder = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
  folder = pathlib.Path(folder)
  settings = distributed.ProcessSettings(f"127.0.0.1:{port}", 2, process)
  with distributed.running(settings):
    mesh = jax.make_mesh((2,), ("fsdp",), axis_types=(AxisType.Auto,))
    sharding = NamedSharding(mesh, PartitionSpec("fsdp"))
    mine = np.array([process, process + 10])
    spread = jax.make_array_from_process_local_data(sharding, mine)
    whole = among_processes.on_local_device({"x": spread}, mesh)["x"]
    assert whole.is_fully_addressable
    assert np.asarray(whole).tolist() == [0, 10, 1, 11]
    heard = processes.from_first("word", "from 0" if process == 0 else "no")
    assert heard == "from 0"
    part, drawn = (
      among_processes.part(PAGES),
      among_processes.part(PAGES, overlays=5),
    )
    with (
      among_processes.together(folder, step=7) as shared,
      tempfile.TemporaryFile() as own,
    ):
      all_pages = shared.collect(_predicted(part, shared.boxes or own))
      names = sorted(path.name for path in (folder / "parts").iterdir())
      processes.wait_for_all("looked")
      order, equal = [], []
      for i, (truth, detections) in enumerate(all_pages.pages):
        order.append(truth.filename)
        of_run = i + part.start
        same = _equal(truth, _page(of_run, False))
        equal.append(same and _equal(detections, _page(of_run, True)))
    if process == 0:
      found = {
        "parts": [list(part), list(drawn)],
        "order": order,
        "files": [name.rpartition("-")[2] for name in names],
        "left": [path.name for path in folder.iterdir()],
        "equal": equal,
        "overflowing": all_pages.overflowing_pages,
        "seconds": all_pages.seconds_per_page,
        "staff_spaces": [str(s) for s in all_pages.staff_spaces],
      }
      print(json.dumps(found))
    else:
      assert list(drawn) == []
  print("after", processes.is_first())


if __name__ == "__main__":
  main()
