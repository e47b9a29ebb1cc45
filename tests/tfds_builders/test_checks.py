"""Checks of files and boxes that all builders share."""

import pathlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from dwd_jax.core.errors import InputError
from tfds_builders import checks

pytestmark = pytest.mark.usefixtures("bounded_memory")

_quick = settings(max_examples=100, deadline=None, derandomize=True)
_PATH = pathlib.Path("page.xml")

_BAD_XML = {
  "broken: a tag is not closed": b"<Nodes><Node></Nodes>",
  "broken: no XML at all": b"\x00\x01\x02",
  "broken: an unknown encoding": b"<?xml version='1.0' encoding='x'?><Nodes/>",
  "entities that expand": (
    b"<!DOCTYPE Nodes [<!ENTITY a 'aaaaaaaaaa'><!ENTITY b '&a;&a;&a;&a;'>]>"
    b"<Nodes>&b;</Nodes>"
  ),
  "an entity that refers to a file": (
    b"<!DOCTYPE Nodes [<!ENTITY x SYSTEM 'file:///etc/passwd'>]>"
    b"<Nodes>&x;</Nodes>"
  ),
  "a document type in another file": (
    b"<!DOCTYPE Nodes SYSTEM 'http://localhost/x.dtd'><Nodes/>"
  ),
  "another root": b"<annotation/>",
  "empty file": b"",
}


@pytest.mark.parametrize("caption", _BAD_XML)
def test_bad_xml_is_one_line_that_names_the_file(tmp_path, caption):
  path = tmp_path / "page.xml"
  path.write_bytes(_BAD_XML[caption])
  with pytest.raises(InputError) as e:
    checks.read_xml(path, "Nodes")
  assert str(path) in str(e.value)
  assert "\n" not in str(e.value)
  assert "root:" not in str(e.value)  # nothing of the file referred to


def test_a_billion_laughs_take_no_memory(tmp_path):
  path = tmp_path / "page.xml"
  lines = "".join(
    f"<!ENTITY a{i} '{f'&a{i - 1};' * 10}'>" for i in range(1, 10)
  )
  path.write_text(
    f"<!DOCTYPE Nodes [<!ENTITY a0 'ha'>{lines}]><Nodes>&a9;</Nodes>"
  )
  with pytest.raises(InputError, match=r"page\.xml"):
    checks.read_xml(path, "Nodes")


def test_too_large_files_are_not_read(tmp_path, monkeypatch):
  path = tmp_path / "page.xml"
  path.write_bytes(b"x" * 11)
  with pytest.raises(InputError, match=r"page\.xml: 11 bytes"):
    checks.read_bytes(path, 10)
  assert checks.read_bytes(path, 11) == b"x" * 11
  monkeypatch.setattr(checks, "MAX_TEXT_BYTES", 10)
  with pytest.raises(InputError, match=r"page\.xml: 11 bytes"):
    checks.read_xml(path, "Nodes")


@pytest.mark.parametrize("keep", (0, 7, 20, 60, -20, -1))
def test_truncated_png_names_the_file(tmp_path, keep):
  path = tmp_path / "page.png"
  noise = np.random.default_rng(0).integers(0, 255, (20, 30), np.uint8)
  whole = cv2.imencode(".png", noise)[1].tobytes()
  path.write_bytes(whole[:keep])
  with pytest.raises(InputError, match=r"page\.png: "):
    checks.read_image(path)
  path.write_bytes(whole)
  assert checks.read_image(path).shape == (20, 30)


_NAN, _INF = float("nan"), float("inf")
_GOOD = (1.0, 2.0, 8.0, 9.0)
_BOX_CASES = {
  "inside": (_GOOD, ""),
  "touches the page's edges": ((0.0, 0.0, 20.0, 30.0), ""),
  "rounding beyond the edge": ((0.0, 0.0, 20.3, 30.0), ""),
  "sticks out": ((15.0, 2.0, 25.0, 9.0), "boxes cut: partly outside the image"),
  "outside": ((21.0, 2.0, 25.0, 9.0), "boxes skipped: outside the image"),
  "inverted": ((8.0, 2.0, 1.0, 9.0), "boxes skipped: inverted"),
  "zero area": ((8.0, 2.0, 8.0, 9.0), "boxes skipped: of zero area"),
  "not a number": (
    (_NAN, 2.0, 8.0, 9.0),
    "boxes skipped: not a usable number",
  ),
  "infinite": ((1.0, 2.0, _INF, 9.0), "boxes skipped: not a usable number"),
}


@pytest.mark.parametrize("caption", _BOX_CASES)
def test_single_bad_boxes_are_counted_and_listed(caption):
  box, kind = _BOX_CASES[caption]
  report = checks.BuildReport()
  boxes, kept = checks.clean_boxes(
    np.array([_GOOD, box, _GOOD]), (20, 30), _PATH, report
  )
  assert kept.tolist() == [True, "skipped" not in kind, True]
  assert dict(report.counts) == ({kind: 1} if kind else {})
  assert report.examples.get(kind, ["page.xml: object 1"]) == [
    "page.xml: object 1"
  ]
  np.testing.assert_array_equal(boxes[0], np.float32(_GOOD))


def test_a_page_of_bad_boxes_is_an_error():
  boxes = np.array([_GOOD, (300, 200, 310, 210), (400, 200, 410, 210)])
  with pytest.raises(InputError, match=r"page\.xml: 2 of 3 boxes"):
    checks.clean_boxes(boxes, (20, 30), _PATH, checks.BuildReport())


@_quick
@given(
  boxes=hnp.arrays(
    np.float64,
    st.tuples(st.integers(0, 8), st.just(4)),
    elements=st.floats(-50, 80) | st.sampled_from([_NAN, _INF, -_INF]),
  )
)
def test_what_is_kept_is_on_the_page(boxes):
  report = checks.BuildReport()
  good = np.tile([_GOOD], (len(boxes) + 1, 1))
  cleaned, kept = checks.clean_boxes(
    np.concatenate([boxes, good]), (20, 30), _PATH, report
  )
  inside = cleaned[kept]
  assert (inside[:, :2] < inside[:, 2:]).all()
  assert (inside >= 0).all()
  assert (inside <= [20, 30, 20, 30]).all()
  skipped = sum(n for k, n in report.counts.items() if "skipped" in k)
  assert skipped == (~kept).sum()


@pytest.mark.parametrize(
  "name, plain",
  [
    ("lg-1-aug-emmentaler--page-1", True),
    ("", False),
    ("..", False),
    ("../../etc/passwd", False),
    ("a\\b", False),
    ("a\0b", False),
    ("a\nb", False),
    ("x" * 300, False),
  ],
)
def test_names_cannot_lead_out_of_the_folder(name, plain):
  assert checks.is_plain_name(name) is plain


@pytest.mark.parametrize("second, pages", [((40, 30), 2), ((8, 6), 1)])
def test_a_tiff_of_several_pages_is_refused(tmp_path, second, pages):
  """A smaller copy of the page, for browsers of folders, is no page."""
  path = tmp_path / "page.tif"
  first = Image.new("L", (40, 30), 255)
  first.save(path, save_all=True, append_images=[first.resize(second)])
  if pages == 1:
    assert checks.read_image(path).shape == (30, 40)
    return
  with pytest.raises(
    InputError, match=r"page\.tif: has 2 pages, and boxes are"
  ):
    checks.read_image(path)
