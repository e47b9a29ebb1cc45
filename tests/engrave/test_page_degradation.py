"""Generated pages as scans and photos: boxes, classes by pixel, options."""

import hashlib

import cv2
import engrave_helpers as helpers
import numpy as np
import pytest
from lxml import etree

from dwd_jax import engrave
from dwd_jax.data import prepare, sources
from dwd_jax.engrave import (
  deepscores_folder,
  page_degradation,
  verovio_svg,
)
from dwd_jax.engrave.__main__ import main
from dwd_jax.imaging import degrade
from dwd_jax.imaging.degrade import moved_boxes
from dwd_jax.train.settings import default

_SMALL = {"workers": 1, "width": 500, "height": 500}
_BY_HAND = {"handwriting": 1.0, "pixel_labels": True, **_SMALL}


@pytest.mark.parametrize(
  ("words", "recipe", "share"),
  [
    (helpers.V1, "scan", 0.999),
    (helpers.V1, "photo", 0.995),
    # Slanted double beams lie in each other's boxes: no ink tells them apart.
    (helpers.V2, "scan", 0.995),
    (helpers.V2, "photo", 0.99),
  ],
)
def test_edges_are_within_two_pixels_of_the_ink(words, recipe, share):
  """Every symbol's own ink, drawn alone, is moved by the page's map."""
  page = helpers.random_page(2, "Bravura", measures=9, words=words)
  objects = [
    f for f in helpers.objects(page, words) if helpers.has_own_drawing(f)
  ]
  hw = (helpers.HEIGHT, helpers.WIDTH)
  svg = verovio_svg.to_svg(page, hw[1], hw[0], helpers.PX)
  ink = 255 - verovio_svg.to_array(verovio_svg.render(svg)).reshape(hw)
  boxes = helpers.PX * np.array([f.bounds for f in objects], np.float32)
  boxes = boxes[:, [1, 0, 3, 2]]
  drawn = [helpers.draw_alone(page, found) for found in objects]
  errors = []
  for seed in range(3):
    rng = np.random.default_rng(seed)
    warp = degrade.RECIPES[recipe][0](rng, hw, 1.2, 9.0).warp
    moved = moved_boxes.move(boxes, warp, ink)
    for one, box in zip(drawn, moved, strict=True):
      errors.append(np.abs(box - _seen_box(warp, box, *one)))
  assert len(errors) > 300
  assert np.mean(np.array(errors) <= 2) >= share


def _seen_box(warp, near, ink, left, top):
  """The box of a symbol's ink after the map."""
  low, high = np.floor(near[:2]) - 12, np.ceil(near[2:]) + 12
  y, x = np.mgrid[low[0] : high[0], low[1] : high[1]] + 0.5
  source = warp.inverse(np.stack([y, x], axis=-1)) - (top + 0.5, left + 0.5)
  rows, columns = np.moveaxis(source.astype(np.float32), -1, 0)
  seen = cv2.remap(ink.astype(np.uint8), columns, rows, cv2.INTER_LINEAR)
  ys, xs = np.nonzero(seen >= helpers.INK)
  box = np.array([ys.min(), xs.min(), ys.max() + 1, xs.max() + 1])
  return box + np.tile(low, 2)


def _files(folder):
  return {
    str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
    for path in sorted(folder.rglob("*"))
    if path.is_file()
  }


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
  """Photos of pages by hand with classes by pixel, and the summary."""
  out = tmp_path_factory.mktemp("worn") / "photos"
  return out, engrave.generate(out, 6, 3, degrade="photo", **_BY_HAND)


def test_same_bytes_whatever_the_workers(photos, tmp_path):
  """Of all that is drawn and written: the pages have all kinds of options."""
  again = tmp_path / "again"
  options = {**_BY_HAND, "degrade": "photo", "workers": 2}
  engrave.generate(again, 6, 3, **options)
  assert _files(photos[0]) == _files(again)


def test_the_layout_is_that_of_clean_pages(photos, tmp_path):
  clean = tmp_path / "clean"
  summary = engrave.generate(clean, 6, 3, **_BY_HAND)
  assert _files(photos[0]).keys() == _files(clean).keys()
  assert photos[1].lost == sum(summary.objects.values()) - sum(
    photos[1].objects.values()
  )
  for path in (photos[0] / deepscores_folder.ANNOTATIONS).iterdir():
    root = etree.parse(path).getroot()
    assert root.findtext("size/depth") == "3"
    boxes = [
      [float(e.text) for e in box] for box in root.iter("bndbox")
    ]  # xmin, xmax, ymin, ymax
    x0, x1, y0, y1 = np.array(boxes).T
    assert (x0 >= 0).all() and (y0 >= 0).all()
    assert (x1 <= 1).all() and (y1 <= 1).all()
    assert (x1 > x0).all() and (y1 > y0).all()


def test_photos_are_coloured_and_scans_grey(photos, tmp_path):
  image = next((photos[0] / deepscores_folder.IMAGES).iterdir())
  pixels = cv2.imread(str(image), cv2.IMREAD_UNCHANGED)
  assert pixels.shape == (500, 500, 3)
  assert np.ptp(pixels.astype(int), axis=2).mean() > 1
  engrave.generate(tmp_path / "scan", 1, 3, degrade="scan", **_SMALL)
  scan = next((tmp_path / "scan" / deepscores_folder.IMAGES).iterdir())
  assert cv2.imread(str(scan), cv2.IMREAD_UNCHANGED).shape == (500, 500)


def test_classes_by_pixel_lie_on_the_dark_pixels(photos):
  for path in (photos[0] / deepscores_folder.PIXELS).iterdir():
    values = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    page = photos[0] / deepscores_folder.IMAGES / path.name
    grey = cv2.imread(str(page), cv2.IMREAD_GRAYSCALE).astype(float)
    assert values.shape == grey.shape and values.max() < 125
    near = cv2.blur(grey, (61, 61))  # the light differs from place to place
    assert (grey < 0.85 * near)[values > 0].mean() > 0.9


def test_records_are_built_from_photos_and_say_so(tmp_path):
  cfg = default().data
  cfg.builder = "deepscores"
  cfg.engrave.update({"pages": 3, "degrade": "photo", **_SMALL})
  data_dir = prepare.prepare(cfg, tmp_path)
  source = sources.open_split(cfg, data_dir, "train")
  record = source[0]
  assert record.image.shape == (500, 500)
  # Paper is lighter than ink, and grey.
  assert 0 < np.median(record.image) < 127
  y0, x0, y1, x1 = record.boxes_yxyx.astype(int).T
  middle = record.image[(y0 + y1) // 2, (x0 + x1) // 2]
  assert middle.mean() > np.median(record.image)
  cfg.engrave.strength = 2.0
  with pytest.raises(Exception, match=r"'strength': 1\.0.*'strength': 2\.0"):
    prepare.prepare(cfg, tmp_path)


def test_the_origin_of_clean_pages_is_as_before(tmp_path):
  cfg = default().data
  cfg.engrave.pages = 2
  assert prepare._origin(cfg, tmp_path)["engrave"] == {"pages": 2, "seed": 0}


@pytest.mark.parametrize(
  ("caption", "flags", "message"),
  [
    ("unknown recipe", ["--degrade=fax"], "'fax' is unknown; use scan or"),
    ("too strong", ["--degrade=scan", "--strength=3"], "not within 0..2"),
    ("no number", ["--degrade=scan", "--strength=nan"], "not within 0..2"),
  ],
)
def test_bad_flags_are_one_line(caption, flags, message, tmp_path, capsys):
  assert main([f"--out={tmp_path / 'out'}", "--pages=1", *flags]) == 2, caption
  error = capsys.readouterr().err
  assert message in error and error.count("\n") == 1


def test_a_page_without_symbols_is_worn_all_the_same():
  ink = np.zeros((60, 80), np.uint8)
  how = {"strength": 1.0, "staff_space_px": 9.0, "key": "key"}
  page = page_degradation.degrade_page(ink, [], recipe="photo", **how)
  assert page.objects == [] and page.labels == b"" and page.png
  again = page_degradation.degrade_page(ink, [], recipe="photo", **how)
  assert page == again


def test_strength_0_leaves_the_ink(tmp_path):
  ink = np.random.default_rng(0).integers(0, 256, (60, 80), np.uint8)
  page = page_degradation.degrade_page(
    ink, [], recipe="scan", strength=0.0, staff_space_px=9.0, key="key"
  )
  pixels = cv2.imdecode(np.frombuffer(page.png, np.uint8), -1)
  np.testing.assert_array_equal(255 - pixels, ink)
  assert degrade.MAX_STRENGTH == 2
