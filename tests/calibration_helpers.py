"""A calibration for detectors that nobody trained."""

from dwd_jax.decode.contradictions import Contradictions
from dwd_jax.metrics.calibration import Calibration, ScoreMap
from dwd_jax.metrics.reliability import OperatingPoint


def calibration(
  score_map: ScoreMap,
  threshold: float,
  contradictions: Contradictions | None = None,
) -> Calibration:
  """Its figures are made up."""
  return Calibration(
    score_map,
    OperatingPoint(threshold, 0.9, 0.8, 0.85),
    ece_raw=0.1,
    ece=0.02,
    num_pages=5,
    num_objects=300,
    num_detections=310,
    made_with={"split": "val"},
    contradictions=contradictions,
  )
