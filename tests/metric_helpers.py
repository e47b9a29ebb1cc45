"""The metrics of pages in memory, as an evaluation computes them one by one."""

import dataclasses

import numpy as np

from dwd_jax.metrics import matching, protocols


def judge(truth, detections):
  """Outcomes of pages; both lists have the same ones in the same order."""
  collector = matching.Collector()
  for true, page in zip(truth, detections, strict=True):
    found = page.finite()
    collector.add(true, found, matching.judge_page(true, found))
  return collector.outcomes()


def measure(truth, detections, num_classes, protocol, ious=protocols.IOUS):
  """APs by a protocol or its rules; a page may be without detections."""
  rules = protocols.PROTOCOLS.get(protocol, protocol)
  found = {page.filename: page for page in detections}
  meter = protocols.Meter(num_classes, rules, ious=ious)
  for page in truth:
    none = dataclasses.replace(page.keep(np.zeros(0, int)), scores=np.zeros(0))
    meter.add(page, found.pop(page.filename, none))
  assert not found
  return meter.table()
