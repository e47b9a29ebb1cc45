"""Arrays that grow page by page without being copied, or holes in memory."""

import mmap

import numpy as np

_FIRST_BYTES = 1 << 16


class Column:
  """One value of each box.

  Memory is mapped, twice as much as last time if there is too little; what is
  not used yet takes none.
  """

  def __init__(self, dtype: type[np.generic]):
    self._dtype = np.dtype(dtype)
    self._map, self._used = _memory(_FIRST_BYTES), 0

  def add(self, values: np.ndarray) -> None:
    """Appends values [n]; not after `values`."""
    data = np.ascontiguousarray(values, self._dtype).tobytes()
    end = self._used + len(data)
    if end > len(self._map):
      size = 2 * max(end, len(self._map))
      try:
        self._map.resize(size)
      except SystemError:  # a system that cannot
        larger = _memory(size)
        larger[: self._used] = self._map[: self._used]
        self._map = larger
    self._map[self._used : end] = data
    self._used = end

  def values(self) -> np.ndarray:
    """All values, as a view."""
    return np.frombuffer(self._map, self._dtype, len(self))

  def __len__(self) -> int:
    return self._used // self._dtype.itemsize


def _memory(size: int) -> mmap.mmap:
  return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
