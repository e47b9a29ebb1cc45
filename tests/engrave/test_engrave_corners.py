"""Oriented boxes, positions on the staff and onsets of generated pages."""

import shutil

import engrave_helpers as helpers
import numpy as np
import pytest

from dwd_jax import engrave
from dwd_jax.core.errors import InputError
from dwd_jax.core.structs import NO_POSITION
from dwd_jax.engrave import deepscores_folder, handwriting, onsets
from tfds_builders import checks
from tfds_builders.deepscores import deepscores_parsing


@pytest.mark.parametrize("strength", [0.0, 2.0])
def test_oriented_boxes_enclose_the_ink_and_touch_it(strength):
  words = helpers.V2
  page = helpers.random_page(2, "Bravura", measures=9, words=words)
  objects = helpers.objects(page, words)
  if strength:
    rng = np.random.default_rng(1)
    page, objects = handwriting.write(page, objects, rng, strength)
  beyond, gaps = [], []
  for found in filter(helpers.has_own_drawing, objects[::3]):
    ink, left, top = helpers.draw_alone(page, found)
    points = np.add(np.argwhere(ink >= helpers.INK), (top + 0.5, left + 0.5))
    corners = found.corners[:, ::-1] * helpers.PX
    along = np.roll(corners, -1, axis=0) - corners
    out = np.stack([along[:, 1], -along[:, 0]], 1)
    out /= np.hypot(*out.T)[:, None]
    if out[0] @ (corners[2] - corners[0]) > 0:
      out = -out
    depth = (points[:, None] - corners) @ out.T
    depth = np.diagonal(depth, axis1=1, axis2=2).max(axis=0)  # of each side
    beyond.append(depth.max())
    gaps.append(depth.min())
  assert len(gaps) > 100
  assert np.mean(np.array(beyond) < 1.0) > 0.995
  assert np.mean(np.array(gaps) > -2.0) > 0.99


def test_slanted_beams_get_slanted_boxes():
  notes = "".join(
    f'<note dur="8" pname="{p}" oct="4"/>' for p in ("c", "e", "g", "b")
  )
  found = helpers.measure(f"<beam>{notes}</beam>", words=helpers.V2)
  (beam,) = (item for item in found if item.name == "beam")
  sides = np.hypot(*(np.roll(beam.corners, -1, 0) - beam.corners).T)
  x0, y0, x1, y1 = beam.bounds
  assert sides.min() < 0.7 * (y1 - y0)
  assert sides.max() >= x1 - x0 - 1


@pytest.mark.parametrize("form", ["cres", "dim"])
def test_boxes_of_hairpins_lie_along_them_not_along_a_line_of_theirs(form):
  notes = "".join('<note dur="4" pname="b" oct="4"/>' for _ in range(4))
  hairpin = f'<hairpin form="{form}" staff="1" tstamp="1" tstamp2="0m+4"/>'
  found = helpers.measure(notes, hairpin, words=helpers.V2)
  (wedge,) = (item for item in found if item.name.endswith("Hairpin"))
  x0, y0, x1, y1 = wedge.bounds
  around = [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]
  assert np.allclose(sorted(map(tuple, wedge.corners)), sorted(around), atol=2)


@pytest.mark.parametrize("words", [helpers.V1, helpers.V2])
@pytest.mark.parametrize(
  ("caption", "note", "clef", "position"),
  [
    ("the middle line", ("b", 4), 'shape="G" line="2"', 0),
    ("the space above", ("c", 5), 'shape="G" line="2"', 1),
    ("below two leger lines", ("g", 3), 'shape="G" line="2"', -9),
    ("far above", ("e", 6), 'shape="G" line="2"', 10),
    ("another clef", ("c", 3), 'shape="F" line="4"', -1),
  ],
)
def test_positions_count_from_the_middle_line(
  words, caption, note, clef, position
):
  layer = f'<note dur="4" pname="{note[0]}" oct="{note[1]}"/><rest dur="4"/>'
  found = helpers.measure(layer, clef=clef, words=words)
  by_name = {
    item.name: item.position
    for item in found
    if item.name[:4] in ("note", "rest")
  }
  assert sorted(by_name) == sorted(by_name)[:2], caption
  for name, value in by_name.items():
    assert value == (None if name.startswith("rest") else position), caption


_MEI = """<mei xmlns="http://www.music-encoding.org/ns/mei"><music><section>
<scoreDef meter.count="3" meter.unit="4"/>
<measure><staff><layer>
  <note xml:id="a" dur="4" dots="1"/><note grace="acc" xml:id="g" dur="8"/>
  <beam><note xml:id="b" dur="8"/></beam>
  <chord xml:id="c" dur="4"><note xml:id="c1"/></chord></layer>
</staff><staff><layer><mRest xml:id="m"/></layer></staff></measure>
<measure><staff><layer><mRest xml:id="n"/></layer></staff></measure>
<measure><staff><layer>
  <tuplet num="3" numbase="2"><note xml:id="t" dur="4"/><rest xml:id="u"
   dur="4"><dot/></rest><note xml:id="v" dur="8"/></tuplet>
  <fTrem><note xml:id="w" dur="2"/><note xml:id="x" dur="2"/></fTrem>
  <note xml:id="y"/><note xml:id="z" dur="4"/></layer></staff></measure>
<measure><staff><layer><multiRest num="4"/></layer></staff></measure>
<staffDef n="1" ppq="12"/>
<measure><staff><layer><note xml:id="long" dur="breve"/></layer></staff>
</measure>
<measure><staff><layer><note dur="4" dur.ppq="8"/><note xml:id="last" dur="4"/>
</layer></staff></measure></section></music></mei>"""


def test_onsets_are_counted_from_durations():
  found = onsets.of_score(_MEI)
  expected = {"a": 0, "b": 1.5, "c": 2, "m": 0, "n": 3, "t": 6, "u": 6 + 2 / 3}
  expected |= {"v": 6 + 5 / 3, "w": 8, "x": 9, "y": 10, "long": 21}
  expected["last"] = 29 + 2 / 3
  assert found == pytest.approx(expected)
  assert onsets.of_score("no MEI") == {}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  out = tmp_path_factory.mktemp("engraved") / "pages"
  small = {"workers": 1, "width": 700, "height": 500}
  engrave.generate(out, 1, 3, vocabulary=helpers.V2, degrade="scan", **small)
  return out


def _read(folder, config="engraved"):
  report, options = checks.BuildReport(), deepscores_parsing.Options()
  data_set = deepscores_parsing.read_data_set(folder, config, options, report)
  (page,) = data_set.splits["train"]
  parsed = deepscores_parsing.read_page(
    page, data_set.class_names, options, report
  )
  return parsed, np.array(data_set.class_names)[parsed.labels], report


def test_the_builder_reads_what_is_written(folder):
  parsed, names, report = _read(folder)
  assert report.counts.keys() == {"split lists empty"}
  corners = parsed.extras["oriented_yx"]
  around = np.concatenate([corners.min(1), corners.max(1)], 1)
  apart = np.abs(around - parsed.boxes_yxyx).max(axis=1)
  assert np.mean(apart < 4) > 0.9  # a turned box reaches further at corners
  heads = np.char.startswith(names, "notehead")
  assert heads.sum() >= 10
  np.testing.assert_array_equal(
    parsed.extras["positions"] != NO_POSITION, heads
  )
  known = np.isfinite(parsed.extras["onsets"])
  assert known[heads].mean() > 0.8
  assert not known[~heads & ~np.char.startswith(names, "rest")].any()
  extras, _, _ = _read(folder, "dense_2017")
  assert extras.extras.keys() == {"pixel_labels"}
  np.testing.assert_array_equal(extras.boxes_yxyx, parsed.boxes_yxyx)


def test_what_is_wrong_in_the_file_is_counted(folder, tmp_path):
  copy = tmp_path / "pages"
  shutil.copytree(folder, copy)
  (path,) = (copy / deepscores_folder.ANNOTATIONS).iterdir()
  text = path.read_text()
  parts = text.split("<corners>")
  parts[1] = "0.1 0.2</corners>" + parts[1].partition("</corners>")[2]
  bad = "<corners>".join(parts).replace("<position>", "<position>9e9", 1)
  path.write_text(bad)
  parsed, _, report = _read(copy)
  kind = "oriented boxes replaced by the upright ones: not 8 numbers"
  assert report.counts[kind] == 1
  assert (
    report.counts["positions left out: no whole number of -127 to 127"] == 1
  )
  first = parsed.extras["oriented_yx"][0]
  np.testing.assert_allclose(
    [*first.min(0), *first.max(0)], parsed.boxes_yxyx[0]
  )
  path.write_text(text.replace("corners>", "other>", 2))
  with pytest.raises(InputError, match=r"object 0 has no <corners>; generate"):
    _read(copy)
