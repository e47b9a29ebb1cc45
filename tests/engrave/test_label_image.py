"""The class of every pixel of a generated page."""

import dataclasses

import cv2
import engrave_helpers as helpers
import numpy as np
import pytest
import verovio

from dwd_jax.engrave import (
  engraver,
  label_image,
  labels,
  pool,
  verovio_svg,
)
from dwd_jax.engrave import smufl_classes as vocabularies


def _drawn(seed, font, words):
  """(ink, values, objects, class names) of a random page."""
  page = helpers.random_page(seed, font, words=words)
  vocabulary = vocabularies.get(words)
  objects = labels.page_objects(page, vocabulary)
  hw = (helpers.HEIGHT, helpers.WIDTH)
  svg = verovio_svg.to_svg(page, hw[1], hw[0], helpers.PX)
  ink = 255 - verovio_svg.to_array(verovio_svg.render(svg)).reshape(hw)
  png = label_image.draw(page, objects, vocabulary.names, hw, helpers.PX)
  values = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
  return ink, values, objects, vocabulary.names


@pytest.mark.parametrize("words", [helpers.V1, helpers.V2])
@pytest.mark.parametrize("font", ["Bravura", "Petaluma"])
def test_values_are_the_classes_of_the_objects(words, font):
  ink, values, objects, names = _drawn(3, font, words)
  assert values.shape == ink.shape
  there = {names.index(item.name) + 1 for item in objects}
  seen = set(np.unique(values).tolist()) - {0}
  assert seen <= there
  # Parts hide compound symbols, nothing else is hidden everywhere.
  assert all(names[v - 1].startswith("graceNote") for v in there - seen)
  # Only where there is ink, but for a pixel here and there at its edge.
  assert (ink[values > 0] < 64).mean() < 0.02


def test_every_pixel_of_a_class_is_in_a_box_of_it():
  _, values, objects, names = _drawn(4, "Leipzig", helpers.V2)
  inside = np.zeros_like(values, bool)
  for value in np.unique(values[values > 0]):
    inside[:] = False
    for item in objects:
      if item.name == names[value - 1]:
        x0, y0, x1, y1 = (v * helpers.PX for v in item.bounds)
        inside[max(int(y0), 0) : int(y1) + 2, max(int(x0), 0) : int(x1) + 2] = 1
    assert inside[values == value].mean() > 0.99, names[value - 1]


def test_nearly_all_ink_has_a_class_where_lines_are_classes():
  ink, values, _, _ = _drawn(5, "Bravura", helpers.V2)
  assert (values[ink > 128] > 0).mean() > 0.9


def test_the_8_below_a_clef_does_not_colour_the_clef():
  found = {}
  for seed in range(12):
    _, values, objects, names = _drawn(seed, "Leipzig", helpers.V1)
    for item in objects:
      if item.name == "clef8":
        x0, y0, x1, y1 = (int(v * helpers.PX) for v in item.marks[0].bounds)
        part = values[y0 : y1 + 1, x0 : x1 + 1]
        share = (part == names.index("clef8") + 1).sum() / (part > 0).sum()
        found[seed] = share
    if found:
      break
  assert found
  assert all(0.02 < share < 0.5 for share in found.values())


def test_labels_travel_from_the_worker():
  pages = [
    engraver.EngravedPage("a", b"png", b"xml", {"brace": 1}, b"labels", 9.5),
    engraver.EngravedPage("b", b"png2", b"xml2", {}),
  ]
  assert pool.unpack(*pool.pack(pages)) == pages


def test_the_pages_are_the_same_with_and_without():
  toolkit = verovio.toolkit()
  plain = engraver.EngraveTask(0, ("Bravura",), width=400, height=400)
  without = engraver.engrave(plain, toolkit)
  with_ = engraver.engrave(
    dataclasses.replace(plain, pixel_labels=True), toolkit
  )
  assert without
  assert all(page.labels for page in with_)
  assert [dataclasses.replace(page, labels=b"") for page in with_] == without
