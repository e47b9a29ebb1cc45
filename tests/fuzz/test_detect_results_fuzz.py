"""Whatever a folder of results holds: results of ours, none, or one line."""

import json

import detect_helpers
import fuzz_helpers as helpers
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dwd_jax.apps.detect import formats, inputs, manifest
from dwd_jax.predict.page_detections import PageDetections

_RUN = "0123456789abcdef"


@pytest.fixture(scope="module")
def out(tmp_path_factory):
  return tmp_path_factory.mktemp("out")


@pytest.fixture(scope="module")
def page(out):
  """A page, and the content of its file."""
  path = detect_helpers.save(out / "scan.png", detect_helpers.ink())
  source = inputs.Source("scan", str(path), 1, 1)
  found = PageDetections(
    page="scan",
    image_hw=(100, 120),
    boxes_yxyx=np.array([[1, 2, 30, 40], [5, 5, 9, 9.5]], np.float32),
    labels=np.array([0, 2], np.int32),
    scores=np.array([0.9, 0.5]),
    class_names=detect_helpers.CLASSES,
    staff_space_px=9.0,
    dpi=150.0,
    turned=0,
    without_staves=False,
    oriented_yx=np.arange(16, dtype=np.float32).reshape(2, 4, 2),
  )
  return source, found.to_json() | formats.origin(source, _RUN)


def _read(out, source):
  return formats.read_page(out, source, detect_helpers.CLASSES, _RUN)


@helpers.cases()
@given(data=st.data())
def test_files_of_pages(out, page, data):
  source, content = page
  path = out / formats._PAGE.format("scan")
  path.parent.mkdir(exist_ok=True)
  path.write_text(json.dumps(content))
  assert _read(out, source) is not None
  path.write_bytes(data.draw(helpers.damaged_json(content)))
  found = _read(out, source)
  if found is not None:
    number = len(found.labels)
    assert found.boxes_yxyx.shape == (number, 4)
    assert np.isfinite(found.boxes_yxyx).all()
    if found.oriented_yx is not None:
      assert found.oriented_yx.shape == (number, 4, 2)
      assert np.isfinite(found.oriented_yx).all()
    assert found.scores.shape == (number,) and np.isfinite(found.scores).all()
    assert all(0 < side < 1 << 20 for side in found.image_hw)
    json.dumps(found.to_json(), allow_nan=False)


_MANIFEST = {
  "settings": {"checkpoint": "a", "min_score": 0.3},
  "pages": ["a", "b"],
  "failed": [{"what": "c.png", "reason": "broken"}],
  "claimed": ["a", "b", "c"],
}


@helpers.cases()
@given(data=helpers.damaged_json(_MANIFEST))
def test_manifests(out, data):
  (out / manifest.NAME).write_bytes(data)
  with helpers.may_refuse(out / manifest.NAME):
    written = manifest.read(out / manifest.NAME)
    assert written is not None
    manifest.digest(written.settings)
    assert not any("/" in name or not name for name in written.claimed)
  assert out / "z-overlay.png" not in manifest.Pictures()
