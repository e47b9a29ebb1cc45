"""Charts as SVG inside a page: matplotlib draws, the page's CSS colours.

Names that come from data stand beside a chart as HTML, or in its tooltips.
"""

import io
import itertools
import math
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from markupsafe import Markup, escape

_WIDTH, _HEIGHT = 560, 340  # px
_PLACE = (0.085, 0.13, 0.89, 0.83)  # of the axes: left, bottom, width, height
_TICKS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
_INK, _GRID, _SOFT, _PAPER = 0, 7, 8, 9  # colours besides those of the lines
_TIP = "tip: "  # what is shown where one points at a part of the chart
Values = Sequence[float | None]


class Line(NamedTuple):
  """A line of a chart.

  Attributes:
    name: for people who point at it.
    x: 0..1.
    y: 0..1; as many.
    mark: where a ring is drawn, (x, y); None = nowhere.
  """

  name: str
  x: Values
  y: Values
  mark: tuple[float, float] | None = None


def lines(
  label: str, given: Sequence[Line], x_name: str, y_name: str, first: int = 0
) -> Markup:
  """A chart of lines, both axes from 0 to 1.

  Args:
    label: what it shows, for people who hear it.
    given: the lines; the i-th has colour `first` + i.
    first: colour of the first line, see style.css.
  """
  axes = _axes(x_name, y_name)
  for i, line in enumerate(given, start=first):
    pairs = zip(line.x, line.y, strict=True)
    known = [pair for pair in pairs if None not in pair]
    x, y = zip(*known, strict=True) if known else ((), ())
    drawn = {"color": _colour(i), "linewidth": 2, "clip_on": False}
    axes.plot(x, y, gid=_TIP + line.name, **drawn)
    if line.mark is not None:
      tip = f"{_TIP}{line.name}, at the threshold"
      ring = {"marker": "o", "markersize": 10, "markeredgewidth": 2}
      ring["markerfacecolor"] = _colour(_PAPER)
      axes.plot(*line.mark, gid=tip, **ring, **drawn)
  return _svg(axes, label)


def bars(
  label: str,
  names: Sequence[str],
  series: Sequence[tuple[str, Values]],
  x_name: str,
) -> Markup:
  """A chart of bars side by side, from 0 to 1.

  Args:
    label: what it shows, for people who hear it.
    series: (name, a value for each group; None = no bar); the i-th has colour
      i + 1.
  """
  axes = _axes(x_name, "")
  axes.set_xlim(-0.5, len(names) - 0.5)
  axes.set_xticks(range(len(names)), names)
  axes.grid(visible=False, axis="x")
  width = 0.8 / len(series)
  for s, (what, values) in enumerate(series):
    for g, (name, value) in enumerate(zip(names, values, strict=True)):
      if value is not None:
        left = g - 0.4 + s * width
        tip = f"{what}, {name}: {value:.3f}"
        _bar(axes, left, 0.94 * width, value, tip, s + 1)
  return _svg(axes, label)


def reliability(
  label: str,
  precision: Values,
  mean_score: Values,
  threshold: float | None,
  colour: int,
) -> Markup:
  """Precision over score in bins of equal width; the diagonal is perfect.

  Args:
    label: what it shows, and the name of the scores.
    precision: of each bin; None = empty.
    mean_score: of each bin.
    threshold: where a line is drawn; None = nowhere.
  """
  axes = _axes(label, "share that is right")
  ink = {"color": _colour(_INK), "linewidth": 1, "clip_on": False}
  axes.plot((0, 1), (0, 1), **ink)
  if threshold is not None and 0 <= threshold <= 1:
    axes.axvline(threshold, linestyle="--", **ink)
  step = 1 / len(precision)
  scores, shares = [], []
  for i, (share, score) in enumerate(zip(precision, mean_score, strict=True)):
    if share is not None and score is not None:
      tip = f"mean score {score:.3f}: {share:.3f} right"
      _bar(axes, (i + 0.05) * step, 0.9 * step, share, tip, colour)
      scores.append(score)
      shares.append(share)
  axes.plot(scores, shares, **ink | {"marker": "o", "linestyle": ""})
  return _svg(axes, label)


def size_names(edges: Values) -> list[str]:
  """Names of bins: up to 4, 4-6, ..., 128 or more; None = no end."""
  names = []
  for low, high in itertools.pairwise(edges):
    if high is None or not math.isfinite(high):
      names.append(f"{low:g} +")
    elif not low:
      names.append(f"< {high:g}")
    else:
      names.append(f"{low:g}–{high:g}")  # noqa: RUF001 (a range)
  return names


def _colour(number: int) -> str:
  """Stands for --c`number` of style.css until the SVG is complete."""
  return f"#0000f{number}"


def _axes(x_name: str, y_name: str) -> Any:
  """Axes from 0 to 1 with a grid, in a figure of their own."""
  # Imported late: it takes longer than all our own modules together.
  from matplotlib.figure import Figure

  axes = Figure(figsize=(_WIDTH / 72, _HEIGHT / 72)).add_axes(_PLACE)
  axes.set(xlim=(0, 1), ylim=(0, 1), xticks=_TICKS, yticks=_TICKS)
  axes.set_xlabel(x_name, color=_colour(_INK), fontsize=12, labelpad=7)
  axes.set_ylabel(y_name, color=_colour(_INK), fontsize=12, labelpad=6)
  axes.tick_params(length=0, labelcolor=_colour(_SOFT), labelsize=11, pad=7)
  axes.grid(color=_colour(_GRID), clip_on=False)
  axes.set_axisbelow(True)
  axes.spines[:].set_color("none")
  axes.spines["bottom"].set_color(_colour(_SOFT))
  return axes


def _bar(axes, left: float, width: float, height: float, tip: str, colour: int):
  from matplotlib.patches import Rectangle

  drawn = {"color": _colour(colour), "linewidth": 0, "clip_on": False}
  axes.add_patch(Rectangle((left, 0), width, height, gid=_TIP + tip, **drawn))


def _svg(axes, label: str) -> Markup:
  """What matplotlib draws, to stand in a page: the same bytes every time."""
  import matplotlib

  drawn = io.StringIO()
  nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
  with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": label}):
    axes.figure.savefig(drawn, format="svg", transparent=True, metadata=nothing)
  text = drawn.getvalue()
  # The page has a style and a font; its ids are its own.
  text = text[text.index("</defs>") + len("</defs>") :]
  text = re.sub(f'<g id="{_TIP}([^"]*)">', r"<g><title>\1</title>", text)
  text = re.sub(r'<g id="[^"]*"', "<g", text)
  text = re.sub(r"font-family: [^;\"]*;? ?", "", text)
  text = re.sub(r"#0000f(\d)", r"var(--c\1)", text)
  text = re.sub(r"\s*\n\s*", "\n", text)
  return Markup(
    f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img"'
    f' aria-label="{escape(label)}">{text}'
  )
