"""Energy groups of a run: automatic, by name, and what is refused."""

import numpy as np
import pytest

from configs import detector, smoke
from dwd_jax.core.errors import InputError
from dwd_jax.train import setup

NAMES = ("noteheadBlack", "graceNoteAcciaccaturaStemUp", "augmentationDot")


class _Source:
  """Two classes that share their centres, and a third elsewhere."""

  class_names = NAMES

  def __len__(self):
    return 4

  def labels_and_boxes(self, i):
    del i
    boxes = [[10, 10, 20, 20], [5, 5, 25, 25], [60, 60, 63, 63]]
    return np.arange(3), np.array(boxes, np.float32)


def _groups(num, automatic=True, by_class=()):
  config = smoke.get_config()
  config.groups.num = num
  config.groups.automatic = automatic
  config.groups.by_class = by_class
  return setup.resolve_groups(config, _Source()).tolist()


def test_automatic_groups_part_what_shares_a_center():
  first, second, _ = _groups(2)
  assert first != second
  assert _groups(1) == [0, 0, 0]


def test_groups_by_name_only():
  assert _groups(2, automatic=False) == [0, 0, 0]
  by_class = ((NAMES[1], 1),)
  assert _groups(2, automatic=False, by_class=by_class) == [0, 1, 0]
  both = _groups(2, by_class=((NAMES[2], 1), (NAMES[0], 1)))
  assert both[0] == both[2] == 1


def test_the_packaged_detector_parts_grace_notes_from_their_noteheads():
  config = detector.get_config()
  named = dict(config.groups.by_class)
  assert named[NAMES[1]] == 1 and NAMES[0] not in named
  # Nor do stems share a plane with the beams that they end at.
  assert named["stem"] != named["beam"] and set(named.values()) == {1, 2}
  assert not config.groups.automatic


@pytest.mark.parametrize(
  ("by_class", "message"),
  [
    ((("noteheadBlak", 0),), "unknown class 'noteheadBlak'; .*noteheadBlack"),
    (((NAMES[0], 2),), "has group 2; groups.num is 2"),
  ],
  ids=["no class", "no group"],
)
def test_what_is_not_there_is_refused(by_class, message):
  with pytest.raises(InputError, match=message):
    _groups(2, by_class=by_class)
