"""Divides an evaluation among the processes of a run.

Every process predicts a part of the pages; process 0 collects, measures and
writes. The result does not depend on the number of processes.
"""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from dwd_jax.cluster import processes
from dwd_jax.core.structs import PageBoxes
from dwd_jax.evaluate.evaluate_split import Predicted


def on_local_device(tree: Any, mesh: Mesh) -> Any:
  """Copies arrays on the mesh, whole, to a device of this process.

  To be called in all processes at once.
  """
  device = jax.local_devices()[0]
  if jax.process_count() > 1:
    whole = jax.jit(
      lambda x: x, out_shardings=NamedSharding(mesh, PartitionSpec())
    )(tree)
    tree = jax.tree.map(lambda x: x.addressable_data(0), whole)
  return jax.device_put(tree, device)


def part(num_pages: int, overlays: int = 0) -> range:
  """Pages that this process predicts; see `collect`.

  Process 0 predicts at least the first `overlays` pages, which it draws.
  """
  count, index = jax.process_count(), jax.process_index()
  if count == 1:
    return range(num_pages)
  first = min(max(-(-num_pages // count), overlays), num_pages)
  edges = [0, *np.linspace(first, num_pages, count).astype(int).tolist()]
  return range(edges[index], edges[index + 1])


def collect(predicted: Predicted) -> Predicted:
  """Collects all parts in process 0, in the order of the pages; see `part`.

  The pictures are those of its own part. Other processes get their input back.
  """
  if jax.process_count() == 1:
    return predicted
  parts = processes.to_first("evaluation", _arrays(predicted))
  if not parts:
    return predicted
  weights = np.array([len(part["hw"]) for part in parts], float)
  seconds = np.array([float(part["seconds"]) for part in parts])
  timed = np.isfinite(seconds) & (weights > 0)
  return Predicted(
    truth=[page for part in parts for page in _split("truth", part)],
    detections=[page for part in parts for page in _split("found", part)],
    shown=predicted.shown,
    overflowing_pages=[str(n) for p in parts for n in p["overflowing"]],
    seconds_per_page=float(np.average(seconds[timed], weights=weights[timed]))
    if timed.any()
    else float("nan"),
    staff_spaces=np.concatenate([p["staff_spaces"] for p in parts]).tolist(),
  )


def _arrays(predicted: Predicted) -> dict[str, np.ndarray]:
  return {
    "names": np.array([p.filename for p in predicted.truth], np.str_),
    "hw": np.array([p.image_hw for p in predicted.truth], int).reshape(-1, 2),
    "overflowing": np.array(predicted.overflowing_pages, np.str_),
    "seconds": np.array(predicted.seconds_per_page),
    "staff_spaces": np.array(predicted.staff_spaces, float),
    **_joined("truth", predicted.truth),
    **_joined("found", predicted.detections),
  }


def _joined(kind: str, pages: Sequence[PageBoxes]) -> dict[str, np.ndarray]:
  joined = {f"{kind}_counts": np.array([len(p.labels) for p in pages], int)}
  if pages:
    joined[f"{kind}_boxes"] = np.concatenate([p.boxes_yxyx for p in pages])
    joined[f"{kind}_labels"] = np.concatenate([p.labels for p in pages])
    scores = [p.scores for p in pages if p.scores is not None]
    if scores:
      joined[f"{kind}_scores"] = np.concatenate(scores)
  return joined


def _split(kind: str, arrays: dict[str, np.ndarray]) -> list[PageBoxes]:
  """Splits the boxes of one part by page; `kind` is truth or found."""
  ends = np.cumsum(arrays[f"{kind}_counts"])
  pages = []
  for i, count in enumerate(arrays[f"{kind}_counts"]):
    rows = slice(ends[i] - count, ends[i])
    scores = arrays.get(f"{kind}_scores")
    height, width = arrays["hw"][i].tolist()
    pages.append(
      PageBoxes(
        filename=str(arrays["names"][i]),
        image_hw=(height, width),
        boxes_yxyx=arrays[f"{kind}_boxes"][rows],
        labels=arrays[f"{kind}_labels"][rows],
        scores=None if scores is None else scores[rows],
      )
    )
  return pages
