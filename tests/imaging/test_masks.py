"""Masks as run lengths: round trips, and texts that are no masks."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_np

from dwd_jax.imaging import masks

_MASKS = st_np.arrays(
  bool, st_np.array_shapes(min_dims=2, max_dims=2, max_side=9)
)


def _text(mask) -> str:
  """As MUSCIMA++ writes masks, one pair a pixel: the most naive way."""
  return " ".join(f"{int(v)}:1" for v in mask.ravel())


@hypothesis.given(_MASKS)
def test_runs_give_the_mask_back(mask):
  runs = masks.encode_mask(mask)
  assert runs.dtype == np.int32 and runs.sum() == mask.size
  assert np.all(runs[1:] > 0)  # only the first background may be missing
  np.testing.assert_array_equal(masks.decode_runs(runs, mask.shape), mask)


@hypothesis.given(_MASKS)
def test_text_and_mask_have_the_same_runs(mask):
  parsed = masks.parse_runs(_text(mask), mask.shape)
  assert parsed.dtype == np.int32
  np.testing.assert_array_equal(parsed, masks.encode_mask(mask))


_TEXTS = {
  "background first": ("0:2 1:3 0:1", [2, 3, 1]),
  "object first": ("1:2 0:4", [0, 2, 4]),
  "all object": ("1:6", [0, 6]),
  "all background": ("0:6", [6]),
  "equal values in a row": ("1:1 1:2 0:1 0:2", [0, 3, 3]),
  "counts of zero": ("0:0 1:3 0:0 1:3", [0, 6]),
  "lines and tabs": ("\n 0:2\t1:3\n0:1 ", [2, 3, 1]),
  "leading zeros": ("0:002 1:4", [2, 4]),
  "empty": ("", []),
  "blank": (" \n ", []),
}


@pytest.mark.parametrize("caption", _TEXTS)
def test_texts(caption):
  text, runs = _TEXTS[caption]
  assert masks.parse_runs(text, (2, 3)).tolist() == runs


_BAD_TEXTS = {
  "too few pixels": ("0:5", (2, 3), "the mask has 5 px, its box 2 x 3"),
  "too many": ("0:5 1:2", (2, 3), "the mask has 7 px, its box 2 x 3"),
  "no counts at all": ("1:0", (2, 3), "the mask has 0 px"),
  "another value": ("2:6", (2, 3), "not a list of 0:count"),
  "a negative count": ("0:-6", (2, 3), "not a list of 0:count"),
  "a fraction": ("0:6.0", (2, 3), "not a list of 0:count"),
  "an exponent": ("0:6e0", (2, 3), "not a list of 0:count"),
  "no number": ("0:nan", (2, 3), "not a list of 0:count"),
  "digits of other scripts": ("0:\u0666", (2, 3), "not a list of 0:count"),
  "a count of many digits": ("0:" + "9" * 99, (2, 3), "not a list of 0:count"),
  "words": ("none", (2, 3), "not a list of 0:count"),
  "a pair cut in two": ("0:5 1:", (2, 3), "not a list of 0:count"),
  "an empty box": ("0:1", (0, 3), "a mask of 0 x 3 px"),
  "a negative box": ("0:6", (-2, -3), "a mask of -2 x -3 px"),
  "a huge box": ("0:999999999 " * 9, (10**6, 10**6), "a mask of 1000000 x"),
}


@pytest.mark.parametrize("caption", _BAD_TEXTS)
def test_bad_texts(caption):
  text, hw, reason = _BAD_TEXTS[caption]
  with pytest.raises(ValueError, match=reason) as e:
    masks.parse_runs(text, hw)
  assert len(str(e.value)) < 100


@hypothesis.given(
  st.one_of(st.text("01: 9", max_size=30), st.text(max_size=30)),
  st.tuples(st.integers(-2, 9), st.integers(-2, 9)),
)
def test_any_text_is_a_mask_or_a_value_error(text, hw):
  try:
    runs = masks.parse_runs(text, hw)
  except ValueError:
    return
  if runs.size:
    assert masks.decode_runs(runs, hw).shape == hw
  else:
    assert not text.strip()


@pytest.mark.parametrize("runs", ([5], [2, -1, 5], [], [2**31 - 1, 2**31 - 1]))
def test_runs_that_do_not_fill_the_box(runs):
  with pytest.raises(ValueError, match="do not fill"):
    masks.decode_runs(np.array(runs, np.int32), (2, 3))


@hypothesis.given(_MASKS, st.data())
def test_crop_is_a_slice(mask, data):
  height, width = mask.shape
  top = data.draw(st.integers(0, height - 1))
  left = data.draw(st.integers(0, width - 1))
  new_hw = (
    data.draw(st.integers(1, height - top)),
    data.draw(st.integers(1, width - left)),
  )
  runs = masks.crop(masks.encode_mask(mask), mask.shape, top, left, new_hw)
  np.testing.assert_array_equal(
    masks.decode_runs(runs, new_hw),
    mask[top : top + new_hw[0], left : left + new_hw[1]],
  )


def test_crop_of_no_mask_and_outside():
  assert not masks.crop(np.zeros(0, np.int32), (2, 3), 0, 0, (1, 1)).size
  with pytest.raises(ValueError, match="no part"):
    masks.crop(np.array([6], np.int32), (2, 3), 1, 0, (2, 3))


@hypothesis.given(st.lists(st.one_of(st.none(), _MASKS), max_size=5))
def test_masks_of_a_page_come_back(given):
  runs = [
    np.zeros(0, np.int32) if m is None else masks.encode_mask(m) for m in given
  ]
  mask_runs, mask_stops = masks.join(runs)
  assert mask_runs.dtype == mask_stops.dtype == np.int32
  assert mask_stops.shape == (len(given),)
  back = masks.split(mask_runs, mask_stops)
  assert [r.tolist() for r in back] == [r.tolist() for r in runs]
  hw = [(1, 1) if m is None else m.shape for m in given]
  boxes = np.array([(5, 7, 5 + h, 7 + w) for h, w in hw], np.float32)
  found = masks.of_page(mask_runs, mask_stops, boxes.reshape(-1, 4))
  for mask, expected in zip(found, given, strict=True):
    if expected is None:
      assert mask is None
    else:
      np.testing.assert_array_equal(mask, expected)


_BAD_STOPS = {
  "too short": [2],
  "too long": [2, 4],
  "falling": [3, 2, 3],
  "negative": [-1, 3],
  "none": [],
}


@pytest.mark.parametrize("caption", _BAD_STOPS)
def test_stops_that_do_not_divide_the_runs(caption):
  runs = np.array([1, 2, 3], np.int32)
  with pytest.raises(ValueError, match="do not divide"):
    masks.split(runs, np.array(_BAD_STOPS[caption], np.int32))


def test_masks_of_other_boxes():
  runs, stops = masks.join([np.array([2, 4], np.int32)])
  with pytest.raises(ValueError, match="masks of 1 objects, 2 boxes"):
    masks.of_page(runs, stops, np.zeros((2, 4), np.float32))
  with pytest.raises(ValueError, match="do not fill"):
    masks.of_page(runs, stops, np.array([[0, 0, 3, 3]], np.float32))


def test_energy_is_highest_on_the_mask_next_to_the_centre():
  ring = np.ones((40, 40), bool)
  ring[8:32, 8:32] = False
  stem = np.zeros((60, 5), bool)
  stem[:, 2] = True
  of_ring, of_stem, of_box = masks.energy_patches([ring, stem, None])
  for patch in (of_ring, of_stem, of_box):
    assert patch.max() == 255
  assert of_ring[8, 8] == 0 and of_ring[2, 8] > of_ring[0, 0] > 0
  assert of_stem[7, 7] == 255 and (of_stem[:, [0, 15]] == 0).all()
  assert np.all(np.diff(of_stem[7:, 7].astype(int)) < 0)
  assert of_box.min() > 0


def test_the_energy_of_a_part_of_an_object():
  patches = masks.energy_patches([np.ones((32, 32), bool)])
  box, half = np.float32([[0, 0, 32, 32]]), np.float32([[16, 0, 32, 32]])
  whole = masks.cut_patches(patches, box, box)
  np.testing.assert_array_equal(whole, patches)
  lower = masks.cut_patches(patches, box, half)[0]
  assert lower[0].max() == 255 and lower[0].max() > lower[-1].max()
  wanted = patches[0, 8] * (255 / patches[0, 8].max())
  np.testing.assert_allclose(lower[0], wanted, atol=1)
