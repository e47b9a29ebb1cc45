"""Hostile MUSCIMA++ files: one line of error, soon, or a page that is sound."""

import pathlib
import shutil
import time

import fuzz_helpers
import muscima_pp_helpers as helpers
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dwd_jax.core.errors import InputError
from tfds_builders import checks
from tfds_builders.muscima_pp import muscima_pp_parsing as parsing


@pytest.fixture(scope="module")
def page(repo_dir, tmp_path_factory):
  return helpers.copy_page(repo_dir, tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def text(page) -> str:
  return page.annotation.read_text()


_HOSTILE = {
  "a mask of 11 MB": lambda text: helpers.first(text, Mask="0:1 " * 2_900_000),
  "a class name of 11 MB": lambda text: helpers.first(
    text, ClassName="x" * (11 << 20)
  ),
  "deep nesting": lambda text: text.replace("<Mask>", "<a>" * 10**6 + "<Mask>"),
  "entities that expand": lambda text: text.replace(
    "<CropObjectList>",
    "<!DOCTYPE CropObjectList [<!ENTITY a 'aaaaaaaaaa'>"
    "<!ENTITY b '&a;&a;&a;&a;&a;&a;&a;&a;'>]><CropObjectList>",
  ),
  "not UTF-8": lambda text: text.encode().replace(b"notehead", b"\xffotehead"),
  "200,000 objects": lambda text: text.replace(
    "</CropObjects>",
    "<CropObject><ClassName>stem</ClassName></CropObject>" * 200_000
    + "</CropObjects>",
  ),
  "no objects, another root": lambda text: "<Nodes/>",
  "nothing": lambda text: "",
  "null bytes": lambda text: b"\0" * 1000,
}


@pytest.mark.parametrize("caption", _HOSTILE)
def test_hostile_files_stop_soon_with_one_line(page, text, caption):
  content = _HOSTILE[caption](text)
  start = time.process_time()
  with pytest.raises(InputError) as e:
    helpers.read(page, content)
  assert time.process_time() - start < 10
  assert str(page.annotation) in str(e.value)
  assert "\n" not in str(e.value) and len(str(e.value)) < 600


def _check(parsed, hw=(96, 160)):
  """What holds for every page that is read at all."""
  boxes = parsed.boxes_yxyx
  assert boxes.dtype == np.float32 and np.isfinite(boxes).all()
  assert np.all(boxes[:, :2] >= 0) and np.all(boxes[:, 2:] <= hw)
  assert np.all(boxes[:, 2:] > boxes[:, :2])
  assert len(parsed.labels) == len(boxes)
  assert np.isin(parsed.labels, np.arange(len(helpers.CLASSES))).all()
  assert len(helpers.masks_of(parsed)) == len(boxes)


_VALUES = st.one_of(
  st.sampled_from(
    ("", "-1", "0", "12.5", "1e99", "-inf", "NaN", "0x10", "1_0", "9" * 40)
  ),
  st.integers(-200, 300).map(str),
  st.lists(st.tuples(st.integers(0, 2), st.integers(-1, 120)), max_size=4).map(
    lambda pairs: " ".join(f"{v}:{n}" for v, n in pairs)
  ),
  st.text(st.characters(codec="utf8", exclude_characters="<&"), max_size=9),
)


@fuzz_helpers.cases()
@given(
  st.dictionaries(
    st.sampled_from(("Top", "Left", "Width", "Height", "Mask", "ClassName")),
    _VALUES,
    min_size=1,
  )
)
def test_fuzz_values(page, text, values):
  with fuzz_helpers.may_refuse(page.annotation):
    _check(helpers.read(page, helpers.first(text, **values))[0])


_TAGS = (b"<", b">", b"</CropObject>", b"<Mask>", b"<!--", b"&#0;", b"]]>")


@fuzz_helpers.cases()
@given(
  pieces=fuzz_helpers.PIECES,
  tags=st.lists(
    st.tuples(st.floats(0, 1), st.integers(0, 40), st.sampled_from(_TAGS)),
    max_size=2,
  ),
)
def test_fuzz_bytes(page, text, pieces, tags):
  content = fuzz_helpers.replaced(text.encode(), [*pieces, *tags])
  with fuzz_helpers.may_refuse(page.annotation):
    _check(helpers.read(page, content)[0])


_LISTED = st.lists(
  st.tuples(
    st.floats(0, 1),
    st.integers(0, 60),
    st.text('0123456789,"x\n\r/.', max_size=20).map(str.encode),
  ),
  min_size=1,
  max_size=2,
)


@fuzz_helpers.cases()
@given(
  name=st.sampled_from(
    (
      "v1.0/specifications/mff-muscima-mlclasses-annot.xml",
      "v1.0/specifications/testset-independent.txt",
      "MUSICMA++_2017/MUSICMA_classification/class_names.csv",
      "MUSICMA++_2017/train_val_test/train.txt",
    )
  ),
  pieces=fuzz_helpers.PIECES | _LISTED,
)
def test_fuzz_lists(dummy_copy, name, pieces):
  path = dummy_copy / name
  whole = path.read_bytes()
  path.write_bytes(fuzz_helpers.replaced(whole, pieces))
  config = "v1.0" if name.startswith("v1.0") else "original_2017"
  try:
    with fuzz_helpers.may_refuse(dummy_copy):
      data_set = parsing.read_data_set(
        dummy_copy, config, parsing.Options(), checks.BuildReport()
      )
      assert all(data_set.class_names)
      assert len(set(data_set.class_names)) == len(data_set.class_names)
  finally:
    path.write_bytes(whole)


@pytest.fixture(scope="module")
def dummy_copy(repo_dir, tmp_path_factory) -> pathlib.Path:
  copy = tmp_path_factory.mktemp("lists") / "dummy"
  shutil.copytree(repo_dir / "tfds_builders/muscima_pp/dummy_data", copy)
  return copy
