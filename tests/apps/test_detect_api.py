"""`dwd_jax.detect(image)` from Python."""

import dataclasses
import subprocess
import sys

import detect_helpers as helpers
import jax
import numpy as np
import pytest
from PIL import Image

import dwd_jax
from dwd_jax.checkpoints import weights
from dwd_jax.core.errors import InputError
from dwd_jax.predict import detector, predict_pages


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
  path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
  weights.write(path, helpers.tiny())
  return path


def _as_rgb(grey):
  return np.stack([grey] * 3, -1)


# Caption: a page in black on white -> what is given.
KINDS = {
  "grey": lambda grey: grey,
  "colour": _as_rgb,
  "alpha": lambda grey: np.dstack([_as_rgb(grey), np.full_like(grey, 255)]),
  "a channel": lambda grey: grey[..., None],
  "white on black": lambda grey: 255 - grey,
  "16 bits": lambda grey: grey.astype(np.uint16) * 257,
  "floats": lambda grey: grey / 255,
  "bool": lambda grey: grey > 127,
  "PIL": Image.fromarray,
  "PIL, CMYK": lambda grey: Image.fromarray(grey).convert("CMYK"),
  "PIL, 1 bit": lambda grey: Image.fromarray(grey).convert("1"),
  "PIL, 16 bits": lambda grey: Image.fromarray(grey.astype(np.uint16) * 257),
}


@pytest.mark.parametrize("caption", KINDS)
def test_all_kinds_of_images_are_the_same_page(tiny, tmp_path, caption):
  grey = 255 - helpers.ink()
  path = helpers.save(tmp_path / "page.png", helpers.ink())
  wanted = dwd_jax.detect(path, checkpoint=tiny)
  assert len(wanted) > 0 and wanted.page == "page"
  found = dwd_jax.detect(KINDS[caption](grey), checkpoint=tiny)
  np.testing.assert_array_equal(found.boxes_yxyx, wanted.boxes_yxyx)
  np.testing.assert_array_equal(found.ink, helpers.ink())
  assert found.image_hw == helpers.HW
  assert (np.diff(found.scores) <= 0).all()


@pytest.mark.parametrize("polarity", ["dark", "light", "keep"])
def test_pictures_are_read_as_the_training_pages_were(tmp_path, polarity):
  path = tmp_path / "w.safetensors"
  weights.write(path, helpers.tiny(polarity=polarity))
  # Two frames of one video; more than half of one is bright.
  for seed, ground in enumerate((124, 132)):
    tones = np.maximum(helpers.ink(seed), ground)
    Image.fromarray(tones).save(tmp_path / "frame.png")
    image = Image.open(tmp_path / "frame.png")
    for given in (tmp_path / "frame.png", tones, image):
      found = dwd_jax.detect(given, checkpoint=path)
      wanted = 255 - tones if polarity == "dark" else tones
      np.testing.assert_array_equal(found.ink, wanted)


def test_music_decides_for_itself(tmp_path):
  music = detector.Detector(helpers.tiny(polarity="dark", staff_space_px=9.0))
  assert music.polarity == ""


def test_slots_grow_with_the_page(tiny, tmp_path, monkeypatch):
  page = 255 - helpers.ink()
  wanted = dwd_jax.detect(page, checkpoint=tiny, min_score=0)
  few = helpers.tiny()
  most = few.decode.max_detections
  few = dataclasses.replace(
    few, decode=dataclasses.replace(few.decode, max_detections=4)
  )
  weights.write(tmp_path / "few.safetensors", few)
  make, tried = predict_pages.make_predict_fn, []

  def cut(model, decode, *more):  # a decode of few slots, not compiled for them
    slots = decode.max_detections
    tried.append(slots)
    decode = dataclasses.replace(decode, max_detections=most)

    def predict(variables, image):
      found, levels = make(model, decode, *more)(variables, image)
      kept = jax.tree.map(lambda x: x[:, :slots] if x.ndim > 1 else x, found)
      return kept, levels

    return predict

  monkeypatch.setattr(predict_pages, "make_predict_fn", cut)
  monkeypatch.setattr(detector, "_PX_PER_SLOT", 1 << 30)
  found = dwd_jax.detect(
    page, checkpoint=tmp_path / "few.safetensors", min_score=0
  )
  assert tried[0] == 4 < len(wanted) <= tried[1]
  np.testing.assert_array_equal(found.boxes_yxyx, wanted.boxes_yxyx)


def test_options(tiny):
  page = 255 - helpers.ink()
  every = dwd_jax.detect(page, checkpoint=tiny, min_score=0)
  name = every.names[-1]
  some = dwd_jax.detect(page, checkpoint=tiny, min_score=0, classes=[name])
  assert some.names == [name] * every.counts()[name]
  assert len(dwd_jax.detect(page, checkpoint=tiny, min_score=1)) == 0


# Caption: arguments, what the one line says of them.
BAD_ARGUMENTS = {
  "a score": ({"min_score": 2}, "^min_score: 2 is not 0 to 1$"),
  "a class": ({"classes": ["clef"]}, "^classes: .* no 'clef'; did you mean"),
  "names": ({"names": "smufl"}, "^names: .* of no known vocabulary"),
  "weights": ({"checkpoint": "absent"}, "^absent: .*; a checkpoint is the"),
}


@pytest.mark.parametrize("caption", BAD_ARGUMENTS)
def test_messages_name_the_argument_not_a_flag(tiny, caption):
  arguments, message = BAD_ARGUMENTS[caption]
  with pytest.raises(InputError, match=message):
    dwd_jax.detect(helpers.ink(), **({"checkpoint": tiny} | arguments))


def test_pages_of_a_file(tiny, tmp_path):
  path = helpers.save_pages(
    tmp_path / "score.pdf", helpers.ink(0), helpers.ink(1)
  )
  found = list(dwd_jax.detect.pages(path, checkpoint=tiny))
  assert [page.page for page in found] == ["score-p001", "score-p002"]
  assert all(page.dpi == 150 for page in found)
  with pytest.raises(InputError, match=r"has 2 pages; use dwd_jax\.detect\."):
    dwd_jax.detect(path, checkpoint=tiny)


@pytest.mark.parametrize(
  "image",
  [
    np.zeros(5, np.uint8),
    np.zeros((0, 5), np.uint8),
    np.zeros((5, 5, 5), np.uint8),
    np.zeros((5, 5), np.complex64),
    "absent.png",
  ],
  ids=["1 axis", "no pixel", "5 channels", "complex", "no file"],
)
def test_other_things_are_one_line(tiny, image):
  with pytest.raises(InputError, match=r"give \[H, W\]|no such file"):
    dwd_jax.detect(image, checkpoint=tiny)


def test_importing_the_package_is_cheap_and_the_module_is_a_function():
  program = (
    "import sys, dwd_jax; assert 'jax' not in sys.modules;"
    "import dwd_jax.detect; assert 'jax' not in sys.modules;"
    "assert callable(dwd_jax.detect)"
  )
  subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
