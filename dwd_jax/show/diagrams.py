"""Diagrams of an evaluation, as pictures: uint8 RGB, as in `visualize`."""

import numpy as np

from dwd_jax.metrics import reliability
from dwd_jax.show.drawing import FOUND_RGB, WRONG_RGB, Picture

_INCHES = (9.0, 5.2)
_DPI = 100


def reliability_diagram(
  title: str,
  raw: reliability.Judged,
  final: reliability.Judged | None,
  threshold: float | None,
) -> Picture:
  """Draws precision over score, and how many detections have which score.

  Args:
    title: of the picture.
    raw: detections with the scores of the decode.
    final: the same with probabilities; None if they are not calibrated.
    threshold: default threshold of the probabilities, if there is one.

  Returns:
    One column for raw scores and, if there are any, one for probabilities.
    Calibrated scores lie on the diagonal.
  """
  # Imported late: it takes longer than all our own modules together.
  from matplotlib.backends.backend_agg import FigureCanvasAgg
  from matplotlib.figure import Figure

  columns: list[tuple] = [("raw score", raw, WRONG_RGB)]
  if final is not None:
    columns.append(("calibrated probability", final, FOUND_RGB))
  figure = Figure(figsize=_INCHES, dpi=_DPI, layout="constrained")
  canvas = FigureCanvasAgg(figure)
  figure.suptitle(title)
  axes = figure.subplots(
    2,
    len(columns),
    sharex=True,
    sharey="row",
    squeeze=False,
    gridspec_kw={"height_ratios": (3, 1)},
  )
  for (above, below), column in zip(axes.T, columns, strict=True):
    _draw_column(above, below, *column)
  axes[0, 0].set_ylabel("share that is right (IoU 0.5, class)")
  axes[1, 0].set_ylabel("detections")
  if threshold is not None:
    for axis in axes[:, -1]:
      axis.axvline(threshold, color="black", linestyle=":")
    axes[0, -1].text(threshold, 0.02, f" threshold {threshold:.2f}")
  canvas.draw()
  return np.array(np.asarray(canvas.buffer_rgba())[..., :3])


def _draw_column(above, below, name, judged, rgb) -> None:
  """Bins of one kind of score: their precision and their sizes."""
  bins = reliability.reliability(judged.scores, judged.correct)
  ece = reliability.expected_calibration_error(judged.scores, judged.correct)
  num_bins = len(bins.count)
  middle, width = (np.arange(num_bins) + 0.5) / num_bins, 0.9 / num_bins
  color = tuple(c / 255 for c in rgb)
  above.bar(middle, np.nan_to_num(bins.precision), width, color=color)
  above.plot([0, 1], [0, 1], color="black", linewidth=1)
  above.plot(bins.mean_score, bins.precision, "o", color="black", markersize=3)
  above.set_title(f"{name}: ECE {ece:.3f}")
  above.set_xlim(0, 1)
  above.set_ylim(0, 1)
  below.bar(middle, bins.count, width, color=color)
  below.set_xlabel(name)
