"""Whatever an annotation holds: boxes, or one line. Never another error."""

import json
import pathlib

import boxes_helpers
import fuzz_helpers as helpers
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, pathlib.Path]:
  """A good folder of each format, with one page."""
  found = {}
  for kind, write in boxes_helpers.WRITERS.items():
    found[kind] = tmp_path_factory.mktemp(kind)
    write(found[kind], boxes_helpers.pages(1))
  return found


def _read(root: pathlib.Path, config: str = "auto") -> None:
  with helpers.may_refuse(root, "data.options"):
    data_set, pages, _ = boxes_helpers.parse(root, config)
    for found in pages.values():
      assert len(found.boxes_yxyx) == len(found.labels)
      assert np.isfinite(found.boxes_yxyx).all()
      assert (found.labels < len(data_set.class_names)).all()


FILES = {
  "coco": "annotations.json",
  "voc": "Annotations/page0.xml",
  "dota": "labelTxt/page0.txt",
  "yolo": "labels/page0.txt",
  "yolo names": "data.yaml",
  "csv": "boxes.csv",
}


def _file(folders, caption) -> tuple[pathlib.Path, pathlib.Path, bytes]:
  root = folders[caption.split()[0]]
  path = root / FILES[caption]
  good = path.with_name(f".{path.name}.good")
  if not good.exists():
    good.write_bytes(path.read_bytes())
  return root, path, good.read_bytes()


@pytest.mark.parametrize("caption", FILES)
@helpers.cases()
@given(data=st.binary(max_size=200))
@example(data=b"\xef\xbb\xbf")
@example(data=b"- !!python/object/apply:os.system ['true']")
@example(data=b'names: ["\\UFFFFFFFF"]')
@example(data=b"? [a, b]\n: 1\nnames: {[a]: b}")
@example(data=b"&a [*a]")
def test_random_bytes(folders, caption, data):
  root, path, _ = _file(folders, caption)
  path.write_bytes(data)
  _read(root, caption.split()[0])


@pytest.mark.parametrize("caption", FILES)
@helpers.cases()
@given(pieces=helpers.PIECES)
def test_pieces_of_a_good_file_replaced(folders, caption, pieces):
  root, path, good = _file(folders, caption)
  path.write_bytes(helpers.replaced(good, pieces))
  _read(root, caption.split()[0])


@helpers.cases()
@given(data=st.data())
def test_values_of_a_good_coco_file_replaced(folders, data):
  root, path, good = _file(folders, "coco")
  path.write_bytes(data.draw(helpers.damaged_json(json.loads(good))))
  _read(root, "coco")


_NUMBER = st.sampled_from(["0", "1", "-7", "64.5", "1e30", "nan", "inf", "x"])


@helpers.cases()
@given(
  rows=st.lists(
    st.tuples(st.lists(_NUMBER, min_size=8, max_size=8), st.sampled_from("ab")),
    max_size=6,
  )
)
def test_numbers_of_dota_and_voc(folders, rows):
  root, path, _ = _file(folders, "dota")
  path.write_text("".join(f"{' '.join(n)} {name} 0\n" for n, name in rows))
  _read(root, "dota")
  root, path, _ = _file(folders, "voc")
  tags = ("xmin", "ymin", "xmax", "ymax")
  objects = "".join(
    f"<object><name>{name}</name><bndbox>"
    + "".join(f"<{t}>{n}</{t}>" for t, n in zip(tags, numbers[:4], strict=True))
    + "</bndbox></object>"
    for numbers, name in rows
  )
  size = "".join(
    f"<{t}>{row[0][0]}</{t}>"
    for t, row in zip(("width", "height"), rows, strict=False)
  )
  path.write_text(f"<annotation><size>{size}</size>{objects}</annotation>")
  _read(root, "voc")


_CELL = st.sampled_from(
  [
    *("", " ", "nan", "0", "1", "12.5", "60", "1,5", "-3", "1e999", "1_0"),
    *("page0.png", "a/page0.png", "/b/page0.png", "..\\page0.png", "page0"),
    *("disc", "\N{SUPERSCRIPT TWO}", "\0", '"', "'", "\n", ";", "\t", "\r"),
  ]
)
_HEADERS = (
  "image,xmin,ymin,xmax,ymax,label",
  "filename;width;height;class;xmin;ymin;xmax;ymax",
  "img\tx0\ty0\tx1\ty1\tlabel\tsplit",
  "",
)


@helpers.cases()
@given(
  header=st.sampled_from(_HEADERS),
  rows=st.lists(st.lists(_CELL, min_size=5, max_size=9), max_size=5),
  quoted=st.booleans(),
)
def test_tables_of_odd_cells(folders, header, rows, quoted):
  root, path, _ = _file(folders, "csv")
  delimiter = next((d for d in ";\t" if d in header), ",")
  if not header:
    header = f"page0.png{delimiter * 5}"
  if quoted:
    double = '""'
    rows = [[f'"{c.replace(double[0], double)}"' for c in row] for row in rows]
  lines = [header, *(delimiter.join(row) for row in rows)]
  path.write_text("\n".join(lines))
  _read(root, "csv")


_PLACE = st.sampled_from(
  [
    *("images", "../images", "images/", ".", "..", "/", "", "~", "images/a"),
    *("train.txt", "labels", "data.yaml", "x" * 300, "[images]", "{a: b}"),
    *("*a", "&a images", "null", "2", "images/page0.png", "\\", '"\\0"'),
  ]
)


@helpers.cases()
@given(
  places=st.tuples(*[st.lists(_PLACE, min_size=1, max_size=3)] * 4),
  listed=st.lists(_PLACE, max_size=3),
)
def test_places_of_data_yaml(folders, places, listed):
  root, path, _ = _file(folders, "yolo names")
  (root / "train.txt").write_text("\n".join(listed))
  text = "names: [disc, frame, wedge]\n"
  for key, found in zip(("path", "train", "val", "test"), places, strict=True):
    one = found[0] if len(found) == 1 else f"[{', '.join(found)}]"
    text += f"{key}: {one}\n"
  path.write_text(text)
  try:
    _read(root, "yolo")
  finally:
    (root / "train.txt").unlink()


@helpers.cases()
@given(
  name=st.text(max_size=12)
  | st.lists(
    st.sampled_from(["..", ".", "", "a", "images", "page0.png", "C:", "~"]),
    max_size=5,
  ).map("/".join)
)
def test_file_names_stay_in_the_folder(folders, name):
  root, path, good = _file(folders, "coco")
  content = json.loads(good)
  content["images"][0]["file_name"] = name
  path.write_text(json.dumps(content))
  with helpers.may_refuse(root):
    data_set, _, _ = boxes_helpers.parse(root, "coco")
    (page,) = data_set.splits["train"]
    assert page.image.resolve().is_relative_to(root.resolve())
