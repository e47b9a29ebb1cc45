"""Classes of pixels: from boxes, masks and pixel labels of any meaning."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dwd_jax.core.box_index import BoxIndex
from dwd_jax.data import pixel_classes, prepare, sources
from dwd_jax.imaging import masks, tiled_tiff
from dwd_jax.train.settings import default


class _Source:
  """Pages in memory, as `sources.PageSource` gives them."""

  def __init__(self, pages, num_classes):
    self.class_names = tuple(f"class{i}" for i in range(num_classes))
    self.new_ids = np.arange(num_classes)
    self._pages = pages
    self.polarity = "dark"

  def example(self, i):
    ink, boxes, labels, extra = self._pages[i]
    return {
      "image": tiled_tiff.encode_page(ink),
      "boxes_yxyx": np.array(boxes, np.float32),
      "labels": np.array(labels),
    } | extra

  def ink_of(self, example, area=None):
    return tiled_tiff.read_page(
      example["image"], "", area, polarity=self.polarity
    )

  def labels_and_boxes(self, i):
    kept = np.array(self.new_ids)[self._pages[i][2]]
    boxes = np.array(self._pages[i][1], np.float32).reshape(-1, 4)
    return kept[kept >= 0], boxes[kept >= 0]

  def box_index(self):
    both = [self.labels_and_boxes(i) for i in range(len(self._pages))]
    return BoxIndex(
      np.concatenate([b for _, b in both]),
      np.concatenate([n for n, _ in both]).astype(np.int32),
      np.repeat(np.arange(len(both)), [len(n) for n, _ in both]),
      np.array([page[0].shape for page in self._pages]),
      tuple(f"{i}.png" for i in range(len(self._pages))),
    )


def _page(extra=None):
  """Two symbols on a staff line; class 0 is in the box of class 1."""
  ink = np.zeros((40, 60), np.uint8)
  ink[20] = 200  # in no box of its own
  ink[4:36, 10:40] = 255
  ink[10:14, 14:20] = 90
  boxes = [[4, 10, 36, 40], [10, 14, 14, 20]]
  return ink, boxes, [1, 0], extra or {}


def _truth():
  classes = np.zeros((40, 60), np.int32)
  classes[4:36, 10:40] = 2
  classes[10:14, 14:20] = 1
  return classes


def test_the_smallest_box_around_ink_gives_the_class():
  pixels = pixel_classes.PixelClasses(_Source([_page()], 2))
  ink, classes = pixels.window(0, 0, 0, 40, 60)
  np.testing.assert_array_equal(ink, _page()[0])
  np.testing.assert_array_equal(classes, _truth())
  assert pixels.kind == "boxes"
  assert pixels.describe() == "ink in boxes"


def test_a_window_is_a_part_of_the_page():
  pixels = pixel_classes.PixelClasses(_Source([_page()], 2))
  ink, classes = pixels.window(0, 7, 12, 20, 30)
  np.testing.assert_array_equal(ink, _page()[0][7:27, 12:42])
  np.testing.assert_array_equal(classes, _truth()[7:27, 12:42])


def test_faint_ink_is_paper():
  ink, boxes, labels, _ = _page()
  ink[5, 15] = pixel_classes.MIN_INK - 1
  painted = pixel_classes.paint(ink, np.array(boxes, float), np.array(labels))
  assert painted[5, 15] == 0
  assert painted[5, 16] == 2


def _masked():
  ink, boxes, labels, _ = _page()
  large = np.zeros((32, 30), bool)
  large[:5] = True
  small = np.zeros((4, 6), bool)
  small[:, 0] = True
  runs, stops = masks.join([masks.encode_mask(m) for m in (large, small)])
  extra = {"mask_runs": runs, "mask_stops": stops}
  wanted = np.zeros((40, 60), np.int32)
  wanted[4:9, 10:40] = 2
  wanted[10:14, 14] = 1
  return (ink, boxes, labels, extra), wanted


@pytest.mark.parametrize(
  "area", [(0, 0, 40, 60), (6, 13, 6, 5), (8, 15, 32, 45), (0, 0, 12, 12)]
)
def test_masks_say_more_than_boxes(area):
  page, wanted = _masked()
  pixels = pixel_classes.PixelClasses(_Source([page], 2))
  assert pixels.describe() == "masks"
  top, left, height, width = area
  _, classes = pixels.window(0, *area)
  np.testing.assert_array_equal(
    classes, wanted[top : top + height, left : left + width]
  )


def test_an_object_without_a_mask_goes_by_its_box():
  (ink, boxes, labels, _), _ = _masked()
  runs, stops = masks.join(
    [np.zeros(0, np.int32), masks.encode_mask(np.ones((4, 6), bool))]
  )
  extra = {"mask_runs": runs, "mask_stops": stops}
  pixels = pixel_classes.PixelClasses(_Source([(ink, boxes, labels, extra)], 2))
  np.testing.assert_array_equal(pixels.window(0, 0, 0, 40, 60)[1], _truth())


def test_classes_that_are_left_out_are_background():
  page, wanted = _masked()
  source = _Source([page], 2)
  source.class_names, source.new_ids = ("class1",), np.array([-1, 0])
  _, classes = pixel_classes.PixelClasses(source).window(0, 0, 0, 40, 60)
  np.testing.assert_array_equal(classes, (wanted == 2).astype(np.int32))


def _labelled(values, background=0):
  """Pages whose pixel labels give class i the value values[i]."""
  pages = []
  for i in range(6):
    ink, _, _, _ = _page()
    ink, truth = np.roll(ink, i, 1), np.roll(_truth(), i, 1)
    # What boxes cannot tell: a part of the larger symbol is something else's.
    truth[30:33, 12:14] = 0
    table = np.array([background, *values])
    drawn = table[truth].astype(np.uint8)
    boxes = [[4, 10 + i, 36, 40 + i], [10, 14 + i, 14, 20 + i]]
    extra = {"pixel_labels": tiled_tiff.encode(drawn)}
    pages.append(((ink, boxes, [1, 0], extra), truth))
  return pages


# Caption: value of classes 0 and 1, of background.
MEANINGS = {
  "ids from 1": ([1, 2], 0),
  "ids from 0, another background": ([0, 1], 255),
  "colours of a palette": ([87, 10], 0),
  "swapped": ([2, 1], 0),
  "rgb": ([[255, 0, 0], [0, 0, 9]], [255, 255, 255]),
}


@pytest.mark.parametrize("caption", MEANINGS)
def test_pixel_labels_of_any_meaning(caption):
  values, background = MEANINGS[caption]
  pages = _labelled(values, background)
  pixels = pixel_classes.PixelClasses(_Source([p for p, _ in pages], 2))
  assert pixels.kind == "pixel_labels"
  for i, (_, truth) in enumerate(pages):
    _, classes = pixels.window(i, 2, 3, 35, 50)
    np.testing.assert_array_equal(classes, truth[2:37, 3:53])


def test_what_one_split_says_counts_for_another():
  pages = [page for page, _ in _labelled([87, 10])]
  pixels = pixel_classes.PixelClasses(_Source(pages, 2))
  other = pixel_classes.PixelClasses(_Source(pages[:1], 2), pixels.meaning)
  assert other.meaning is pixels.meaning
  assert other.kind == "pixel_labels"


def test_pages_without_labels_go_by_their_boxes():
  pages = [page for page, _ in _labelled([1, 2])]
  pages.append((*_page()[:3], {"pixel_labels": b""}))
  pixels = pixel_classes.PixelClasses(_Source(pages, 2))
  _, classes = pixels.window(len(pages) - 1, 0, 0, 40, 60)
  np.testing.assert_array_equal(classes, _truth())


def test_labels_of_no_page_are_no_labels():
  page = (*_page()[:3], {"pixel_labels": b""})
  assert pixel_classes.PixelClasses(_Source([page], 2)).kind == "boxes"


def test_generated_pages_have_exact_labels(tmp_path):
  cfg = default().data
  cfg.builder, cfg.data_dir = "deepscores", str(tmp_path / "records")
  with cfg.unlocked():
    cfg.engrave.update(pages=2, workers=1, pixel_labels=True)
    cfg.engrave.update(width=500, height=500, vocabulary="deepscores_v2")
  prepare.prepare(cfg, tmp_path)
  source = sources.open_split(cfg, tmp_path / "records", "train")
  pixels = pixel_classes.PixelClasses(source)
  assert pixels.kind == "pixel_labels"
  assert pixels.meaning[0] == 0
  assert all(pixels.meaning[i] == i for i in range(1, 137))
  example = source.example(0)
  written = tiled_tiff.read_pixels(example["pixel_labels"], "page")
  _, classes = pixels.window(0, 10, 20, 400, 450)
  np.testing.assert_array_equal(classes, written[10:410, 20:470])
  assert len(np.unique(classes)) > 10


def _naive(classes, stride, min_share):
  h, w = classes.shape[0] // stride, classes.shape[1] // stride
  found = np.zeros((h, w), int)
  for y, x in np.ndindex(h, w):
    cell = classes[y * stride : (y + 1) * stride, x * stride : (x + 1) * stride]
    some = cell[cell > 0]
    if len(some) >= min_share * cell.size:
      found[y, x] = np.bincount(some).argmax() if len(some) else 0
  return found


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 999), share=st.sampled_from([1 / 16, 1 / 8, 0.5]))
def test_cells_have_their_most_frequent_class(seed, share):
  rng = np.random.default_rng(seed)
  classes = rng.integers(0, 4, (12, 20)) * (rng.random((12, 20)) < 0.4)
  classes = classes.astype(np.int32)
  np.testing.assert_array_equal(
    pixel_classes.at_stride(classes, 4, share), _naive(classes, 4, share)
  )


def test_real_masks_and_boxes_mostly_agree(shared_data, tmp_path):
  """A handwritten page: noteheads are filled, so both say the same of them."""
  cfg = default().data
  cfg.builder, cfg.builder_config = "muscima_pp", "v2.0"
  cfg.manual_dir = str(_one_page(shared_data / "muscima_pp/v2.0", tmp_path))
  cfg.data_dir, cfg.options.masks = str(tmp_path / "records"), True
  prepare.prepare(cfg, tmp_path)
  source = sources.open_split(cfg, tmp_path / "records", "train")
  pixels = pixel_classes.PixelClasses(source)
  assert pixels.kind == "masks"
  height, width = source.box_index().page_hw[0].tolist()
  ink, classes = pixels.window(0, 0, 0, height, width)
  labels, boxes = source.labels_and_boxes(0)
  painted = pixel_classes.paint(ink, boxes, labels)
  head = source.class_names.index("noteheadFull") + 1
  assert (classes == head).sum() > 1000
  assert (painted[classes == head] == head).mean() > 0.95
  # Nearly all ink belongs to something.
  assert (classes[ink > 128] > 0).mean() > 0.95


def _one_page(folder, tmp_path):
  """A manual_dir with the first page."""
  made = tmp_path / "pages"
  name = sorted((folder / "data" / "annotations").glob("*.xml"))[0]
  for part in ("data/annotations", "data/images", "specifications"):
    (made / part).mkdir(parents=True)
  (made / "data/annotations" / name.name).symlink_to(name)
  for image in (folder / "data" / "images").glob(f"{name.stem}*"):
    (made / "data/images" / image.name).symlink_to(image)
  for path in (folder / "specifications").iterdir():
    (made / "specifications" / path.name).symlink_to(path)
  return made
