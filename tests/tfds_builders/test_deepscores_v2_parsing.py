"""DeepScoresV2: what is read, what stops, what is skipped; real pages."""

import collections
import json
import pathlib

import deepscores_v2_helpers as helpers
import numpy as np
import pytest
from deepscores_v2_helpers import PAGE, TRAIN, edit, set_first

from dwd_jax.core.errors import InputError
from dwd_jax.core.structs import NO_POSITION
from dwd_jax.imaging import tiled_tiff
from tfds_builders.deepscores_v2 import deepscores_v2_comments as comments


@pytest.fixture
def root(repo_dir, tmp_path) -> pathlib.Path:
  return helpers.copy(repo_dir, tmp_path / "scores")


def test_dummy_pages(root):
  data_set, pages, report = helpers.parse(root)
  assert data_set.class_names == (
    "brace",
    "clefG",
    "noteheadBlackOnLine",
    "noteheadBlackInSpace",
    "fingering3",
  )
  assert data_set.vocabulary == "deepscores_v2"
  page = pages[PAGE]
  # Drawn by hand: clef, two tilted heads, a figure.
  assert page.labels.tolist() == [1, 2, 3, 4]
  np.testing.assert_allclose(page.boxes_yxyx[0], [17, 14, 47, 26], atol=0.01)
  assert page.extras["oriented_yx"].shape == (4, 4, 2)
  assert page.boxes_yxyx.dtype == page.extras["oriented_yx"].dtype == np.float32
  assert pages["lg-11-aug-beethoven--page-2"].boxes_yxyx.shape == (0, 4)
  assert not report.counts


def test_oriented_boxes_fit_into_the_aligned_ones(root):
  for page in helpers.parse(root)[1].values():
    corners = page.extras["oriented_yx"]
    around = np.concatenate([corners.min(1), corners.max(1)], axis=1)
    np.testing.assert_allclose(page.boxes_yxyx, around, atol=0.01)


def test_segmentation_has_the_colours_of_the_categories(root):
  pages = helpers.parse(root)[1]
  colours = {0: 1, 1: 10, 2: 24, 3: 25, 4: 87}
  checked = 0
  for name in (PAGE, "lg-1-aug-emmentaler--page-1"):  # grey; palette
    page = pages[name]
    values = tiled_tiff.read_pixels(page.extras["pixel_labels"], name)
    for label, corners in zip(
      page.labels.tolist(), page.extras["oriented_yx"], strict=True
    ):
      y, x = corners.mean(0).round().astype(int)
      assert values[y, x] == colours[label]
      assert page.ink[y, x] == 255
      checked += 1
  assert checked == 8
  assert pages["lg-3-aug-gonville--page-1"].extras["pixel_labels"] == b""


def test_the_other_annotation_set(root):
  data_set, pages, report = helpers.parse(root, "dense_muscima")
  assert data_set.class_names == ("brace", "clefG", "noteheadFullSmall")
  assert data_set.vocabulary == "deepscores_v2_muscima"
  assert pages[PAGE].labels.tolist() == [1, 2, 2]
  assert len(pages[PAGE].extras["oriented_yx"]) == 3
  assert dict(report.counts) == {
    "annotations left out: no class in this set": 2
  }


def test_a_name_of_ones_own_leaves_the_vocabulary_open(root):
  helpers.replace('"fingering3"', '"kazoo"')(root)
  (root / "deepscores_test.json").unlink()
  data_set = helpers.parse(root)[0]
  assert data_set.vocabulary == ""
  assert "test" not in data_set.splits


def test_ids_may_be_numbers_or_text_and_a_byte_order_mark_is_skipped(root):
  before = helpers.parse(root)[1][PAGE]
  edit(
    lambda d: [
      image.update(
        id=str(image["id"]), ann_ids=[int(i) for i in image["ann_ids"]]
      )
      for image in d["images"]
    ]
  )(root)
  set_first(cat_id=[3, 4])(root)
  path = root / TRAIN
  path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
  _, pages, report = helpers.parse(root)
  np.testing.assert_array_equal(pages[PAGE].boxes_yxyx, before.boxes_yxyx)
  assert not report.counts


def test_annotations_of_a_page_may_lie_apart(root):
  before = helpers.parse(root)[1]
  edit(
    lambda d: d.update(
      annotations=dict(
        sorted(d["annotations"].items(), key=lambda x: x[0][::-1])
      )
    )
  )(root)
  data_set, pages, _ = helpers.parse(root)
  assert len(data_set.splits["train"][0].rows.runs) > 1
  for name, page in pages.items():
    old = before[name]
    order, was = (
      np.argsort(page.boxes_yxyx[:, 0]),
      np.argsort(old.boxes_yxyx[:, 0]),
    )
    np.testing.assert_array_equal(page.boxes_yxyx[order], old.boxes_yxyx[was])
    np.testing.assert_array_equal(page.labels[order], old.labels[was])


def test_a_replaced_oriented_box_is_the_aligned_one(root):
  set_first(o_bbox=[1, 2, 3])(root)
  page = helpers.parse(root)[1][PAGE]
  top, left, bottom, right = page.boxes_yxyx[0].tolist()
  assert page.extras["oriented_yx"][0].tolist() == [
    [top, left],
    [top, right],
    [bottom, right],
    [bottom, left],
  ]


def test_a_file_that_shrinks_while_it_is_read(root):
  data_set = helpers.parse(root)[0]
  page = data_set.splits["train"][0]
  page.annotation.write_text("{}")
  with pytest.raises(InputError, match="has changed while it was read"):
    helpers.read(page, data_set)
  page.annotation.unlink()
  with pytest.raises(InputError, match="put the file back"):
    helpers.read(page, data_set)


@pytest.mark.parametrize(
  ("config", "place", "total"), [("dense", 0, 547), ("dense_muscima", 1, 538)]
)
def test_real_page_counts_exactly_per_class(shared_data, config, place, total):
  folder = shared_data / "deepscores_v2"
  data_set, pages, report = helpers.parse(folder, config)
  data = json.loads((folder / TRAIN).read_text())
  ids = [a["cat_id"][place] for a in data["annotations"].values()]
  names = [data["categories"][i]["name"] for i in ids if i is not None]
  (page,) = pages.values()
  found = [data_set.class_names[i] for i in page.labels]
  assert collections.Counter(found) == collections.Counter(names)
  assert len(page.boxes_yxyx) == total
  assert data_set.vocabulary
  assert report.counts.total() == 547 - total
  assert (page.extras["positions"] == NO_POSITION).all()  # empty comments
  # Its boxes, told apart by nothing but their own numbers.
  expected = [
    a["a_bbox"]
    for a in data["annotations"].values()
    if a["cat_id"][place] is not None
  ]
  np.testing.assert_allclose(
    page.boxes_yxyx[:, [1, 0, 3, 2]], expected, atol=0.001
  )


def _noted(*comments):
  """A change to the comments of the annotations 101, 102, ..."""

  def change(data):
    for i, comment in enumerate(comments):
      data["annotations"][str(101 + i)]["comments"] = comment

  return edit(change)


def test_positions_and_onsets_of_comments(root):
  none = NO_POSITION
  assert helpers.parse(root)[1][PAGE].extras["positions"].tolist() == [none] * 4
  _noted(
    "instance:#00020d;onset:1/2;",
    "instance:#00020e;duration:8*2/3;rel_position:-4;",
    " rel_position : 7 ; onset: 2.5 ;whatever;:;",
    "",
  )(root)
  page, report = helpers.parse(root)[1][PAGE], helpers.parse(root)[2]
  assert page.extras["positions"].tolist() == [none, -4, 7, none]
  assert page.extras["positions"].dtype == np.int32
  onsets = page.extras["onsets"]
  assert onsets.dtype == np.float32
  np.testing.assert_array_equal(onsets, np.float32([0.5, "nan", 2.5, "nan"]))
  assert not report.counts


def test_unreadable_positions_are_left_out_and_counted(root):
  bad = (
    *("rel_position:high;", "rel_position:1e3;", "rel_position:2.5;"),
    *(f"rel_position:{'9' * 30};", "onset:1/0;", "onset:1/2/3;"),
    *("onset:-1;", "onset:nan;"),
  )
  for comment in bad:
    noted = comments.read(comment)
    assert (noted.position, noted.bad) == (NO_POSITION, True)
    assert np.isnan(noted.onset)
  _noted(bad[0])(root)
  _, pages, report = helpers.parse(root)
  assert pages[PAGE].extras["positions"][0] == NO_POSITION
  kind = "positions or onsets left out: not readable"
  assert report.counts == {kind: 1}


def test_comments_that_are_no_text_say_nothing(root):
  _noted(None, 7, ["rel_position:1;"], {"rel_position": 1})(root)
  _, pages, report = helpers.parse(root)
  assert set(pages[PAGE].extras["positions"].tolist()) == {NO_POSITION}
  assert not report.counts


@pytest.mark.parametrize("sign", [1, -1])
def test_the_staves_tell_whether_positions_count_upwards(sign):
  # Two staves with 10 px between lines; a head five px a step above or below.
  steps = np.array([4, -6, 0, 9, -2, NO_POSITION])
  middle = np.array([100, 100, 100, 300, 300, 300])
  y = np.where(steps == NO_POSITION, 500, middle - 5 * steps)
  heads = np.stack([y - 5, 0 * y + 50, y + 5, 0 * y + 60], 1)
  staves = np.array([[80, 0, 120, 200], [280, 0, 320, 200]])
  boxes = np.concatenate([heads, staves]).astype(np.float32)
  given = np.append(steps, [NO_POSITION] * 2)
  given = np.where(given == NO_POSITION, given, sign * given)
  is_staff = np.arange(8) >= 6
  assert comments.count_downwards(given, boxes, is_staff) == (sign < 0)
  assert not comments.count_downwards(given, boxes, is_staff & False)
