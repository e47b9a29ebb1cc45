"""Closure: truth -> target maps -> decode gives the truth back.

Perfect maps bound what any network can reach; a few pages guard that bound.
"""

import numpy as np
import pytest
from lxml import etree

from dwd_jax import closure, energy_groups, targets
from dwd_jax.decode import config

_HW = (1152, 1792)  # holds the largest page at scale 0.5
_MAX_BOXES = 1536
_SCALE = 0.5


def _closure(pages, groups, cfg, target_cfg, hw=_HW, noise="none"):
  """Recall (of distinct objects) and precision over (boxes_yxyx, labels)."""
  run = closure.make_closure(groups, hw, target_cfg, cfg, noise)
  pages = [closure.run_page(run, *page, _MAX_BOXES) for page in pages]
  matched = sum(page.num_matched for page in pages)
  distinct = sum((~(page.lost & page.repeated)).sum() for page in pages)
  return matched / distinct, matched / sum(page.num_found for page in pages)


def _read_page(path):
  """(class name, top, left, height, width) of every object of a MuNG file."""
  parser = etree.XMLParser(
    resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False
  )
  return [
    (
      node.findtext("ClassName"),
      *(int(node.findtext(k)) for k in ("Top", "Left", "Height", "Width")),
    )
    for node in etree.parse(path, parser).iter("Node")
  ]


@pytest.fixture(scope="module")
def muscima(shared_data):
  """Scaled boxes and labels of 24 pages, and the number of classes."""
  folder = shared_data / "muscima_pp" / "v2.0" / "data" / "annotations"
  pages = [_read_page(path) for path in sorted(folder.glob("*.xml"))[::5]]
  names = sorted({row[0] for page in pages for row in page})
  scaled = []
  for page in pages:
    yxhw = np.array([row[1:] for row in page], np.float32) * _SCALE
    boxes = np.concatenate([yxhw[:, :2], yxhw[:, :2] + yxhw[:, 2:]], 1)
    labels = np.array([names.index(row[0]) for row in page], np.int32)
    scaled.append((boxes, labels))
  return scaled, len(names)


_WATERSHED = config.DecodeConfig()
_EXACT = targets.TargetConfig(disc_center="exact", class_overlap="nearest")
_ROUNDED = targets.TargetConfig()
_PAPER = config.DecodeConfig(method="threshold", size="max", energy_cutoff=1.0)
_THRESHOLD = config.DecodeConfig(method="threshold", energy_cutoff=10.0)


@pytest.mark.parametrize(
  ("cfg", "target_cfg", "num_groups", "least_recall", "least_precision"),
  [
    pytest.param(
      _WATERSHED, _EXACT, 3, 0.995, 0.995, id="watershed, three groups"
    ),
    pytest.param(
      _WATERSHED, _EXACT, 2, 0.97, 0.985, id="watershed, two groups"
    ),
    pytest.param(_WATERSHED, _EXACT, 1, 0.90, 0.96, id="watershed, one group"),
    pytest.param(_THRESHOLD, _ROUNDED, 1, 0.65, 0.85, id="threshold > 10"),
    pytest.param(
      _PAPER, _ROUNDED, 1, 0.35, 0.65, id="threshold > 1, the paper's"
    ),
  ],
)
def test_muscima_pages_come_back(
  muscima, cfg, target_cfg, num_groups, least_recall, least_precision
):
  pages, num_classes = muscima
  train, test = pages[:-4], pages[-4:]
  groups = energy_groups.assign_groups(train, num_classes, num_groups)
  recall, precision = _closure(test, groups, cfg, target_cfg)
  print(f"recall {recall:.4f}, precision {precision:.4f}")
  assert recall >= least_recall
  assert precision >= least_precision


def _dense_page(seed, hw=(480, 640)):
  """Made-up music: chords of heads that touch, stems and dots on their centres.

  Classes: 0 head, 1 stem, 2 dot, 3 beam; a stem and a beam share the centre of
  a head, a dot is 7 px beside one.
  """
  rng = np.random.default_rng(seed)
  rows = []
  for y in range(30, hw[0] - 30, 45):
    for x in range(30, hw[1] - 30, 24):
      cy, cx = y + rng.uniform(0, 4), x + rng.uniform(0, 4)
      rows.append((cy, cx, 6.5, 7.5, 0))
      if rng.random() < 0.5:
        rows.append((cy + 6.5, cx, 6.5, 7.5, 0))
      if rng.random() < 0.7:
        rows.append((cy + 1, cx + 0.5, 30, 2, 1))
      if rng.random() < 0.5:
        rows.append((cy, cx + 7, 3, 3, 2))
      if rng.random() < 0.3:
        rows.append((cy - 1, cx, 4, 60, 3))
  cy, cx, height, width, labels = np.array(rows).T
  boxes = np.stack(
    [cy - height / 2, cx - width / 2, cy + height / 2, cx + width / 2], 1
  )
  return boxes.astype(np.float32), labels.astype(np.int32)


@pytest.mark.parametrize(
  ("num_groups", "least", "most"),
  [
    pytest.param(3, 0.995, 1.0, id="three groups"),
    pytest.param(1, 0.4, 0.8, id="one group cannot"),
  ],
)
def test_made_up_pages_come_back(num_groups, least, most):
  pages = [_dense_page(seed) for seed in range(4)]
  groups = energy_groups.assign_groups(pages[:2], 4, num_groups)
  recall, precision = _closure(
    pages[2:], groups, _WATERSHED, _EXACT, (480, 640)
  )
  assert least <= recall <= most
  assert precision >= least
