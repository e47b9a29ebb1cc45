"""MUSCIMA++ v1.0 and the original's folder: layouts, splits, exclusions."""

import pathlib
import shutil

import numpy as np
import pytest

from dwd_jax.core.errors import InputError
from tfds_builders import checks
from tfds_builders.muscima_pp import muscima_pp_parsing as parsing

_CVC = "CvcMuscima-Distortions"
_WITHSTAFF = "data/cropobjects_withstaff"
_MANUAL = "data/cropobjects_manual"
_FIRST = "CVC-MUSCIMA_W-01_N-90_D-ideal"
_MANUAL_ONLY = "CVC-MUSCIMA_W-02_N-90_D-ideal"
_V1_CLASSES = (
  "notehead-full",
  "stem",
  "staff_line",
  'trill_"wobble"',
  "staff_space",  # not in the list, but in the files
)


@pytest.fixture
def dummy(repo_dir, tmp_path) -> pathlib.Path:
  copy = tmp_path / "dummy"
  shutil.copytree(repo_dir / "tfds_builders/muscima_pp/dummy_data", copy)
  return copy


@pytest.fixture
def v1(dummy) -> pathlib.Path:
  return dummy / "v1.0"


@pytest.fixture
def original(dummy) -> pathlib.Path:
  return dummy / "MUSICMA++_2017"


def _read(root, config, **options):
  report = checks.BuildReport()
  chosen = parsing.Options(**options)
  data_set = parsing.read_data_set(root, config, chosen, report)
  pages = {
    page.name: parsing.read_page(page, data_set.class_names, chosen, report)
    for pages in data_set.splits.values()
    for page in pages
  }
  return data_set, pages, report


def _writers(data_set):
  return {
    split: [page.name.split("_")[1][2:] for page in pages]
    for split, pages in data_set.splits.items()
  }


def _counts(data_set, page):
  counts = np.bincount(page.labels, minlength=len(data_set.class_names))
  return dict(zip(data_set.class_names, counts.tolist(), strict=True))


def test_v1_pages_with_staff_objects(dummy):
  data_set, pages, report = _read(dummy, "v1.0")
  assert data_set.class_names == _V1_CLASSES
  assert data_set.vocabulary == "muscima_v1"
  assert _writers(data_set) == {
    "train": ["01", "01"],
    "val": ["17"],
    "test": ["12"],
  }
  assert dict(report.counts) == {"pages skipped: in cropobjects_manual only": 1}
  assert _counts(data_set, pages[_FIRST]) == {
    "notehead-full": 3,
    "stem": 3,
    "staff_line": 5,
    'trill_"wobble"': 1,
    "staff_space": 1,
  }
  # Many images of CVC-MUSCIMA have one name; those of the records differ.
  files = [page for pages in data_set.splits.values() for page in pages]
  assert {page.image.name for page in files} == {"p090.png", "p091.png"}
  assert {page.filename for page in files} == {f"{p.name}.png" for p in files}


def test_v1_pages_annotated_by_hand_where_there_are_no_others(v1):
  shutil.rmtree(v1 / _WITHSTAFF)
  data_set, pages, report = _read(v1, "v1.0")
  assert data_set.class_names == _V1_CLASSES  # ids do not depend on the folder
  assert len(pages) == 5 and not report.counts
  # Both spellings of the tag occur.
  texts = [p.read_text() for p in (v1 / _MANUAL).iterdir()]
  assert {"<MLClassName>" in text for text in texts} == {True, False}
  for page in pages.values():
    assert _counts(data_set, page)["staff_line"] == 0
    assert _counts(data_set, page)["notehead-full"] == 3


_IMAGE_LAYOUTS = {
  "CVC-MUSCIMA beside the release": lambda root, v1: (v1 / _CVC).rename(
    root / _CVC
  ),
  "CVC-MUSCIMA as its archive unpacks": lambda root, v1: shutil.move(
    v1 / _CVC, (root / "CVCMUSCIMA_SR").mkdir() or root / "CVCMUSCIMA_SR"
  ),
  "its folder of ideal images alone": lambda root, v1: (
    v1 / _CVC / "ideal"
  ).rename(v1 / "data/ideal"),
  "pages right in the writers' folders": lambda root, v1: [
    p.rename(p.parents[1] / p.name) for p in (v1 / _CVC).rglob("*.png")
  ],
  "named like the annotations": lambda root, v1: _rename_images(
    v1, "data/images"
  ),
  "fulls": lambda root, v1: _rename_images(v1, "data/fulls"),
  "fulls below images": lambda root, v1: _rename_images(
    v1, "data/images/fulls"
  ),
  "fulls before images without staff lines": lambda root, v1: (
    _rename_images(v1, "data/fulls"),
    _rename_images(v1, "data/images", content=b"not read"),
  ),
}


def _rename_images(v1, folder, content=None):
  (v1 / folder).mkdir(parents=True)
  for path in (v1 / _MANUAL).iterdir():
    _, writer, piece, _ = path.stem.split("_")
    image = v1 / _CVC / f"ideal/w-{writer[2:]}/image/p0{piece[2:]}.png"
    new = v1 / folder / f"{path.stem}.png"
    new.write_bytes(content or image.read_bytes())


@pytest.mark.parametrize("caption", _IMAGE_LAYOUTS)
def test_where_the_images_may_lie(dummy, caption):
  expected = {n: p.ink.sum() for n, p in _read(dummy, "v1.0")[1].items()}
  _IMAGE_LAYOUTS[caption](dummy, dummy / "v1.0")
  found = _read(dummy, "v1.0")[1]
  assert {n: p.ink.sum() for n, p in found.items()} == expected


_SPLITS = {
  "ours": ("", {"train": "01 02", "heldout": "11", "val": "17", "test": "12"}),
  "independent": (
    "independent",
    {"train": "01 02 11", "val": "17", "test": "12"},
  ),
  # The writer of the test page would be in train, had he more pages.
  "dependent": ("dependent", {"train": "01 12", "val": "11 17", "test": "02"}),
}


@pytest.mark.parametrize("caption", _SPLITS)
def test_official_splits(dummy, caption):
  kind, expected = _SPLITS[caption]
  data_set, _, _ = _read(dummy, "v2.0", official_split=kind)
  assert {k: " ".join(v) for k, v in _writers(data_set).items()} == expected


def test_a_page_of_a_test_writer_that_is_not_in_the_test(v1):
  test_list = v1 / "specifications/testset-independent.txt"
  test_list.write_text("CVC-MUSCIMA_W-01_N-91_D-ideal\n")
  data_set, _, report = _read(v1, "v1.0")
  assert _writers(data_set)["test"] == ["01"]
  assert _writers(data_set)["train"] == ["12"]
  kind = "pages skipped: by a test writer, not in the test"
  assert report.examples[kind] == [_FIRST]


def test_original_folder(dummy, original):
  data_set, pages, report = _read(dummy, "original_2017")
  # Spelled as in the release.
  assert data_set.class_names == (
    "notehead-full",
    "stem",
    "staff_line",
    'trill_"wobble"',
    "ledger_line",
    "staff_space",
  )
  assert data_set.vocabulary == "muscima_v1"
  assert _writers(data_set) == {
    "train": ["01", "02"],
    "val": ["03"],
    "test": ["04"],
  }
  assert not report.counts
  assert len(pages[_FIRST].labels) == 18
  assert _writers(_read(original, "original_2017")[0]) == _writers(data_set)


def test_original_folder_without_an_inner_one(original):
  for path in (original / "MUSICMA++_2017").iterdir():
    path.rename(original / path.name)
  classes = original / "MUSICMA_classification/class_names.csv"
  classes.rename(original / "class_names.csv")
  assert len(_read(original, "original_2017")[1]) == 4


def test_names_of_ones_own_stay_as_they_are(original):
  path = original / "MUSICMA_classification/class_names.csv"
  path.write_text(path.read_text() + "7,__background__\n8, Mine\n")
  data_set, _, _ = _read(original, "original_2017")
  assert data_set.class_names[:4] == (
    "Notehead-Full",
    "stem",
    "staff_line",
    "trill_wobble",
  )
  assert data_set.class_names[6:] == ("Mine",)
  assert data_set.vocabulary == ""


def test_legacy_exclusions(dummy):
  data_set, pages, report = _read(
    dummy, "original_2017", legacy_exclusions=True
  )
  assert _counts(data_set, pages[_FIRST]) == {
    "notehead-full": 5,
    "stem": 5,
    "staff_line": 0,  # 405 px long
    'trill_"wobble"': 1,
    "ledger_line": 0,  # on the original's list
    "staff_space": 0,  # marked with x, and 405 px long
  }
  assert dict(report.counts) == {
    "objects left out (legacy_exclusions): 400 px or more": 4 * 6,
    "objects left out (legacy_exclusions): of an excluded class": 4,
  }


_SIZES = {"one less": (399, 5), "400 px": (400, 4)}


@pytest.mark.parametrize("caption", _SIZES)
def test_legacy_exclusions_begin_at_400_px(original, caption):
  size, staff_lines = _SIZES[caption]
  path = original / f"MUSICMA++_2017/xml_annotations/{_FIRST}.xml"
  text = path.read_text()
  assert text.count("<Width>405<") == 6
  text = text.replace("<Width>405<", "<Width>399<")
  path.write_text(text.replace("<Width>399<", f"<Width>{size}<", 1))
  data_set, pages, _ = _read(original, "original_2017", legacy_exclusions=True)
  assert _counts(data_set, pages[_FIRST])["staff_line"] == staff_lines


def test_marked_classes_are_left_out_by_legacy_exclusions_only(original):
  path = original / "MUSICMA_classification/class_names.csv"
  path.write_text(path.read_text().replace("stem", "stem,x"))
  for exclude, stems in ((False, 5), (True, 0)):
    data_set, pages, _ = _read(
      original, "original_2017", legacy_exclusions=exclude
    )
    assert _counts(data_set, pages[_FIRST])["stem"] == stems


def _write(path: str, text: str):
  return lambda root: (root / path).write_text(text)


def _copy(path: str, new: str):
  return lambda root: shutil.copy(root / path, root / new)


_SPEC = "specifications/mff-muscima-mlclasses-annot.xml"
_LISTS = "specifications/testset-independent.txt"
_V1_ERRORS = {
  "no images at all": (
    lambda root: shutil.rmtree(root / _CVC),
    "data/images: no images; the annotations come without",
  ),
  "no image of one page": (
    lambda root: (root / _CVC / "ideal/w-12/image/p091.png").unlink(),
    "w-12/image/p091.png: no such image",
  ),
  "no annotations": (
    lambda root: shutil.rmtree(root / "data"),
    "cropobjects_withstaff: no such folder",
  ),
  "no annotations in the folder": (
    lambda root: [p.unlink() for p in (root / _WITHSTAFF).iterdir()],
    "cropobjects_withstaff: the folder is empty",
  ),
  "an annotation of v2.0": (
    _write(f"{_WITHSTAFF}/{_FIRST}.xml", "<Nodes></Nodes>"),
    f"{_FIRST}.xml: the root is <Nodes>, not <CropObjectList>",
  ),
  "a class list of v2.0": (
    _write(_SPEC, "<NodeClasses></NodeClasses>"),
    "annot.xml: the root is <NodeClasses>",
  ),
  "an empty class list": (
    _write(_SPEC, "<CropObjectClassList></CropObjectClassList>"),
    "annot.xml: a class without a name",
  ),
  "no list of test pages": (
    lambda root: (root / _LISTS).unlink(),
    "testset-independent.txt: no such file",
  ),
  "a test page twice": (
    _write(_LISTS, f"{_FIRST}\n{_FIRST}\n"),
    "testset-independent.txt: a page is listed twice",
  ),
  "a test page that leads out of the folder": (
    _write(_LISTS, "../../../etc/passwd"),
    "testset-independent.txt: '../../../etc/passwd' is not CVC-MUSCIMA_W-xx",
  ),
  "a list that is not UTF-8": (
    lambda root: (root / _LISTS).write_bytes(b"\xff\xfe\x00"),
    "testset-independent.txt: not UTF-8 text",
  ),
  "the same page under two names": (
    _copy(f"{_WITHSTAFF}/{_FIRST}.xml", f"{_WITHSTAFF}/{_FIRST[:-5]}other.xml"),
    f"{_FIRST[:-5]}other.xml: the same page as {_FIRST}",
  ),
  "two images of one page": (
    lambda root: (
      _rename_images(root, "data/images"),
      _copy(f"data/images/{_FIRST}.png", f"data/images/{_FIRST}.jpg")(root),
    ),
    f"{_FIRST}.png: beside {_FIRST}.jpg",
  ),
  "an image without annotation": (
    lambda root: (
      _rename_images(root, "data/images"),
      _copy(f"data/images/{_FIRST}.png", "data/images/other.png")(root),
    ),
    "other.xml: no such annotation",
  ),
}


@pytest.mark.parametrize("caption", _V1_ERRORS)
def test_v1_errors(v1, caption):
  change, expected = _V1_ERRORS[caption]
  change(v1)
  with pytest.raises(InputError) as e:
    _read(v1, "v1.0")
  assert expected in str(e.value)
  assert "\n" not in str(e.value)


_CSV = "MUSICMA_classification/class_names.csv"
_XML = f"MUSICMA++_2017/xml_annotations/{_FIRST}.xml"
_ORIGINAL_ERRORS = {
  "no lists": (
    lambda root: shutil.rmtree(root / "train_val_test"),
    "train_val_test: no such folder",
  ),
  "no training list": (
    lambda root: (root / "train_val_test/train.txt").unlink(),
    "train.txt: missing or empty",
  ),
  "an empty training list": (
    _write("train_val_test/train.txt", ""),
    "train.txt: missing or empty",
  ),
  "a page in two lists": (
    _write("train_val_test/test.txt", _FIRST),
    "test.txt: page 'CVC-MUSCIMA_W-01_N-90_D-ideal' is also in",
  ),
  "a page twice in a list": (
    _write("train_val_test/val.txt", "a\na\n"),
    "val.txt: page 'a' is twice",
  ),
  "a listed page without image": (
    _write("train_val_test/val.txt", "a\n"),
    "images_png/a.png: no such file",
  ),
  "a page that leads out of the folder": (
    _write("train_val_test/val.txt", "../../secret"),
    "val.txt: '../../secret' is not a plain page name",
  ),
  "a list that is not UTF-8": (
    lambda root: (root / "train_val_test/val.txt").write_bytes(b"\xe9"),
    "val.txt: not UTF-8 text",
  ),
  "no annotation of a page": (
    lambda root: (root / _XML).unlink(),
    f"{_FIRST}.xml: no such file",
  ),
  "no class names": (
    lambda root: (root / _CSV).unlink(),
    "class_names.csv: no such file",
  ),
  "class names without numbers": (
    _write(_CSV, "stem\nbeam\n"),
    "class_names.csv: line 1 is not",
  ),
  "only a background": (
    _write(_CSV, "0,__background__\n"),
    "class_names.csv: no names",
  ),
  "a name twice": (
    _write(_CSV, "0,stem\n1,stem\n"),
    "class_names.csv: no names, or a name twice",
  ),
  "a name twice but for its spelling": (
    _write(_CSV, "0,stem\n1,Stem\n"),
    "class_names.csv: no names, or a name twice",
  ),
  "a huge name": (
    _write(_CSV, "0," + "x" * 200_000),
    "class_names.csv: not a table",
  ),
  "an object of no class": (
    _write(_CSV, "0,stem\n1,beam\n"),
    f"{_FIRST}.xml: object 0 has the unknown class 'notehead-full'",
  ),
}


@pytest.mark.parametrize("caption", _ORIGINAL_ERRORS)
def test_original_errors(original, caption):
  change, expected = _ORIGINAL_ERRORS[caption]
  change(original)
  with pytest.raises(InputError) as e:
    _read(original, "original_2017")
  assert expected in str(e.value)
  assert "\n" not in str(e.value)


@pytest.mark.parametrize("config", ("v1.0", "v2.0", "original_2017"))
def test_unknown_split(dummy, config):
  with pytest.raises(InputError, match=r"data\.options\.official_split"):
    _read(dummy, config, official_split="random")


def test_the_original_has_its_own_splits(dummy):
  with pytest.raises(InputError, match="has its own lists of pages"):
    _read(dummy, "original_2017", official_split="independent")
