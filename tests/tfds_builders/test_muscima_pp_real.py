"""Real MUSCIMA++ pages: every object is there, masks lie on the ink."""

import collections
import pathlib
import re

import numpy as np
import pytest

from dwd_jax.imaging import masks
from tfds_builders import checks
from tfds_builders.muscima_pp import muscima_pp_annotations as annotations
from tfds_builders.muscima_pp import muscima_pp_parsing as parsing

_NOT_INK = ("staff", "staffSpace", "staff_space")  # areas between lines


def _data_set(root, config, **options):
  return parsing.read_data_set(
    root, config, parsing.Options(**options), checks.BuildReport()
  )


def _pages(data_set):
  return [page for pages in data_set.splits.values() for page in pages]


def _count_independently(path: pathlib.Path) -> collections.Counter[str]:
  return collections.Counter(
    re.findall(r"<(?:ML)?ClassName>([^<]*)<", path.read_text())
  )


def test_all_objects_of_v2(shared_data):
  data_set = _data_set(shared_data / "muscima_pp", "v2.0")
  assert data_set.vocabulary == "muscima_v2"
  total = collections.Counter()
  for page in _pages(data_set):
    objects = annotations.read_objects(
      page.annotation, page.name, page.rows.root_tag, data_set.class_names
    )
    counted = collections.Counter(
      data_set.class_names[label] for label in objects.labels
    )
    assert counted == _count_independently(page.annotation), page.name
    assert np.isfinite(objects.boxes_yxyx).all() and all(objects.mask_texts)
    total += counted
  assert len(total) == 115
  assert total.total() == 88106
  # Counted once with grep -c.
  assert (total["noteheadFull"], total["stem"]) == (18288, 18367)


_SPLITS = {
  "": {"train": (96, 0), "val": (12, 0), "heldout": (12, 0)},
  "independent": {"train": (108, 0), "val": (12, 0)},
  # Every writer of the test is in train; none of val is.
  "dependent": {"train": (88, 0), "val": (12, 0), "test": (20, 20)},
}


@pytest.mark.parametrize("kind", _SPLITS)
def test_official_splits(shared_data, kind):
  data_set = _data_set(shared_data / "muscima_pp", "v2.0", official_split=kind)
  writers = {
    split: {page.name.split("_")[1] for page in pages}
    for split, pages in data_set.splits.items()
  }
  shared_with_train = {
    split: len(names & writers["train"]) if split != "train" else 0
    for split, names in writers.items()
  }
  assert {
    split: (len(pages), shared_with_train[split])
    for split, pages in data_set.splits.items()
  } == _SPLITS[kind]


@pytest.fixture
def v1(shared_data, tmp_path) -> pathlib.Path:
  """The sample of v1.0 with images as CVC-MUSCIMA names them."""
  sample = shared_data / "muscima_pp/v1.0_sample"
  (tmp_path / "data").mkdir()
  for name in ("cropobjects_manual", "cropobjects_withstaff"):
    (tmp_path / "data" / name).symlink_to(sample / name)
  (tmp_path / "specifications").symlink_to(sample / "specifications")
  for path in (sample / "cropobjects_manual").iterdir():
    _, writer, piece, _ = path.stem.split("_")
    folder = tmp_path / f"CvcMuscima-Distortions/ideal/w-{writer[2:]}/image"
    folder.mkdir(parents=True, exist_ok=True)
    image = shared_data / f"muscima_pp/v2.0/data/images/{path.stem}.png"
    (folder / f"p0{piece[2:]}.png").symlink_to(image)
  return tmp_path


def test_all_objects_of_the_v1_sample(v1):
  for folder, pages in (("withstaff", 2), ("manual", 3)):
    data_set = _data_set(v1, "v1.0")
    assert data_set.vocabulary == "muscima_v1"
    assert len(_pages(data_set)) == pages
    for page in _pages(data_set):
      assert page.annotation.parent.name == f"cropobjects_{folder}"
      parsed = parsing.read_page(
        page, data_set.class_names, parsing.Options(), checks.BuildReport()
      )
      names = [data_set.class_names[label] for label in parsed.labels]
      assert collections.Counter(names) == _count_independently(page.annotation)
    (v1 / "data/cropobjects_withstaff").unlink(missing_ok=True)


@pytest.mark.parametrize("config", ("v1.0", "v2.0"))
def test_masks_lie_on_the_ink_of_real_pages(shared_data, v1, config):
  root = v1 if config == "v1.0" else shared_data / "muscima_pp"
  data_set = _data_set(root, config)
  page = next(p for p in _pages(data_set) if "W-07_N-08" in p.name)
  report = checks.BuildReport()
  parsed = parsing.read_page(
    page, data_set.class_names, parsing.Options(masks=True), report
  )
  assert not report.counts
  on_ink = total = 0
  for mask, box, label in zip(
    masks.of_page(
      parsed.extras["mask_runs"], parsed.extras["mask_stops"], parsed.boxes_yxyx
    ),
    parsed.boxes_yxyx.astype(int),
    parsed.labels,
    strict=True,
  ):
    assert mask is not None
    if data_set.class_names[label] in _NOT_INK:
      continue
    part = parsed.ink[box[0] : box[2], box[1] : box[3]]
    on_ink += np.count_nonzero(part[mask] < 255)  # white on black
    total += np.count_nonzero(mask)
  assert on_ink > 0.999 * total > 100_000


def test_identical_annotations_are_counted(shared_data):
  data_set = _data_set(shared_data / "muscima_pp", "v2.0")
  page = next(p for p in _pages(data_set) if "W-18_N-12" in p.name)
  report = checks.BuildReport()
  parsed = parsing.read_page(
    page, data_set.class_names, parsing.Options(), report
  )
  assert dict(report.counts) == {"identical annotations (kept)": 10}
  pairs = np.concatenate([parsed.boxes_yxyx, parsed.labels[:, None]], axis=1)
  assert len(pairs) - len(np.unique(pairs, axis=0)) == 10
