"""Parity of the legacy decode with boxes recorded from the original code."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dwd_jax.decode import decode_config, watershed

_NUM_CLASSES = 124  # DeepScores 2017; class 0 is also the background


@pytest.fixture(scope="module")
def maps(golden_dir):
  with np.load(golden_dir / "reference_maps.npz") as stored:
    return {k: v for k, v in stored.items() if k.startswith("decode")}


@pytest.mark.parametrize(
  ("cutoff", "min_area_px"),
  [
    pytest.param(1.0, 4, id="the paper's cutoff"),
    pytest.param(5.0, 0, id="specks kept"),
    pytest.param(10.0, 8, id="high cutoff"),
  ],
)
def test_legacy_gives_the_original_boxes(maps, cutoff, min_area_px):
  cfg = decode_config.DecodeConfig(
    method="threshold",
    size="max",
    class_vote="majority",
    legacy=True,
    energy_cutoff=cutoff,
    min_area_px=min_area_px,
    max_detections=256,
  )
  levels, classes, sizes = (
    jnp.stack([maps[f"decode{i}_{name}"] for i in range(5)])
    for name in ("energy", "class", "size")
  )

  def class_fn(page, y, x, group):
    del group  # one energy group
    return jax.nn.one_hot(classes[page, y, x], _NUM_CLASSES)

  found = watershed.decode_levels(
    levels[..., None].astype(jnp.float32), sizes[..., None, :], class_fn, cfg
  )
  found = jax.tree.map(np.asarray, found)
  for i in range(5):
    # Recorded by the original code (commit ac54e34), as (xmin, ymin, ...).
    expected = maps[f"decode{i}_boxes_cut{cutoff:.0f}_min{min_area_px}"]
    valid = found.valid[i]
    rows = np.column_stack(
      [found.boxes_yxyx[i][:, [1, 0, 3, 2]], found.labels[i]]
    )[valid]
    rows = rows[np.lexsort(rows.T[::-1])]
    np.testing.assert_array_equal(rows, expected)
    assert found.count[i] == len(expected)
