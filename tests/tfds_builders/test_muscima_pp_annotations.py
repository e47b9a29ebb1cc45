"""Single MUSCIMA++ pages: masks, cut boxes, odd numbers, spellings."""

import muscima_pp_helpers as helpers
import numpy as np
import pytest

from dwd_jax.core.errors import InputError
from tfds_builders.muscima_pp import muscima_pp_annotations as annotations
from tfds_builders.muscima_pp import muscima_pp_parsing as parsing


@pytest.fixture(scope="module")
def page(repo_dir, tmp_path_factory):
  return helpers.copy_page(repo_dir, tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def text(page) -> str:
  return page.annotation.read_text()


def test_masks_lie_on_the_ink(page, text):
  parsed, report = helpers.read(page, text)
  assert not report.counts
  for mask, box, label in zip(
    helpers.masks_of(parsed),
    parsed.boxes_yxyx.astype(int),
    parsed.labels,
    strict=True,
  ):
    assert mask is not None
    y0, x0, y1, x1 = box
    assert mask[0].any() and mask[-1].any()
    if helpers.CLASSES[label] != "staff_space":
      assert np.all(parsed.ink[y0:y1, x0:x1][mask] == 0)  # white on black
  # A notehead is round: its corners are not its own.
  head = helpers.masks_of(parsed)[0]
  assert head is not None
  assert head.shape == (9, 11)
  assert not head[[0, 0, -1, -1], [0, -1, 0, -1]].any()
  assert head[4].all()


def test_no_masks_unless_asked_for(page, text):
  parsed, _ = helpers.read(page, text, with_masks=False)
  assert parsed.extras == {}
  assert parsing.extra_features("v1.0", parsing.Options()) == ()
  assert parsing.extra_features("v1.0", parsing.Options(masks=True)) == (
    "mask_runs",
    "mask_stops",
  )


_CUTS = {
  "left": ({"Left": "-5"}, np.s_[:, 5:]),
  "top": ({"Top": "-3"}, np.s_[3:]),
  "right (page of 160 px)": ({"Left": "153"}, np.s_[:, :7]),
  "bottom (page of 96 px)": ({"Top": "95"}, np.s_[:1]),
  "a corner": ({"Top": "-1", "Left": "-1"}, np.s_[1:, 1:]),
}


@pytest.mark.parametrize("caption", _CUTS)
def test_a_mask_is_cut_with_its_box(page, text, caption):
  values, part = _CUTS[caption]
  whole = helpers.masks_of(helpers.read(page, text)[0])[0]
  parsed, report = helpers.read(page, helpers.first(text, **values))
  assert dict(report.counts) == {"boxes cut: partly outside the image": 1}
  assert whole is not None
  np.testing.assert_array_equal(helpers.masks_of(parsed)[0], whole[part])


_MASK_TEXTS = {
  "none": ("", {}),
  "blank": (" \n ", {}),
  "of another size": ("0:5 1:5", {"masks dropped": 1}),
  "another format": ("iVBORw0KGgo=", {"masks dropped": 1}),
  "values of other kinds": ("0:90 2:9", {"masks dropped": 1}),
  "counts that overflow": ("1:" + "9" * 25, {"masks dropped": 1}),
}


@pytest.mark.parametrize("caption", _MASK_TEXTS)
def test_an_object_stays_without_its_mask(page, text, caption):
  mask, counts = _MASK_TEXTS[caption]
  parsed, report = helpers.read(page, helpers.first(text, Mask=mask))
  assert dict(report.counts) == counts
  assert len(parsed.labels) == 13
  found = helpers.masks_of(parsed)
  assert found[0] is None
  assert all(m is not None for m in found[1:])


def test_the_tag_of_the_mask_may_be_absent(page, text):
  parsed, report = helpers.read(page, text.replace("Mask>", "Musk>"))
  assert not report.counts
  assert helpers.masks_of(parsed) == [None] * 13


def test_masks_of_which_most_are_bad(page, text):
  with pytest.raises(InputError, match="13 of 13 masks are unusable"):
    helpers.read(page, text.replace("<Mask>", "<Mask>1:1 "))
  parsed, _ = helpers.read(
    page, text.replace("<Mask>", "<Mask>1:1 "), with_masks=False
  )
  assert len(parsed.labels) == 13


_BAD_NUMBERS = {
  "a huge exponent": ({"Top": "1e99"}, "not a usable number"),
  "a large number": ({"Top": "1e8"}, "outside the image"),
  "infinite": ({"Width": "inf"}, "not a usable number"),
  "NaN": ({"Top": "NaN"}, "not a usable number"),
  "a word": ({"Top": "top"}, "not a usable number"),
  "empty": ({"Left": ""}, "not a usable number"),
  "a million digits": ({"Left": "9" * 10**6}, "not a usable number"),
  "a negative size": ({"Width": "-3"}, "inverted"),
  "no size": ({"Height": "0"}, "of zero area"),
  "far to the left": ({"Left": "-100"}, "outside the image"),
}


@pytest.mark.parametrize("caption", _BAD_NUMBERS)
def test_objects_with_bad_numbers_are_skipped(page, text, caption):
  values, kind = _BAD_NUMBERS[caption]
  parsed, report = helpers.read(page, helpers.first(text, **values))
  assert dict(report.counts) == {f"boxes skipped: {kind}": 1}
  assert report.examples[f"boxes skipped: {kind}"] == [
    f"{helpers.PAGE}.xml: object 0"
  ]
  assert len(parsed.labels) == 12
  expected = helpers.masks_of(helpers.read(page, text)[0])[1:]
  for mask, other in zip(helpers.masks_of(parsed), expected, strict=True):
    np.testing.assert_array_equal(mask, other)


def test_a_box_between_pixels_keeps_no_mask(page, text):
  parsed, report = helpers.read(page, helpers.first(text, Left="12.5"))
  assert dict(report.counts) == {"masks dropped": 1}
  assert parsed.boxes_yxyx[0, 1] == 12.5
  assert helpers.masks_of(parsed)[0] is None
  parsed, report = helpers.read(page, helpers.first(text, Left="12.0"))
  assert not report.counts and helpers.masks_of(parsed)[0] is not None


def test_identical_annotations_stay_and_are_counted(page, text):
  first = text[text.index("<CropObject ") : text.index("</CropObject>")]
  twice = text.replace("</CropObjects>", f"{first}</CropObject></CropObjects>")
  parsed, report = helpers.read(page, twice)
  assert len(parsed.labels) == 14
  assert report.examples == {
    "identical annotations (kept)": [
      f"{helpers.PAGE}.xml: object 13 is object 0: notehead-full"
    ]
  }
  # Of another class, it is another object.
  other = first.replace("notehead-full", "stem")
  twice = text.replace("</CropObjects>", f"{other}</CropObject></CropObjects>")
  assert not helpers.read(page, twice)[1].counts


_CLASS_TAGS = {
  "MLClassName": "<MLClassName>stem</MLClassName>",
  "both": "<MLClassName>old</MLClassName><ClassName>stem</ClassName>",
  "an empty one": "<ClassName/><MLClassName>stem</MLClassName>",
  "with spaces": "<ClassName>\n stem </ClassName>",
  "in other letters": "<ClassName>Stem</ClassName>",
}


@pytest.mark.parametrize("caption", _CLASS_TAGS)
def test_spellings_of_the_class(page, text, caption):
  tag = "<ClassName>notehead-full</ClassName>"
  assert tag in text
  parsed, _ = helpers.read(page, text.replace(tag, _CLASS_TAGS[caption], 1))
  assert helpers.CLASSES[parsed.labels[0]] == "stem"


def test_letters_keep_their_case(page, text):
  page.annotation.write_text(text.replace("notehead-full", "letter_A"))
  names = ("letter_a", "letter_A", *helpers.CLASSES)
  objects = annotations.read_objects(
    page.annotation, helpers.PAGE, annotations.CROP_OBJECTS, names
  )
  assert names[objects.labels[0]] == "letter_A"
  with pytest.raises(InputError, match="unknown class 'letter_A'"):
    annotations.read_objects(
      page.annotation,
      helpers.PAGE,
      annotations.CROP_OBJECTS,
      ("letter_a", *helpers.CLASSES),
    )


def test_links_and_ids_are_not_read(page, text):
  expected = helpers.read(page, text)[0]
  linked = text.replace(
    "<Mask>",
    "<Outlinks>0 1 2 x -5 99999999999999999999</Outlinks>"
    "<Inlinks>0 0</Inlinks><Data><Id>a</Id></Data><Mask>",
  )
  linked = linked.replace("<Id>1<", "<Id>0<").replace("___1", "___0")
  parsed, report = helpers.read(page, linked)
  assert not report.counts
  np.testing.assert_array_equal(parsed.boxes_yxyx, expected.boxes_yxyx)
