"""The packaged detector on a page that it has not seen, and its card."""

import dataclasses
import pathlib
import re

import cv2
import numpy as np
import pytest
from PIL import Image

import dwd_jax
from dwd_jax import engrave
from dwd_jax.checkpoints import weights
from dwd_jax.core.structs import PageBoxes
from dwd_jax.metrics.matching import match
from dwd_jax.predict import packaged
from dwd_jax.predict.detector import Detector
from dwd_jax.predict.staves import Staves
from tfds_builders import checks
from tfds_builders.deepscores import deepscores_parsing

_MAX_BYTES = 30e6


@pytest.fixture(scope="module")
def trained():
  return packaged.weights_of()


def test_it_is_small_and_its_card_is_of_it(trained):
  assert packaged.PRINTED.stat().st_size < _MAX_BYTES
  assert len(trained.class_names) == 158
  assert trained.calibration is not None
  card = (packaged.PRINTED.parent / "README.md").read_text(encoding="utf8")
  assert f"`{weights.fingerprint(trained)}`" in card
  assert f"threshold {trained.threshold:.3f}" in card
  listed = re.findall(r"^\| (\w+) \| [\d.]+ \(", card, re.M)
  assert set(listed) <= set(trained.class_names) and len(listed) > 100


# Caption: two classes; whether one can be dropped because of the other.
PAIRS = {
  "two braces": ("brace", "brace", True),
  "a notehead on the ball of a clef": ("noteheadBlack", "gClef", True),
  "a notehead in a grace note": (
    "noteheadBlackSmall",
    "graceNoteAcciaccaturaStemUp",
    False,
  ),
}


@pytest.mark.parametrize("caption", PAIRS)
def test_it_knows_what_cannot_lie_on_what(trained, caption):
  one, other, contradict = PAIRS[caption]
  at = trained.class_names.index
  known = trained.calibration.contradictions
  assert (known.limits()[at(one), at(other)] < 1) == contradict
  assert known.apart[at("restHBar"), at("noteheadBlack")]


def _page(folder: pathlib.Path) -> tuple[pathlib.Path, PageBoxes]:
  """A generated page and its truth."""
  small = {"width": 620, "height": 480, "vocabulary": "printed"}
  engrave.generate(
    folder, 1, seed=105, shares={"train": 1.0}, workers=1, **small
  )
  report, options = checks.BuildReport(), deepscores_parsing.Options()
  data_set = deepscores_parsing.read_data_set(
    folder, "dense_2017", options, report
  )
  (page,) = data_set.splits["train"]
  parsed = deepscores_parsing.read_page(
    page, data_set.class_names, options, report
  )
  truth = PageBoxes(
    page.image.stem,
    parsed.ink.shape,
    parsed.boxes_yxyx,
    parsed.labels,
  )
  return page.image, truth


@pytest.fixture(scope="module")
def page(tmp_path_factory):
  """(grey values, truth) of a generated page."""
  path, truth = _page(tmp_path_factory.mktemp("page") / "pages")
  return np.asarray(Image.open(path).convert("L")), truth


# Caption: what was done to the page (the last is a negative, too); how it is
# turned to be upright again.
LAID = {
  "upright": (lambda grey: grey, 0),
  "turned to the left": (lambda grey: np.rot90(grey), 90),
  "on its head": (lambda grey: np.rot90(grey, 2), 180),
  "turned to the right, a negative": (
    lambda grey: 255 - np.rot90(grey, 3),
    270,
  ),
}


@pytest.mark.parametrize("caption", LAID)
def test_it_finds_the_symbols_of_a_generated_page(trained, page, caption):
  lay, turned = LAID[caption]
  grey, truth = page
  found = dwd_jax.detect(lay(grey))
  assert found.class_names == trained.class_names
  assert found.turned == turned
  # Boxes are on the page as it came; all are turned as it was for comparison.
  upright = Staves(turn=(360 - turned) % 360)
  boxes = PageBoxes(
    truth.filename,
    truth.image_hw,
    upright.boxes_back(found.boxes_yxyx, truth.image_hw),
    found.labels,
    found.scores,
  )
  matches = match(truth, boxes, 0.5)
  assert len(truth.labels) > 50
  # 0.97 and 0.93 on the test pages; one page may be harder.
  assert matches.hit.mean() > 0.85
  assert matches.found.mean() > 0.8


def test_symbols_of_a_smaller_staff_keep_their_names(page):
  grey, truth = page
  left = np.ascontiguousarray(grey[:, :450])
  small = cv2.resize(left, (350, 373), interpolation=cv2.INTER_AREA)
  both = np.full((480, 800), 255, np.uint8)
  both[:, :450], both[:373, 450:] = left, small
  found = dwd_jax.detect(both).page_boxes()
  whole = truth.keep(truth.boxes_yxyx[:, 3] < 440)
  boxes = whole.boxes_yxyx * np.float32(350 / 450) + np.float32([0, 450] * 2)
  for wanted in (whole, dataclasses.replace(whole, boxes_yxyx=boxes)):
    assert match(wanted, found, 0.5).found.mean() > 0.8


def test_nothing_is_found_where_no_staff_is(trained):
  text = np.full((480, 620), 255, np.uint8)
  for line in range(12):
    cv2.putText(
      text,
      f"{line} Allegro con brio 3/4 mf pp",
      (20, 40 + 36 * line),
      cv2.FONT_HERSHEY_COMPLEX,
      0.9,
      0,
      2,
    )
  found = dwd_jax.detect(text)
  assert found.without_staves and len(found) == 0
  assert found.plot().shape[:2] >= text.shape
  insisting = Detector(trained, without_staves=True)
  assert len(insisting("text", 255 - text)) > 3
