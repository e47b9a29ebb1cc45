"""Words of a field: pages and symbols of music, images and objects else."""

import pytest

from dwd_jax.core import words
from dwd_jax.train.settings import default

# Caption: builder, staff space, and what pictures are called.
DATA = {
  "one's own pictures": ("boxes", 0.0, "images"),
  "one's own music": ("boxes", 9.0, "pages"),
  "a set of music": ("muscima_pp", 0.0, "pages"),
}


@pytest.mark.parametrize("caption", DATA)
def test_music_has_pages(caption):
  builder, space_px, wanted = DATA[caption]
  cfg = default().data
  cfg.builder, cfg.staff_space_px = builder, space_px
  assert words.of_data(cfg).images == wanted


def test_numbers_have_their_words():
  said = words.ANYTHING
  assert said.count(1) == "1 object"
  assert said.count(0) == "0 objects"
  assert said.count(1200, "images") == "1,200 images"
  assert words.MUSIC.count(1, "images") == "1 page"
  assert said.an_image == "an image" and words.MUSIC.an_image == "a page"
