"""DeepScores: folders of the original, kinds of images, splits, real pages."""

import collections
import io
import pathlib
import re
import shutil

import cv2
import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dwd_jax.core.errors import InputError
from dwd_jax.imaging import tiled_tiff
from tfds_builders import checks
from tfds_builders.deepscores import deepscores_parsing

_PAGE = "dummy-rgb-page-1"
_IMAGES = "segmentation_detection/images_png"


@pytest.fixture
def root(repo_dir, tmp_path) -> pathlib.Path:
  copy = tmp_path / "scores"
  shutil.copytree(repo_dir / "tfds_builders/deepscores/dummy_data", copy)
  return copy


def _parse(root, config="dense_2017", **options):
  report = checks.BuildReport()
  chosen = deepscores_parsing.Options(**options)
  data_set = deepscores_parsing.read_data_set(root, config, chosen, report)
  pages = {
    page.name: deepscores_parsing.read_page(
      page, data_set.class_names, chosen, report
    )
    for pages in data_set.splits.values()
    for page in pages
  }
  return data_set, pages, report


@pytest.mark.parametrize(
  "config", sorted({*deepscores_parsing.FOLDERS} - {"engraved"})
)
def test_folders_of_the_original_below_the_manual_folder(root, config):
  above = root.parent / "above"
  above.mkdir()
  root.rename(above / deepscores_parsing.FOLDERS[config])
  data_set, pages, _ = _parse(above, config)
  assert len(pages) == 5
  assert data_set.splits["train"][0].image.parent.parent.parent.parent == above


def test_a_folder_of_another_config_is_not_taken(root):
  above = root.parent / "above"
  above.mkdir()
  root.rename(above / "DeepScores_ipad_2017")
  with pytest.raises(InputError, match="no such folder; see the README"):
    _parse(above, "dense_2017")


def test_listed_scans_without_image_are_skipped_as_in_the_original(root):
  (root / _IMAGES / f"{_PAGE}.png").unlink()
  _, pages, report = _parse(root, "300dpi_2017")
  assert len(pages) == 4
  assert report.counts["pages skipped: listed, but without image"] == 1
  for path in (root / _IMAGES).iterdir():
    path.rename(path.with_stem(f"other-{path.stem}"))
  with pytest.raises(InputError, match=r"train\.txt: none of its 3 pages"):
    _parse(root, "300dpi_2017")


def test_val_and_test_can_be_merged(root):
  apart = _parse(root)[0].splits
  data_set, _, _ = _parse(root, merge_val_test=True)
  assert list(data_set.splits) == ["train", "test"]
  assert [p.name for p in data_set.splits["test"]] == [
    p.name for p in apart["val"] + apart["test"]
  ]
  (root / "train_val_test/val.txt").unlink()
  (root / "train_val_test/test.txt").unlink()
  assert list(_parse(root, merge_val_test=True)[0].splits) == ["train"]


def test_further_lists_are_splits(root):
  lists = root / "train_val_test"
  train, test = (
    (lists / f"{name}.txt").read_text().split() for name in ("train", "test")
  )
  (lists / "train100.txt").write_text(f"{train[1]}\n\n{train[1]}\ngone\n")
  (lists / "debug.txt").write_text(f"{test[0]}\n{train[0]}\n")
  (lists / "README.txt").write_text("These are / lists.\n")
  (lists / "photo.txt").write_bytes(b"\xff\xd8")
  (lists / "dense pages.txt").write_text(train[0])
  data_set, _, report = _parse(root)
  splits = {k: [p.name for p in v] for k, v in data_set.splits.items()}
  assert list(splits) == ["train", "val", "test", "debug", "train100"]
  assert splits["train100"] == [train[1]]
  assert splits["debug"] == [test[0], train[0]]
  kind = "lists skipped: no pages, or the name is no word"
  assert report.examples == {
    kind: ["README.txt", "dense pages.txt", "photo.txt"],
    "lists of which pages are missing": ["train100.txt"],
    "lists that share pages with test": ["debug.txt"],
  }


def test_lists_with_numbers(root):
  before = _parse(root)[0]
  for path in (root / "train_val_test").iterdir():
    lines = enumerate(path.read_text().split())
    path.write_text("".join(f"{i},{name}\n" for i, name in lines))
  (root / "train_val_test/train1.txt").write_text(f"0,missing\n7,{_PAGE}")
  after, _, report = _parse(root)
  assert after.splits.pop("train1") == [before.splits["train"][0]]
  assert after == before
  assert list(report.counts) == ["lists of which pages are missing"]
  with (root / "train_val_test/test.txt").open("a") as f:
    f.write(f"9,{_PAGE}\n")
  with pytest.raises(InputError, match=rf"{_PAGE}' is also in .*train\.txt"):
    _parse(root)


def test_a_page_of_a_further_list_alone_is_no_page_without_list(root):
  path = root / "train_val_test/val.txt"
  path.rename(path.with_stem("validation"))
  data_set, pages, report = _parse(root)
  assert list(data_set.splits) == ["train", "test", "validation"]
  assert len(pages) == 5
  assert not report.counts


def test_lists_without_number_are_refused(root):
  for i in range(101):
    (root / f"train_val_test/list{i}.txt").touch()
  with pytest.raises(InputError, match="101 lists are more than the 100"):
    _parse(root)


def test_known_class_names_where_the_list_is_missing(root):
  before = _parse(root)
  shutil.rmtree(root / "DeepScores_classification")
  after = _parse(root)
  assert len(after[0].class_names) == 124
  assert after[0].vocabulary == "deepscores_v1"
  for name, page in after[1].items():
    names = [after[0].class_names[i] for i in page.labels]
    labels = before[1][name].labels
    assert names == [before[0].class_names[i] for i in labels]
  kind = "class_names.csv missing: the 124 known names taken"
  assert dict(after[2].counts) == {kind: 1}


def test_the_vocabulary_is_named_only_if_all_names_are_known(root):
  assert _parse(root)[0].vocabulary == "deepscores_v1"
  with (root / "DeepScores_classification/class_names.csv").open("a") as f:
    f.write("4,kazoo\n")
  assert _parse(root)[0].vocabulary == ""


def test_a_data_set_with_classes_of_its_own(root):
  """In the layout of DeepScores, but about something else."""
  before = _parse(root)[0]
  own = {name: f"my {name}" for name in before.class_names}
  names = [own[name] for name in reversed(before.class_names)]
  (root / "DeepScores_classification/class_names.csv").write_text(
    "".join(f"{i},{name}\n" for i, name in enumerate(names))
  )
  for path in root.rglob("*.xml"):
    text = re.sub("<name>(.*?)</name>", r"<name>my \1</name>", path.read_text())
    path.write_text(text)
  data_set, pages, report = _parse(root)
  assert data_set.class_names == tuple(names)
  assert sum(len(page.labels) for page in pages.values()) > 9
  assert not any("class" in kind for kind in report.examples)


def _jpeg_on_its_side(grey: np.ndarray) -> bytes:
  """Stored turned by 90 degrees, with the EXIF note to turn it back."""
  image = PIL.Image.fromarray(np.rot90(grey))
  exif = image.getexif()
  exif[0x0112] = 6  # turn by 90 degrees clockwise to see it
  out = io.BytesIO()
  image.save(out, "JPEG", exif=exif, quality=95)
  return out.getvalue()


def _png(pixels: np.ndarray | PIL.Image.Image) -> bytes:
  out = io.BytesIO()
  image = (
    PIL.Image.fromarray(pixels) if isinstance(pixels, np.ndarray) else pixels
  )
  image.save(out, "PNG")
  return out.getvalue()


_KINDS = {
  "grey PNG": (".png", lambda g: _png(g)),
  "RGB PNG": (".png", lambda g: _png(np.stack([g] * 3, -1))),
  "RGBA PNG, paper transparent": (
    ".png",
    lambda g: _png(np.stack([g * 0, g * 0, g * 0, 255 - g], -1)),
  ),
  "1-bit PNG": (".png", lambda g: _png(PIL.Image.fromarray(g).convert("1"))),
  "16-bit PNG": (".png", lambda g: _png(g.astype(np.uint16) * 257)),
  "palette PNG": (".png", lambda g: _png(PIL.Image.fromarray(g).convert("P"))),
  "JPEG photo on its side": (".jpg", _jpeg_on_its_side),
  "JPEG, ending in capitals": (".JPEG", _jpeg_on_its_side),
  "TIFF": (".tif", lambda g: cv2.imencode(".tif", g)[1].tobytes()),
}


@pytest.mark.parametrize("caption", _KINDS)
def test_kinds_of_images(root, caption):
  expected = _parse(root)[1][_PAGE]
  grey = np.where(expected.ink > 127, 0, 255).astype(np.uint8)
  suffix, encode = _KINDS[caption]
  (root / _IMAGES / f"{_PAGE}.png").unlink()
  (root / _IMAGES / f"{_PAGE}{suffix}").write_bytes(encode(grey))
  page = _parse(root)[1][_PAGE]
  assert page.ink.shape == expected.ink.shape == (96, 128)
  # JPEG rings around edges: compare what is ink, not the tones.
  assert np.mean((page.ink > 127) != (grey < 128)) < 0.001
  np.testing.assert_array_equal(page.boxes_yxyx, expected.boxes_yxyx)
  assert page.extras["pixel_labels"] == expected.extras["pixel_labels"]


def test_pixel_labels_lie_under_the_boxes(root):
  _, pages, _ = _parse(root)
  page = pages[_PAGE]
  values = tiled_tiff.read_pixels(page.extras["pixel_labels"], _PAGE)
  boxes = page.boxes_yxyx.round().astype(int)
  for (top, left, bottom, right), label in zip(boxes, page.labels, strict=True):
    assert (values[top:bottom, left:right] == label + 1).any()
  without = [p.extras["pixel_labels"] for n, p in pages.items() if n != _PAGE]
  assert without == [b""] * 4


@pytest.mark.parametrize(
  "name", ["class_names.csv", "train.txt", f"{_PAGE}.xml"]
)
@settings(deadline=None, max_examples=60, derandomize=True)
@given(junk=st.binary(max_size=300), at=st.integers(0, 600), cut=st.booleans())
def test_damaged_files_give_one_line(
  repo_dir, tmp_path_factory, name, **damage
):
  copy = tmp_path_factory.mktemp("fuzz") / "scores"
  shutil.copytree(repo_dir / "tfds_builders/deepscores/dummy_data", copy)
  path = next(copy.rglob(name))
  data, at = path.read_bytes(), damage["at"]
  rest = b"" if damage["cut"] else data[at + len(damage["junk"]) :]
  path.write_bytes(data[:at] + damage["junk"] + rest)
  try:
    _, pages, _ = _parse(copy)
  except InputError as e:
    assert "\n" not in str(e)
    assert str(copy) in str(e)
  else:
    assert all(np.isfinite(p.boxes_yxyx).all() for p in pages.values())
  finally:
    shutil.rmtree(copy)


_NUMBERS = st.one_of(
  st.floats().map(str),
  st.floats(-0.1, 1.1).map(str),
  st.sampled_from(
    ["", " ", "left", "1e999", "-0", "0x10", "१", "1,5", "-inf", "1e306"]
  ),
)


@settings(deadline=None, max_examples=60, derandomize=True)
@given(numbers=st.lists(_NUMBERS, min_size=4, max_size=4))
def test_any_numbers_give_boxes_on_the_page_or_one_line(root_once, numbers):
  data_set, page, path, text = root_once
  for tag, number in zip(
    ("xmin", "xmax", "ymin", "ymax"), numbers, strict=True
  ):
    text = re.sub(f"<{tag}>.*?<", f"<{tag}>{number}<", text, count=1)
  path.write_text(text)
  report = checks.BuildReport()
  parsed = deepscores_parsing.read_page(
    page, data_set.class_names, deepscores_parsing.Options(), report
  )
  skipped = sum(n for k, n in report.counts.items() if "skipped" in k)
  assert len(parsed.boxes_yxyx) + skipped == 9
  assert (parsed.boxes_yxyx >= 0).all()
  assert (parsed.boxes_yxyx <= [96, 128, 96, 128]).all()
  assert (parsed.boxes_yxyx[:, 2:] > parsed.boxes_yxyx[:, :2]).all()


@pytest.fixture(scope="module")
def root_once(repo_dir, tmp_path_factory):
  copy = tmp_path_factory.mktemp("once") / "scores"
  shutil.copytree(repo_dir / "tfds_builders/deepscores/dummy_data", copy)
  data_set = _parse(copy)[0]
  pages = {p.name: p for pages in data_set.splits.values() for p in pages}
  path = pages[_PAGE].annotation
  return data_set, pages[_PAGE], path, path.read_text()


def test_real_pages_count_exactly_per_class(shared_data):
  folder = shared_data / "deepscores_v1"
  data_set, pages, report = _parse(folder)
  assert data_set.vocabulary == "deepscores_v1"
  total = 0
  for path in (folder / "segmentation_detection/xml_annotations").iterdir():
    counted = collections.Counter(
      re.findall(r"<object>\s*<name>(.*?)</name>", path.read_text())
    )
    labels = pages[path.stem].labels
    found = collections.Counter(data_set.class_names[i] for i in labels)
    assert found == counted
    total += len(labels)
  assert total == 325 + 325 + 171
  assert not report.counts


def test_too_many_names_are_refused_at_once(tmp_path):
  path = tmp_path / "class_names.csv"
  path.write_text("".join(f"{i},c{i}\n" for i in range(300_000)))
  with pytest.raises(InputError, match=r"class_names\.csv: 300,000 classes"):
    deepscores_parsing.read_class_names(path)
