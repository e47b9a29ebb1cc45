"""DeepScoresV2: splits by piece of music, and files of the complete set."""

import json
import pathlib
import shutil

import deepscores_v2_helpers as helpers
import pytest
from deepscores_v2_helpers import PAGE, TRAIN

from dwd_jax.core.errors import InputError
from tfds_builders.deepscores_v2 import deepscores_v2_parsing as parsing


@pytest.fixture
def root(repo_dir, tmp_path) -> pathlib.Path:
  return helpers.copy(repo_dir, tmp_path / "scores")


def _names(data_set) -> dict[str, list[str]]:
  return {k: [p.name for p in v] for k, v in data_set.splits.items()}


def test_val_is_taken_out_of_train_by_piece(root):
  assert _names(helpers.parse(root)[0]) == {
    "train": [PAGE, "lg-1-aug-emmentaler--page-1", "lg-3-aug-gonville--page-1"],
    "val": ["lg-11-aug-beethoven--page-1", "lg-11-aug-beethoven--page-2"],
    "test": ["lg-4-aug-lilyjazz--page-3"],
  }


@pytest.mark.parametrize(
  ("name", "piece"),
  [
    ("lg-5230237-aug-emmentaler--page-2", "lg-5230237"),
    (
      "lg-527907832922209940-aug-gutenberg1939--page-12",
      "lg-527907832922209940",
    ),
    ("sonata--page-2", "sonata"),
    ("sonata", "sonata"),
    ("-aug-odd", "-aug-odd"),
  ],
)
def test_piece_of_a_page(name, piece):
  assert parsing.piece_of(name) == piece


def test_a_tenth_of_the_pieces_goes_to_val_and_fonts_stay_together():
  fonts = ("beethoven", "emmentaler", "gonville", "gutenberg1939", "lilyjazz")
  in_val = 0
  for piece in range(3000):
    pages = [f"lg-{piece}-aug-{f}--page-{n}" for f in fonts for n in (1, 2)]
    (chosen,) = {parsing.is_val(page) for page in pages}
    in_val += chosen
  assert 0.08 < in_val / 3000 < 0.12
  # Of record: builds of all times and machines must agree.
  assert [i for i in range(50) if parsing.is_val(f"lg-{i}")] == [11, 46]


@pytest.mark.parametrize("kept", ["lg-11", "lg-3"])
def test_no_val_where_it_would_be_all_or_nothing(root, kept):
  helpers.edit(
    lambda d: d.update(
      images=[i for i in d["images"] if i["filename"].startswith(kept)]
    )
  )(root)
  splits = _names(helpers.parse(root)[0])
  assert list(splits) == ["test", "train"]
  assert all(name.startswith(kept) for name in splits["train"])


def _as_complete(root: pathlib.Path) -> None:
  """Each train page in a file of its own, with the same ids in each."""
  data = json.loads((root / TRAIN).read_text())
  for n, image in enumerate(data["images"]):
    annotations = {
      str(k): dict(data["annotations"][i], img_id="1")
      for k, i in enumerate(image["ann_ids"])
    }
    image = dict(image, id=1, ann_ids=list(annotations))
    shard = dict(data, images=[image], annotations=annotations)
    path = root / f"deepscores-complete-{9 + n}_train.json"
    path.write_text(json.dumps(shard))
  (root / "deepscores_test.json").rename(
    root / "deepscores-complete-0_test.json"
  )
  (root / TRAIN).unlink()


def test_the_complete_set_comes_in_many_files_of_their_own_ids(root):
  dense, dense_pages, _ = helpers.parse(root)
  _as_complete(root)
  root.rename(root.parent / "ds2_complete")
  complete, pages, report = helpers.parse(root.parent, "complete")
  assert _names(complete) == _names(dense)
  for name, page in pages.items():
    assert page.labels.tolist() == dense_pages[name].labels.tolist()
    assert page.boxes_yxyx.tolist() == dense_pages[name].boxes_yxyx.tolist()
  assert not report.counts
  data_set, _, _ = helpers.parse(root.parent, "complete_muscima")
  assert data_set.vocabulary == "deepscores_v2_muscima"


def test_files_are_read_in_the_order_of_their_numbers(root):
  _as_complete(root)
  (root / "deepscores-complete-x_train.json").touch()
  files = parsing.annotation_files(root, "ds2_complete")
  assert [(split, path.name.split("-")[-1]) for split, path in files] == [
    ("test", "0_test.json"),
    *(("train", f"{n}_train.json") for n in (9, 10, 11, 12, 13)),
  ]


def test_other_categories_in_another_file_stop(root):
  _as_complete(root)
  path = root / "deepscores-complete-11_train.json"
  path.write_text(path.read_text().replace('"clefG"', '"clefC"'))
  with pytest.raises(InputError, match=r"11_train\.json: other categories"):
    helpers.parse(root, "complete")


def test_a_page_of_the_test_file_stays_out_of_train(root):
  shutil.copy(root / TRAIN, root / "deepscores_test.json")
  (root / "images/lg-4-aug-lilyjazz--page-3.png").rename(
    root / "images/lg-9--page-1.png"
  )
  helpers.edit(lambda d: d["images"][0].update(filename="lg-9--page-1.png"))(
    root
  )
  helpers.set_image(height=80, width=64, ann_ids=[])(root)
  data_set, _, report = helpers.parse(root)
  assert _names(data_set)["train"] == ["lg-9--page-1"]
  assert len(data_set.splits["test"]) == 5
  assert report.counts["pages skipped: in two files"] == 4


def test_a_folder_of_the_dense_set_is_not_the_complete_one(root):
  with pytest.raises(InputError, match=r"complete-N_train\.json: no such file"):
    helpers.parse(root, "complete")
