"""Staff spaces of training pages: kept beside the records, used by crops."""

import numpy as np
import pytest
from staff_helpers import staves

from dwd_jax.core.box_index import BoxIndex
from dwd_jax.data import pipeline, sampling, split_staff_spaces
from dwd_jax.train.settings import default

_SPACES = (8, 16, None, 16)  # px, of the pages below


class _Source:
  """Pages of plain staves."""

  def __init__(self, folder="", split="train", spaces=_SPACES):
    self.folder, self.split, self.read = str(folder), split, []
    self.polarity = "dark"
    self._spaces = spaces

  def __len__(self):
    return len(self._spaces)

  def image(self, i):
    self.read.append(i)
    space = self._spaces[i]
    return np.zeros((90, 90), np.uint8) if space is None else staves(space)


def _cfg(**changes):
  cfg = default().data
  cfg.update(changes)
  return cfg


def test_measured_once_and_kept(tmp_path):
  first = split_staff_spaces.staff_spaces(_Source(tmp_path))
  assert np.isnan(first[2])
  assert np.allclose(first[[0, 1, 3]], [8, 16, 16], rtol=0.02)
  again = _Source(tmp_path)
  assert np.array_equal(
    split_staff_spaces.staff_spaces(again), first, equal_nan=True
  )
  assert not again.read
  assert abs(split_staff_spaces.typical_staff_space(again) / 16 - 1) < 0.02
  assert not again.read


def test_other_splits_and_parts_of_splits(tmp_path):
  split_staff_spaces.staff_spaces(_Source(tmp_path))
  other = _Source(tmp_path, "val")
  split_staff_spaces.staff_spaces(other)
  assert sorted(other.read) == [0, 1, 2, 3]
  part = _Source(tmp_path, "train[:4]")
  split_staff_spaces.staff_spaces(part)
  assert part.read
  files = sorted(
    p.name for p in (tmp_path / split_staff_spaces.FOLDER).iterdir()
  )
  assert files == ["train.npy", "val.npy"]


@pytest.mark.parametrize("content", [b"", b"no array", b"\x93NUMPY\x01\x00"])
def test_what_is_damaged_is_made_anew(tmp_path, content):
  path = tmp_path / split_staff_spaces.FOLDER / "train.npy"
  path.parent.mkdir()
  path.write_bytes(content)
  assert len(split_staff_spaces.staff_spaces(_Source(tmp_path))) == 4
  again = _Source(tmp_path)
  split_staff_spaces.staff_spaces(again)
  assert not again.read


def test_a_folder_that_takes_nothing_is_no_error(tmp_path):
  (tmp_path / split_staff_spaces.FOLDER).write_text("a file in the place")
  assert len(split_staff_spaces.staff_spaces(_Source(tmp_path))) == 4


def test_few_pages_say_what_is_usual(tmp_path):
  source = _Source(tmp_path, spaces=(8,) * 100)
  assert abs(split_staff_spaces.typical_staff_space(source) / 8 - 1) < 0.02
  assert len(source.read) == 32
  assert (
    split_staff_spaces.typical_staff_space(_Source(spaces=(None,) * 9 + (8,)))
    == 0.0
  )
  assert split_staff_spaces.typical_staff_space(_Source(spaces=())) == 0.0


def test_factors_bring_pages_to_the_staff_space_of_the_model(tmp_path):
  source = _Source(tmp_path)
  assert split_staff_spaces.scale_factors(source, _cfg()) is None
  cfg = _cfg(normalise_staff_space=True, staff_space_px=6.0, eval_scale=0.5)
  found = split_staff_spaces.scale_factors(source, cfg)
  # 6 px at scale 0.5 are 12 px of the page.
  assert found is not None
  assert np.allclose(found, [1.5, 0.75, 1, 0.75], rtol=0.02)
  cfg.staff_space_px = 0.0
  found = split_staff_spaces.scale_factors(source, cfg)
  assert found is not None
  assert np.allclose(found, [2, 1, 1, 1], rtol=0.02)
  cfg.staff_space_px = 60.0  # fifteen times as large: not believed
  found = split_staff_spaces.scale_factors(source, cfg)
  assert found is not None
  assert found[0] == 1


_INDEX = BoxIndex(
  boxes_yxyx=np.array([[400, 400, 410, 410]] * 2, np.float32),
  labels=np.zeros(2, np.int32),
  page=np.array([0, 1], np.int32),
  page_hw=np.full((2, 2), 1000, np.int32),
  filenames=("a.png", "b.png"),
)


def _scales(cfg, factors=None, page=0, seed=0):
  sampler = sampling.CropSampler(_INDEX, cfg, factors)
  rng = np.random.default_rng(seed)
  return [np.mean(sampler(page, rng)[1].scale_hw) for _ in range(60)]


def test_crops_are_scaled_by_their_page_and_the_jitter():
  cfg = _cfg(crop_hw=(200, 200), scales=(0.5,))
  factors = np.array([2.0, 0.5])
  assert np.allclose(_scales(cfg, factors), 1.0, rtol=0.01)
  assert np.allclose(_scales(cfg, factors, page=1), 0.25, rtol=0.01)
  cfg.scale_jitter = 0.2
  drawn = np.array(_scales(cfg, factors))
  assert 0.79 <= drawn.min() < 0.85 < 1.15 < drawn.max() <= 1.21
  assert _scales(cfg, factors) == _scales(cfg, factors)
  assert _scales(cfg, factors) != _scales(cfg, factors, seed=1)


def test_a_batch_depends_on_seed_and_step_alone(train_source, data_cfg):
  data_cfg.update(scale_jitter=0.3, normalise_staff_space=True)

  def batches(start):
    loader = pipeline.train_loader(train_source, data_cfg, batch_size=2, seed=4)
    loader.set_state({"step": start})
    found = [next(loader) for _ in range(4 - start)]
    loader.close()
    return found

  whole, rest = batches(0), batches(2)
  for a, b in zip(whole[2:], rest, strict=True):
    assert np.array_equal(a.image, b.image)
    assert np.array_equal(a.boxes_yxyx, b.boxes_yxyx)
