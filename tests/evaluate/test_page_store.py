"""Pages on disk: what is read is what was written, or one error."""

import dataclasses
import io
import itertools
import mmap

import numpy as np
import pytest

from dwd_jax.core.errors import InputError
from dwd_jax.core.structs import PageBoxes
from dwd_jax.evaluate import among_processes
from dwd_jax.evaluate.evaluate_split import Tally
from dwd_jax.evaluate.page_store import Joined, Page, PageStore
from dwd_jax.metrics import columns as columns_lib
from dwd_jax.metrics import protocols
from dwd_jax.metrics.columns import Column


def _boxes(name, n, scores):
  rng = np.random.default_rng(n)
  return PageBoxes(
    filename=name,
    image_hw=(9, len(name)),
    boxes_yxyx=rng.normal(0, 1e3, (n, 4)).astype(np.float32),
    labels=np.arange(n, dtype=np.int32),
    scores=rng.random(n, np.float32) if scores else None,
  )


def _with_more(page, corners, positions):
  n, rng = len(page.labels), np.random.default_rng(3)
  oriented = rng.normal(0, 1e3, (n, 4, 2)).astype(np.float32)
  return dataclasses.replace(
    page,
    oriented_yx=oriented if corners else None,
    positions=np.arange(n, dtype=np.int32) - 3 if positions else None,
  )


PAGES = [
  (_boxes(f"é\ud800{i}.png", n, False), _boxes(f"é\ud800{i}.png", m, True))
  for i, (n, m) in enumerate([(3, 0), (0, 0), (2, 5)])
]
# Every two of corners and positions, in truth and detections.
PAGES += [
  (
    _with_more(_boxes(f"more {i}", 3, False), i & 1, i & 2),
    _with_more(_boxes(f"more {i}", i % 3, True), i & 4, i & 8),
  )
  for i in range(16)
]


def _assert_equal(found, expected):
  for page, wanted in itertools.zip_longest(found, expected):
    for a, b in zip(page, wanted, strict=True):
      assert (a.filename, a.image_hw) == (b.filename, b.image_hw)
      np.testing.assert_array_equal(a.boxes_yxyx, b.boxes_yxyx)
      np.testing.assert_array_equal(a.labels, b.labels)
      for field in ("scores", "oriented_yx", "positions"):
        found_values, values = getattr(a, field), getattr(b, field)
        assert (found_values is None) == (values is None)
        if values is not None:
          np.testing.assert_array_equal(found_values, values)
          assert found_values.dtype == values.dtype
          assert found_values.flags.writeable == a.labels.flags.writeable


def _filled(pages, file):
  store = PageStore(file)
  for page in pages:
    store.add(*page)
  return store


def test_pages_come_back_as_often_as_wanted():
  store = _filled(PAGES, io.BytesIO())
  for _ in range(2):
    _assert_equal(store, PAGES)


def test_parts_follow_each_other():
  parts = PAGES[:1], [], PAGES[1:]
  joined = Joined([_filled(part, io.BytesIO()) for part in parts])
  assert len(joined) == len(PAGES)
  _assert_equal(joined, PAGES)


@pytest.fixture
def saved(tmp_path):
  with (tmp_path / "a.boxes").open("x+b") as boxes:
    _filled(PAGES, boxes).save(tmp_path / "a.npz", more=np.arange(3))
  return tmp_path


def test_another_process_reads_what_was_saved(saved):
  with (saved / "a.boxes").open("rb") as boxes:
    store, more = PageStore.load(boxes, saved / "a.npz")
    _assert_equal(store, PAGES)
  assert more["more"].tolist() == [0, 1, 2]


def _shorter(folder):
  path = folder / "a.boxes"
  path.write_bytes(path.read_bytes()[:-1])


def _pickled(folder):
  np.savez(folder / "a.npz", names=np.array([{}], object))


def _with(**arrays):
  def change(folder):
    with np.load(folder / "a.npz") as found:
      np.savez(folder / "a.npz", **(dict(found) | arrays))

  return change


# Caption: what is done to the files of a part.
DAMAGED = {
  "boxes cut short": _shorter,
  "half an index": lambda folder: (folder / "a.npz").write_bytes(b"PK\3\4"),
  "objects": _pickled,
  "fewer than none": _with(found=np.full(len(PAGES), -5)),
  "other fields": _with(true_more=np.full(len(PAGES), 4)),
  "too few": _with(height=np.array([1])),
}


@pytest.mark.parametrize("caption", DAMAGED)
def test_what_is_damaged_is_refused(caption, saved):
  DAMAGED[caption](saved)
  with (
    (saved / "a.boxes").open("rb") as boxes,
    pytest.raises((OSError, ValueError, KeyError)),
  ):
    PageStore.load(boxes, saved / "a.npz")


def test_a_workdir_that_is_not_shared_is_named(tmp_path, monkeypatch):
  monkeypatch.setattr(among_processes, "_PATIENCE_S", 0)
  with pytest.raises(InputError, match=r"process 3 has written it; give all"):
    among_processes._await(tmp_path / "a.npz", 3)


def test_what_is_kept_of_a_box_is_little():
  n = 2000
  corners = 20.0 * np.stack(np.divmod(np.arange(n), 50), 1)
  boxes = np.concatenate([corners, corners + 15], 1).astype(np.float32)
  page = Page(
    *(
      dataclasses.replace(_boxes("p", n, scores), boxes_yxyx=boxes)
      for scores in (False, True)
    )
  )
  tally = Tally(protocols.meter("coco", [str(i) for i in range(n)]), 0.0)
  for i in range(3):
    named = (dataclasses.replace(side, filename=f"{i}") for side in page)
    tally.add(Page(*named))
  meter, outcomes = vars(tally._meter), tally._outcomes._columns
  columns = [
    column
    for column in (*meter.values(), *outcomes.values())
    if isinstance(column, Column)
  ]
  assert len(columns) == 4 + len(outcomes)
  assert sum(column.values().nbytes for column in columns) < 25 * 3 * 2 * n


@pytest.mark.parametrize("can_resize", [True, False])
def test_columns_grow_past_their_first_memory(can_resize, monkeypatch):
  if not can_resize:

    class Fixed(mmap.mmap):
      def resize(self, newsize):
        raise SystemError("mmap: resizing not available--no mremap()")

    monkeypatch.setattr(columns_lib.mmap, "mmap", Fixed)
  column, values = Column(np.int16), np.arange(30_000)
  for part in np.array_split(values, 7):
    column.add(part)
  column.add(values)
  assert len(column) == 60_000
  np.testing.assert_array_equal(column.values(), np.tile(values, 2))
