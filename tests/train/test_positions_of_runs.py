"""Which classes have places on the staff is learned from the records."""

import numpy as np
import pytest

from dwd_jax.core.box_index import BoxIndex
from dwd_jax.core.errors import InputError
from dwd_jax.core.structs import NO_POSITION
from dwd_jax.train import setup


class _Source:
  """Pages with a head, a rest and a dot each."""

  class_names = ("head", "rest", "dot", "absent")
  name, folder = "made-up", ""

  def __init__(self, positions):
    self._positions = np.array(positions, np.int32)
    self.read = []

  def box_index(self):
    pages = len(self._positions)
    return BoxIndex(
      np.zeros((3 * pages, 4), np.float32),
      np.tile(np.arange(3, dtype=np.int32), pages),
      np.repeat(np.arange(pages, dtype=np.int32), 3),
      np.ones((pages, 2), np.int32),
      ("page.png",) * pages,
    )

  def require(self, name, key):
    assert (name, key) == ("positions", "model.staff_positions")

  def feature(self, name, page):
    assert name == "positions"
    self.read.append(page)
    return self._positions[page]


def test_classes_of_which_some_object_has_a_position():
  none = NO_POSITION
  pages = [[none, none, none]] * 40
  pages[0] = [3, none, none]
  pages[-1] = [none, none, 0]
  source = _Source(pages)
  assert setup.classes_with_positions(source) == (0, 2)
  assert len(source.read) < 12  # not every page


def test_records_without_any_position_are_refused():
  source = _Source([[NO_POSITION] * 3] * 2)
  with pytest.raises(InputError, match="made-up: no symbol has a place on"):
    setup.classes_with_positions(source)
