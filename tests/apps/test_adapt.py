"""Pages without boxes, boxes that are found on them, and their crops."""

import dataclasses
import pathlib
import types
from typing import Any

import calibration_helpers
import cv2
import numpy as np
import page_helpers
import pytest
import staff_helpers

from dwd_jax.apps.adapt import crops, pages, pseudo_boxes
from dwd_jax.core.box_index import BoxIndex
from dwd_jax.core.errors import InputError
from dwd_jax.data import sources
from dwd_jax.imaging import staff_space
from dwd_jax.metrics.calibration import ScoreMap
from dwd_jax.predict.predict_config import PredictConfig
from dwd_jax.train import settings
from dwd_jax.train.adapt_config import AdaptConfig

HW = (128, 192)
IDENTITY = ScoreMap(1.0, 1.0, 0.0, np.zeros(6))


def _run(path, records: Any = None, staff_space_px=9.0, **changes) -> Any:
  """What is needed of a run."""
  config = settings.default()
  config.data.builder = "deepscores"
  config.data.eval_scale = 1.0
  config.data.crop_hw = (96, 96)
  config.data.max_boxes = 32
  config.adapt.degrade.scan_prob = config.adapt.degrade.photo_prob = 0.0
  config.train.batch_size = 4
  return types.SimpleNamespace(
    config=config,
    settings=types.SimpleNamespace(
      adapt=AdaptConfig(pages=str(path), **changes),
      predict=PredictConfig(staff_space_px=staff_space_px),
    ),
    model=types.SimpleNamespace(
      cfg=types.SimpleNamespace(
        oriented=False, staff_positions=False, channels=1
      )
    ),
    polarity="dark",
    class_names=tuple("abcdef"),
    source=lambda split: sources.open_split(config.data, records, split),
  )


def _write(path: pathlib.Path, ink: np.ndarray) -> None:
  cv2.imwrite(str(path), 255 - ink)


def test_pages_become_as_the_network_sees_them(tmp_path, capsys):
  folder = tmp_path / "pages"
  (folder / "more").mkdir(parents=True)
  music = staff_helpers.staves(12, hw=(600, 500))
  _write(folder / "1.png", music)
  _write(folder / "2.png", 255 - music)
  _write(folder / "more" / "3.png", np.rot90(music))
  _write(folder / "4.png", np.zeros((300, 300), np.uint8))
  (folder / "5.png").write_bytes(b"no picture")
  (folder / "boxes.xml").write_text("<annotation/>")
  run = _run(folder)
  made = pages.prepare(run, tmp_path / "made")
  assert sorted(made.names) == ["1", "2", "3"]
  for i in range(3):
    found = staff_space.estimate(np.asarray(made.ink(i)))
    assert found is not None and abs(found.px - 9) < 0.6
    assert np.shape(made.ink(i)) == made.page_hw[i]
    assert np.mean(made.ink(i)) < 128
  said = capsys.readouterr().out
  assert "4.png: no staff found; left out" in said
  assert "5.png: " in said and said.count("left out") == 2
  before = (tmp_path / "made" / "0.npy").stat().st_mtime_ns
  assert pages.prepare(run, tmp_path / "made") == made
  assert (tmp_path / "made" / "0.npy").stat().st_mtime_ns == before


def test_too_few_pages_are_one_line(tmp_path):
  with pytest.raises(InputError, match=r"adapt.pages: .*no image or PDF"):
    pages.prepare(_run(tmp_path), tmp_path / "made")
  with pytest.raises(InputError, match=r"adapt.pages: .*no such file"):
    pages.prepare(_run(tmp_path / "absent"), tmp_path / "made")
  _write(tmp_path / "1.png", staff_helpers.staves(9, hw=(200, 300)))
  with pytest.raises(InputError, match="1 usable pages; name a folder of at"):
    pages.prepare(_run(tmp_path, staff_space_px=0.0), tmp_path / "made")


@pytest.fixture
def three(tmp_path) -> pages.Pages:
  """Three pages of two squares of class 3 and a dot, whose class varies."""
  ink = np.zeros(HW, np.uint8)
  ink[20:40, 20:40] = ink[60:90, 100:140] = 3
  ink[101:103, 51:53] = 5
  for i in range(3):
    np.save(tmp_path / f"{i}.npy", ink)
  return pages.Pages(tmp_path, ("a", "b", "c"), (HW,) * 3)


def test_objects_at_all_scales_are_sure(three):
  cfg = AdaptConfig(scales=(0.5,), min_score=0.4, ignore_score=0.2)
  made, metrics = pseudo_boxes.find(
    page_helpers.BlobFinder(jitter_px=0.0),
    three,
    (1,),
    calibration_helpers.calibration(IDENTITY, threshold=0.3),
    cfg=cfg,
    predict=PredictConfig(staff_space_px=9.0),
  )
  index = made.index
  assert index.page.tolist() == [0] * 4 + [2] * 4
  assert index.labels[made.sure].tolist() == [3] * 4
  assert set(index.labels[~made.sure].tolist()) == {1, 5}
  boxes = sorted(index.boxes_yxyx[:4][made.sure[:4]].tolist())
  np.testing.assert_allclose(boxes, [[20, 20, 40, 40], [60, 100, 90, 140]])
  # Two of three are the same at both scales.
  assert metrics == {
    "agreement": pytest.approx(2 / 3),
    "pseudo_boxes": 2,
    "ignored_boxes": 2,
  }


def test_boxes_are_kept(three, tmp_path):
  index = BoxIndex(
    np.ones((2, 4), np.float32),
    np.array([1, 2], np.int32),
    np.array([0, 2], np.int32),
    np.array([HW] * 3, np.int32),
    three.names,
  )
  corners, positions = np.ones((2, 4, 2), np.float32), np.array([3, -4])
  made = pseudo_boxes.PseudoBoxes(
    index, np.array([True, False]), corners, positions
  )
  path = tmp_path / "boxes-4.npz"
  pseudo_boxes.save(path, made)
  again = pseudo_boxes.load(path, three)
  np.testing.assert_equal(vars(again.index), vars(index))
  assert again.sure.tolist() == [True, False]
  np.testing.assert_array_equal(again.oriented_yx, corners)
  np.testing.assert_array_equal(again.positions, positions)
  for changed in ({"names": ("a", "b", "d")}, {"page_hw": (HW, HW, (9, 9))}):
    with pytest.raises(InputError, match="of other pages than those in adapt"):
      pseudo_boxes.load(path, dataclasses.replace(three, **changed))
  path.write_bytes(path.read_bytes()[:-9])
  with pytest.raises(InputError, match=r"boxes-4.npz: missing or damaged"):
    pseudo_boxes.load(path, three)


def _boxes(three, sure):
  index = BoxIndex(
    np.array([[20, 20, 40, 40]] * 2, np.float32),
    np.array([4, 4], np.int32),
    np.array([0, 1], np.int32),
    np.array([HW] * 3, np.int32),
    three.names,
  )
  return pseudo_boxes.PseudoBoxes(index, np.array([sure, sure]))


def test_crops_are_mixed(three, records):
  run = _run("", records, share=0.5)
  loader = crops.MixedLoader(run, three, [0, 1])
  loader.renew(_boxes(three, True))
  loader.set_state({"step": 3})
  batch = next(loader)
  assert batch.image.shape == (4, 96, 96, 1)
  # Every second crop is of those pages, whose ink is 3.
  assert [int(x.max()) > 5 for x in batch.image] == [True, False] * 2
  assert batch.labels[1][batch.box_mask[1]].tolist() == [4]
  assert not batch.ignored.any()
  assert loader.get_state() == {"step": 4}
  loader.renew(_boxes(three, False))
  loader.set_state({"step": 3})
  other = next(loader)
  np.testing.assert_array_equal(other.image, batch.image)
  np.testing.assert_array_equal(other.boxes_yxyx, batch.boxes_yxyx)
  np.testing.assert_array_equal(other.labels, batch.labels)
  np.testing.assert_array_equal(other.box_mask | other.ignored, batch.box_mask)
  assert other.ignored.any(axis=1).tolist() == [False, True] * 2
  loader.close()
