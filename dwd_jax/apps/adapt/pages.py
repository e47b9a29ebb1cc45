"""Pages without boxes, as the network sees them, in W/adaptation/pages.

They are read as `dwd_jax.detect` reads them: negatives become positive, turned
pages upright, and all are scaled to the staff space of the detector.
"""

import dataclasses
import io
import json
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import UInt8

from dwd_jax.apps.detect import inputs
from dwd_jax.cluster import processes
from dwd_jax.core import box_index, files
from dwd_jax.core.errors import InputError
from dwd_jax.core.structs import PageImage
from dwd_jax.imaging import page_windows
from dwd_jax.predict import normalise, staves
from dwd_jax.train.setup import Run

_LIST = "pages.json"


@dataclasses.dataclass(frozen=True)
class Pages:
  """Pages as the network sees them, in files.

  Attributes:
    names: unique, as those of results of a detection.
    page_hw: height and width of each, px.
  """

  folder: pathlib.Path
  names: tuple[str, ...]
  page_hw: tuple[tuple[int, int], ...]

  def __len__(self) -> int:
    return len(self.names)

  def ink(self, i: int) -> UInt8[np.ndarray, "H W *c"]:
    """Page `i`, 255 = ink; it stays in its file."""
    return box_index.read_array(self.folder / f"{i}.npy", mapped=True)


def prepare(run: Run, folder: pathlib.Path) -> Pages:
  """Reads the pages of `adapt.pages`, unless `folder` has them.

  Process 0 does it, the others wait.

  Raises:
    InputError: less than two pages.
  """
  if processes.is_first():
    _prepare(run, folder)
  processes.wait_for_all("pages without boxes")
  content = files.read_json(folder / _LIST)
  return Pages(
    folder,
    tuple(content["names"]),
    tuple((height, width) for height, width in content["page_hw"]),
  )


def _prepare(run: Run, folder: pathlib.Path) -> None:
  path = pathlib.Path(run.settings.adapt.pages).expanduser()
  found, failed = inputs.find([path])
  if not found:
    raise InputError(f"config: adapt.pages: {failed[0].reason}")
  origin = {
    "pages": [_origin(source) for source in found],
    "staff_space_px": run.settings.predict.staff_space_px,
    "eval_scale": float(run.config.data.eval_scale),
    "polarity": run.polarity,
  }
  try:
    if files.read_json(folder / _LIST)["origin"] == origin:
      return
  except (OSError, ValueError, KeyError, TypeError):
    pass  # new, or damaged
  for failure in failed:
    processes.say(failure.reason)
  files.make_dir(folder)
  names, page_hw = [], []
  for name, ink in _read(run, found):
    data = io.BytesIO()
    np.save(data, ink, allow_pickle=False)
    files.write_atomic(folder / f"{len(names)}.npy", data.getvalue())
    names.append(name)
    page_hw.append(ink.shape[:2])
  if len(names) < 2:
    raise InputError(
      f"config: adapt.pages: {path}: {len(names)} usable pages; name a folder"
      " of at least two, one of which is kept aside"
    )
  content: dict[str, Any] = {"origin": origin, "names": names}
  content["page_hw"] = page_hw
  files.write_atomic(folder / _LIST, json.dumps(content) + "\n")


def _origin(source: inputs.Source) -> list[Any]:
  with inputs.reading(source.path):
    status = source.path.stat()
  absolute = str(source.path.absolute())
  return [absolute, source.number, status.st_size, status.st_mtime_ns]


def _read(
  run: Run, found: list[inputs.Source]
) -> Iterator[tuple[str, np.ndarray]]:
  """(name, ink at the network's scale) of the pages that can be used."""
  wanted = run.settings.predict.staff_space_px
  normaliser = normalise.Normaliser(run.settings.predict)
  for source in found:
    try:
      ink = inputs.read(
        source, wanted, polarity=run.polarity, channels=run.model.cfg.channels
      ).ink
    except InputError as e:
      processes.say(f"{e}; left out")
      continue
    space = None
    if wanted:
      of_page = staves.find(ink)
      if not of_page.spaces:
        processes.say(f"{source.describe()}: no staff found; left out")
        continue
      ink, space = of_page.applied(ink), of_page.spaces[0]
    scale = float(run.config.data.eval_scale)
    scale = normaliser.scaled(PageImage(source.name, ink, scale, space)).scale
    window = page_windows.page_window((ink.shape[0], ink.shape[1]), scale, 1)
    yield source.name, page_windows.cut(ink, window)
