"""Folders of symbol images: what is read, what stops, no pickle files."""

import pathlib
import pickle
import shutil

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dwd_jax.core.errors import InputError
from tfds_builders import checks
from tfds_builders.symbols import symbols_parsing

_XML = "xml_data_gt/gClef/symbol-1.xml"
_PNG = "images/gClef/symbol-1.png"


@pytest.fixture
def root(repo_dir, tmp_path) -> pathlib.Path:
  copy = tmp_path / "bank"
  shutil.copytree(repo_dir / "tfds_builders/symbols/dummy_data", copy)
  return copy


def _parse(root, config="folder", **options):
  report = checks.BuildReport()
  made = symbols_parsing.Options(**options)
  data_set = symbols_parsing.read_data_set(root, config, made, report)
  assert set(data_set.splits) == {"train"}
  symbols = {}
  for page in data_set.splits["train"]:
    for name, symbol in symbols_parsing.read_page(
      page, data_set.class_names, made, report
    ):
      assert name not in symbols
      symbols[name] = symbol
  return data_set, symbols, report


def _ink_in_box(symbol) -> int:
  y0, x0, y1, x1 = np.round(symbol.boxes_yxyx[0]).astype(int)
  return int(np.count_nonzero(symbol.ink[y0:y1, x0:x1] > 127))


def test_a_folder_of_symbol_images(root):
  data_set, symbols, report = _parse(root)
  names = {k: data_set.class_names[v.labels[0]] for k, v in symbols.items()}
  assert names == {
    "gClef--symbol-1": "gClef",
    "gClef--symbol-2": "gClef",
    "augmentationDot--symbol-1": "augmentationDot",
    "loose": "noteheadBlack",  # the one in the middle
  }
  assert data_set.class_names[3] == "coda"
  assert data_set.vocabulary == "deepscores_v1"
  assert len(symbols["loose"].labels) == 3  # no box is lost
  np.testing.assert_allclose(
    symbols["loose"].boxes_yxyx[0], (22, 21, 29, 30), atol=1e-4
  )
  assert all(_ink_in_box(s) > 10 for s in symbols.values())
  assert not report.counts
  filenames = {p.filename for p in data_set.splits["train"]}
  assert "gClef--symbol-1.png" in filenames


def test_known_class_names_where_there_are_none(root):
  (root / "class_names.csv").unlink()
  data_set, symbols, report = _parse(root)
  assert len(data_set.class_names) == 124
  assert data_set.class_names[symbols["loose"].labels[0]] == "noteheadBlack"
  assert list(report.counts.values()) == [1]


def test_the_class_of_its_folder_goes_before_the_middle(root):
  # The middle of symbol-1 is the clef; a notehead is beside it.
  for kind, ending in (("images", "png"), ("xml_data_gt", "xml")):
    (root / kind / "noteheadBlack").mkdir()
    (root / kind / f"gClef/symbol-1.{ending}").rename(
      root / kind / f"noteheadBlack/a.{ending}"
    )
  data_set, symbols, _ = _parse(root)
  symbol = symbols["noteheadBlack--a"]
  assert [data_set.class_names[i] for i in symbol.labels] == [
    "noteheadBlack",
    "gClef",
  ]


class _Trap:
  def __reduce__(self):
    return pathlib.Path.touch, (pathlib.Path("opened"),)


@pytest.mark.parametrize("name", ["a.pkl", "a.pickle", "pickle_files/part1"])
def test_pickle_files_are_never_opened(root, name, monkeypatch):
  monkeypatch.chdir(root)
  shutil.rmtree(root / "images")
  (root / name).parent.mkdir(exist_ok=True)
  (root / name).write_bytes(pickle.dumps(_Trap()))
  with pytest.raises(InputError) as e:
    _parse(root)
  assert str(e.value).startswith(f"{root / name}: pickle files are never")
  assert "xml_data_gt" in str(e.value)
  assert "data.builder_config=cropped" in str(e.value)
  assert "\n" not in str(e.value)
  assert not (root / "opened").exists()
  pickle.loads((root / name).read_bytes())  # the trap is one
  assert (root / "opened").exists()


def test_pickle_files_beside_the_images_are_counted(root):
  (root / "pickle_files").mkdir()
  (root / "pickle_files/part1").write_bytes(pickle.dumps(_Trap()))
  _, symbols, report = _parse(root)
  assert len(symbols) == 4
  assert report.counts == {"pickle files not read": 1}


def test_images_without_a_box_are_skipped(root):
  (root / _XML).write_text("<annotation/>")
  _, symbols, report = _parse(root)
  assert len(symbols) == 3
  assert report.examples == {"symbol images skipped: no box": [_KEY]}


_KEY = "gClef--symbol-1"


def _edit(path: str, old: str, new: str):
  def change(root):
    text = (root / path).read_text()
    assert old in text
    (root / path).write_text(text.replace(old, new, 1))

  return change


def _remove(path: str):
  def change(root):
    target = root / path
    shutil.rmtree(target) if target.is_dir() else target.unlink()

  return change


def _copy(path: str, to: str):
  def change(root):
    (root / to).parent.mkdir(exist_ok=True)
    shutil.copy(root / path, root / to)

  return change


def _both(*changes):
  return lambda root: [change(root) for change in changes]


_ERRORS = {
  "folder missing": (_remove("."), "bank: no such folder"),
  "images missing": (_remove("images"), "images: no such folder"),
  "annotations missing": (_remove("xml_data_gt"), "xml_data_gt: no such"),
  "image without annotation": (
    _remove(_XML),
    "symbol-1.png: no xml_data_gt/gClef/symbol-1.xml for it",
  ),
  "annotation without image": (
    _remove(_PNG),
    "symbol-1.xml: no image images/gClef/symbol-1 for it",
  ),
  "two images of a name": (
    _copy(_PNG, "images/gClef/symbol-1.jpg"),
    "symbol-1.png: beside symbol-1.jpg",
  ),
  "no images in the folders": (
    _both(
      *(_remove(f"{a}/gClef") for a in ("images", "xml_data_gt")),
      *(_remove(f"{a}/augmentationDot") for a in ("images", "xml_data_gt")),
      _copy("images/loose.png", "images/loose.txt"),
      _remove("images/loose.png"),
      _remove("xml_data_gt/loose.xml"),
      lambda root: (root / "xml_data_gt/none").mkdir(),
    ),
    "images: no image in there",
  ),
  "names that differ in -- and / only": (
    _both(
      _copy(_PNG, "images/gClef--symbol-1.png"),
      _copy(_XML, "xml_data_gt/gClef--symbol-1.xml"),
    ),
    "images: two names differ only in -- and /",
  ),
  "name with a line break": (
    _copy(_PNG, "images/gClef/a\nb.png"),
    "not a plain file name",
  ),
  "truncated image": (
    lambda root: (root / _PNG).write_bytes((root / _PNG).read_bytes()[:99]),
    "symbol-1.png: not a readable PNG",
  ),
  "truncated annotation": (
    lambda root: (root / _XML).write_text((root / _XML).read_text()[:99]),
    "symbol-1.xml: broken XML",
  ),
  "expanding entities": (
    _edit(_XML, "<annotation>", "<!DOCTYPE a [<!ENTITY e 'e'>]><annotation>"),
    "symbol-1.xml: the XML has a document type",
  ),
  "unknown class": (
    _edit(_XML, "noteheadBlack", "notehead"),
    "symbol-1.xml: object 0 has the unknown class 'notehead'",
  ),
  "no symbol of the folder's class": (
    _edit(_XML, "gClef", "coda"),
    "symbol-1.xml: no box of gClef, the name of its folder",
  ),
  "boxes in pixels": (
    _both(*[_edit(_XML, "<xmin>0.", "<xmin>9.") for _ in range(2)]),
    "symbol-1.xml: 2 of 2 boxes are unusable",
  ),
  "class ids with a gap": (
    _edit("class_names.csv", "3,coda", "9,coda"),
    "class_names.csv: the ids must be",
  ),
}


@pytest.mark.parametrize("caption", _ERRORS)
def test_bad_input_is_one_line_that_names_the_file(root, caption):
  change, expected = _ERRORS[caption]
  change(root)
  with pytest.raises(InputError) as e:
    _parse(root)
  assert expected in str(e.value)
  assert "\n" not in str(e.value)


@pytest.mark.parametrize(
  "options, expected",
  [
    ({"per_class": -1}, "data.options.per_class: -1 is not in 1.."),
    ({"context_px": 5000}, "data.options.context_px: 5000 is not in"),
    ({"max_symbol_px": -3}, "data.options.max_symbol_px: -3 is not in"),
  ],
  ids=["negative", "too large", "negative size"],
)
def test_options_out_of_range(root, options, expected):
  with pytest.raises(InputError, match=expected):
    _parse(root, **options)


_BITS = (
  "<object>",
  "</object>",
  "<name>gClef</name>",
  "<bndbox>",
  "</bndbox>",
  "<xmin>",
  "<ymax>nan</ymax>",
  "<xmax>1e999</xmax>",
  "0.5",
  "-1",
  "\0",
  "<annotation>",
  "<!DOCTYPE a>",
  "&e;",
  "é",
  "<size/>",
  "]]>",
  "1" * 5000,
)


@st.composite
def _mutations(draw):
  """Where to cut how much out, and what to put there."""
  return draw(
    st.lists(
      st.tuples(
        st.floats(0, 1),
        st.integers(0, 60),
        st.sampled_from(_BITS).map(str.encode) | st.binary(max_size=20),
      ),
      min_size=1,
      max_size=4,
    )
  )


@settings(
  deadline=None,
  max_examples=150,
  suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
  st.sampled_from([_XML, _PNG, "class_names.csv"]),
  _mutations() | st.binary(max_size=300),
)
def test_nothing_but_input_errors_come_out(root, path, change):
  good = (root / path).read_bytes()
  data = change if isinstance(change, bytes) else good
  if not isinstance(change, bytes):
    for at, size, text in change:
      start = int(at * len(data))
      data = data[:start] + text + data[start + size :]
  (root / path).write_bytes(data)
  try:
    _, symbols, _ = _parse(root)
  except InputError as e:
    assert "\n" not in str(e)
  else:
    assert all(len(s.labels) for s in symbols.values())
  finally:
    (root / path).write_bytes(good)
