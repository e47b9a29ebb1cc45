"""Pages over pretended devices; run by test_devices.py.

Prints a line of JSON: how the results differ from those of one device, and how
a batch lies.
"""

import json

import jax
import local_model
import numpy as np

from dwd_jax.cluster import sharding
from dwd_jax.predict import predict_pages
from dwd_jax.predict.predict_config import PredictConfig


def main() -> None:
  pages = [local_model.page_of_squares((200, 300), i) for i in range(11)]
  wanted = list(predict_pages.predict_pages(local_model.bound(), pages))
  count, lies = jax.local_device_count(), []
  network = local_model.bound(sharding.on_local_devices)

  def seen(stack):
    found, levels = network(stack)
    of_devices = [shard.data.shape[0] for shard in levels.addressable_shards]
    lies.append((str(stack.dtype), len(of_devices), set(of_devices) == {1}))
    return found, levels

  cfg = PredictConfig(devices=count)
  got = list(predict_pages.predict_pages(seen, pages, cfg, keep_levels=1))
  assert got[0].levels is not None
  apart, objects = 0.0, 0
  for one, other in zip(wanted, got, strict=True):
    a, b = one.detections, other.detections
    np.testing.assert_array_equal(a.labels, b.labels)
    objects += len(a.labels)
    apart = max(apart, float(np.abs(a.boxes_yxyx - b.boxes_yxyx).max()))
    apart = max(apart, float(np.abs(a.scores - b.scores).max()))
  print(json.dumps({"apart": apart, "objects": objects, "lies": lies}))


if __name__ == "__main__":
  main()
