"""The scores of a split: calibrated or raw, and what they are worth."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from dwd_jax.core.structs import PageBoxes
from dwd_jax.evaluate.report import report_data
from dwd_jax.metrics import reliability
from dwd_jax.metrics.calibration import Calibration
from dwd_jax.metrics.json_results import or_null
from dwd_jax.show import diagrams
from dwd_jax.show.drawing import Picture


class Scores(NamedTuple):
  """Detections with the scores that count, judged.

  Attributes:
    detections: classes of the run.
    raw: the detections judged with the scores of the decode.
    final: the same with the scores of `detections`.
    threshold: default threshold; None: the scores are not calibrated.
  """

  detections: list[PageBoxes]
  raw: reliability.Judged
  final: reliability.Judged
  threshold: float | None

  def facts(self) -> dict[str, Any]:
    """The summary's fields on scores, unknown numbers as None."""
    ece = reliability.expected_calibration_error
    point: dict[str, Any] = dict.fromkeys(reliability.OperatingPoint._fields)
    if self.threshold is not None:
      values = reliability.operating_point(self.final, self.threshold)
      point = {key: or_null(value) for key, value in values._asdict().items()}
    return {
      "calibrated": self.threshold is not None,
      "ece_raw": or_null(ece(self.raw.scores, self.raw.correct)),
      "ece": or_null(ece(self.final.scores, self.final.correct)),
      **point,
    }

  def bins(self) -> dict[str, Any]:
    """The diagram's numbers, see `report_data`."""
    final = None if self.threshold is None else self.final
    return report_data.reliability_bins(self.raw, final)

  def diagram(self, title: str) -> Picture:
    """The picture `reliability`."""
    final = None if self.threshold is None else self.final
    return diagrams.reliability_diagram(title, self.raw, final, self.threshold)


def judge(
  truth: Sequence[PageBoxes],
  detections: Sequence[PageBoxes],
  relabel: Callable[[PageBoxes], PageBoxes],
  calibration: Calibration | None,
) -> Scores:
  """Calibrates the scores of a split and judges them.

  Args:
    truth: of the pages.
    detections: of the same pages in the same order: raw scores, classes of the
      run.
    relabel: gives them the classes of the truth.
    calibration: None: scores stay raw.
  """
  raw = reliability.judge(truth, [relabel(page) for page in detections])
  if calibration is None:
    return Scores(list(detections), raw, raw, None)
  # The map knows the classes of the run, so it comes before the relabelling.
  scored = [calibration.apply(page) for page in detections]
  final = reliability.judge(truth, [relabel(page) for page in scored])
  return Scores(scored, raw, final, calibration.point.threshold)
