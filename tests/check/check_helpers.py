"""Small made-up pages with staff lines and symbols, and folders of them."""

import pathlib

import cv2
import numpy as np

from dwd_jax.check import measures

CLASS_NAMES = ("notehead", "rest", "flag", "unused")
HW = (400, 320)
LIMITS = measures.Limits(
  scale=0.5, crop_px=160, min_px=3, max_boxes=512, max_detections=2048
)


def make_page(seed: int, symbols: int = 40, hw=HW):
  """Ink, boxes and labels of a page: staves with ellipses, bars and hooks."""
  rng = np.random.default_rng(seed)
  ink = np.zeros(hw, np.uint8)
  for top in range(30, hw[0] - 40, 70):
    for line in range(5):
      ink[top + 8 * line, 15 : hw[1] - 15] = 255
  boxes, labels = [], []
  for _ in range(symbols):
    y, x = rng.integers(25, hw[0] - 60), rng.integers(20, hw[1] - 45)
    h, w = rng.integers(9, 24), rng.integers(8, 20)
    label = int(rng.integers(3))
    part = ink[y : y + h, x : x + w]
    if label == 0:
      yy, xx = np.mgrid[:h, :w]
      oval = ((yy - (h - 1) / 2) / (h / 2)) ** 2 + (
        (xx - (w - 1) / 2) / (w / 2)
      ) ** 2
      part[oval <= 1] = 255
    elif label == 1:
      cv2.line(ink, (x, y), (x + w - 1, y + h - 1), 255, 1)
      cv2.line(ink, (x, y + h - 1), (x + w - 1, y), 255, 1)
    else:
      part[:, :2] = 255
      part[-2:, :] = 255
    boxes.append((y, x, y + h, x + w))
    labels.append(label)
  return (
    ink,
    np.array(boxes, np.float32).reshape(-1, 4),
    np.array(labels, np.int64),
  )


def page(ink, boxes, labels, split="train", filename="a.png", skipped=None):
  return measures.Page(
    split, filename, ink, np.asarray(boxes, np.float32), labels, skipped or {}
  )


def measured(*args, **kwargs) -> measures.Measures:
  """Measures of `page(...)`."""
  return measures.measure(page(*args, **kwargs))


def write_data_set(
  folder: pathlib.Path, splits: dict[str, dict], class_names=CLASS_NAMES
) -> pathlib.Path:
  """Writes pages (ink, boxes, labels) by split and name like DeepScores."""
  for name in ("images_png", "xml_annotations", "train_val_test"):
    (folder / name).mkdir(parents=True)
  lines = [f"{i},{name}" for i, name in enumerate(class_names)]
  (folder / "class_names.csv").write_text("\n".join(lines))
  for split, pages in splits.items():
    (folder / f"train_val_test/{split}.txt").write_text("\n".join(pages))
    for name, (ink, boxes, labels) in pages.items():
      cv2.imwrite(str(folder / f"images_png/{name}.png"), 255 - ink)
      text = annotation(ink.shape, boxes, labels, class_names)
      (folder / f"xml_annotations/{name}.xml").write_text(text)
  return folder


def annotation(hw, boxes, labels, class_names=CLASS_NAMES) -> str:
  """The XML of a page."""
  relative = np.asarray(boxes, np.float64) / (*hw, *hw)
  objects = [
    f"<object><name>{_escaped(class_names[label])}</name><bndbox>"
    + "".join(
      f"<{tag}>{value:.9f}</{tag}>"
      for tag, value in zip(("ymin", "xmin", "ymax", "xmax"), box, strict=True)
    )
    + "</bndbox></object>"
    for box, label in zip(relative, labels, strict=True)
  ]
  return f"<annotation>{''.join(objects)}</annotation>"


def _escaped(text: str) -> str:
  return text.replace("&", "&amp;").replace("<", "&lt;")
