"""Staff spaces of the pages of a split: measured once, kept beside the records.

`staff_spaces/<split>.npy` in the folder of the records has a number for each
page, px of the page: NaN where no staff was found, -1 where none was measured
yet.
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
from dwd_jax.core import files
from dwd_jax.data.sources import PageSource
from dwd_jax.imaging import staff_space

FOLDER = "staff_spaces"  # in the folder of the records
_SAMPLE = 32  # pages that say what is usual in a split
_LEAST = 0.25  # share of them that must have staves
_MANY = 500  # pages whose measuring takes long enough to be announced
_MOST = 4.0  # a page is scaled by at most that, else the estimate is not used
_NOT_YET = -1.0


def usual(source: PageSource) -> float:
  """The median staff space of some pages of a split, px of the page.

  Args:
    source: the split; 32 of its pages are looked at.

  Returns:
    0.0 where most of them have no staves.
  """
  at = np.linspace(0, len(source) - 1, min(_SAMPLE, len(source)))
  at = np.unique(at.round().astype(int))
  spaces = _measured(source, at)[at]
  found = spaces[~np.isnan(spaces)]
  return float(np.median(found)) if len(found) > _LEAST * len(at) else 0.0


def of_pages(source: PageSource) -> Float[np.ndarray, " p"]:
  """Staff space of every page of a split, px of the page; NaN = none."""
  return _measured(source, np.arange(len(source)))


def factors(source: PageSource, data_cfg) -> Float[np.ndarray, " p"] | None:
  """By what the scale of a training page is multiplied, for equal staves.

  Args:
    source: the training pages.
    data_cfg: `config.data`. `data.scales` are those of a page whose staff space
      becomes `staff_space_px` at `eval_scale`.

  Returns:
    1 for pages without staves; None where `normalise_staff_space` is off.
  """
  if not data_cfg.normalise_staff_space:
    return None
  wanted = data_cfg.staff_space_px / data_cfg.eval_scale or usual(source)
  found = wanted / of_pages(source)
  usable = (found >= 1 / _MOST) & (found <= _MOST)  # NaN is not
  return np.where(usable, found, 1.0)


def _measured(source: PageSource, pages: np.ndarray) -> np.ndarray:
  """Staff spaces of at least these pages, of all that are known."""
  path = None
  if source.folder and source.split.isidentifier():
    path = pathlib.Path(source.folder) / FOLDER / f"{source.split}.npy"
  spaces = _read(path, len(source))
  todo = pages[spaces[pages] == _NOT_YET]
  if len(todo):
    if len(todo) >= _MANY and processes.is_first():
      print(f"Measuring the staves of {len(todo):,} pages", flush=True)
    spaces[todo] = _measure(source, todo.tolist())
    _keep(path, spaces)
  return spaces


def _measure(source: PageSource, pages: Iterable[int]) -> list[float]:
  def one(page: int) -> float:
    found = staff_space.estimate(source.image(page))
    return np.nan if found is None else found.px

  with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    return list(pool.map(one, pages))


def _read(path: pathlib.Path | None, count: int) -> np.ndarray:
  """What is kept; nothing where that is not whole."""
  if path is not None:
    with contextlib.suppress(OSError, EOFError, ValueError):
      spaces = np.load(path, allow_pickle=False)
      if spaces.shape == (count,) and spaces.dtype == np.float32:
        return spaces
  return np.full(count, _NOT_YET, np.float32)


def _keep(path: pathlib.Path | None, spaces: np.ndarray) -> None:
  """Writes them, where that is possible."""
  if path is not None:
    data = io.BytesIO()
    np.save(data, spaces, allow_pickle=False)
    with contextlib.suppress(OSError):
      files.write_atomic(path, data.getvalue())
