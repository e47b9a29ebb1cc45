"""Symbols to classify: where they come from and what their crops show."""

import cv2
import numpy as np
import pytest

from dwd_jax.core.errors import InputError
from dwd_jax.data.symbols import open_symbols
from dwd_jax.train.pretraining import loaders


def _take(loader, count):
  try:
    return [next(loader) for _ in range(count)]
  finally:
    loader.close()


def _loader(symbols, data_cfg, seed=0, batch_size=4, **processes):
  return loaders.symbol_loader(
    symbols, (32, 32), data_cfg, batch_size=batch_size, seed=seed, **processes
  )


@pytest.fixture
def image_folder(tmp_path):
  """Two classes as images of other sizes: bars and dots."""
  for name, box in (("bar", (2, 5, 38, 9)), ("dot", (10, 12, 16, 18))):
    folder = tmp_path / "images" / name
    folder.mkdir(parents=True)
    for i in range(3):
      image = np.full((40 + i, 30, 3), 255, np.uint8)
      image[box[0] : box[2], box[1] : box[3]] = 0
      cv2.imwrite(str(folder / f"{i}.png"), image)
  (tmp_path / "images" / "class_names.csv").write_text("0,bar\n1,dot\n")
  return tmp_path / "images"


@pytest.fixture(params=["pages", "records", "folder"])
def symbols(request, page_source, symbol_records, image_folder):
  path = {"pages": "", "records": symbol_records, "folder": image_folder}
  return open_symbols(str(path[request.param]), page_source)


def test_batches_have_crops_and_classes(symbols, data_cfg):
  for batch in _take(_loader(symbols, data_cfg), 3):
    assert batch.image.shape == (4, 32, 32, 1)
    assert batch.image.dtype == np.uint8
    assert batch.labels.shape == (4,)
    assert batch.labels.dtype == np.int32
    assert batch.labels.min() >= 0
    assert batch.labels.max() < len(symbols.class_names)
    # The symbol is in the middle: there is ink.
    middle = batch.image[:, 4:28, 4:28, 0].reshape(4, -1)
    assert (middle.max(1) > 200).all()


def test_crops_depend_on_seed_and_step_alone(symbols, data_cfg):
  first = _take(_loader(symbols, data_cfg), 3)
  again = _take(_loader(symbols, data_cfg), 3)
  other = _take(_loader(symbols, data_cfg, seed=1), 3)
  resumed = _loader(symbols, data_cfg)
  resumed.set_state({"step": 2})
  (third,) = _take(resumed, 1)
  for a, b in zip([*first, first[2]], [*again, third], strict=True):
    np.testing.assert_array_equal(a.image, b.image)
    np.testing.assert_array_equal(a.labels, b.labels)
  assert any(
    not np.array_equal(a.image, b.image)
    for a, b in zip(first, other, strict=True)
  )


def test_processes_share_a_batch(page_source, data_cfg):
  symbols = open_symbols("", page_source)
  (whole,) = _take(_loader(symbols, data_cfg), 1)
  parts = [
    _take(_loader(symbols, data_cfg, process_index=i, process_count=2), 1)[0]
    for i in range(2)
  ]
  np.testing.assert_array_equal(
    np.sort(whole.labels), np.sort(np.concatenate([p.labels for p in parts]))
  )
  assert all(len(p.labels) == 2 for p in parts)


def test_symbols_of_pages_are_their_objects(page_source):
  symbols = open_symbols("", page_source)
  index = page_source.box_index()
  assert symbols.class_names == page_source.class_names
  np.testing.assert_array_equal(symbols.labels, index.labels)
  symbol = symbols[9]
  np.testing.assert_array_equal(symbol.box_yxyx, index.boxes_yxyx[9])
  page = page_source.image(int(index.page[9]))
  assert symbol.image_hw == page.shape
  np.testing.assert_array_equal(symbol.read(3, 5, 7, 9), page[3:10, 5:14])


def test_images_of_a_folder_are_ink_on_paper(image_folder, page_source):
  symbols = open_symbols(str(image_folder), page_source)
  assert symbols.class_names == ("bar", "dot")
  assert symbols.labels.tolist() == [0, 0, 0, 1, 1, 1]
  assert symbols[4].image_hw == (41, 30)
  ink = symbols[4].read(0, 0, 41, 30)
  assert (ink > 0).sum() == 36
  assert (symbols[4].read(10, 12, 6, 6) == 255).all()


@pytest.fixture
def sheets(tmp_path):
  """Two classes, sheets of 2 x 3 tiles of 20 x 10 px, each of its own ink."""
  for name, first in (("a", 10), ("b", 100)):
    (tmp_path / name).mkdir()
    # As the original reads them, column by column.
    inks = first + np.arange(6).reshape(3, 2).T
    sheet = 255 - np.kron(inks, np.ones((20, 10), int)).astype(np.uint8)
    cv2.imwrite(str(tmp_path / name / "0.png"), sheet)
  (tmp_path / "config.txt").write_text("canvas (40,30)\ntile (20, 10)\n")
  return tmp_path


def test_sheets_are_cut_into_tiles(sheets, page_source):
  symbols = open_symbols(str(sheets), page_source)
  assert symbols.labels.tolist() == [0] * 6 + [1] * 6
  for i in range(12):
    symbol = symbols[i]
    assert symbol.image_hw == (20, 10)
    assert symbol.box_yxyx.tolist() == [0, 0, 20, 10]
    tile = symbol.read(0, 0, 20, 10)
    assert tile.shape == (20, 10)
    assert len(np.unique(tile)) == 1
  inks = [symbols[i].read(0, 0, 1, 1).item() for i in range(6)]
  assert inks == sorted(set(inks))
  (sheets / "config.txt").unlink()
  assert open_symbols(str(sheets), page_source)[1].image_hw == (40, 30)


@pytest.mark.parametrize(
  ("text", "message"),
  [
    (
      "tile (20, 11)",
      r"0\.png: 40 x 30 px are not divided evenly by .*20 x 11",
    ),
    ("tile 20 x 10", r"config\.txt: no size of the tiles as \(HEIGHT,WIDTH\)"),
    ("tile (0, 10)", r"config\.txt: no size of the tiles"),
  ],
)
def test_bad_sheets_are_named(text, message, sheets, page_source):
  (sheets / "config.txt").write_text(text)
  with pytest.raises(InputError, match=message):
    open_symbols(str(sheets), page_source)


def test_rare_classes_are_drawn_more_often(image_folder, page_source, data_cfg):
  for name in ("0.png", "1.png"):
    (image_folder / "dot" / name).unlink()
  symbols = open_symbols(str(image_folder), page_source)
  data_cfg.rare_power = 1.0
  (batch,) = _take(_loader(symbols, data_cfg, batch_size=400), 1)
  assert abs(batch.labels.mean() - 0.5) < 0.1


def test_the_symbol_lies_in_its_window():
  # Not by hypothesis: threads of the loaders above draw from `random`, too,
  # which it takes for a strategy that does.
  for seed in range(2000):
    rng = np.random.default_rng(seed)
    top, left = rng.uniform(-20, 400, 2)
    height, width = np.exp(rng.uniform(0, np.log(900), 2))
    scale = (0.5, 1.0, 1.7)[seed % 3]
    _check_window(rng, (top, left, top + height, left + width), scale)


def _check_window(rng, box, scale):
  box = np.array(box, np.float32)
  window = loaders.symbol_window(rng, box, (32, 64), scale)
  assert window.out_hw == (32, 64)
  ((y0, x0, y1, x1),) = window.to_output(box[None])
  # Never larger than it is, and near the middle.
  assert max(window.scale_hw) <= scale * 1.05
  assert abs((y0 + y1) / 2 - 16) <= 32 / 8 + 1
  assert abs((x0 + x1) / 2 - 32) <= 64 / 8 + 1
  # Whole, if that does not make it too small.
  height, width = box[2:] - box[:2]
  if height * scale <= 8 * 24 and width * scale <= 8 * 48:
    assert min(y0, x0) > -1.5
    assert y1 < 33.5
    assert x1 < 65.5


def _empty(folder):
  for path in folder.glob("*/*"):
    path.unlink()


def _one_class(folder):
  for path in (folder / "dot").iterdir():
    path.unlink()


# Caption: what is done to the folder, the line.
BAD = {
  "no image": (_empty, "images of 0 classes; pretraining.path wants"),
  "one class": (_one_class, "images of 1 classes; pretraining.path wants"),
}


@pytest.mark.parametrize("caption", BAD)
def test_folders_that_are_none(image_folder, page_source, caption):
  change, line = BAD[caption]
  change(image_folder)
  with pytest.raises(InputError, match=line):
    open_symbols(str(image_folder), page_source)


def test_a_folder_that_is_not_there(tmp_path, page_source):
  with pytest.raises(InputError, match=r"absent: no such folder; pretraining"):
    open_symbols(str(tmp_path / "absent"), page_source)


def test_a_broken_image_is_named(image_folder, page_source):
  path = image_folder / "dot" / "1.png"
  path.write_bytes(path.read_bytes()[:60])
  symbols = open_symbols(str(image_folder), page_source)
  with pytest.raises(InputError, match=r"dot/1\.png: not a readable PNG"):
    symbols[4]


def test_records_of_pages_are_no_symbols(records, page_source):
  folder = next(records.glob("deepscores/dense_2017/*"))
  with pytest.raises(InputError, match="not of symbols"):
    open_symbols(str(folder), page_source)
