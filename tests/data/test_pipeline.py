"""The loader: same batches whatever the workers, pages with their truth."""

import logging
import multiprocessing

import grain
import numpy as np
import pytest

from dwd_jax.core.errors import InputError
from dwd_jax.data import crops, data_config, pipeline, sources
from dwd_jax.data import synthetic as augment


def _loader(source, cfg, batch_size=2, seed=0, index=0, count=1):
  return pipeline.train_loader(
    source,
    cfg,
    batch_size=batch_size,
    seed=seed,
    process_index=index,
    process_count=count,
  )


def _take(loader, n):
  batches = [next(loader) for _ in range(n)]
  loader.close()
  return batches


def _equal(a, b) -> bool:
  return all(
    np.array_equal(getattr(a, k), getattr(b, k))
    for k in ("image", "boxes_yxyx", "labels", "box_mask")
  )


def test_shapes_and_ranges(train_source, data_cfg):
  (batch,) = _take(_loader(train_source, data_cfg), 1)
  assert batch.image.shape == (2, 32, 48, 1)
  assert batch.image.dtype == np.uint8
  assert batch.image.min() == 0 < 128 < batch.image.max()
  assert batch.boxes_yxyx.shape == (2, 16, 4)
  assert batch.labels.shape == batch.box_mask.shape == (2, 16)
  assert not batch.boxes_yxyx[~batch.box_mask].any()
  boxes = batch.boxes_yxyx[batch.box_mask]
  assert (boxes >= 0).all()
  assert (boxes <= [32, 48, 32, 48]).all()


def test_synthetic_symbols_get_into_crops(train_source, data_cfg):
  data_cfg.synthetic.layout, data_cfg.synthetic.prob = "full", 1.0
  made = augment.open_synthetic(train_source, data_cfg)
  loaders = [
    pipeline.train_loader(
      train_source,
      data_cfg,
      batch_size=2,
      seed=0,
      synthetic=symbols,
      process_index=0,
      process_count=1,
    )
    for symbols in (made, made, None)
  ]
  first, again, without = (_take(loader, 3) for loader in loaders)
  assert all(map(_equal, first, again))
  assert not any(map(_equal, first, without))
  for batch in first:
    boxes = batch.boxes_yxyx[batch.box_mask]
    assert len(boxes)
    assert (boxes >= 0).all()
    assert (boxes <= [32, 48, 32, 48]).all()


@pytest.fixture
def eight(train_source, data_cfg):
  return _take(_loader(train_source, data_cfg), 8)


def test_crops_differ_by_step_and_seed(train_source, data_cfg, eight):
  assert not any(_equal(eight[0], b) for b in eight[1:])
  other = _take(_loader(train_source, data_cfg, seed=1), 8)
  assert not any(_equal(a, b) for a, b in zip(eight, other, strict=True))


class _PageNumbers(grain.transforms.RandomMap):
  """In the place of TrainCrops: the image is the number of the page."""

  def __init__(self, source, data_cfg, synthetic, **kwargs):
    pass

  def random_map(self, page, rng):
    boxes = np.zeros((1, 4), np.float32)
    return {
      "image": np.full((1, 1), page, np.uint8),
      "boxes_yxyx": boxes,
      "labels": np.zeros(1, np.int32),
      "box_mask": np.zeros(1, bool),
    }


def test_every_epoch_has_every_page_in_another_order(
  train_source, data_cfg, monkeypatch
):
  monkeypatch.setattr(pipeline, "TrainCrops", _PageNumbers)
  batches = _take(_loader(train_source, data_cfg, batch_size=3), 8)
  orders = [tuple(b.image.ravel()) for b in batches]
  assert all(sorted(order) == [0, 1, 2] for order in orders)
  assert len(set(orders)) > 1


def test_worker_processes_change_nothing(train_source, data_cfg):
  """Nor does one that dies. The crops are degraded, too."""
  data_cfg.degrade.update({"scan_prob": 0.4, "photo_prob": 0.4})
  expected = _take(_loader(train_source, data_cfg), 6)
  data_cfg.workers = 2
  batches = _take(_loader(train_source, data_cfg), 5)
  assert all(map(_equal, batches, expected))
  data_cfg.workers = 1
  loader = _loader(train_source, data_cfg)
  batches = [next(loader) for _ in range(3)]
  assert all(map(_equal, batches, expected))
  # Going back discards what the worker has prepared.
  loader.set_state({"step": 1})
  batches[1:] = [next(loader)]
  worker = next(
    p for p in multiprocessing.active_children() if "grain" in p.name
  )
  worker.kill()
  worker.join()
  batches += [next(loader) for _ in range(4)]
  loader.close()
  assert all(map(_equal, batches, expected))


def test_workers_that_die_again_and_again_end_with_one_line(
  train_source, data_cfg, monkeypatch
):
  data_cfg.workers = 1
  loader = _loader(train_source, data_cfg)
  starts = []

  class Doomed:
    """As grain has it if a worker is killed; see the test above."""

    def __init__(self):
      starts.append(self)

    def __next__(self):
      raise RuntimeError("Grain worker process 0 died")

    def close(self):
      pass

  monkeypatch.setattr(loader, "_start", Doomed)
  with pytest.raises(InputError, match=r"data\.workers: .* died 3 times at"):
    next(loader)
  assert len(starts) == 3


@pytest.mark.parametrize("step", [0, 1, 5])
def test_resuming_continues_exactly(train_source, data_cfg, eight, step):
  first = _loader(train_source, data_cfg)
  for _ in range(step):
    next(first)
  state = first.get_state()
  first.close()
  assert state == {"step": step}
  second = _loader(train_source, data_cfg)
  next(second)
  second.set_state(state)
  assert all(_equal(next(second), b) for b in eight[step:])
  assert second.get_state() == {"step": 8}
  second.close()


def test_processes_share_the_batch(train_source, data_cfg):
  whole = _take(_loader(train_source, data_cfg, batch_size=4), 3)
  parts = [
    _take(_loader(train_source, data_cfg, batch_size=4, index=i, count=2), 3)
    for i in range(2)
  ]
  for step in range(3):
    for i in range(2):
      np.testing.assert_array_equal(
        parts[i][step].image, whole[step].image[i::2]
      )


def test_too_many_symbols_warn_and_keep_the_central_ones(
  train_source, data_cfg, caplog
):
  data_cfg.crop_hw = (96, 128)
  data_cfg.scales = (1.0,)
  data_cfg.max_boxes = 4
  with caplog.at_level(logging.WARNING, logger="absl"):
    (batch,) = _take(_loader(train_source, data_cfg, batch_size=3), 1)
  counts = batch.box_mask.sum(1)
  assert sorted(counts) == [0, 4, 4]
  assert "dummy-rgb-page-1.png: a crop shows 9 objects, the 4" in caplog.text
  assert "data.max_boxes" in caplog.text


def test_flip_is_off_by_default_and_mirrors_half_of_the_crops(
  train_source, data_cfg
):
  data_cfg.crop_hw = (96, 128)
  data_cfg.scales = (1.0,)
  plain = _take(_loader(train_source, data_cfg, batch_size=3), 4)
  data_cfg.flip = True
  flipped = _take(_loader(train_source, data_cfg, batch_size=3), 4)
  same = mirrored = 0
  for a, b in zip(plain, flipped, strict=True):
    for x, y in zip(a.image, b.image, strict=True):
      if not np.array_equal(x, x[:, ::-1]):  # the empty page is symmetric
        same += np.array_equal(x, y)
        mirrored += np.array_equal(x, y[:, ::-1])
  assert same + mirrored == 8
  assert same
  assert mirrored


def test_evaluation_shows_every_page_with_all_its_boxes(records, data_cfg):
  source = sources.open_split(data_cfg, records, "train")
  pages = list(pipeline.read_eval_pages(source, data_cfg))
  assert len(pages) == 3
  for i, page in enumerate(pages):
    record = source[i]
    assert page.truth.filename == page.image.filename == record.filename
    assert page.truth.image_hw == (96, 128)
    assert page.image.scale == 0.5
    np.testing.assert_array_equal(page.image.ink, record.image)
    np.testing.assert_array_equal(page.truth.boxes_yxyx, record.boxes_yxyx)
    np.testing.assert_array_equal(page.truth.labels, record.labels)
  data_cfg.max_pages = 2
  assert len(list(pipeline.read_eval_pages(source, data_cfg))) == 2


def test_batches_must_divide_among_processes(train_source, data_cfg):
  with pytest.raises(InputError, match=r"train\.batch_size: 3 .* 2 processes"):
    _loader(train_source, data_cfg, batch_size=3, count=2)
  with pytest.raises(InputError, match=r"seed: -1"):
    _loader(train_source, data_cfg, seed=-1)


def test_a_share_of_the_crops_comes_from_further_records(
  train_source, data_cfg, monkeypatch
):
  data_cfg.mix.path = train_source.folder
  mixed = sources.open_mixed(data_cfg, train_source)
  assert mixed is not None and mixed.class_names == train_source.class_names
  seen = {"usual": 0, "further": 0}
  read = sources.PageSource.ink_of

  def counting(self, *args):
    seen["further" if self is mixed else "usual"] += 1
    return read(self, *args)

  monkeypatch.setattr(sources.PageSource, "ink_of", counting)

  made = crops.MixedCrops(
    crops.TrainCrops(train_source, data_cfg),
    crops.TrainCrops(mixed, data_cfg),
    0.25,
  )
  for i in range(80):
    made.random_map(i % len(train_source), np.random.default_rng(i))
  assert 0.1 < seen["further"] / sum(seen.values()) < 0.4
  seen.update(usual=0, further=0)
  data_cfg.mix.prob = 1.0
  loader = pipeline.train_loader(
    train_source,
    data_cfg,
    batch_size=4,
    seed=0,
    mixed=mixed,
    process_index=0,
    process_count=1,
  )
  _take(loader, 3)
  assert seen["usual"] == 0 < seen["further"]


def test_further_classes_are_matched_by_name(records, data_cfg, train_source):
  data_cfg.mix.path = train_source.folder
  other_order = train_source.class_names[::-1]
  usual = sources.open_split(data_cfg, records, "train")
  mixed = sources.open_split(data_cfg, records, "train")
  mixed.take_classes(other_order, "data.mix.path")
  labels, boxes = mixed.labels_and_boxes(0)
  known, same = usual.labels_and_boxes(0)
  np.testing.assert_array_equal(boxes, same)
  assert [other_order[i] for i in labels] == [
    usual.class_names[i] for i in known
  ]


def test_further_records_of_other_classes_are_one_line(
  train_source, data_cfg, tmp_path
):
  data_cfg.mix.path = train_source.folder
  used = train_source.class_names[train_source.box_index().labels[0]]
  train_source.class_names = tuple(
    "violin" if name == used else name for name in train_source.class_names
  )
  with pytest.raises(InputError, match=f"lack, such as {used!r}"):
    sources.open_mixed(data_cfg, train_source)
  data_cfg.mix.path = str(tmp_path)
  with pytest.raises(InputError, match="no prepared records"):
    sources.open_mixed(data_cfg, train_source)


@pytest.mark.parametrize(("path", "prob"), [("x", 0.0), ("", 0.5), ("x", 2.0)])
def test_further_records_need_a_share(path, prob):
  with pytest.raises(InputError, match=r"data\.mix"):
    data_config.MixConfig(path=path, prob=prob)
