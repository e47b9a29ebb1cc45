"""The packaged detector on a page that it has not seen, and its card."""

import pathlib
import re

import pytest

import dwd_jax
from dwd_jax import engrave
from dwd_jax.checkpoints import weights
from dwd_jax.core.structs import PageBoxes
from dwd_jax.metrics.matching import match
from dwd_jax.predict import packaged
from tfds_builders import checks
from tfds_builders.deepscores import deepscores_parsing

_MAX_BYTES = 30e6


@pytest.fixture(scope="module")
def trained():
  return packaged.weights_of()


def test_it_is_small_and_its_card_is_of_it(trained):
  assert packaged.PRINTED.stat().st_size < _MAX_BYTES
  assert len(trained.class_names) == 124
  assert trained.calibration is not None
  card = (packaged.PRINTED.parent / "README.md").read_text(encoding="utf8")
  assert f"`{weights.fingerprint(trained)}`" in card
  assert f"threshold {trained.threshold:.3f}" in card
  listed = re.findall(r"^\| (\w+) \| [\d.]+ \(", card, re.M)
  assert set(listed) <= set(trained.class_names) and len(listed) > 100


def _page(folder: pathlib.Path) -> tuple[pathlib.Path, PageBoxes]:
  """A generated page and its truth."""
  small = {"width": 620, "height": 480}
  engrave.generate(
    folder, 1, seed=99, shares={"train": 1.0}, workers=1, **small
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


def test_it_finds_the_symbols_of_a_generated_page(trained, tmp_path):
  path, truth = _page(tmp_path / "pages")
  found = dwd_jax.detect(path)
  assert found.class_names == trained.class_names
  boxes = PageBoxes(
    truth.filename, truth.image_hw, found.boxes_yxyx, found.labels, found.scores
  )
  matches = match(truth, boxes, 0.5)
  assert len(truth.labels) > 50
  # 0.97 and 0.93 on the test pages; one page may be harder.
  assert matches.hit.mean() > 0.85
  assert matches.found.mean() > 0.8
