"""One's own data, broken: one line that names the file and the remedy."""

import json
import pathlib
import shutil
import struct
import zlib

import boxes_helpers
import pytest
import pyvips
from boxes_helpers import parse

from dwd_jax.core.errors import InputError
from tfds_builders import json_files
from tfds_builders.boxes import boxes_yolo

pytestmark = pytest.mark.usefixtures("bounded_memory")

XML = "Annotations/page0.xml"
DOTA = "labelTxt/page0.txt"
YOLO = "labels/page0.txt"
JSON = "annotations.json"


@pytest.fixture
def folder(tmp_path):
  """Makes a good folder of a format."""

  def make(kind: str) -> pathlib.Path:
    boxes_helpers.WRITERS[kind](tmp_path / kind, boxes_helpers.pages(3))
    return tmp_path / kind

  return make


def _edit(path, old, new, count=1):
  def change(root):
    text = (root / path).read_text()
    assert old in text
    (root / path).write_text(text.replace(old, new, count))

  return change


def _write(path, content):
  def change(root):
    data = content if isinstance(content, bytes) else content.encode()
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_bytes(data)

  return change


def _truncate(path, size):
  return lambda root: (root / path).write_bytes(
    (root / path).read_bytes()[:size]
  )


def _remove(path):
  return lambda root: (root / path).unlink()


def _coco(update):
  """Changes the content of the COCO file."""

  def change(root):
    content = json.loads((root / JSON).read_text())
    update(content)
    (root / JSON).write_text(json.dumps(content))

  return change


def _set(part, index, **values):
  return _coco(lambda c: c[part][index].update(values))


def _drop(part):
  return _coco(lambda c: c.pop(part))


def _traversal(name):
  return _set("images", 0, file_name=name)


def _image_twice(content):
  content["images"].append(content["images"][0] | {"id": 5})


_PLAIN = "is not a path below the folder of images"
COCO = {
  "truncated": (_truncate(JSON, 500), "json: not a readable JSON"),
  "empty": (_truncate(JSON, 0), "json: the file is empty"),
  "random bytes": (_write(JSON, bytes(range(256))), "json: not UTF-8 text"),
  "a list": (_write(JSON, "[]"), "json: not as expected"),
  "deep nesting": (
    _write(JSON, '{"more": ' + "[" * 200_000),
    "json: the JSON is nested too deeply",
  ),
  "deep nesting in a box": (
    _edit(JSON, '"bbox": [', '"bbox": [' + "[" * 5000 + "]" * 5000 + ", "),
    "annotations.json: the JSON is nested too deeply",
  ),
  "annotations of two bytes": (
    _coco(lambda c: c.update(annotations=[0] * 1000)),
    "not as expected: Expected `object`, got `int`",
  ),
  "annotations of three bytes": (
    _coco(lambda c: c.update(annotations=[{}] * 2000)),
    "2,006 entries in ",
  ),
  "NaN": (_edit(JSON, '"bbox": [', '"bbox": [NaN, '), "has the value NaN"),
  "no images": (_drop("images"), "no images; a COCO file"),
  "no annotations": (_drop("annotations"), "no annotations; a COCO file"),
  "no categories": (_drop("categories"), "no categories (the list of classes)"),
  "categories empty": (
    _coco(lambda c: c.update(categories=[])),
    "no categories (the list of classes)",
  ),
  "a category id twice": (
    _set("categories", 0, id=10),
    "a category id occurs twice",
  ),
  "a category name twice": (
    _set("categories", 0, name="disc"),
    "class 'disc' occurs twice",
  ),
  "a category without name": (
    _set("categories", 0, name=" "),
    "categories: class 2 has the name ''",
  ),
  "text for a category id": (
    _set("categories", 0, id="a"),
    "category 0: not as expected",
  ),
  "an unknown category": (
    _set("annotations", 3, category_id=99),
    "annotations of category 99, which is not among categories",
  ),
  "text for a category": (
    _set("annotations", 3, category_id="disc"),
    "annotation 3: not as expected",
  ),
  "a huge category": (
    _set("annotations", 3, category_id=2**63 - 1),
    "annotation 3 has the category",
  ),
  "an annotation of an absent image": (
    _set("annotations", 3, image_id=999),
    "annotation 3 is of image 999, which is not among images",
  ),
  "an image id twice": (
    _coco(lambda c: c["images"].append(dict(c["images"][0]))),
    "image id 70 occurs twice",
  ),
  "an image twice": (
    _coco(_image_twice),
    "page0.png: in",
  ),
  "an image that is not there": (
    _remove("images/page1.png"),
    "annotations.json: 'page1.png' is in none of",
  ),
  "no file name": (
    _coco(lambda c: c["images"][0].pop("file_name")),
    "image 0: not as expected",
  ),
  "out of the folder": (_traversal("../../secret.png"), _PLAIN),
  "out of the folder, backslashes": (_traversal("..\\..\\secret.png"), _PLAIN),
  "out of the folder, in the middle": (_traversal("a/../../b.png"), _PLAIN),
  "absolute": (_traversal("/etc/secret.png"), _PLAIN),
  "a drive": (_traversal("C:\\secret.png"), _PLAIN),
  "a web address": (_traversal("http://host/secret.png"), _PLAIN),
  "a line break": (_traversal("a\nb.png"), _PLAIN),
  "a null": (_traversal("a\0b.png"), _PLAIN),
  "no image at all": (_traversal("page0.exe"), "is none of .png"),
  "another size": (
    _set("images", 0, width=240, height=160),
    "page0.png: 120 x 80 px, but",
  ),
  "sides exchanged": (
    _set("images", 0, width=80, height=120),
    "80 x 120; put the original image there; it is turned by 90 degrees",
  ),
  "no boxes at all": (
    _coco(lambda c: [a.pop("bbox") for a in c["annotations"]]),
    "no annotation has a bbox",
  ),
  "no objects": (
    _coco(lambda c: c.update(annotations=[])),
    "no object on any of them",
  ),
  "two files for a split": (
    lambda root: [
      _write(f"{name}.json", "{}")(root) for name in ("train", "training")
    ],
    "training.json: annotations, and also",
  ),
}

_NO_IMAGE = "page0.xml: no image of this name"
VOC = {
  "truncated": (_truncate(XML, 300), "page0.xml: broken XML"),
  "empty": (_truncate(XML, 0), "page0.xml: the file is empty"),
  "not UTF-8": (
    lambda root: (root / XML).write_bytes(
      (root / XML).read_bytes().replace(b"disc", b"d\xffsc")
    ),
    "page0.xml: broken XML",
  ),
  "entities": (
    _edit(XML, "<annotation>", "<!DOCTYPE a [<!ENTITY e 'eee'>]><annotation>"),
    "page0.xml: the XML has a document type",
  ),
  "deep nesting": (
    _write(XML, "<annotation>" + "<a>" * 10_000),
    "page0.xml: broken XML",
  ),
  "another root": (_write(XML, "<Nodes/>"), "the root is <Nodes>"),
  "an annotation without image": (
    lambda root: shutil.rmtree(root / "JPEGImages"),
    _NO_IMAGE,
  ),
  "a class without name": (
    _edit(XML, "<name>disc</name>", ""),
    "page0.xml: object 0 has the class ''",
  ),
  "a class with a line break": (
    _edit(XML, "disc", "di\nsc"),
    "page0.xml: object 0 has the class 'di\\nsc'",
  ),
  "two images of one name": (
    _write("JPEGImages/page0.jpg", "x"),
    "page0.png: page0.jpg lies beside it",
  ),
  "the list names an absent page": (
    _write("ImageSets/Main/train.txt", "page0\npage7\n"),
    "train.txt: 'page7' has no annotation",
  ),
  "the list leads out of the folder": (
    _write("ImageSets/Main/train.txt", "page0\n../../secret\n"),
    "train.txt: '../../secret' has no annotation",
  ),
  "a page in two lists": (
    lambda root: [
      _write(f"ImageSets/Main/{s}.txt", "page0\npage1\n")(root)
      for s in ("train", "val")
    ],
    "is listed twice, also in train",
  ),
  "lists without train": (
    lambda root: [
      _write(f"ImageSets/Main/{s}.txt", f"page{i}\n")(root)
      for i, s in enumerate(("val", "test"))
    ],
    "only test and val, nothing to train on",
  ),
  "another size": (
    _edit(XML, "<width>120", "<width>240"),
    "page0.png: 120 x 80 px, but",
  ),
  "a file name that is no text": (
    lambda root: (root / XML).rename(root / "Annotations/\udcff.xml"),
    "Annotations: the file name '\\udcff.xml' has a colon, a",
  ),
  "boxes of another page": (
    _edit(XML, "<xmin>", "<xmin>9", count=4),
    "page0.xml: 4 of 6 boxes are unusable",
  ),
  "annotations twice": (
    lambda root: shutil.copytree(root / "Annotations", root / "train"),
    "keep one for each split",
  ),
  "no objects": (
    lambda root: [
      _write(f"Annotations/page{i}.xml", "<annotation/>")(root)
      for i in range(3)
    ],
    "3 annotated images, but no object",
  ),
}

TEXT = {
  "dota: too few columns": (
    _write(DOTA, "1 2 3 4 5 6 7 disc 0\nx"),
    "page0.txt: line 2 has 1 columns",
  ),
  "dota: too many columns": (
    _write(DOTA, "1 2 3 4 5 6 7 8 small vehicle 0"),
    "page0.txt: line 1 has 11 columns",
  ),
  "dota: not UTF-8": (_write(DOTA, b"\xff\xfe1"), "page0.txt: not UTF-8"),
  "dota: one long line": (
    _write(DOTA, "1 " * 100_000),
    "page0.txt: line 1 has 100000 columns",
  ),
  "dota: no image": (
    lambda root: shutil.rmtree(root / "images"),
    "page0.txt: no image",
  ),
  "dota: text for most numbers": (
    _write(DOTA, "x 2 3 4 5 6 7 8 disc 0\n"),
    "page0.txt: 1 of 1 boxes are unusable",
  ),
  "dota: truncated image": (
    _truncate("images/page0.png", 200),
    "page0.png: not a readable PNG",
  ),
  "yolo: too few columns": (
    _write(YOLO, "0 0.5 0.5 0.1"),
    "page0.txt: line 1 has 4 columns",
  ),
  "yolo: a class beyond the names": (
    _write(YOLO, "3 0.5 0.5 0.1 0.1"),
    "page0.txt: line 1 has the class '3'; classes are 0 to 2",
  ),
  "yolo: a name for the class": (
    _write(YOLO, "disc 0.5 0.5 0.1 0.1"),
    "page0.txt: line 1 has the class 'disc'",
  ),
  "yolo: boxes in pixels": (
    _write(YOLO, "0 50 50 10 10"),
    "page0.txt: 1 of 1 boxes are unusable",
  ),
  "yolo: no names": (
    _remove("data.yaml"),
    "the names of the classes are missing",
  ),
  "yolo: an object in the YAML": (
    _write("data.yaml", "names: !!python/object/apply:os.getcwd []"),
    "data.yaml: 0 classes",
  ),
  "yolo: broken YAML": (_write("data.yaml", "names: ["), "broken YAML"),
  "yolo: nested YAML": (
    _write("data.yaml", "names: " + "[" * 5000),
    "data.yaml: nested too deeply",
  ),
  "yolo: YAML that expands": (
    _write(
      "data.yaml",
      "a0: &a0 [x]\n"
      + "".join(
        f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 20)
      )
      + "names: *a19\n",
    ),
    "data.yaml: class 0 has the name ''",
  ),
  "yolo: names with a gap": (
    _write("data.yaml", "names: {0: disc, 2: frame}"),
    "data.yaml: the ids of names must be",
  ),
}

BAD = {
  f"{kind}: {caption}": (kind, *row)
  for kind, table in (("coco", COCO), ("voc", VOC))
  for caption, row in table.items()
}
BAD |= {caption: (caption.split(":")[0], *row) for caption, row in TEXT.items()}


@pytest.mark.parametrize("caption", BAD)
def test_bad_input_is_one_line_that_names_the_file(folder, caption):
  kind, change, expected = BAD[caption]
  root = folder(kind)
  change(root)
  with pytest.raises(InputError) as e:
    parse(root, kind)
  assert expected in str(e.value)
  assert "\n" not in str(e.value)
  assert len(str(e.value)) < 1000


def test_json_that_is_not_utf_8(folder):
  root = folder("coco")
  data = (root / JSON).read_bytes().replace(b'"disc"', b'"d\xffsc"')
  (root / JSON).write_bytes(data)
  line = rf"annotations\.json: not UTF-8 text \(byte {data.index(0xFF)}\)"
  with pytest.raises(InputError, match=line):
    parse(root)


def test_oversized_json(folder, monkeypatch):
  root = folder("coco")
  monkeypatch.setattr(json_files, "MAX_BYTES", 1000)
  with pytest.raises(
    InputError, match=r"bytes are more than the 1,000 allowed"
  ):
    parse(root)


def test_an_annotation_of_many_bytes_is_not_decoded(folder, monkeypatch):
  root = folder("coco")
  _set("annotations", 0, bbox=[[]] * 1000)(root)
  monkeypatch.setattr(json_files, "MAX_PART_BYTES", 2000)
  with pytest.raises(InputError, match=r"0: .* more than the 2,000 allowed of"):
    parse(root)


def test_an_unlisted_class_is_named_with_file_and_object(folder):
  for kind, place in (("voc", "page0.xml"), ("dota", "page0.txt")):
    root = folder(kind)
    with pytest.raises(InputError) as e:
      parse(root, class_names=("disc", "frame"))
    assert str(e.value).endswith(
      f"{place}: object 2 of page0.png has the class 'wedge', which is not in"
      " data.options.class_names; add it there or correct it"
    )


# Caption: option, what the line says.
BAD_OPTIONS = {
  "a class twice": ({"class_names": ("disc", "disc")}, "'disc' occurs twice"),
  "no text": ({"class_names": (1,)}, "class_names: class 0 has the name '1'"),
  "a convention": ({"voc_pixels": "coco"}, "voc_pixels: 'coco' is unknown"),
}


@pytest.mark.parametrize("caption", BAD_OPTIONS)
def test_bad_options(folder, caption):
  options, expected = BAD_OPTIONS[caption]
  with pytest.raises(InputError, match=rf"data\.options.*{expected}"):
    parse(folder("voc"), **options)


# Caption: format, change, what is counted (the rest of the page is kept).
SKIPPED = {
  "coco: text in a box": (
    "coco",
    _set("annotations", 0, bbox=["1", 2, 3, 4]),
    "boxes skipped: not a usable number",
  ),
  "coco: three numbers": (
    "coco",
    _set("annotations", 0, bbox=[1, 2, 3]),
    "boxes skipped: not a usable number",
  ),
  "coco: beyond all numbers": (
    "coco",
    _edit(JSON, '"bbox": [', '"bbox": [1e308, 1, 1, 1], "b": ['),
    "boxes skipped: not a usable number",
  ),
  "coco: negative width": (
    "coco",
    _set("annotations", 0, bbox=[9, 9, -4, 4]),
    "boxes skipped: inverted",
  ),
  "coco: no height": (
    "coco",
    _set("annotations", 0, bbox=[9, 9, 4, 0]),
    "boxes skipped: of zero area",
  ),
  "voc: text": (
    "voc",
    _edit(XML, "<xmin>", "<xmin>x"),
    "boxes skipped: not a usable number",
  ),
  "voc: infinite": (
    "voc",
    _edit(XML, "<xmax>", "<xmax>inf</xmax><xmax>"),
    "boxes skipped: not a usable number",
  ),
  "voc: inverted": (
    "voc",
    _edit(XML, "<ymin>", "<ymin>99"),
    "boxes skipped: inverted",
  ),
  "voc: no box": (
    "voc",
    _edit(XML, "bndbox>", "robndbox>", count=2),
    "boxes skipped: not a usable number",
  ),
  "dota: text": (
    "dota",
    _edit(DOTA, ".0", ".x"),
    "boxes skipped: not a usable number",
  ),
  "yolo: infinite": (
    "yolo",
    _edit(YOLO, " 0.", " inf"),
    "boxes skipped: not a usable number",
  ),
  "voc: image without annotation": (
    "voc",
    _write("JPEGImages/more.png", b"x"),
    "images skipped: without annotation",
  ),
  "dota: image without annotation": (
    "dota",
    _write("images/more.png", b"x"),
    "images skipped: without annotation",
  ),
}


@pytest.mark.parametrize("caption", SKIPPED)
def test_what_can_be_skipped_is_counted(folder, caption):
  kind, change, expected = SKIPPED[caption]
  root = folder(kind)
  change(root)
  _, pages, report = parse(root)
  assert report.counts[expected] == 1
  boxes = sum(len(page.labels) for page in pages.values())
  assert boxes == 18 - ("boxes" in expected)


def _png(width: int, height: int) -> bytes:
  def chunk(kind, data):
    crc = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)

  head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
  return (
    b"\x89PNG\r\n\x1a\n"
    + chunk(b"IHDR", head)
    + chunk(b"IDAT", zlib.compress(bytes(1000)))
    + chunk(b"IEND", b"")
  )


def _bmp(width: int, height: int) -> bytes:
  head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
  return b"BM" + struct.pack("<IHHI", 200, 0, 0, 54) + head + bytes(146)


def _tiff(width: int, height: int) -> bytes:
  page = pyvips.Image.black(width, height)
  return page.tiffsave_buffer(  # pyright: ignore
    compression="deflate", tile=True, tile_width=4096, tile_height=4096
  )


BOMBS = {
  "png": ("page0.png", lambda: _png(40_000, 40_000)),
  "bmp": ("page0.bmp", lambda: _bmp(40_000, -40_000)),
  "tiff": ("page0.tif", lambda: _tiff(17_000, 17_000)),
  "png that is a tiff": ("page0.png", lambda: _tiff(17_000, 17_000)),
}


@pytest.mark.parametrize("caption", BOMBS)
def test_small_files_of_huge_pictures_are_not_decoded(folder, caption):
  name, make = BOMBS[caption]
  root = folder("dota")
  (root / "images/page0.png").unlink()
  data = make()
  assert len(data) < 1 << 20
  (root / "images" / name).write_bytes(data)
  with pytest.raises(InputError, match=rf"{name}: .* pixels are more than"):
    parse(root)


def test_other_formats_are_refused_whatever_they_are_called(folder):
  root = folder("dota")
  pnm = b"P5 40 40 255\n" + bytes(1600)
  (root / "images/page0.png").write_bytes(pnm)
  with pytest.raises(InputError, match=r"page0\.png: not a readable PNG, JPEG"):
    parse(root)


def test_yaml_names_are_text_and_nothing_else(tmp_path):
  path = tmp_path / "data.yaml"
  path.write_text("nc: 3\nnames: ['a b', !!python/name:os.sep 'x', on]\n")
  assert boxes_yolo.read_yaml_names(path) == ("a b", "x", "on")
