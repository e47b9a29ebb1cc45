"""From the boxes of a padded image to boxes of the source image."""

import numpy as np
import pytest

from dwd_jax.core.structs import PageImage
from dwd_jax.imaging import page_windows
from dwd_jax.predict import assemble

# A source of 100 x 150 px at scale 0.5: 50 x 75 px inside 64 x 128.
SOURCE_HW = (100, 150)
PAGE = PageImage("p.png", np.zeros(SOURCE_HW, np.uint8), 0.5)
WINDOW = page_windows.page_window(SOURCE_HW, 0.5, 64)


def on_page(boxes):
  """Boxes with labels 0, 1, ... and falling scores, in the source image."""
  n = len(boxes)
  return assemble.to_page_boxes(
    np.array(boxes, np.float32).reshape(n, 4),
    np.arange(n, dtype=np.int32),
    np.linspace(1, 0.1, n, dtype=np.float32),
    PAGE,
    WINDOW,
  )


# Caption: box in the padded image -> box in the source, None if dropped.
BOXES = {
  "inside": ((10, 20, 14, 30), (20, 40, 28, 60)),
  "over the page's right edge: cut": ((10, 70, 14, 78), (20, 140, 28, 150)),
  "over the lower edge: cut": ((44, 0, 54, 4), (88, 0, 100, 8)),
  "centre in the padding on the right": ((10, 72, 14, 80), None),
  "centre in the padding below": ((46, 0, 56, 4), None),
  "centre above the page": ((-9, 4, 7, 8), None),
}


@pytest.mark.parametrize("caption", BOXES)
def test_to_page_boxes(caption):
  box, expected = BOXES[caption]
  found = on_page([box])
  expected = np.array([] if expected is None else [expected]).reshape(-1, 4)
  np.testing.assert_allclose(found.boxes_yxyx, expected, atol=1e-4)
  assert found.filename == "p.png"
  assert found.image_hw == SOURCE_HW


def test_labels_and_scores_stay_with_their_boxes():
  boxes = [(1, 1, 3, 3), (60, 1, 62, 3), (5, 5, 9, 9)]  # the second is dropped
  found = on_page(boxes)
  np.testing.assert_array_equal(found.labels, [0, 2])
  assert found.scores is not None
  np.testing.assert_allclose(found.scores, [1, 0.1])


def test_boxes_that_are_not_finite_are_kept_for_the_report():
  found = on_page([[np.nan] * 4])
  assert len(found.labels) == 1
