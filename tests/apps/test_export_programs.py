"""What a user of exported files runs: no dwd_jax, the same detections."""

import json
import subprocess
import sys

import export_helpers as helpers
import numpy as np
import pytest

from dwd_jax.apps.export import export_files
from dwd_jax.checkpoints import weights

_OURS = ("dwd_jax", "flax", "optax", "jaxtyping", "PIL", "cv2")
_JAX = """
import detector, numpy
find = detector.Detector()
page = numpy.load(sys.argv[1])
found = [find(page, 0.0), find(page), find(255 - page, 0.5)]
try:
  find(numpy.zeros((193, 100)))
except ValueError as e:
  found.append(str(e))
print(json.dumps(found))
"""
_ONNX = """
import numpy, numpy_decode
find = numpy_decode.Detector(sys.argv[2], threads=1)
page = numpy.load(sys.argv[1])
print(json.dumps([find(page, 0.0), find(page), find(255 - page, 0.5)]))
"""


# Caption: what the network has, whether it is calibrated, settings of the
# decode, largest page that the StableHLO takes.
CASES = {
  "offsets, groups, oriented, calibrated, larger than the page": (
    {**helpers.WITH_OFFSETS, "oriented": True},
    True,
    {"suppress_iou": 0.3},
    (150, 190),
  ),
  "none of them": (helpers.WITHOUT, False, {"suppress_iou": 0.3}, (90, 120)),
}


@pytest.fixture(scope="module", params=CASES)
def case(request, tmp_path_factory):
  """Weights, a folder with them and a page, and what dwd_jax finds there."""
  options, calibrated, decode, _ = CASES[request.param]
  made = helpers.with_decode(helpers.tiny(calibrated, **options), **decode)
  folder = tmp_path_factory.mktemp("case")
  weights.write(folder / "w.safetensors", made)
  np.save(folder / "page.npy", helpers.page())
  found = helpers.wanted(made, helpers.page(), 0.0)
  return made, folder, found


@pytest.fixture(scope="module")
def onnx_folder(case):
  _, folder, _ = case
  export_files.export(str(folder / "w.safetensors"), folder / "onnx", "onnx")
  return folder / "onnx"


def _check(found, case, inside=lambda rows: rows):
  """All detections, those above the threshold, and of an inverted page."""
  made, _, expected = case
  all_of_them, good, inverted = found
  helpers.check_same(inside(all_of_them), inside(expected))
  assert good == [row for row in all_of_them if row[1] >= made.threshold]
  assert inverted == [row for row in all_of_them if row[1] >= 0.5]


def _inside(rows):
  """Detections away from the right edge of the page and from the lowest rows.

  Beyond the page the decode of a file for larger pages sees paper.
  """
  return [row for row in rows if row[2][2] < 105 and row[2][3] < 105]


def test_stablehlo_needs_jax_only_and_refuses_larger_pages(case, request):
  _, folder, _ = case
  *_, hw = CASES[request.node.callspec.params["case"]]
  out = folder / "stablehlo"
  export_files.export(str(folder / "w.safetensors"), out, "stablehlo", hw)
  *found, refused = helpers.run_alone(out, _JAX, _OURS, folder / "page.npy")
  if hw == (90, 120):
    _check(found, case)
    assert "this file takes up to 128 x 128" in refused
  else:  # the page becomes 128 x 128, the file takes more
    _check(found, case, _inside)
    assert "this file takes up to 192 x 192" in refused


def test_onnx_needs_numpy_and_onnxruntime_only(case, onnx_folder):
  _, folder, _ = case
  args = (folder / "page.npy", onnx_folder / "model.onnx")
  blocked = (*_OURS, "jax", "jaxlib", "scipy")
  found = helpers.run_alone(onnx_folder, _ONNX, blocked, *args)
  _check(found, case)


def test_the_script_prints_boxes_and_names_mistakes(
  case, onnx_folder, tmp_path
):
  _, folder, expected = case
  out = onnx_folder

  def call(*args):
    command = [sys.executable, out / "numpy_decode.py", *args]
    return subprocess.run(command, capture_output=True, text=True, check=False)

  done = call(out / "model.onnx", folder / "page.npy", "0")
  assert not done.returncode, done.stderr
  lines = [line.split("\t") for line in done.stdout.splitlines()]
  assert len(lines) == len(expected)
  name, score, *box = lines[0]
  assert name == expected[0][0]
  np.testing.assert_allclose(float(score), expected[0][1], atol=1e-3)
  wanted = np.concatenate([np.ravel(values) for values in expected[0][2:]])
  np.testing.assert_allclose([*map(float, box)], wanted, atol=0.06)
  for args, message in (
    ((out / "model.onnx", tmp_path / "gone.npy"), "gone.npy"),
    ((out / "model.onnx",), "usage: "),
    ((out / "model.onnx", folder / "page.npy", "much"), "much"),
  ):
    done = call(*args)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_card_is_plain(case, onnx_folder):
  made, _, _ = case
  card = json.loads((onnx_folder / "classes.json").read_text(encoding="utf8"))
  assert card["class_names"] == list(helpers.NAMES)
  assert (card["calibration"] is None) == (made.calibration is None)
  assert card["threshold"] == made.threshold


@pytest.mark.slow
def test_positions_are_exported_in_all_formats(tmp_path):
  made = helpers.tiny(
    staff_positions=True,
    position_classes=(0, 3),
    position_space_px=9.0,
    **helpers.WITHOUT,
  )
  weights.write(tmp_path / "w.safetensors", made)
  np.save(tmp_path / "page.npy", helpers.page())
  path = str(tmp_path / "w.safetensors")
  export_files.export(path, tmp_path / "hlo", "stablehlo", (90, 120))
  export_files.export(path, tmp_path / "onnx", "onnx")
  page, model = tmp_path / "page.npy", tmp_path / "onnx" / "model.onnx"
  onnx = helpers.run_alone(tmp_path / "onnx", _ONNX, _OURS, page, model)[0]
  jaxs = helpers.run_alone(tmp_path / "hlo", _JAX, _OURS, page)[0]
  expected = helpers.wanted(made, helpers.page(), 0.0)
  for rows in (onnx, jaxs):
    helpers.check_same([row[:3] for row in rows], expected)
    for name, *_, position in rows:
      assert (position is not None) == (name in ("clefG", "dot"))
  by_box = {tuple(np.round(box, 1)): p for *_, box, p in jaxs}
  same = [by_box.get(tuple(np.round(box, 1))) == p for *_, box, p in onnx]
  assert np.mean(same) > 0.95
  assert any(position is not None for *_, position in jaxs)
