"""What the legacy protocol leaves out, and what it still counts."""

import numpy as np
import pytest

from dwd_jax.core import vocabulary
from dwd_jax.core.structs import PageBoxes
from dwd_jax.metrics import legacy, protocols


def _page(labels, side=40):
  near = 60.0 * np.arange(len(labels))
  return PageBoxes(
    filename="a.png",
    image_hw=(3000, 100),
    boxes_yxyx=np.stack([near, near * 0, near + side, near * 0 + side], 1),
    labels=np.array(labels, np.int32),
    scores=np.ones(len(labels)),
  )


def _table(class_names, labels, *data_set, found=None):
  meter = protocols.meter("legacy", class_names, *data_set)
  meter.add(_page(labels), _page(labels if found is None else found))
  return meter.table()


def test_perfect_detections_give_1_where_classes_are_absent():
  table = _table(("a", "b", "c", "d", "e"), [0, 2, 4, 2])
  assert table.num_objects.tolist() == [1, 0, 2, 0, 1]
  assert protocols.mean_or_nan(table.at(0.5)) == 1
  # Detections of an absent class do not count, as the original's nan.
  table = _table(("a", "b"), [0, 0], found=[0, 1])
  assert protocols.mean_or_nan(table.at(0.5)) == 0.5


# Caption: data set, its edition, names left out and names judged.
LISTS = {
  "DeepScores": ("deepscores", "dense_2017", ["timeSig12"], ["timeSig9"]),
  "its first edition": ("deepscores", "", ["timeSig12"], ["timeSig9"]),
  "scans": ("deepscores", "300dpi_2017", ["timeSig12", "timeSig9"], ["gClef"]),
  "photos": ("deepscores", "ipad_2017", [], ["timeSig12", "timeSig9"]),
  "DeepScoresV2": ("deepscores_v2", "dense", ["staff"], ["slur"]),
  "MUSCIMA++": ("muscima_pp", "v1.0", ["letter_g", "ledger_line"], ["slur"]),
  "in today's names": ("muscima_pp", "", ["characterSmallG"], ["slur"]),
  "another": ("boxes", "coco", [], ["staff", "timeSig12"]),
}


@pytest.mark.parametrize("caption", LISTS)
def test_classes_are_left_out_by_name(caption):
  dataset, config, left_out, judged = LISTS[caption]
  names = (*left_out, *judged)
  labels = np.arange(len(names))
  table = _table(names, labels, dataset, config)
  first = len(left_out)
  assert np.isnan(table.at(0.5)[:first]).all()
  assert table.at(0.5)[first:].tolist() == [1] * len(judged)


def test_the_lists_name_classes_of_the_vocabularies():
  for dataset, config, vocabularies, count in (
    ("deepscores", "dense_2017", ["deepscores_v1"], 11),
    ("deepscores", "300dpi_2017", ["deepscores_v1"], 40),
    ("deepscores_v2", "dense", ["deepscores_v2"], 2),
    ("muscima_pp", "", ["muscima_v1", "muscima_v2"], 17 + 15),
  ):
    names = [n for v in vocabularies for n in vocabulary.names_of(v)]
    judged = legacy.is_judged(names, dataset, config)
    assert (~judged).sum() == count
