"""Pictures of every augmentation: python -m dwd_jax.show.gallery --out=DIR."""

import argparse
import dataclasses
import os
import pathlib
import tempfile
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np

from dwd_jax import engrave
from dwd_jax.core import cli, files
from dwd_jax.core.config_sections import config_dict
from dwd_jax.core.errors import InputError
from dwd_jax.core.structs import PageBoxes, Record
from dwd_jax.data import pipeline, prepare, sources, synthetic
from dwd_jax.data.data_config import DataConfig
from dwd_jax.imaging import degrade, grey
from dwd_jax.show import drawing
from dwd_jax.show.html import templates

_DESCRIPTION = """Draw what each augmentation does.

Training crops with their boxes, one row per augmentation, and parts of
generated pages, drawn by hand or degraded."""
_PAGES = 6  # generated where no records are given
_PART_HW = (420, 640)  # of a generated page, px
_SCANS = 9  # of a page
_SCAN_HW = (260, 400)
_SCAN_STAFF_SPACE_PX = 18.0
_GAP = 8  # px between crops
_TITLE = "<title>Augmentations</title>"  # of gallery.html.j2


@dataclasses.dataclass(frozen=True)
class Kind:
  """An augmentation: name of its picture, what it does, its settings.

  Settings are those of `config.data`, or of the generator.
  """

  name: str
  text: str
  settings: dict[str, Any]


CROPS = (
  Kind("clean", "No augmentation.", {}),
  Kind(
    "up",
    "A strip of symbols over the upper edge (the original's `up`).",
    {"synthetic.layout": "up", "synthetic.prob": 1.0},
  ),
  Kind(
    "full",
    "Nothing but symbols (the original's `full`).",
    {"synthetic.layout": "full", "synthetic.prob": 1.0},
  ),
  Kind(
    "paste",
    "Symbols in free places, each as high on a staff as in its own page.",
    {"synthetic.layout": "paste", "synthetic.prob": 1.0},
  ),
  *(
    Kind(
      f"{recipe}_{strength:g}",
      f"Degraded like a {recipe}, strength {strength:g}.",
      {f"degrade.{recipe}_prob": 1.0, "degrade.strength": strength},
    )
    for recipe in ("scan", "photo")
    for strength in (0.5, 1.0, 2.0)
  ),
  Kind("scale_jitter", "Scale drawn within 30 %.", {"scale_jitter": 0.3}),
)
PAGES = (
  *(
    Kind(
      f"handwriting_{strength:g}",
      f"Drawn by hand, strength {strength:g}.",
      {"handwriting": strength, "fonts": ("Petaluma",)},
    )
    for strength in (1.0, 2.0)
  ),
  Kind("page_photo", "Degraded like a photo.", {"degrade": "photo"}),
)
SCANS = tuple(
  Kind(
    f"page_scan_{strength:g}",
    f"A page nine times degraded like a scan, strength {strength:g}.",
    {"degrade": "scan", "strength": strength},
  )
  for strength in (0.5, 1.0, 2.0)
)


def crops(
  source: sources.PageSource, kind: Kind, size_px: int, scale: float, count: int
) -> drawing.Picture:
  """Draws training crops side by side.

  Args:
    scale: crop pixels per page pixel.
  """
  cfg: Any = config_dict(DataConfig())
  cfg.crop_hw = (size_px, size_px)
  cfg.scales = (scale,)
  cfg.rare_prob, cfg.rare_power = 0.9, 0.8
  cfg.update_from_flattened_dict(kind.settings)
  loader = pipeline.train_loader(
    source,
    cfg,
    batch_size=count,
    seed=0,
    synthetic=synthetic.open_synthetic(source, cfg),
    process_index=0,
    process_count=1,
  )
  try:
    batch = next(loader)
  finally:
    loader.close()
  parts = []
  for i in range(count):
    mask = batch.box_mask[i]
    oriented = batch.oriented_yx
    boxes = PageBoxes(
      filename="",
      image_hw=(size_px, size_px),
      boxes_yxyx=batch.boxes_yxyx[i][mask],
      labels=batch.labels[i][mask],
      oriented_yx=None if oriented is None else oriented[i][mask],
    )
    ink = batch.image[i]
    ink = ink[..., 0] if ink.shape[-1] == 1 else ink
    parts += [_drawn(ink, boxes), np.full((ink.shape[0] * 2, _GAP, 3), 255)]
  return np.concatenate(parts[:-1], axis=1).astype(np.uint8)


def _drawn(ink: np.ndarray, boxes: PageBoxes, zoom: int = 2) -> drawing.Picture:
  """With boxes in the colours of their classes, no names."""
  size = ink.shape[1] * zoom, ink.shape[0] * zoom
  zoomed = cv2.resize(ink, size, interpolation=cv2.INTER_CUBIC)
  canvas = np.ascontiguousarray(grey.shown(zoomed))
  outlines = drawing.outlines_px(boxes, zoom)
  for outline, label in zip(outlines, boxes.labels, strict=True):
    drawing.draw_outline(canvas, outline, drawing.class_rgb(int(label)))
  return canvas


def page(kind: Kind, folder: pathlib.Path) -> drawing.Picture:
  """Draws the upper left part of a page that the generator makes.

  `kind` is one of `PAGES`; `folder`, a new one, gets the generator's files.
  """
  record = _generated(folder, **kind.settings)
  ink, boxes = _part(record, np.zeros(2, int), _PART_HW)
  return _drawn(ink, boxes)


def scans(kind: Kind, ink: np.ndarray, boxes: PageBoxes) -> drawing.Picture:
  """Draws a part of one page as several scans; `kind` is one of `SCANS`."""
  space, hw = _SCAN_STAFF_SPACE_PX, _SCAN_HW
  parts = []
  for seed in range(_SCANS):
    plan = degrade.sample(
      np.random.default_rng(seed),
      hw,
      recipe=kind.settings["degrade"],
      strength=kind.settings["strength"],
      staff_space_px=space,
    )
    worn, moved = plan.apply(ink, boxes.boxes_yxyx)
    moved, kept = degrade.on_image(moved, hw)
    shown = PageBoxes("", hw, moved, boxes.labels[kept])
    edge = ((0, _GAP), (0, _GAP), (0, 0))
    parts.append(np.pad(_drawn(worn, shown, 1), edge, constant_values=255))
  rows = [np.concatenate(parts[i : i + 3], axis=1) for i in range(0, _SCANS, 3)]
  return np.concatenate(rows)[:-_GAP, :-_GAP]


def _generated(folder: pathlib.Path, **settings: Any) -> Record:
  """The first page that the generator makes."""
  engrave.generate(folder, 1, seed=2, workers=1, **settings)
  cfg: Any = config_dict(DataConfig())
  cfg.builder, cfg.builder_config = "deepscores", "dense_2017"
  cfg.manual_dir = str(folder)
  records = prepare.prepare(cfg, folder / "records")
  return sources.open_split(cfg, records, "train")[0]


def _busiest_part(
  record: Record, hw: tuple[int, int]
) -> tuple[np.ndarray, PageBoxes]:
  """The part of a page with most symbols inside, and their boxes."""
  centres = (record.boxes_yxyx[:, :2] + record.boxes_yxyx[:, 2:]) / 2
  most = np.subtract(record.image.shape, hw)
  corners = np.clip(centres - np.array(hw) / 2, 0, most)
  parts = (_part(record, corner, hw) for corner in corners.astype(int))
  return max(parts, key=lambda part: len(part[1].labels))


def _part(
  record: Record, corner_yx: np.ndarray, hw: tuple[int, int]
) -> tuple[np.ndarray, PageBoxes]:
  """A part of a page, and the boxes of the symbols that are whole in it."""
  top, left = corner_yx.tolist()
  boxes = record.boxes_yxyx - np.tile(corner_yx, 2).astype(np.float32)
  inside = ((boxes[:, :2] >= 0) & (boxes[:, 2:] <= hw)).all(axis=1)
  ink = record.image[top : top + hw[0], left : left + hw[1]]
  return np.ascontiguousarray(ink), PageBoxes(
    "", hw, boxes[inside], record.labels[inside]
  )


def pictures(
  records: pathlib.Path | None, size_px: int, scale: float, count: int
) -> Iterator[tuple[Kind, drawing.Picture]]:
  """Yields all kinds with their pictures.

  Args:
    records: folder with dataset_info.json; None = generated pages.
    scale: crop pixels per page pixel.
    count: number of crops of each kind.

  Raises:
    InputError: `records` has no records.
  """
  with tempfile.TemporaryDirectory() as folder:
    work = pathlib.Path(folder)
    if records is None:
      cfg: Any = config_dict(DataConfig())
      cfg.builder, cfg.builder_config = "deepscores", "dense_2017"
      cfg.engrave.pages = _PAGES
      data_dir = prepare.prepare(cfg, work)
      source = sources.open_split(cfg, data_dir, "train")
    else:
      source = sources.open_records(records, "train")
    for kind in CROPS:
      yield kind, crops(source, kind, size_px, scale, count)
    for kind in PAGES:
      yield kind, page(kind, work / kind.name)
    size = {"width": 1400, "height": 1400, "staff_space": _SCAN_STAFF_SPACE_PX}
    part = _busiest_part(_generated(work / "clean", **size), _SCAN_HW)
    for kind in SCANS:
      yield kind, scans(kind, *part)


def write(out: pathlib.Path, found: Iterator[tuple[Kind, Any]]) -> None:
  """Writes the pictures, and a page that shows them.

  Raises:
    InputError: files of something else would be replaced.
  """
  page = out / "index.html"
  if not _is_gallery(page):
    for path in (
      page,
      *(out / f"{kind.name}.jpg" for kind in (*CROPS, *PAGES, *SCANS)),
    ):
      if os.path.lexists(path):
        raise InputError(
          f"{path}: is there already, and of something else; choose another"
          " --out"
        )
  out.mkdir(parents=True, exist_ok=True)
  kinds = []
  for kind, picture in found:
    drawing.save(out / f"{kind.name}.jpg", picture)
    where = "data." if kind in CROPS else "data.engrave."
    settings = ", ".join(f"{where}{k}={v}" for k, v in kind.settings.items())
    kinds.append((kind, settings))
  files.write_atomic(
    page, templates.render("dwd_jax.show", "gallery.html.j2", kinds=kinds)
  )


def _is_gallery(page: pathlib.Path) -> bool:
  try:
    with page.open(encoding="utf8", errors="replace") as file:
      return _TITLE in file.read(4096)
  except OSError:
    return False


def main(argv: list[str]) -> int:
  """Reads the flags and draws; returns the exit code."""
  parser = cli.parser(
    "dwd_jax.show.gallery", _DESCRIPTION, "[RECORDS] --out=DIR [options]"
  )
  add = parser.add_argument
  add(
    "records",
    nargs="?",
    default="",
    metavar="RECORDS",
    help="prepared pages; default: generated ones",
  )
  add("--out", required=True, metavar="DIR", help="folder of the pictures")
  for flag, kind, default, text in (
    ("--crop", int, 200, "side of a crop, px; default: 200"),
    ("--scale", float, 1.0, "pixels of a crop for one of the page; default: 1"),
    ("--crops", int, 4, "of each kind; default: 4"),
  ):
    add(flag, type=kind, default=default, metavar="N", help=text)
  flags = parser.parse_args(argv)
  return cli.run(lambda: _run(flags), flags.out)


def _run(flags: argparse.Namespace) -> int:
  for flag, most in (("crop", 2000), ("crops", 50), ("scale", 100)):
    if not 0 < getattr(flags, flag) <= most:
      raise InputError(f"--{flag}: must be above 0, up to {most}")
  records = pathlib.Path(flags.records) if flags.records else None
  out = pathlib.Path(flags.out)
  write(out, pictures(records, flags.crop, flags.scale, flags.crops))
  print(f"Look at {out / 'index.html'}")
  return 0


if __name__ == "__main__":
  cli.start(main)
