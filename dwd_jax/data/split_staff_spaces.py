"""Staff spaces of the pages of a split, stored beside the records.

`staff_spaces/<split>.npy` in the folder of the records has the staff space of
each page, px of the page: NaN = no staff found, -1 = not measured yet. Pages
read with bright ink have `<split>-bright.npy`.
"""

import concurrent.futures
import contextlib
import io
import os
import pathlib
from collections.abc import Iterable

import numpy as np
from jaxtyping import Float

from dwd_jax.cluster import processes
from dwd_jax.core import box_index, files
from dwd_jax.data import sampling
from dwd_jax.data.sources import PageSource
from dwd_jax.imaging import grey, staff_space

FOLDER = "staff_spaces"  # in the folder of the records
_SAMPLE = 32  # pages that give the typical staff space
_MIN_SHARE = 0.25  # of them that must have staves
_MANY = 500  # pages; measuring them is announced
_MAX_FACTOR = 4.0  # and its inverse; beyond, the estimate is not used
_NOT_MEASURED = -1.0


def typical_staff_space(source: PageSource) -> float:
  """Median staff space of 32 pages of a split, px of the page.

  0.0 if at most a quarter of them have staves.
  """
  at = sampling.spread(np.arange(len(source)), _SAMPLE)
  spaces = _measured(source, at)[at]
  found = spaces[~np.isnan(spaces)]
  return float(np.median(found)) if len(found) > _MIN_SHARE * len(at) else 0.0


def staff_spaces(source: PageSource) -> Float[np.ndarray, " p"]:
  """Staff space of every page of a split, px of the page; NaN = none."""
  return _measured(source, np.arange(len(source)))


def scale_factors(
  source: PageSource, data_cfg
) -> Float[np.ndarray, " p"] | None:
  """Factors of the scales of training pages that give equal staff spaces.

  Args:
    source: the training pages.
    data_cfg: `config.data`. `data.scales` are for pages with a staff space of
      `staff_space_px` at `eval_scale`.

  Returns:
    1 for pages without staves; None if `normalise_staff_space` is off.
  """
  if not data_cfg.normalise_staff_space:
    return None
  wanted = data_cfg.staff_space_px / data_cfg.eval_scale
  found = (wanted or typical_staff_space(source)) / staff_spaces(source)
  usable = (found >= 1 / _MAX_FACTOR) & (found <= _MAX_FACTOR)  # NaN is not
  return np.where(usable, found, 1.0)


def _measured(source: PageSource, pages: np.ndarray) -> np.ndarray:
  """Staff spaces of all pages, measured for at least `pages`."""
  path = None
  if source.folder and source.split.isidentifier():
    bright = "-bright" * (source.polarity in ("light", "keep"))
    name = f"{source.split}{bright}.npy"
    path = pathlib.Path(source.folder) / FOLDER / name
  spaces = _read(path, len(source))
  todo = pages[spaces[pages] == _NOT_MEASURED]
  if len(todo):
    if len(todo) >= _MANY:
      processes.say(f"Measuring the staves of {len(todo):,} pages")
    spaces[todo] = _measure(source, todo.tolist())
    _write(path, spaces)
  return spaces


def _measure(source: PageSource, pages: Iterable[int]) -> list[float]:
  def one(page: int) -> float:
    found = staff_space.estimate(grey.ink_of(source.image(page)))
    return np.nan if found is None else found.px

  with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    return list(pool.map(one, pages))


def _read(path: pathlib.Path | None, count: int) -> np.ndarray:
  """Stored staff spaces; `_NOT_MEASURED` if there are none or damaged ones."""
  if path is not None:
    with contextlib.suppress(OSError, ValueError):
      spaces = box_index.read_array(path)
      if spaces.shape == (count,) and spaces.dtype == np.float32:
        return spaces
  return np.full(count, _NOT_MEASURED, np.float32)


def _write(path: pathlib.Path | None, spaces: np.ndarray) -> None:
  """Stores staff spaces if the folder is writable."""
  if path is not None:
    data = io.BytesIO()
    np.save(data, spaces, allow_pickle=False)
    with contextlib.suppress(OSError):
      files.write_atomic(path, data.getvalue())
