"""Measures what an evaluation has saved, without the network.

`WORKDIR/eval/<split>/predictions.json` and `truth.json` are measured by another
protocol or from a higher score on, in seconds, and all files that depend on it
are written anew: `<split>.json`, the lists res-*.txt, report and viewer. What
is saved stays as it is, so that the next time may go back to a lower score.

The numbers are those that the evaluation with the network would give with the
same scores. What it needs the network for is taken from the saved summary:
`seconds_per_page`, `checkpoint_step`, `overflowing_pages`; and what it
says of all detections, those below `min_score` too: `calibrated`, `ece_raw`,
`ece`, `threshold`, `precision`, `recall`, `f1`, for another data set also
`unmapped_detections`. Pictures, curves.jsonl and TensorBoard stay as they are.

An evaluation with the network never calibrates scores in the legacy protocol;
here they are the saved ones. Calibration keeps their order within a class, so
an AP can differ by what `min_score` leaves out, and by ties, only.
"""

import pathlib
from typing import Any

from dwd_jax.core.errors import InputError
from dwd_jax.evaluate import from_saved, output_files
from dwd_jax.evaluate.report.report_data import Measured
from dwd_jax.metrics import protocols
from dwd_jax.metrics import summary as summary_lib
from dwd_jax.metrics.flat_boxes import at_least
from dwd_jax.metrics.protocols import Protocol

# Of another data set than the run's; behind the keys of the contract.
_OTHER_KEYS = ("vocabularies", "unmapped_detections")


def reevaluate(
  out_dir: str | pathlib.Path,
  name: str,
  *,
  protocol: Protocol = "coco",
  min_score: float = 0.05,
  viewer_pages: int = 0,
) -> dict[str, Any]:
  """Measures the saved detections of a split and writes the results.

  Args:
    out_dir: WORKDIR/eval.
    name: of the split's files.
    protocol: one of `protocols.PROTOCOLS`.
    min_score: detections below this score do not count; not below that of the
      evaluation that saved them.
    viewer_pages: so many of the first pages are in the viewer, if there are
      pictures of them; -1 = all.

  Returns:
    The content of `<split>.json`.

  Raises:
    InputError: unknown protocol, a score that is too low, a file that is
      missing or damaged.
  """
  protocols.check(protocol)
  out_dir = pathlib.Path(out_dir)
  found = from_saved.read(out_dir, name)
  if not found.min_score <= min_score <= 1:
    raise InputError(
      f"config: eval.min_score is {min_score:g}, but"
      f" {out_dir / name / output_files.PREDICTIONS} holds detections from"
      f" {found.min_score:g} on; use a score from there up to 1, or evaluate"
      " without eval.from_saved"
    )
  detections = [at_least(page, min_score) for page in found.detections]
  table = protocols.measure(
    found.truth,
    detections,
    len(found.class_names),
    protocol,
    found.metrics["dataset"],
  )
  changed = {"protocol": protocol, "min_score": float(min_score)}
  metrics = summary_lib.make(
    table, detections, found.class_names, **(found.metrics | changed)
  )
  metrics |= {k: found.metrics[k] for k in _OTHER_KEYS if k in found.metrics}
  judged = Measured(
    *(name, metrics, table, found.truth, detections, found.class_names),
    staff_spaces=found.staff_spaces,
    reliability=found.reliability,
    saved={
      "min_score": found.min_score,
      "num_detections": sum(len(page.labels) for page in found.detections),
    },
  )
  output_files.write_scores(out_dir, judged, viewer_pages)
  return metrics
