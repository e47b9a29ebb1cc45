"""Symbols cut from the pages of the training writers."""

import pathlib
import shutil

import cv2
import numpy as np
import pytest

from dwd_jax.engrave import hands
from dwd_jax.imaging import masks
from tfds_builders.muscima_pp import muscima_pp_hands as program

_DUMMY = "tfds_builders/muscima_pp/dummy_data"
_TRAIN, _VAL = "CVC-MUSCIMA_W-01_N-90_D-dummy", "CVC-MUSCIMA_W-17_N-90_D-dummy"
# name, top, left, height, width; staff lines 20 px apart.
_LINES = [("staffLine", 30 + 20 * i, 5, 2, 150) for i in range(5)]
_SYMBOLS = [
  ("staff", 30, 5, 82, 150),
  ("noteheadFull", 61, 40, 20, 22),
  ("dynamicsText", 4, 60, 16, 20),
  ("dynamicLetterP", 4, 60, 16, 20),
  ("characterSmallP", 4, 60, 16, 20),
  ("measureSeparator", 30, 100, 82, 8),
  ("barline", 30, 100, 82, 3),
  ("barlineHeavy", 30, 104, 82, 4),
  ("staffGrouping", 30, 4, 82, 3),
]


def _node(i, name, top, left, height, width):
  ink = np.ones((height, width), bool)
  if name == "measureSeparator":
    ink[:, 3] = False
  runs = masks.encode_mask(ink)
  text = " ".join(f"{k % 2}:{n}" for k, n in enumerate(runs) if n)
  return (
    f"<Node><Id>{i}</Id><ClassName>{name}</ClassName><Top>{top}</Top>"
    f"<Left>{left}</Left><Width>{width}</Width><Height>{height}</Height>"
    f"<Mask>{text}</Mask></Node>"
  )


def _folder(repo_dir: pathlib.Path, out: pathlib.Path, objects) -> pathlib.Path:
  """MUSCIMA++ with one page of a training writer and one of another."""
  for part in ("data/annotations", "data/images"):
    (out / part).mkdir(parents=True)
  shutil.copytree(repo_dir / _DUMMY / "specifications", out / "specifications")
  names = {name for name, *_ in _LINES + _SYMBOLS}
  listed = "".join(
    f"<NodeClass><Id>{i}</Id><Name>{name}</Name></NodeClass>"
    for i, name in enumerate(sorted(names))
  )
  (out / "specifications/mff-muscima-mlclasses-annot.xml").write_text(
    f"<NodeClasses>{listed}</NodeClasses>"
  )
  nodes = "".join(_node(i, *item) for i, item in enumerate(objects))
  for name in (_TRAIN, _VAL):
    (out / f"data/annotations/{name}.xml").write_text(
      f'<Nodes dataset="x" document="{name}">{nodes}</Nodes>'
    )
    image = np.full((130, 170), 255, np.uint8)
    cv2.imwrite(str(out / f"data/images/{name}.png"), image)
  return out


def test_only_symbols_of_training_writers_are_cut(repo_dir, tmp_path, capsys):
  root = _folder(repo_dir, tmp_path / "v2.0", _LINES + _SYMBOLS)
  path = tmp_path / "hands.npz"
  assert program.main([str(root), str(path)]) == 0
  assert "CC BY-NC-SA 4.0" in capsys.readouterr().out
  table = hands.read(path)
  names = table.class_names[table.labels].tolist()
  assert names == [name for name, *_ in _SYMBOLS[1:-1]]
  assert set(table.writers) == {1} and set(table.pages) == {0}
  np.testing.assert_allclose(table.staff_spaces, 20)
  np.testing.assert_allclose(table.line_px, 2)
  np.testing.assert_allclose(table.middle_y, 71)
  wholes = [
    names[parent] if parent >= 0 else "" for parent in table.parents.tolist()
  ]
  assert wholes == [
    "", "", "dynamicsText", "dynamicsText", "", "measureSeparator",
    "measureSeparator",
  ]  # fmt: skip
  made = hands.Hands(table)
  assert list(made.words) == ["p"]
  symbol = made.pick("measureSeparator", 1, np.random.default_rng(0))
  assert symbol is not None and not symbol.mask[:, 3].any()


@pytest.mark.parametrize(
  ("caption", "objects", "message"),
  [
    ("no staves", _SYMBOLS[1:2], "no page of a training writer has staves"),
    ("unknown class", [("violin", 1, 1, 9, 9)], "unknown class 'violin'"),
  ],
)
def test_bad_folders_are_one_line(
  caption, objects, message, repo_dir, tmp_path, capsys
):
  root = _folder(repo_dir, tmp_path / "v2.0", objects)
  assert program.main([str(root), str(tmp_path / "hands.npz")]) == 2, caption
  error = capsys.readouterr().err
  assert message in error and error.count("\n") == 1
  assert not (tmp_path / "hands.npz").exists()
