"""Files of cut symbols, and pages drawn from them."""

import dataclasses
import functools
import json

import engrave_helpers as helpers
import hand_helpers
import numpy as np
import pytest

from dwd_jax.core.errors import InputError
from dwd_jax.engrave import hand_canvas, hand_page, hands, smufl_classes
from dwd_jax.engrave.__main__ import main
from dwd_jax.engrave.deepscores_folder import Annotated

PX = 20 / 180  # per unit: 20 px a staff space


@functools.cache
def _layout():
  page = helpers.random_page(
    4, "Leipzig", 10, "printed",
    **{**smufl_classes.get("muscima_v2").rates, "tie": 0.8, "slur": 1.0},
  )  # fmt: skip
  return page, helpers.objects(page, "printed")


def _draw(seed=0, made=None):
  page, objects = _layout()
  made = made or hands.Hands(hand_helpers.table())
  rng = np.random.default_rng(seed)
  hw = (round(3200 * 20 / 9), round(2000 * 20 / 9))
  return hand_page.draw(page, objects, made, rng, hw, PX)


def test_a_file_is_read_as_written(tmp_path):
  table = hand_helpers.table()
  hands.write(tmp_path / "hands.npz", table)
  read = hands.read(tmp_path / "hands.npz")
  for field in dataclasses.fields(hands.Table):
    np.testing.assert_array_equal(
      getattr(read, field.name), getattr(table, field.name)
    )


@pytest.mark.parametrize(
  ("field", "change", "message"),
  [
    ("labels", lambda a: a + 1000, "unknown classes"),
    ("labels", lambda a: a[:-1], "another length"),
    ("labels", lambda a: a.astype(float), "another kind"),
    ("boxes_yxyx", lambda a: a[:, [2, 3, 0, 1]], "sizes out of range"),
    ("boxes_yxyx", lambda a: a * 1000, "boxes out of range"),
    ("staff_spaces", lambda a: a * np.nan, "staff spaces out of range"),
    ("parents", lambda a: a + len(a), "parents out of range"),
    ("parents", lambda a: np.arange(len(a), dtype=a.dtype), "parents out of"),
    ("mask_runs", lambda a: a + 1, "masks of other sizes"),
    ("mask_stops", lambda a: a[::-1], "masks without ink"),
    ("class_names", lambda a: a.astype(object), "no file of hands"),
  ],
)
def test_damaged_files_are_one_line(field, change, message, tmp_path):
  table = hand_helpers.table()
  arrays = {f.name: getattr(table, f.name) for f in dataclasses.fields(table)}
  arrays[field] = change(arrays[field])
  path = tmp_path / "hands.npz"
  np.savez(path, **arrays)
  with pytest.raises(InputError, match=message) as caught:
    hands.read(path)
  assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"PK", b"no archive"])
def test_other_files_are_one_line(content, tmp_path):
  path = tmp_path / "hands.npz"
  path.write_bytes(content)
  with pytest.raises(InputError, match="make it again"):
    hands.read(path)
  with pytest.raises(InputError, match="cannot be read"):
    hands.read(tmp_path / "absent.npz")


def test_a_missing_class_comes_from_another_writer():
  made = hands.Hands(hand_helpers.table())
  rng = np.random.default_rng(0)
  symbol = made.pick("glissando", hand_helpers.WRITERS[1], rng)
  assert symbol is not None and symbol.name == "glissando"
  assert made.pick("staffGrouping", 3, rng) is None
  assert made.rates["stem"] == 2


def test_a_compound_keeps_its_parts():
  made = hands.Hands(hand_helpers.table())
  symbol = made.dynamics("pp", 3, np.random.default_rng(0))
  assert symbol is not None
  assert [part.name for part in symbol.parts] == [
    "dynamicsText", "dynamicLetterP", "characterSmallP", "dynamicLetterP",
    "characterSmallP",
  ]  # fmt: skip
  canvas = hand_canvas.Canvas(60, 80)
  matrix = hand_canvas.scaled((2.0, 2.0), (0, 0), (5, 6))
  canvas.paste(symbol, matrix)
  assert [item.box_yxyx for item in canvas.drawn] == [
    (6, 5, 38, 65), (6, 5, 38, 33), (6, 5, 38, 33), (6, 37, 38, 65),
    (6, 37, 38, 65),
  ]  # fmt: skip


@pytest.mark.parametrize("scale", [0.3, 1.0, 1.7])
@pytest.mark.parametrize("slant", [0.0, 0.2])
def test_a_box_is_the_extent_of_the_ink(scale, slant):
  rng = np.random.default_rng(1)
  mask = hand_helpers.mask_of("gClef", rng)
  symbol = hands.Symbol(mask, (hands.Part("gClef", mask, 0, 0),), 20.0, 8.0)
  canvas = hand_canvas.Canvas(300, 200)
  matrix = hand_canvas.scaled((scale, scale), (0, 0), (60.3, 40.8), slant)
  y0, x0, y1, x1 = canvas.paste(symbol, matrix)
  ys, xs = np.nonzero(canvas.ink)
  assert (y0, x0, y1, x1) == (ys.min(), xs.min(), ys.max() + 1, xs.max() + 1)
  assert y1 - y0 == pytest.approx(120 * scale, abs=1.5)
  corners = canvas.drawn[0].corners_yx
  inside = np.stack([ys + 0.5, xs + 0.5], 1)
  sides = np.roll(corners, -1, 0) - corners
  across = [
    (inside - corner) @ (side[1], -side[0])
    for side, corner in zip(sides, corners, strict=True)
  ]
  signs = np.sign(np.round(across, 3))
  assert np.all(signs >= 0) or np.all(signs <= 0)


def test_what_is_mostly_off_the_page_has_no_box():
  mask = np.ones((10, 10), bool)
  symbol = hands.Symbol(mask, (hands.Part("tie", mask, 0, 0),), 20.0, 8.0)
  canvas = hand_canvas.Canvas(50, 50)
  assert not canvas.paste(symbol, hand_canvas.scaled((1, 1), (0, 0), (-6, 0)))
  assert not canvas.drawn and not canvas.ink.any()
  canvas.paste(symbol, hand_canvas.scaled((1, 1), (0, 0), (-4, 0)))
  assert canvas.drawn[0].box_yxyx == (0, 0, 10, 6)


def test_strokes_end_where_they_are_to_end():
  stroke = np.zeros((40, 100), bool)
  for x in range(100):
    stroke[30 - x // 5 : 36 - x // 5, x] = True
  ends = np.array([(20.0, 50.0), (170.0, 90.0)])
  own = hand_canvas.stroke_ends(stroke)
  matrix = hand_canvas.sheared(own, ends, 1.0)
  drawn, top, left = hand_canvas.warp(stroke, matrix)
  found = hand_canvas.stroke_ends(drawn[:, np.flatnonzero(drawn.any(0))])
  assert abs(found[0, 1] + top - 50) < 2 and abs(found[1, 1] + top - 90) < 2
  columns = np.flatnonzero(drawn.any(0)) + left
  assert abs(columns.min() - 20) <= 1 and abs(columns.max() + 1 - 170) <= 1
  thick = drawn.sum(0)[5:-5]
  assert 5 <= np.median(thick[thick > 0]) <= 7


def test_symbols_stand_where_the_layout_has_them():
  canvas, (_, objects) = _draw(), _layout()
  wanted = [f for f in objects if f.name == "noteheadBlack"]
  heads = [d for d in canvas.drawn if d.name == "noteheadFull"]
  assert len(heads) == len(wanted) > 20
  for found, head in zip(wanted, heads, strict=True):
    y0, x0, y1, x1 = head.box_yxyx
    assert (y0 + y1) / 2 == pytest.approx(
      (found.bounds[1] + found.bounds[3]) / 2 * PX, abs=2
    )
    middle = (found.bounds[0] + found.bounds[2]) / 2 * PX
    assert abs((x0 + x1) / 2 - middle) < 12
    assert head.position == found.position
  for name, own in (("stem", "stem"), ("beam", "beam"), ("slur", "slur")):
    wanted = [f.bounds for f in objects if f.name == name]
    drawn = [d.box_yxyx for d in canvas.drawn if d.name == own]
    assert len(drawn) == len(wanted) > 0
    for (x0, y0, x1, y1), (top, left, bottom, right) in zip(
      wanted, drawn, strict=True
    ):
      assert abs(left - x0 * PX) < 8 and abs(right - x1 * PX) < 8, name
      assert abs(top - y0 * PX) < 24 and abs(bottom - y1 * PX) < 24, name


def test_barlines_and_compounds_have_boxes_around_their_parts():
  canvas = _draw()
  boxes: dict[str, list] = {}
  for item in canvas.drawn:
    boxes.setdefault(item.name, []).append(item.box_yxyx)
  assert len(boxes["barline"]) >= len(boxes["measureSeparator"]) > 3
  for whole, part in (
    ("measureSeparator", "barline"),
    ("keySignature", "accidental"),
    ("timeSignature", "numeral"),
  ):
    parts = [b for k, v in boxes.items() if k.startswith(part) for b in v]
    for y0, x0, y1, x1 in boxes.get(whole, []):
      inside = [
        b for b in parts
        if b[0] >= y0 and b[1] >= x0 and b[2] <= y1 and b[3] <= x1
      ]  # fmt: skip
      assert inside, whole
  assert set(boxes) <= smufl_classes.get("muscima_v2").known


def test_a_layout_gets_what_it_lacks():
  made = hands.Hands(hand_helpers.table())
  counts = [
    sum(item.name == "glissando" for item in _draw(seed, made).drawn)
    for seed in range(3)
  ]
  assert sum(counts) > 0


def test_the_program_draws_pages(tmp_path, capsys):
  path = tmp_path / "hands.npz"
  hands.write(path, hand_helpers.table())
  flags = [
    "--pages=1", "--seed=3", f"--hands={path}", "--vocabulary=muscima_v2",
    "--width=600", "--height=600", "--workers=1",
  ]  # fmt: skip
  for name in ("one", "two"):
    assert main([f"--out={tmp_path / name}", *flags]) == 0
  capsys.readouterr()
  files = [
    {p.relative_to(tmp_path / n): p.read_bytes()
     for p in (tmp_path / n).rglob("*.*")}
    for n in ("one", "two")
  ]  # fmt: skip
  assert files[0] == files[1]
  about = json.loads((tmp_path / "one/engraved.json").read_text())
  assert about["derived_from"] == hand_helpers.SOURCE
  assert about["objects"]["noteheadFull"] > 0


@pytest.mark.parametrize(
  ("flags", "message"),
  [
    (["--vocabulary=muscima_v2"], "give both hands and"),
    (["--hands=HANDS"], "give both hands and"),
    (["--hands=absent.npz", "--vocabulary=muscima_v2"], "cannot be read"),
    (
      ["--hands=HANDS", "--vocabulary=muscima_v2", "--handwriting=1"],
      "not together",
    ),
  ],
)
def test_bad_flags_are_one_line(flags, message, tmp_path, capsys):
  path = tmp_path / "hands.npz"
  hands.write(path, hand_helpers.table())
  given = [flag.replace("HANDS", str(path)) for flag in flags]
  assert main([f"--out={tmp_path / 'out'}", "--pages=1", *given]) == 2
  error = capsys.readouterr().err
  assert message in error and error.count("\n") == 1


def test_annotations_have_corners():
  for item in _draw().drawn:
    assert isinstance(item, Annotated) and item.corners_yx.shape == (4, 2)
