"""Arrays that grow page by page without ever being copied as a whole."""

import array

import numpy as np

_CODES = {np.dtype(code).str: code for code in "bhHifd"}


class Column:
  """One value of each box. Takes at most an eighth more than its values."""

  def __init__(self, dtype: type[np.generic]):
    self._dtype = np.dtype(dtype)
    self._values = array.array(_CODES[self._dtype.str])

  def add(self, values: np.ndarray) -> None:
    """Appends values [n]; not after `values`."""
    self._values.frombytes(
      np.ascontiguousarray(values, self._dtype).view(np.uint8).data
    )

  def values(self) -> np.ndarray:
    """All values, as a view."""
    return np.frombuffer(self._values, self._dtype)

  def __len__(self) -> int:
    return len(self._values)
