"""Whatever a saved evaluation holds: the same boxes, or one line."""

import json

import eval_helpers
import fuzz_helpers as helpers
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dwd_jax.evaluate import from_saved, output_files


@pytest.fixture(scope="module")
def out(tmp_path_factory):
  out = tmp_path_factory.mktemp("eval")
  eval_helpers.evaluate(out, eval_helpers.pages(oriented=True))
  return out


_FILES = {
  "summary": "val.json",
  "truth": f"val/{output_files.TRUTH}",
  "predictions": f"val/{output_files.PREDICTIONS}",
  "report": f"val/{output_files.REPORT}",
}


@pytest.mark.parametrize("caption", _FILES)
@helpers.cases(0.5)
@given(data=st.data())
def test_saved_files(out, caption, data):
  path = out / _FILES[caption]
  good = path.read_bytes()
  try:
    path.write_bytes(data.draw(helpers.damaged_json(json.loads(good))))
    with helpers.may_refuse(out):
      found = from_saved.read(out, "val")
      for boxes in (boxes for page in found.pages for boxes in page):
        assert np.isfinite(boxes.boxes_yxyx).all()
        if boxes.oriented_yx is not None:
          assert boxes.oriented_yx.shape == (len(boxes.labels), 4, 2)
          assert np.isfinite(boxes.oriented_yx).all()
        assert np.isin(boxes.labels, np.arange(len(found.class_names))).all()
      json.dumps(found.facts, allow_nan=False)
  finally:
    path.write_bytes(good)
