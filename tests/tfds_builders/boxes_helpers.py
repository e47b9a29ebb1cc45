"""Folders of one's own data as annotation tools write them: drawn shapes."""

import dataclasses
import json
import pathlib

import cv2
import numpy as np

from tfds_builders import checks
from tfds_builders.boxes import boxes_parsing

CLASSES = ("disc", "frame", "wedge")


@dataclasses.dataclass(frozen=True)
class Drawn:
  """A picture, BGR, and its shapes: class, (y, x, y, x) half-open."""

  stem: str
  pixels: np.ndarray
  shapes: list[tuple[str, tuple[int, int, int, int]]]


def draw(stem: str, *, height=80, width=120, shapes=6, seed=0) -> Drawn:
  """Dark shapes on white paper, or light ones on a coloured ground."""
  rng = np.random.default_rng(seed)
  ground, ink = ((255, 255, 255), (20, 20, 20))
  if seed % 2:
    ground, ink = (120, 60, 30), (120, 220, 240)
  pixels = np.full((height, width, 3), ground, np.uint8)
  free = np.ones((height, width), bool)
  found = []
  while len(found) < shapes:
    side = int(rng.integers(9, 19))
    top = int(rng.integers(1, height - side - 1))
    left = int(rng.integers(1, width - side - 1))
    box = (top, left, top + side, left + side)
    around = (slice(top - 1, top + side + 1), slice(left - 1, left + side + 1))
    if not free[around].all():
      continue
    free[around] = False
    name = CLASSES[len(found) % 3]
    pixels[top : top + side, left : left + side][_mask(name, side)] = ink
    found.append((name, box))
  return Drawn(stem, pixels, found)


def _mask(name: str, side: int) -> np.ndarray:
  y, x = np.mgrid[:side, :side] - (side - 1) / 2
  if name == "disc":
    return y**2 + x**2 <= (side / 2) ** 2
  if name == "frame":
    return np.maximum(abs(y), abs(x)) > side / 2 - 2
  return abs(x) <= (y + side / 2 + 1) / 2


def pages(number: int, **kwargs) -> list[Drawn]:
  return [draw(f"page{i}", seed=i, **kwargs) for i in range(number)]


def save(path: pathlib.Path, page: Drawn) -> None:
  path.parent.mkdir(parents=True, exist_ok=True)
  assert cv2.imwrite(str(path), page.pixels)


def coco_dict(drawn: list[Drawn], suffix: str = ".png") -> dict:
  """What a COCO file of these pages holds; ids are not in order."""
  images, annotations = [], []
  for i, page in enumerate(drawn):
    height, width = page.pixels.shape[:2]
    name = f"{page.stem}{suffix}"
    images.append(
      {"id": 70 - i, "file_name": name, "height": height, "width": width}
    )
    for name, (y0, x0, y1, x1) in page.shapes:
      annotations.append(
        {
          "id": len(annotations) + 1,
          "image_id": 70 - i,
          "category_id": 10 + CLASSES.index(name),
          "bbox": [x0, y0, x1 - x0, float(y1 - y0)],
          "area": (x1 - x0) * (y1 - y0),
          "segmentation": [[x0, y0, x1, y0, x1, y1]],
          "iscrowd": 0,
        }
      )
  categories = [
    {"id": 10 + i, "name": name, "supercategory": "shape"}
    for i, name in enumerate(CLASSES)
  ]
  return {
    "info": {"year": 2026},
    "images": images,
    "annotations": annotations,
    "categories": categories[::-1],
  }


def write_json(path: pathlib.Path, content) -> None:
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(json.dumps(content))


def voc_xml(page: Drawn, database: str = "Unknown") -> str:
  """As LabelImg writes it; with another database as the VOC devkit does."""
  first = 1 if database.startswith("The VOC") else 0
  height, width = page.pixels.shape[:2]
  objects = "".join(
    f"<object><name>{name}</name><pose>Unspecified</pose>"
    f"<truncated>0</truncated><difficult>0</difficult><bndbox>"
    f"<xmin>{x0 + first}</xmin><ymin>{y0 + first}</ymin>"
    f"<xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox></object>\n"
    for name, (y0, x0, y1, x1) in page.shapes
  )
  return (
    f"<annotation><folder>x</folder><filename>{page.stem}.png</filename>"
    f"<source><database>{database}</database></source>"
    f"<size><width>{width}</width><height>{height}</height><depth>3</depth>"
    f"</size><segmented>0</segmented>\n{objects}</annotation>\n"
  )


def dota_text(page: Drawn) -> str:
  lines = ["imagesource:GoogleEarth", "gsd:0.146343590398"]
  for name, (y0, x0, y1, x1) in page.shapes:
    lines.append(f"{x0}.0 {y0} {x1} {y0} {x1} {y1} {x0} {y1} {name} 0")
  return "\n".join(lines) + "\n"


def yolo_text(page: Drawn) -> str:
  height, width = page.pixels.shape[:2]
  return "".join(
    f"{CLASSES.index(name)} {(x0 + x1) / 2 / width} {(y0 + y1) / 2 / height}"
    f" {(x1 - x0) / width} {(y1 - y0) / height}\n"
    for name, (y0, x0, y1, x1) in page.shapes
  )


def write_coco(root: pathlib.Path, drawn: list[Drawn]) -> None:
  for page in drawn:
    save(root / "images" / f"{page.stem}.png", page)
  write_json(root / "annotations.json", coco_dict(drawn))


def write_voc(root: pathlib.Path, drawn: list[Drawn]) -> None:
  (root / "Annotations").mkdir(parents=True)
  for page in drawn:
    save(root / "JPEGImages" / f"{page.stem}.png", page)
    (root / "Annotations" / f"{page.stem}.xml").write_text(voc_xml(page))


def write_dota(root: pathlib.Path, drawn: list[Drawn]) -> None:
  (root / "labelTxt").mkdir(parents=True)
  for page in drawn:
    save(root / "images" / f"{page.stem}.png", page)
    (root / "labelTxt" / f"{page.stem}.txt").write_text(dota_text(page))


def write_yolo(root: pathlib.Path, drawn: list[Drawn]) -> None:
  (root / "labels").mkdir(parents=True)
  for page in drawn:
    save(root / "images" / f"{page.stem}.png", page)
    (root / "labels" / f"{page.stem}.txt").write_text(yolo_text(page))
  names = "\n".join(f"  {i}: {name}" for i, name in enumerate(CLASSES))
  (root / "data.yaml").write_text(f"train: ../train/images\nnames:\n{names}\n")


def csv_text(drawn: list[Drawn], delimiter: str = ",") -> str:
  """As DeepForest and torchvision's tutorials have it."""
  rows = [("image_path", "xmin", "ymin", "xmax", "ymax", "label")]
  for page in drawn:
    name = f"{page.stem}.png"
    rows += [(name, x0, y0, x1, y1, c) for c, (y0, x0, y1, x1) in page.shapes]
  return "".join(f"{delimiter.join(map(str, row))}\n" for row in rows)


def write_csv(root: pathlib.Path, drawn: list[Drawn]) -> None:
  for page in drawn:
    save(root / "images" / f"{page.stem}.png", page)
  (root / "boxes.csv").write_text(csv_text(drawn))


WRITERS = {
  "coco": write_coco,
  "voc": write_voc,
  "dota": write_dota,
  "yolo": write_yolo,
  "csv": write_csv,
}


def parse(root: pathlib.Path, config: str = "auto", **options):
  """The data set, its pages by name, and the report."""
  chosen = boxes_parsing.Options(**options)
  report = checks.BuildReport()
  data_set = boxes_parsing.read_data_set(root, config, chosen, report)
  pages = {
    page.name: boxes_parsing.read_page(
      page, data_set.class_names, chosen, report
    )
    for part in data_set.splits.values()
    for page in part
  }
  return data_set, pages, report


def assert_same_shapes(drawn: Drawn, page, class_names) -> None:
  found = [
    (class_names[label], *box)
    for label, box in zip(
      page.labels, page.boxes_yxyx.round(3).tolist(), strict=True
    )
  ]
  assert found == [(name, *map(float, box)) for name, box in drawn.shapes]


def assert_as_drawn(drawn: list[Drawn], data_set, pages) -> None:
  """`data_set` and `pages` are those of `parse`."""
  for page in drawn:
    assert_same_shapes(page, pages[page.stem], data_set.class_names)
