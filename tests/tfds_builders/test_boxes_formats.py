"""One's own data: every format is found, read and split the same way."""

import collections
import dataclasses
import pathlib
import re

import boxes_helpers
import numpy as np
import pytest
from boxes_helpers import assert_as_drawn, assert_same_shapes, parse

from dwd_jax.core.errors import InputError
from dwd_jax.data import prepare, sources
from dwd_jax.train.settings import default
from tfds_builders import checks
from tfds_builders.boxes import boxes_parsing, boxes_splits, boxes_voc

FORMATS = sorted(boxes_helpers.WRITERS)


def sizes(data_set) -> dict[str, int]:
  return {split: len(pages) for split, pages in data_set.splits.items()}


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("config", ["auto", "itself"])
def test_every_format_gives_the_boxes_that_were_drawn(tmp_path, kind, config):
  drawn = boxes_helpers.pages(3)
  boxes_helpers.WRITERS[kind](tmp_path, drawn)
  name = kind if config == "itself" else config
  data_set, pages, _ = parse(tmp_path, name)
  assert data_set.class_names == boxes_helpers.CLASSES
  assert data_set.vocabulary == ""
  assert sizes(data_set) == {"train": 1, "val": 1, "test": 1}
  assert_as_drawn(drawn, data_set, pages)
  for found in pages.values():
    # Shapes differ from the ground, and the box is filled to its rim.
    ground = int(found.ink[0, 0])
    for y0, x0, y1, x1 in found.boxes_yxyx.round().astype(int):
      shape = abs(found.ink[y0:y1, x0:x1].astype(int) - ground) > 64
      assert shape.any(1)[[0, -1]].all()
      assert shape.any(0)[[0, -1]].all()


@pytest.mark.parametrize("kind", FORMATS)
def test_dummy_pages_become_records(repo_dir, tmp_path, kind):
  cfg = default().data
  cfg.builder = "boxes"
  cfg.builder_config = kind
  cfg.manual_dir = str(repo_dir / f"tfds_builders/boxes/dummy_data/{kind}")
  data_dir = prepare.prepare(cfg, tmp_path)
  pages = 0
  for split in ("train", "val", "test"):
    source = sources.open_split(cfg, data_dir, split)
    assert source.class_names == boxes_helpers.CLASSES
    for i in range(len(source)):
      drawn = boxes_helpers.draw(
        source[i].filename[:-4],
        height=64,
        width=96,
        shapes=4,
        seed=int(source[i].filename[4]),
      )
      want = np.array([box for _, box in drawn.shapes], np.float32)
      np.testing.assert_allclose(source[i].boxes_yxyx, want, atol=1e-3)
      if kind == "dota":
        corners = source.example(i)["oriented_yx"]
        np.testing.assert_array_equal(corners[:, 0], want[:, :2])
        np.testing.assert_array_equal(corners[:, 2], want[:, 2:])
      pages += 1
  assert pages == 5


def _roboflow(root, drawn):
  for word, part in (("train", drawn[:2]), ("valid", drawn[2:3])):
    for page in part:
      boxes_helpers.save(root / word / f"{page.stem}.jpg", page)
    path = root / word / "_annotations.coco.json"
    boxes_helpers.write_json(path, boxes_helpers.coco_dict(part, ".jpg"))


def _coco_2017(root, drawn):
  for word, part in (("train2017", drawn[:2]), ("val2017", drawn[2:3])):
    for page in part:
      boxes_helpers.save(root / word / f"{page.stem}.png", page)
    path = root / "annotations" / f"instances_{word}.json"
    boxes_helpers.write_json(path, boxes_helpers.coco_dict(part))
    # The release has these too; they are not for us.
    boxes_helpers.write_json(root / f"annotations/captions_{word}.json", {})


def _coco_images_by_split(root, drawn):
  for word, part in (("train", drawn[:2]), ("val", drawn[2:3])):
    for page in part:
      boxes_helpers.save(root / "images" / word / f"{page.stem}.png", page)
    path = root / f"{word}.json"
    boxes_helpers.write_json(path, boxes_helpers.coco_dict(part))


def _coco_subfolders(root, drawn):
  for word, part in (("train", drawn[:2]), ("val", drawn[2:3])):
    content = boxes_helpers.coco_dict(part)
    for image in content["images"]:
      image["file_name"] = f"a\\b/{image['file_name']}"
    for page in part:
      boxes_helpers.save(root / "images" / "a" / "b" / f"{page.stem}.png", page)
    boxes_helpers.write_json(root / "annotations" / f"{word}.json", content)


def _voc_folders(root, drawn):
  for word, part in (("Train", drawn[:2]), ("validation", drawn[2:3])):
    for page in part:
      boxes_helpers.save(root / word / f"{page.stem}.png", page)
      text = boxes_helpers.voc_xml(page)
      (root / word / f"{page.stem}.xml").write_text(text)


def _voc_lists(root, drawn):
  boxes_helpers.write_voc(root, drawn[:3])
  lists = root / "ImageSets" / "Main"
  lists.mkdir(parents=True)
  (lists / "train.txt").write_text("page0\npage1  1\n\n")
  (lists / "val.txt").write_text("page2\n")
  (lists / "trainval.txt").write_text("page0\npage1\npage2\n")
  (lists / "disc_train.txt").write_text("page9 -1\n")


def _voc_annotations_by_split(root, drawn):
  for word, part in (("train", drawn[:2]), ("val", drawn[2:3])):
    for page in part:
      boxes_helpers.save(root / "images" / word / f"{page.stem}.png", page)
      path = root / "annotations" / word / f"{page.stem}.xml"
      path.parent.mkdir(parents=True, exist_ok=True)
      path.write_text(boxes_helpers.voc_xml(page))


def _dota_release(root, drawn):
  for word, part in (("train", drawn[:2]), ("val", drawn[2:3])):
    boxes_helpers.write_dota(root / word, part)
    (root / word / "labelTxt").rename(root / word / "labelTxt-v1.5")


def _yolo(root, drawn):
  for word, part in (("train", drawn[:2]), ("val", drawn[2:3])):
    boxes_helpers.write_yolo(root / word, part)
    (root / word / "data.yaml").rename(root / "data.yaml")


def _yolo_by_split(root, drawn):
  for word, part in (("train", drawn[:2]), ("val", drawn[2:3])):
    boxes_helpers.write_yolo(root / "x", part)
    for folder in ("images", "labels"):
      (root / folder).mkdir(exist_ok=True)
      (root / "x" / folder).rename(root / folder / word)
  (root / "labels/train/classes.txt").write_text("disc\nframe\nwedge\n")
  (root / "x" / "data.yaml").unlink()
  (root / "x").rmdir()


LAYOUTS = {
  "coco: Roboflow": _roboflow,
  "coco: the release of 2017": _coco_2017,
  "coco: images/SPLIT": _coco_images_by_split,
  "coco: subfolders, backslashes": _coco_subfolders,
  "voc: SPLIT/ with all files": _voc_folders,
  "voc: lists": _voc_lists,
  "voc: annotations/SPLIT": _voc_annotations_by_split,
  "dota: SPLIT/labelTxt-v1.5": _dota_release,
  "yolo: SPLIT/labels": _yolo,
  "yolo: labels/SPLIT, classes.txt": _yolo_by_split,
}


@pytest.mark.parametrize("caption", LAYOUTS)
def test_layouts_with_splits(tmp_path, caption):
  drawn = boxes_helpers.pages(3)
  LAYOUTS[caption](tmp_path, drawn)
  data_set, pages, report = parse(tmp_path, keep_splits=True)
  assert sizes(data_set) == {"train": 2, "val": 1}
  assert [p.name for p in data_set.splits["val"]] == ["page2"]
  assert data_set.class_names == boxes_helpers.CLASSES
  assert_as_drawn(drawn, data_set, pages)
  assert not report.counts
  # By default a test split is made of a training page, and this is counted.
  data_set, _, report = parse(tmp_path)
  assert sizes(data_set) == {"train": 1, "val": 1, "test": 1}
  assert report.counts["images put into test by their name"] == 1
  assert [p.name for p in data_set.splits["val"]] == ["page2"]


def test_pages_of_one_name_in_two_splits_get_names_of_their_own(tmp_path):
  for word, seed in (("train", 0), ("val", 1)):
    part = [boxes_helpers.draw("1", seed=seed)]
    boxes_helpers.save(tmp_path / word / "1.png", part[0])
    path = tmp_path / word / "_annotations.coco.json"
    boxes_helpers.write_json(path, boxes_helpers.coco_dict(part))
  data_set, _, _ = parse(tmp_path)
  found = [p for part in data_set.splits.values() for p in part]
  assert [(p.name, p.filename) for p in found] == [
    ("train__1", "train__1.png"),
    ("val__1", "val__1.png"),
  ]


def test_pages_of_one_name_in_two_folders_too(tmp_path):
  drawn = boxes_helpers.pages(2)
  content = boxes_helpers.coco_dict(drawn)
  for page, image, part in zip(drawn, content["images"], "ab", strict=True):
    image["file_name"] = f"{part}/1.png"
    boxes_helpers.save(tmp_path / "images" / part / "1.png", page)
  boxes_helpers.write_json(tmp_path / "all.json", content)
  data_set, pages, _ = parse(tmp_path)
  found = data_set.splits["train"]
  assert [(p.name, p.filename) for p in found] == [
    ("a__1", "a__1.png"),
    ("b__1", "b__1.png"),
  ]
  for page, name in zip(drawn, ("a__1", "b__1"), strict=True):
    assert_same_shapes(page, pages[name], data_set.class_names)


def _labelimg_yolo(root, drawn):
  for page in drawn:
    boxes_helpers.save(root / f"{page.stem}.png", page)
    (root / f"{page.stem}.txt").write_text(boxes_helpers.yolo_text(page))
  (root / "classes.txt").write_text("disc\nframe\nwedge\n")


def _cvat_yolo(root, drawn):
  _labelimg_yolo(root / "obj_train_data", drawn)
  (root / "obj_train_data/classes.txt").rename(root / "obj.names")
  (root / "train.txt").write_text("data/obj_train_data/page0.png\n")


def _label_studio_yolo(root, drawn):
  boxes_helpers.write_yolo(root, drawn)
  boxes_helpers.write_json(root / "notes.json", {"categories": []})


def _cvat_coco(root, drawn):
  for page in drawn:
    boxes_helpers.save(root / "images/default" / f"{page.stem}.png", page)
  path = root / "annotations" / "instances_default.json"
  boxes_helpers.write_json(path, boxes_helpers.coco_dict(drawn))


def _labelimg_voc(root, drawn):
  boxes_helpers.write_voc(root, drawn)
  (root / "Annotations").rename(root / "labels")


EXPORTS = {
  "LabelImg: YOLO, all files in one folder": _labelimg_yolo,
  "CVAT: YOLO 1.1": _cvat_yolo,
  "Label Studio: YOLO with notes.json": _label_studio_yolo,
  "CVAT: COCO with images/default": _cvat_coco,
  "LabelImg: XML in labels/": _labelimg_voc,
}


@pytest.mark.parametrize("caption", EXPORTS)
def test_what_annotation_tools_write_is_found(tmp_path, caption):
  drawn = boxes_helpers.pages(3)
  EXPORTS[caption](tmp_path, drawn)
  data_set, pages, _ = parse(tmp_path)
  assert sizes(data_set) == {"train": 1, "val": 1, "test": 1}
  assert_as_drawn(drawn, data_set, pages)


def test_the_folder_below_is_named_where_it_is_right(tmp_path):
  boxes_helpers.write_voc(tmp_path / "VOC" / "2007", boxes_helpers.pages(1))
  with pytest.raises(InputError, match=r"VOC.2007 looks right: name that"):
    parse(tmp_path)


_INNER = "mine/segmentation_detection"


@pytest.mark.parametrize(
  "named", ["", "mine", _INNER, f"{_INNER}/xml_annotations"]
)
def test_the_layout_of_deepscores_is_named(named, tmp_path):
  pages = tmp_path / _INNER
  for folder in ("images_png", "xml_annotations"):
    (pages / folder).mkdir(parents=True)
  (pages / "xml_annotations" / "a.xml").write_text("<annotation/>")
  with pytest.raises(
    InputError, match=r"/mine has the layout of DeepScores, .*deepscores\.py"
  ):
    parse(tmp_path / named)


# Caption: names of the files beside a picture, what the error says.
NOT_READ = {
  "labelme: a JSON file for each image": (
    ("page0.json", "page1.json"),
    r"page0\.json: one of 2 JSON files",
  ),
  "CVAT: annotations.xml": (
    ("annotations.xml",),
    r"annotations\.xml: one XML file for all images .* export as COCO",
  ),
}


@pytest.mark.parametrize("caption", NOT_READ)
def test_other_formats_are_told(tmp_path, caption):
  names, expected = NOT_READ[caption]
  boxes_helpers.save(tmp_path / "page0.png", boxes_helpers.draw("page0"))
  for name in names:
    (tmp_path / name).write_text("{}")
  with pytest.raises(InputError, match=expected):
    parse(tmp_path)


def test_other_files_beside_the_folders_do_not_matter(tmp_path):
  boxes_helpers.write_voc(tmp_path, boxes_helpers.pages(3))
  (tmp_path / "project.xml").write_text("<project/>")
  assert len(parse(tmp_path)[1]) == 3


# Caption: number of pages without a split, sizes of train, val and test.
SPLIT_SIZES = {
  "one": (1, (1, 0, 0)),
  "two": (2, (2, 0, 0)),
  "three": (3, (1, 1, 1)),
  "ten": (10, None),
  "forty": (40, None),
  "a thousand": (1000, None),
}


def _pages(number):
  objects = boxes_parsing.boxes_pages.Objects((), np.zeros((0, 4)), np.zeros(0))
  return [
    boxes_parsing.boxes_pages.Page(
      "", f"{i}.png", pathlib.Path(f"{i}.png"), pathlib.Path(), objects
    )
    for i in range(number)
  ]


@pytest.mark.parametrize("caption", SPLIT_SIZES)
def test_pages_without_splits_are_split_by_their_names(caption):
  number, expected = SPLIT_SIZES[caption]
  report = checks.BuildReport()
  splits = boxes_splits.assign(
    pathlib.Path(), _pages(number), keep_splits=False, report=report
  )
  found = tuple(len(splits.get(s, ())) for s in ("train", "val", "test"))
  assert sum(found) == number
  if expected:
    assert found == expected
  else:
    assert min(found) >= 1
    assert max(found[1:]) <= max(1, 0.15 * number)
  if number == 1000:
    assert 80 <= found[1] <= 120
    assert 80 <= found[2] <= 120
  assert sum(report.counts.values()) == found[1] + found[2]
  assert len({p.relative for part in splits.values() for p in part}) == number


@pytest.mark.parametrize("number", [3, 4, 12, 30])
def test_versions_of_a_picture_stay_together(number):
  names = [f"{i}.rf.{v}.jpg" for i in range(number) for v in "abc"]
  pages = [
    dataclasses.replace(page, relative=name)
    for page, name in zip(_pages(len(names)), names, strict=True)
  ]
  splits = boxes_splits.assign(
    pathlib.Path(), pages, False, checks.BuildReport()
  )
  where = [{p.relative.split(".")[0] for p in part} for part in splits.values()]
  assert len(where) == 3
  assert sum(map(len, where)) == number


def test_more_pages_do_not_move_the_others():
  def where(number):
    splits = boxes_splits.assign(
      pathlib.Path(), _pages(number), False, checks.BuildReport()
    )
    return {p.relative: s for s, part in splits.items() for p in part}

  few, many = where(200), where(400)
  assert few.items() <= many.items()


def _named(names, classes=("a",)):
  """Pages with an object each; `classes` in turn, or as the name begins."""
  pages = []
  for i, (page, name) in enumerate(zip(_pages(len(names)), names, strict=True)):
    kind = name.split("_")[0] if not classes else classes[i % len(classes)]
    objects = dataclasses.replace(page.objects, names=(kind,))
    pages.append(dataclasses.replace(page, relative=name, objects=objects))
  return pages


def _films(*frames):
  return [f"film{i}_{n:04}.png" for i, k in enumerate(frames) for n in range(k)]


# Caption: names of pages, what groups them (None: nothing does).
TOGETHER = {
  "films": (_films(*[5] * 20), r"_\d+\.png$"),
  "four films": (_films(9, 9, 9, 9), r"_\d+\.png$"),
  "films of other lengths": (_films(14, 3, 5, 2, 8), r"_\d+\.png$"),
  "folders of frames": (
    [f"film{i}/{n:04}.png" for i in range(6) for n in range(4)],
    r"/\d+\.png$",
  ),
  "augmented pages of a book": (
    [f"page_{i:03}{v}.png" for i in range(20) for v in ("", "_aug1", "-flip")],
    r"([_-](aug1|flip))?\.png$",
  ),
  "frames in versions of Roboflow": (
    [
      f"film{i}_{n}_jpg.rf.{v}.jpg"
      for i in range(8)
      for n in range(3)
      for v in "ab"
    ],
    r"_\d_jpg.*$",
  ),
  "a book": ([f"page_{i:03}.png" for i in range(40)], None),
  "three films are too few": (_films(9, 9, 9), None),
  "a book with a cover": (
    [*(f"page_{i:03}.png" for i in range(40)), "cover_1.png", "cover_2.png"],
    None,
  ),
}


@pytest.mark.parametrize("caption", TOGETHER)
def test_pages_with_like_names_stay_together(caption):
  names, end = TOGETHER[caption]
  report = checks.BuildReport()
  pages = _named(names)
  splits = boxes_splits.assign(pathlib.Path(), pages, False, report)
  assert list(splits) == ["train", "val", "test"]
  assert 2 * len(splits["train"]) >= len(pages)
  groups = [
    {re.sub(end or "_", "", page.relative) for page in part}
    for part in splits.values()
  ]
  kind = "groups of images with like names kept in one split"
  if end:
    assert sum(map(len, groups)) == len(set.union(*groups))
    assert report.counts[kind] == len(set.union(*groups))
    again = boxes_splits.assign(
      pathlib.Path(), pages[::-1], False, checks.BuildReport()
    )
    assert again == splits
  else:
    assert kind not in report.counts
    assert 1 <= len(splits["val"]) <= max(1, 0.15 * len(names))


def test_nothing_is_said_of_groups_where_no_page_moves():
  report = checks.BuildReport()
  pages = [
    dataclasses.replace(page, split=split)
    for split in ("train", "val", "test")
    for page in _named(_films(3, 3, 3, 3))
  ]
  splits = boxes_splits.assign(pathlib.Path(), pages, False, report)
  assert [len(part) for part in splits.values()] == [12, 12, 12]
  assert not report.counts


def test_pages_named_by_their_class_are_no_sequences():
  sizes_of = {"cat": 20, "cow": 20, "dog": 20, "owl": 2}
  names = [f"{k}_{i:03}.png" for k, n in sizes_of.items() for i in range(n)]
  report = checks.BuildReport()
  splits = boxes_splits.assign(
    pathlib.Path(), _named(names, classes=()), False, report
  )
  shown = {n for page in splits["train"] for n in page.objects.names}
  assert shown == set(sizes_of)
  divided = [
    k
    for k in shown
    if any(k in page.relative for page in splits["val"] + splits["test"])
  ]
  kind = "groups of images with like names divided among splits"
  assert report.counts[kind] == len(divided) == 3  # not the owls


# Caption: database, option, what one pixel in the corner becomes (y0, x0).
CONVENTIONS = {
  "LabelImg": ("Unknown", "", (4.0, 3.0)),
  "the devkit": ("The VOC2007 Database", "", (3.0, 2.0)),
  "said to be the devkit's": ("Unknown", "devkit", (3.0, 2.0)),
  "said to be edges": ("The VOC2007 Database", "edges", (4.0, 3.0)),
}


@pytest.mark.parametrize("caption", CONVENTIONS)
def test_voc_pixels(tmp_path, caption):
  database, option, first = CONVENTIONS[caption]
  path = tmp_path / "page.xml"
  path.write_text(
    f"<annotation><source><database>{database}</database></source><object>"
    "<name>disc</name><difficult>1</difficult><part><name>rim</name><bndbox>"
    "<xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part>"
    "<bndbox><xmin>3</xmin><ymin>4</ymin><xmax>5.5</xmax><ymax>9</ymax>"
    "</bndbox></object></annotation>"
  )
  objects, _ = boxes_voc.read_objects(path, option)
  assert objects.boxes_yxyx.tolist() == [[*first, 9.0, 5.5]]
  assert objects.difficult.tolist() == [True]
  assert objects.image_hw is None


@pytest.mark.parametrize("database", ["Unknown", "The VOC2012 Database"])
def test_both_voc_conventions_give_the_drawn_boxes(tmp_path, database):
  drawn = boxes_helpers.pages(1)
  boxes_helpers.write_voc(tmp_path, drawn)
  text = boxes_helpers.voc_xml(drawn[0], database)
  (tmp_path / "Annotations/page0.xml").write_text(text)
  data_set, pages, report = parse(tmp_path)
  assert_same_shapes(drawn[0], pages["page0"], data_set.class_names)
  kind = "images counted from pixel 1 (VOC devkit)"
  assert report.counts[kind] == (database != "Unknown")


# The numbers of YOLO count in classes.txt themselves: test_boxes_misread.py.
@pytest.mark.parametrize(
  ("kind", "given_by"),
  [
    *((kind, "option") for kind in FORMATS),
    *((kind, "classes.txt") for kind in FORMATS if kind != "yolo"),
  ],
)
def test_given_classes_decide_the_ids(tmp_path, kind, given_by):
  boxes_helpers.WRITERS[kind](tmp_path, boxes_helpers.pages(3))
  wanted = ("wedge", "unused", "disc", "frame")
  options = {}
  if given_by == "option":
    options["class_names"] = wanted
  else:
    (tmp_path / "classes.txt").write_text("\n".join(wanted) + "\n\n")
  data_set, pages, _ = parse(tmp_path, **options)
  assert data_set.class_names == wanted
  counts = collections.Counter(pages["page0"].labels.tolist())
  assert counts == {0: 2, 2: 2, 3: 2}


def test_difficult_objects_are_kept_and_counted_or_skipped(tmp_path):
  drawn = boxes_helpers.pages(1)
  boxes_helpers.write_dota(tmp_path, drawn)
  path = tmp_path / "labelTxt/page0.txt"
  path.write_text(path.read_text().replace("disc 0", "disc 1"))
  _, pages, report = parse(tmp_path)
  assert len(pages["page0"].labels) == 6
  assert dict(report.counts) == {"difficult objects kept": 2}
  data_set, pages, report = parse(tmp_path, skip_difficult=True)
  names = [data_set.class_names[i] for i in pages["page0"].labels]
  assert names == ["frame", "wedge"] * 2
  assert dict(report.counts) == {"difficult objects skipped": 2}


def test_crowds_are_skipped_and_counted(tmp_path):
  drawn = boxes_helpers.pages(1)
  boxes_helpers.save(tmp_path / "page0.png", drawn[0])
  content = boxes_helpers.coco_dict(drawn)
  content["annotations"][1]["iscrowd"] = 1
  boxes_helpers.write_json(tmp_path / "result.json", content)
  _, pages, report = parse(tmp_path)
  assert len(pages["page0"].labels) == 5
  assert dict(report.counts) == {"crowd regions skipped": 1}


def test_a_category_of_the_data_sets_own_name_is_no_second_class(tmp_path):
  drawn = boxes_helpers.pages(1)
  boxes_helpers.save(tmp_path / "train" / "page0.png", drawn[0])
  content = boxes_helpers.coco_dict(drawn)
  content["categories"].append({"id": 0, "name": "disc"})
  path = tmp_path / "train" / "_annotations.coco.json"
  boxes_helpers.write_json(path, content)
  assert parse(tmp_path)[0].class_names == boxes_helpers.CLASSES


def test_yolo_polygons_give_the_boxes_around_them(tmp_path):
  drawn = boxes_helpers.pages(1)
  boxes_helpers.write_yolo(tmp_path, drawn)
  path = tmp_path / "labels/page0.txt"
  path.write_text("1 0.25 0.5 0.5 0.25 0.75 0.5 0.5 0.75\n")
  _, pages, _ = parse(tmp_path)
  assert pages["page0"].boxes_yxyx.tolist() == [[20, 30, 60, 90]]


def test_nothing_that_looks_like_annotations_is_one_line(tmp_path):
  boxes_helpers.save(tmp_path / "pictures" / "a.png", boxes_helpers.draw("a"))
  with pytest.raises(InputError) as e:
    parse(tmp_path)
  line = str(e.value)
  assert "\n" not in line
  for part in ("coco: no .json", "voc: no .xml", "labelTxt/", "labels/"):
    assert part in line
  assert "it holds 'pictures'" in line


def test_two_formats_have_to_be_told_apart(tmp_path):
  boxes_helpers.write_voc(tmp_path, boxes_helpers.pages(3))
  boxes_helpers.write_json(
    tmp_path / "train.json", boxes_helpers.coco_dict(boxes_helpers.pages(3))
  )
  with pytest.raises(InputError, match=r"coco and voc; .*data\.builder_config"):
    parse(tmp_path)
  assert len(parse(tmp_path, "voc")[1]) == 3
