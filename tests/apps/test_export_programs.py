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
print(json.dumps([find(page, 0.0), find(page), find(255 - page, 0.5)]))
"""
_ONNX = """
import numpy, numpy_decode
find = numpy_decode.Detector(sys.argv[2], threads=1)
page = numpy.load(sys.argv[1])
print(json.dumps([find(page, 0.0), find(page), find(255 - page, 0.5)]))
"""


@pytest.fixture(
  scope="module",
  params=[
    (helpers.WITH_OFFSETS, True, {}),
    (helpers.WITHOUT, False, {"suppress_iou": 0.3}),
  ],
  ids=["offsets, groups, calibrated", "none of them"],
)
def case(request, tmp_path_factory):
  """A file of weights, a page, what dwd_jax finds on it."""
  options, calibrated, decode = request.param
  made = helpers.with_decode(helpers.tiny(calibrated, **options), **decode)
  folder = tmp_path_factory.mktemp("case")
  weights.write(folder / "w.safetensors", made)
  np.save(folder / "page.npy", helpers.page())
  found = helpers.wanted(made, helpers.page(), 0.0)
  return made, folder, found


def _check(found, case):
  """All detections, those above the threshold, and of an inverted page."""
  made, _, expected = case
  all_of_them, good, inverted = found
  helpers.check_same(all_of_them, expected)
  assert len(good) == sum(s >= made.threshold for _, s, _ in expected)
  assert inverted == [row for row in all_of_them if row[1] >= 0.5]


def test_stablehlo_needs_jax_only(case):
  _, folder, _ = case
  out = folder / "stablehlo"
  export_files.export(
    str(folder / "w.safetensors"), out, "stablehlo", (90, 120)
  )
  found = helpers.run_alone(out, _JAX, _OURS, folder / "page.npy")
  _check(found, case)


def test_stablehlo_takes_smaller_pages_and_refuses_larger_ones(tmp_path):
  made = helpers.tiny(**helpers.WITH_OFFSETS)
  weights.write(tmp_path / "w.safetensors", made)
  np.save(tmp_path / "page.npy", helpers.page())
  export_files.export(
    str(tmp_path / "w.safetensors"), tmp_path, "stablehlo", (150, 190)
  )
  code = _JAX + "find(numpy.zeros((193, 100)))"
  with pytest.raises(AssertionError, match="this file takes up to 192 x 192"):
    helpers.run_alone(tmp_path, code, _OURS, tmp_path / "page.npy")
  found, *_ = helpers.run_alone(tmp_path, _JAX, _OURS, tmp_path / "page.npy")

  # The page becomes 128 x 128; beyond that this file's decode sees paper.
  def inside(detections):
    return [d for d in detections if d[2][2] < 105 and d[2][3] < 105]

  expected = helpers.wanted(made, helpers.page(), 0.0)
  helpers.check_same(inside(found), inside(expected))


def test_onnx_needs_numpy_and_onnxruntime_only(case):
  _, folder, _ = case
  out = folder / "onnx"
  export_files.export(str(folder / "w.safetensors"), out, "onnx")
  args = (folder / "page.npy", out / "model.onnx")
  found = helpers.run_alone(
    out, _ONNX, (*_OURS, "jax", "jaxlib", "scipy"), *args
  )
  _check(found, case)


def test_the_script_prints_boxes_and_names_mistakes(case, tmp_path):
  _, folder, expected = case
  out = tmp_path / "onnx"
  export_files.export(str(folder / "w.safetensors"), out, "onnx")

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
  np.testing.assert_allclose([*map(float, box)], expected[0][2], atol=0.06)
  for args, message in (
    ((out / "model.onnx", tmp_path / "gone.npy"), "gone.npy"),
    ((out / "model.onnx",), "usage: "),
    ((out / "model.onnx", folder / "page.npy", "much"), "much"),
  ):
    done = call(*args)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_card_is_plain(case):
  made, folder, _ = case
  out = folder / "card"
  export_files.export(str(folder / "w.safetensors"), out, "onnx")
  card = json.loads((out / "classes.json").read_text(encoding="utf8"))
  assert card["class_names"] == list(helpers.NAMES)
  assert (card["calibration"] is None) == (made.calibration is None)
  assert card["threshold"] == made.threshold
