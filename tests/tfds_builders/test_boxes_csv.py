"""Tables of boxes: every usual form is read, and nothing else is taken."""

import csv
import io

import boxes_helpers
import pytest
from boxes_helpers import assert_as_drawn, parse

from dwd_jax.core.errors import InputError
from tfds_builders import checks
from tfds_builders.boxes import boxes_csv

_DRAWN = boxes_helpers.pages(4)
_CORNERS = ("xmin", "ymin", "xmax", "ymax")


def _table(*, header, delimiter=",", path="{}.png", end="\n", first=""):
  """A table of the drawn pages with the columns of `header`; None: no header.

  Columns that stand for nothing known are numbered, as pandas does it.
  """
  text = io.StringIO()
  writer = csv.writer(text, delimiter=delimiter, lineterminator=end)
  columns = header or ("image", *_CORNERS, "label")
  if header:
    writer.writerow(header)
  for page in _DRAWN:
    height, width = page.pixels.shape[:2]
    for i, (name, (y0, x0, y1, x1)) in enumerate(page.shapes):
      edges = {
        **dict(zip(_CORNERS, (x0, y0, x1, y1), strict=True)),
        **dict(zip(("x0", "y0", "x1", "y1"), (x0, y0, x1, y1), strict=True)),
        "width": width,
        "height": height,
        **dict.fromkeys(("label", "class", "label name"), name),
        **dict.fromkeys(
          ("image", "image_path", "filename"), path.format(page.stem)
        ),
        "split": "validation" if page.stem == "page3" else "train",
      }
      writer.writerow([edges.get(column.lower(), i) for column in columns])
  return first + text.getvalue()


def _save(root, text, name="boxes.csv", images="images"):
  for page in _DRAWN:
    boxes_helpers.save(root / images / f"{page.stem}.png", page)
  path = root / name
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_bytes(text.encode())


_DEEPFOREST = ("image_path", *_CORNERS, "label")
_TENSORFLOW = ("filename", "width", "height", "class", *_CORNERS)
FORMS = {
  "DeepForest": {"header": _DEEPFOREST},
  "torchvision": {"header": ("image", "x0", "y0", "x1", "y1", "label")},
  "TensorFlow, Roboflow": {"header": _TENSORFLOW},
  "pandas, with index": {"header": ("", *_DEEPFOREST, "Unnamed: 7")},
  "capitals": {"header": ("Image", *map(str.upper, _CORNERS), "Label Name")},
  "semicolons": {"header": _DEEPFOREST, "delimiter": ";"},
  "tabs, \\r\\n": {"header": _DEEPFOREST, "delimiter": "\t", "end": "\r\n"},
  "Excel: byte order mark": {"header": _DEEPFOREST, "first": "\ufeff"},
  "keras-retinanet": {"header": None, "path": "images/{}.png"},
  "of another machine": {"header": None, "path": "/home/a/images/{}.png"},
  "of Windows": {"header": _DEEPFOREST, "path": "C:\\a\\images\\{}.png"},
  "without ending": {"header": _DEEPFOREST, "path": "{}"},
}


@pytest.mark.parametrize("caption", FORMS)
def test_every_form_gives_the_boxes_that_were_drawn(tmp_path, caption):
  _save(tmp_path, _table(**FORMS[caption]))
  data_set, pages, report = parse(tmp_path)
  assert_as_drawn(_DRAWN, data_set, pages)
  assert not any("skipped" in kind for kind in report.counts)


def test_images_that_lie_deeper_are_found_by_their_names(tmp_path):
  _save(tmp_path, _table(header=_DEEPFOREST), images="images/book1/scans")
  assert_as_drawn(_DRAWN, *parse(tmp_path)[:2])


def test_an_image_that_could_be_two_is_refused(tmp_path):
  _save(tmp_path, _table(header=_DEEPFOREST), images="images/book1")
  boxes_helpers.save(tmp_path / "images/book2/page0.png", _DRAWN[0])
  line = r"book1/page0.png: as likely as .*book2/page0.png to be 'page0.png'"
  with pytest.raises(InputError, match=line):
    parse(tmp_path)
  (tmp_path / "boxes.csv").write_text(
    _table(header=_DEEPFOREST, path="images/book1/{}.png")
  )
  _, _, report = parse(tmp_path)
  assert report.counts["images skipped: without annotation"] == 1


@pytest.mark.parametrize("layout", ["files", "folders", "column"])
def test_splits_are_those_of_the_files(tmp_path, layout):
  header = _DEEPFOREST
  if layout == "column":
    _save(tmp_path, _table(header=(*header, "split")))
  else:
    lines = _table(header=header).splitlines(keepends=True)
    for split in ("train", "valid"):
      part = [x for x in lines[1:] if ("page3" in x) == (split == "valid")]
      name = f"{split}.csv" if layout == "files" else f"{split}/labels.csv"
      folder = "images" if layout == "files" else split
      _save(tmp_path, "".join([lines[0], *part]), name, folder)
    if layout == "folders":
      for page in _DRAWN:
        split = "train" if page.stem == "page3" else "valid"
        (tmp_path / split / f"{page.stem}.png").unlink()
  data_set, pages, _ = parse(tmp_path, keep_splits=True)
  assert_as_drawn(_DRAWN, data_set, pages)
  assert [page.name for page in data_set.splits["val"]] == ["page3"]


@pytest.mark.parametrize(
  "row", ["{},,,,,", "{},nan,nan,nan,nan,", "{},0,0,0,0,x"]
)
@pytest.mark.parametrize("header", [_DEEPFOREST, None])
def test_rows_without_corners_are_pages_without_objects(tmp_path, row, header):
  empty = boxes_helpers.draw("blank", shapes=0)
  boxes_helpers.save(tmp_path / "images/blank.png", empty)
  _save(tmp_path, _table(header=header) + row.format("blank.png") + "\n,,,,,\n")
  data_set, pages, _ = parse(tmp_path)
  assert len(pages["blank"].labels) == 0
  assert data_set.class_names == boxes_helpers.CLASSES
  assert_as_drawn(_DRAWN, data_set, pages)


def test_paths_without_an_image_are_counted_and_named(tmp_path):
  text = _table(header=_DEEPFOREST) + "other/absent.png,1,2,3,4,disc\n"
  _save(tmp_path, text)
  data_set, pages, report = parse(tmp_path)
  assert_as_drawn(_DRAWN, data_set, pages)
  assert report.examples["annotations skipped: without image"] == [
    "boxes.csv: line 26: 'other/absent.png'"
  ]


def test_a_class_with_a_comma_stays_one(tmp_path):
  text = _table(header=_DEEPFOREST).replace("disc", '"a, b ""c"""')
  _save(tmp_path, text)
  assert parse(tmp_path)[0].class_names == ('a, b "c"', "frame", "wedge")


def test_sides_that_are_those_of_boxes_are_no_size_of_the_image(tmp_path):
  header = (*_DEEPFOREST, "width", "height")
  lines = _table(header=_DEEPFOREST).splitlines()
  _save(
    tmp_path,
    "\n".join([",".join(header), *(f"{line},9,9" for line in lines[1:])]),
  )
  assert_as_drawn(_DRAWN, *parse(tmp_path)[:2])
  (tmp_path / "boxes.csv").write_text(
    _table(header=_TENSORFLOW).replace(",120,80,", ",240,160,")
  )
  with pytest.raises(InputError, match=r"120 x 80 px, but .* for 240 x 160"):
    parse(tmp_path)


_GOOD = "image,xmin,ymin,xmax,ymax,label\npage0.png,1,2,30,40,a\n"
# Caption: the table, the line.
BAD = {
  "no number": (
    _GOOD + "page1.png,1,2,x3,40,a\n",
    "line 3: xmax is 'x3', no number; correct it",
  ),
  "one corner missing": (
    _GOOD + "page1.png,1,,30,40,a\n",
    "line 3: ymin is '', no number",
  ),
  "a decimal comma": (
    _GOOD.replace(",", ";") + "page1.png;1,5;2;30;40;a\n",
    "line 3: xmin is '1,5', no number; write a point for the decimal comma",
  ),
  "corners exchanged": (
    _GOOD + "page1.png,31,2,30,40,a\n",
    "line 3: xmin 31 is beyond xmax 30; exchange them, or convert width",
  ),
  "no class": (_GOOD + "page1.png,1,2,30,40,\n", "line 3 has a box without cl"),
  "no image": (_GOOD + ",1,2,30,40,a\n", "line 3 names no image; add it"),
  "columns missing": (_GOOD + "\npage1.png,1,2\n", "line 4 has 3 columns, not"),
  "a column more": (_GOOD + "page1.png,1,2,30,40,a,b\n", "has 7 columns, not"),
  "an open quote": (_GOOD + 'page1.png,1,2,30,40,"a\n', "line 3: broken CSV"),
  "shares": (
    _GOOD.replace(",1,2,30,40,", ",.1,.2,.3,.4,"),
    "no corner is beyond 1: they are shares of the image",
  ),
  "two columns of classes": (
    "image,class,xmin,ymin,xmax,ymax,label\npage0.png,b,1,2,30,40,a\n",
    "label and class could both be the class; keep or rename",
  ),
  "the header alone": (_GOOD.split("\n")[0] + "\n", "has no rows; add the bo"),
  "not UTF-8": (_GOOD + "page1.png,1,2,30,40,S\udcfc\n", "not UTF-8 text"),
  "no image at all": (
    _GOOD.replace("page0", "page%300"),
    "line 2: 'page%300.png' is no image below .*; there is 'page00.png': write",
  ),
  "an unknown split": (
    "image,xmin,ymin,xmax,ymax,label,split\npage0.png,1,2,30,40,a,fold3\n",
    "line 2: the split 'fold3' is none of train, val, test",
  ),
}


@pytest.mark.parametrize("caption", BAD)
def test_bad_rows_are_one_line_with_their_number(tmp_path, caption):
  text, line = BAD[caption]
  _save(tmp_path, "")
  boxes_helpers.save(tmp_path / "images/page00.png", _DRAWN[0])
  path = tmp_path / "boxes.csv"
  path.write_bytes(text.encode(errors="surrogateescape"))
  with pytest.raises(InputError, match=f"{path}.*{line}") as e:
    parse(tmp_path)
  assert "\n" not in str(e.value)


def test_tables_that_would_fill_the_memory_are_refused(tmp_path, monkeypatch):
  monkeypatch.setattr(boxes_csv, "_MAX_LINE", 100)
  monkeypatch.setattr(boxes_csv, "_MAX_UNKNOWN", 10)
  monkeypatch.setattr(checks, "MAX_BOXES", 20)
  row = _GOOD.splitlines()[1] + "\n"
  for more, line in (
    (row.rstrip() + "," * 100, "line 3 has 121 characters"),
    (row * 20, r"line 22 has one box more than the 20 allowed on an image"),
    (
      "".join(f"other{i}.png,,,,,\n" for i in range(14)),
      "line 16: more than 10 images are missing below the folder",
    ),
  ):
    _save(tmp_path, _GOOD + more)
    with pytest.raises(InputError, match=line):
      parse(tmp_path)


OTHERS = {
  "names of classes": "Class_ID,Class_name\n0,disc\n1,frame\n",
  "detections": "page,file,page_number,name,score,x_min,y_min,x_max,y_max\n"
  "page0,page0.png,1,disc,0.9,1,2,3,4\n",
  "predictions": "image_path,xmin,ymin,xmax,ymax,label,score\n"
  "page0.png,1,2,3,4,disc,0.9\n",
  "width and height": "image,x,y,width,height,label\npage0.png,1,2,3,4,disc\n",
  "quadrangles": "image,x1,y1,x2,y2,x3,y3,x4,y4,label\n"
  "page0.png,1,1,5,1,5,5,1,5,disc\n",
  "measurements": "page0.png,1,2,3,4,5\npage1.png,1,2,3,4,5\n",
  "text": "Lorem ipsum, dolor sit amet\n",
  "empty": "",
}


@pytest.mark.parametrize("caption", OTHERS)
def test_what_is_no_table_of_boxes_is_not_taken_for_one(tmp_path, caption):
  boxes_helpers.write_yolo(tmp_path, _DRAWN)
  (tmp_path / "boxes.csv").write_text(OTHERS[caption])
  assert_as_drawn(_DRAWN, *parse(tmp_path)[:2])
  with pytest.raises(InputError, match=r"csv: no .csv with columns such as im"):
    parse(tmp_path, "csv")


def test_a_table_beside_another_format_has_to_be_told_apart(tmp_path):
  boxes_helpers.write_voc(tmp_path, _DRAWN)
  (tmp_path / "all.csv").write_text(_table(header=_DEEPFOREST))
  with pytest.raises(
    InputError, match=r"voc and csv; choose with data.builder"
  ):
    parse(tmp_path)
