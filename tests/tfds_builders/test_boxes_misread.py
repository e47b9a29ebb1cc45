"""Labels that could be read as something else: read right, or one line."""

import os
import unicodedata

import boxes_helpers
import pytest
from boxes_helpers import assert_as_drawn, parse

from dwd_jax.core.errors import InputError

_DRAWN = boxes_helpers.pages(4)
_CLASSES = boxes_helpers.CLASSES


@pytest.mark.parametrize("shape", [(17, 3), (2, 2)])
def test_key_points_of_pose_labels_are_left_out(tmp_path, shape):
  boxes_helpers.write_yolo(tmp_path, _DRAWN)
  with (tmp_path / "data.yaml").open("a") as file:
    file.write(f"kpt_shape: [{shape[0]}, {shape[1]}]\n")
  points = " 0.25" * (shape[0] * shape[1])
  for path in (tmp_path / "labels").iterdir():
    lines = path.read_text().splitlines()
    path.write_text("".join(f"{line}{points}\n" for line in lines))
  assert_as_drawn(_DRAWN, *parse(tmp_path)[:2])
  path.write_text(f"{lines[0]}{points} 0.5\n")
  columns = 5 + shape[0] * shape[1]
  with pytest.raises(InputError, match=f"has {columns + 1} columns; with kpt"):
    parse(tmp_path)


def test_a_shape_of_key_points_that_is_none(tmp_path):
  boxes_helpers.write_yolo(tmp_path, _DRAWN)
  with (tmp_path / "data.yaml").open("a") as file:
    file.write("kpt_shape: 17\n")
  with pytest.raises(InputError, match="kpt_shape is no list such as"):
    parse(tmp_path)


def _renumbered(text, order):
  """Labels whose numbers count in another order of the classes."""
  rows = [line.split(" ", 1) for line in text.splitlines()]
  return "".join(
    f"{order.index(_CLASSES[int(i)])} {rest}\n" for i, rest in rows
  )


def _two_folders(root):
  """train/ and val/ with lists of the same classes in different orders."""
  boxes_helpers.write_yolo(root, _DRAWN)
  (root / "data.yaml").unlink()
  for i, page in enumerate(_DRAWN):
    split = "train" if i % 2 else "val"
    order = _CLASSES if i % 2 else _CLASSES[::-1]
    labels = root / split / "labels"
    labels.mkdir(parents=True, exist_ok=True)
    text = (root / "labels" / f"{page.stem}.txt").read_text()
    (labels / f"{page.stem}.txt").write_text(_renumbered(text, order))
    (labels / "classes.txt").write_text("\n".join(order))
    boxes_helpers.save(root / split / "images" / f"{page.stem}.png", page)
    (root / "labels" / f"{page.stem}.txt").unlink()
    (root / "images" / f"{page.stem}.png").unlink()
  (root / "labels").rmdir()
  (root / "images").rmdir()


def test_each_folder_is_numbered_by_its_own_list(tmp_path):
  _two_folders(tmp_path)
  data_set, pages, _ = parse(tmp_path)
  assert sorted(data_set.class_names) == sorted(_CLASSES)
  assert_as_drawn(_DRAWN, data_set, pages)


@pytest.mark.parametrize("name", ["data.yaml", "classes.txt"])
def test_lists_that_contradict_each_other_are_named(tmp_path, name):
  _two_folders(tmp_path)
  text = "\n".join(_CLASSES)
  if name == "data.yaml":
    text = f"names: [{', '.join(_CLASSES)}]"
  (tmp_path / name).write_text(text)
  with pytest.raises(InputError, match=rf"val/labels/classes\.txt: .*/{name};"):
    parse(tmp_path)


def test_the_only_list_of_darknet_counts(tmp_path):
  boxes_helpers.write_yolo(tmp_path, _DRAWN)
  (tmp_path / "data.yaml").unlink()
  (tmp_path / "shapes.names").write_text("\n".join(_CLASSES) + "\n\n")
  assert_as_drawn(_DRAWN, *parse(tmp_path)[:2])
  (tmp_path / "more.names").write_text("a\n")
  with pytest.raises(InputError, match=r"shapes\.names: a list of classes, as"):
    parse(tmp_path)


def test_an_empty_line_between_classes_is_refused(tmp_path):
  boxes_helpers.write_yolo(tmp_path, _DRAWN)
  (tmp_path / "data.yaml").unlink()
  (tmp_path / "classes.txt").write_text("disc\n\nframe\nwedge\n")
  with pytest.raises(InputError, match=r"classes\.txt: line 2 is empty"):
    parse(tmp_path)


def _coco(root, update):
  boxes_helpers.write_coco(root, _DRAWN)
  content = boxes_helpers.coco_dict(_DRAWN)
  update(content)
  boxes_helpers.write_json(root / "annotations.json", content)


@pytest.mark.parametrize("flag", ["0", "false", False, None, 0.0, ""])
def test_no_crowd_has_many_forms(tmp_path, flag):
  def update(content):
    for annotation in content["annotations"]:
      annotation["iscrowd"] = flag

  _coco(tmp_path, update)
  assert_as_drawn(_DRAWN, *parse(tmp_path)[:2])


@pytest.mark.parametrize("flag", [1, "1", True])
def test_pages_of_crowds_alone_say_so(tmp_path, flag):
  def update(content):
    for annotation in content["annotations"]:
      annotation["iscrowd"] = flag

  _coco(tmp_path, update)
  with pytest.raises(
    InputError, match=r"no object on any of them \(24 crowd regions skipped"
  ):
    parse(tmp_path)


def _set(key, value, of="annotations"):
  def update(content):
    for entry in content[of]:
      entry[key] = value(entry[key]) if callable(value) else value

  return update


def _corners_as_text(bbox):
  return " ".join(map(str, bbox))


# Caption: what is done to the content, the line.
MESSAGES = {
  "strange crowds": (_set("iscrowd", 2), "annotation 0 has iscrowd '2'; give"),
  "ids of images as text": (
    _set("image_id", str),
    "annotation 0 is of image '70', .*; its id is a number there: write both",
  ),
  "boxes as text": (
    _set("bbox", _corners_as_text),
    r"the bbox of annotations is like '[\d. ]+'; give lists of four numbers",
  ),
  "boxes as objects": (
    _set("bbox", lambda b: dict(zip("xywh", b, strict=True))),
    r"the bbox of annotations is like .\{'x': .*; give lists of four numbers",
  ),
  "not a number": (
    _set("area", float("nan")),
    r"annotations\.json: has the value NaN or Infinity, which JSON does not",
  ),
}


@pytest.mark.parametrize("caption", MESSAGES)
def test_messages_name_the_cause(tmp_path, caption):
  update, line = MESSAGES[caption]
  _coco(tmp_path, update)
  with pytest.raises(InputError, match=line):
    parse(tmp_path)


def test_corners_are_not_taken_for_width_and_height(tmp_path):
  def update(content):
    for annotation in content["annotations"]:
      x, y, w, h = annotation["bbox"]
      annotation["bbox"] = [x, y, x + w, y + h]

  _coco(tmp_path, update)
  with pytest.raises(InputError, match="fit as corners x1, y1, x2, y2; COCO"):
    parse(tmp_path)


@pytest.mark.parametrize("more", [0, 1])
def test_areas_tell_corners_of_boxes_that_fit_both_ways(tmp_path, more):
  """Boxes at the upper left leave no image, whichever way they are read."""
  boxes = [[10, 10, 22, 25], [5, 8, 19, 20], [12, 4, 30, 21]]

  def update(content):
    for i, annotation in enumerate(content["annotations"]):
      x0, y0, x1, y1 = annotation["bbox"] = boxes[i % 3]
      annotation["area"] = (x1 - x0 + more) * (y1 - y0 + more)

  _coco(tmp_path, update)
  with pytest.raises(
    InputError,
    match=r"the area of 24 of 24 boxes is not width x height, but that of corn",
  ):
    parse(tmp_path)


@pytest.mark.parametrize("area", [0, None, "12", 57, 150.0])
def test_other_areas_are_those_of_outlines(tmp_path, area):
  _coco(tmp_path, _set("area", area))
  assert_as_drawn(_DRAWN, *parse(tmp_path)[:2])


# Caption: name of the file, name in the entry, the line.
NAMES = {
  "accents in another form": (
    unicodedata.normalize("NFD", "Süß.png"),
    "Süß.png",
    r"accents are stored in another way there \(Unicode NFD\)",
  ),
  "codes of addresses": (
    "my page.png",
    "my%20page.png",
    "there is 'my page.png': write it in the entry without % codes",
  ),
}


@pytest.mark.parametrize("caption", NAMES)
def test_other_spellings_of_a_name_are_told(tmp_path, caption):
  file, entry, line = NAMES[caption]
  _coco(tmp_path, lambda content: content["images"][0].update(file_name=entry))
  (tmp_path / "images/page0.png").rename(tmp_path / "images" / file)
  with pytest.raises(InputError, match=line):
    parse(tmp_path)


def test_turned_boxes_of_voc_are_named(tmp_path):
  boxes_helpers.write_voc(tmp_path, _DRAWN)
  path = tmp_path / "Annotations/page0.xml"
  path.write_text(path.read_text().replace("bndbox>", "robndbox>"))
  with pytest.raises(InputError, match=r"its boxes are turned \(robndbox"):
    parse(tmp_path)


def test_a_colon_in_a_name_is_named(tmp_path):
  boxes_helpers.write_voc(tmp_path, _DRAWN)
  for folder, ending in (("Annotations", "xml"), ("JPEGImages", "png")):
    path = tmp_path / folder / f"page0.{ending}"
    path.rename(path.with_name(f"a:b.{ending}"))
  with pytest.raises(InputError, match=r"the file name 'a:b\.xml' has a colon"):
    parse(tmp_path)


def _moved(root, places):
  """A YOLO folder; `places`: stem -> folders of its image and its labels."""
  boxes_helpers.write_yolo(root, _DRAWN)
  for stem, (image, labels) in places.items():
    for old, new in (
      (f"images/{stem}.png", f"{image}/{stem}.png"),
      (f"labels/{stem}.txt", f"{labels}/{stem}.txt"),
    ):
      (root / new).parent.mkdir(parents=True, exist_ok=True)
      (root / old).rename(root / new)


def _splits(data_set):
  return {
    name: sorted(page.image.stem for page in pages)
    for name, pages in data_set.splits.items()
  }


_NAMES = f"names: [{', '.join(_CLASSES)}]\n"


@pytest.mark.parametrize("path", ["path: .\n", "", "path: /somewhere/else\n"])
@pytest.mark.parametrize("first", ["", "../"])
def test_folders_that_data_yaml_names_are_the_splits(tmp_path, path, first):
  sets = {"page0": "a", "page1": "a", "page2": "b", "page3": "c"}
  _moved(tmp_path, {s: (f"{x}/images", f"{x}/labels") for s, x in sets.items()})
  (tmp_path / "data.yaml").write_text(
    f"{path}train: [{first}a/images, {first}b/images]\n"
    f"val: {first}c/images\ntest: {first}absent/images\n{_NAMES}"
  )
  data_set, pages, _ = parse(tmp_path, keep_splits=True)
  assert_as_drawn(_DRAWN, data_set, pages)
  assert _splits(data_set) == {
    "train": ["page0", "page1", "page2"],
    "val": ["page3"],
  }


def test_lists_that_data_yaml_names_are_the_splits(tmp_path):
  boxes_helpers.write_yolo(tmp_path, _DRAWN)
  (tmp_path / "data.yaml").write_text(
    f"path: .\ntrain: lists/train.txt\nval: val.txt\n{_NAMES}"
  )
  (tmp_path / "lists").mkdir()
  train = "./images/page0.png\nimages/page3.png\n\nimages/page2.png\n"
  (tmp_path / "lists/train.txt").write_text(train)
  (tmp_path / "val.txt").write_text("images/page1.png\n")
  # However the folder is named.
  data_set, pages, _ = parse(tmp_path / "images/..", keep_splits=True)
  assert_as_drawn(_DRAWN, data_set, pages)
  assert _splits(data_set) == {
    "train": ["page0", "page2", "page3"],
    "val": ["page1"],
  }
  (tmp_path / "labels/page2.txt").unlink()
  (tmp_path / "lists/train.txt").write_text(
    "images/page0.png\nimages/page2.png\n"
  )
  report = parse(tmp_path, keep_splits=True)[2]
  assert report.examples == {
    "images skipped: without annotation": ["page2.png"],
    "images skipped: in no split list": ["page3.png"],
  }
  with (tmp_path / "val.txt").open("a") as file:
    file.write("../../etc/page.png\n")
  with pytest.raises(InputError, match=r"val\.txt: line 2: .* is no image"):
    parse(tmp_path)


def test_one_folder_for_all_splits_is_divided(tmp_path):
  boxes_helpers.write_yolo(tmp_path, _DRAWN)
  (tmp_path / "data.yaml").write_text(f"train: images\nval: images\n{_NAMES}")
  data_set, pages, _ = parse(tmp_path)
  assert_as_drawn(_DRAWN, data_set, pages)
  assert list(data_set.splits) == ["train", "val", "test"]


# Caption: stem -> folder of the image, folder of the labels.
DEEPER = {
  "some": {"page2": ("images/book", "labels/book")},
  "all": {f"page{i}": ("images/b/1", "labels/b/1") for i in range(4)},
  "labels only": {"page2": ("images", "labels/part2")},
}


@pytest.mark.parametrize("caption", DEEPER)
def test_labels_that_lie_deeper_are_read(tmp_path, caption):
  _moved(tmp_path, DEEPER[caption])
  data_set, pages, report = parse(tmp_path)
  assert_as_drawn(_DRAWN, data_set, pages)
  assert not any("skipped" in kind for kind in report.counts)


def test_folders_whose_names_are_not_utf8_are_named(tmp_path):
  name = os.fsdecode(b"S\xfcss")
  _moved(tmp_path, {"page2": (f"images/{name}", f"labels/{name}")})
  with pytest.raises(
    InputError, match=r"the path 'S.udcfcss/page2.png' is not"
  ):
    parse(tmp_path)


def test_annotations_of_voc_that_lie_deeper_are_read(tmp_path):
  boxes_helpers.write_voc(tmp_path, _DRAWN)
  (tmp_path / "Annotations/part2").mkdir()
  for stem in ("page1", "page3"):
    path = tmp_path / f"Annotations/{stem}.xml"
    path.rename(path.parent / "part2" / path.name)
  assert_as_drawn(_DRAWN, *parse(tmp_path)[:2])


def test_equal_names_in_two_folders_are_two_pages(tmp_path):
  boxes_helpers.write_yolo(tmp_path, _DRAWN)
  for folder, ending in (("images", "png"), ("labels", "txt")):
    (tmp_path / folder / "more").mkdir()
    path = tmp_path / folder / f"page3.{ending}"
    path.rename(path.parent / "more" / f"page0.{ending}")
  _, pages, _ = parse(tmp_path)
  assert len(pages) == 4
  assert "more__page0" in pages


def test_labels_without_an_image_are_counted(tmp_path):
  boxes_helpers.write_yolo(tmp_path, _DRAWN)
  (tmp_path / "images/page3.png").unlink()
  _, pages, report = parse(tmp_path)
  assert sorted(pages) == ["page0", "page1", "page2"]
  assert report.counts["annotations skipped: without image"] == 1


@pytest.mark.parametrize("empty", range(4))
def test_an_empty_page_is_never_a_whole_split(tmp_path, empty):
  boxes_helpers.write_yolo(tmp_path, _DRAWN)
  (tmp_path / f"labels/page{empty}.txt").write_text("")
  data_set, pages, _ = parse(tmp_path)
  assert len(data_set.splits) == 3
  for part in data_set.splits.values():
    assert any(len(pages[page.name].labels) for page in part)
