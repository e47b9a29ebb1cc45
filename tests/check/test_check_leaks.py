"""The same page in two splits, however it was encoded."""

import check_helpers as h
import cv2
import numpy as np
import pytest

from dwd_jax.check import leaks, measures
from dwd_jax.imaging import images

RNG_SEED = 7


def _jpeg(ink, quality=30):
  kind = [cv2.IMWRITE_JPEG_QUALITY, quality]
  data = cv2.imencode(".jpg", 255 - ink, kind)[1].tobytes()
  return images.read_page(data, "x.jpg")


def _noise(ink):
  noise = np.random.default_rng(RNG_SEED).normal(0, 20, ink.shape)
  return np.clip(ink + noise, 0, 255).astype(np.uint8)


# Caption: one picture, encoded anew.
ENCODED = {
  "JPEG": _jpeg,
  "half the size": lambda ink: cv2.resize(
    ink, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA
  ),
  "noise": _noise,
  "paler": lambda ink: (ink * 0.6).astype(np.uint8),
  "no change": lambda ink: ink.copy(),
}


def _large(seed):
  return h.make_page(seed, 120, hw=(900, 700))


def _findings(pages):
  measured = [h.measures.measure(p) for p in pages]
  return leaks.find(measured, lambda i: pages[i].ink)


def _two(first, second, splits=("train", "test"), names=("a.png", "b.png")):
  return [
    h.page(*content, split=split, filename=name)
    for content, split, name in zip((first, second), splits, names, strict=True)
  ]


@pytest.mark.parametrize("caption", ENCODED)
def test_a_page_in_two_splits_is_an_error(caption):
  ink, boxes, labels = _large(0)
  changed = ENCODED[caption](ink)
  scale = changed.shape[0] / ink.shape[0]
  found = _findings(
    _two((ink, boxes, labels), (changed, boxes * scale, labels))
  )
  assert [(f.level, f.kind, f.pages) for f in found] == [
    ("error", "leak between splits", (0, 1))
  ]
  assert "train/a.png = test/b.png" in found[0].message


@pytest.mark.parametrize(
  ("splits", "told", "caption"),
  [
    (("train", "train100"), [], "training pages may be listed again"),
    (
      ("debug", "test"),
      ["1 page of test are in debug, too"],
      "judged pages in a list, which comes first in records",
    ),
    (("debug", "train100"), [], "two lists"),
  ],
)
def test_a_further_list_may_repeat_pages(splits, told, caption):
  content = _large(0)
  found = _findings(
    _two(content, content, splits, names=("page-1.png", "page-1.png"))
  )
  assert [f.message for f in found] == told, caption
  assert {f.level for f in found} <= {"warning"}


def test_the_same_within_a_split_is_a_warning():
  content = _large(0)
  found = _findings(_two(content, content, splits=("train", "train")))
  assert [(f.level, f.kind) for f in found] == [
    ("warning", "same picture twice")
  ]


def test_different_pages_of_one_layout_are_no_leak():
  splits = ("train", "val", "test")
  pages = [
    h.page(*_large(seed), split=splits[seed % 3], filename=f"{seed}.png")
    for seed in range(12)
  ]
  assert _findings(pages) == []


def test_another_print_of_a_page_is_a_warning():
  ink, boxes, labels = _large(0)
  other = ink.copy()  # as in another font: other shapes in the same places
  for y0, x0, y1, x1 in boxes.astype(int):
    other[y0:y1, x0:x1] = ink[y0:y1, x0:x1][::-1, ::-1]
  found = _findings(_two((ink, boxes, labels), (other, boxes + 1, labels)))
  assert [(f.level, f.kind) for f in found] == [("warning", "similar pictures")]


def test_blank_pages_are_not_alike():
  blank = np.zeros((100, 80), np.uint8), np.zeros((0, 4)), np.zeros(0, int)
  assert _findings(_two(blank, blank)) == []


def test_a_copied_annotation_is_an_error():
  ink, boxes, labels = _large(0)
  found = _findings(_two((ink, boxes, labels), (_large(1)[0], boxes, labels)))
  assert [(f.level, f.kind) for f in found] == [
    ("error", "same annotation twice")
  ]


def test_a_name_in_two_splits_with_other_content_is_a_warning():
  found = _findings(_two(_large(0), _large(1), names=("p.png", "P.jpg")))
  assert [(f.level, f.kind) for f in found] == [("warning", "same name twice")]


def test_pieces_in_two_splits_are_told():
  names = ("lg-12-aug-gonville--page-1.png", "lg-12-aug-lilyjazz--page-2.png")
  (found,) = _findings(_two(_large(0), _large(1), names=names))
  assert (found.level, found.kind) == ("info", "pieces in two splits")
  assert "1 of 1 piece" in found.message and "lg-12" in found.message


PIECES = {
  "MUSCIMA++: the page number": (
    "CVC-MUSCIMA_W-02_N-17_D-ideal.png",
    "N-17",
  ),
  "DeepScores: the score, not the font": (
    "lg-2267728-aug-emmentaler--page-2.png",
    "lg-2267728",
  ),
  "generated": ("engraved-0-00014-leipzig-page-2.png", "engraved-0-00014"),
  "own pages": ("sonata_p12.jpg", "sonata"),
  "own pages, no number": ("scan.png", ""),
}


@pytest.mark.parametrize("caption", PIECES)
def test_piece_of(caption):
  name, piece = PIECES[caption]
  assert leaks.piece_of(name) == piece


def test_pairs_are_found_across_blocks(monkeypatch):
  monkeypatch.setattr(leaks, "_BLOCK", 3)
  prints = [measures.fingerprint(h.make_page(s)[0]) for s in range(8)]
  prints += [prints[1], prints[6]]
  found = set(leaks.similar_pairs(prints))
  assert found == {(1, 8), (6, 9)}


def test_no_end_of_pairs_is_cut_and_said(monkeypatch):
  monkeypatch.setattr(leaks, "_MAX_PAIRS", 5)
  monkeypatch.setattr(leaks, "_MAX_COMPARED", 2)
  ink, boxes, labels = _large(0)
  pages = [
    h.page(_noise_of(ink, i), boxes + i, labels, filename=f"{i}.png")
    for i in range(5)
  ]
  found = _findings(pages)
  similar = [f for f in found if f.kind == "similar pictures"]
  assert similar[0].message.startswith("3 pairs of pages within a split")
  assert "3 of them compared by fingerprint only" in similar[0].message
  assert "may be many more" in similar[0].message


def _noise_of(ink, seed):
  noise = np.random.default_rng(seed).normal(0, 9, ink.shape)
  return np.clip(ink + noise, 0, 255).astype(np.uint8)


def test_digests_tell_shapes_apart():
  flat = np.arange(6, dtype=np.uint8)
  digests = {measures.digest(flat.reshape(s)) for s in ((2, 3), (3, 2))}
  assert len(digests) == 2
