"""Charts of the report, as SVG inside the page; colours come from its CSS."""

import html
import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

_WIDTH, _HEIGHT = 560, 340
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 12, 14, 44
_TICKS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
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


def _x(value: float) -> float:
  return _LEFT + value * (_WIDTH - _LEFT - _RIGHT)


def _y(value: float) -> float:
  return _TOP + (1 - value) * (_HEIGHT - _TOP - _BOTTOM)


def lines(
  label: str, given: Sequence[Line], x_name: str, y_name: str, first: int = 0
) -> str:
  """A chart of lines, both axes from 0 to 1.

  Args:
    label: what it shows, for people who hear it.
    given: the lines; the i-th has colour `first` + i.
    x_name: of the axis.
    y_name: of the axis.
    first: colour of the first line.
  """
  parts = [_grid(x_name, y_name), *map(_tick_x, _TICKS)]
  for i, line in enumerate(given, start=first):
    points = " ".join(
      f"{_x(x):.1f},{_y(y):.1f}"
      for x, y in zip(line.x, line.y, strict=True)
      if x is not None and y is not None
    )
    parts.append(
      f'<polyline class="line c{i}" points="{points}">{_title(line.name)}'
      "</polyline>"
    )
    if line.mark is not None:
      x, y = line.mark
      parts.append(
        f'<circle class="mark c{i}" cx="{_x(x):.1f}" cy="{_y(y):.1f}" r="5">'
        f"{_title(f'{line.name}, at the threshold')}</circle>"
      )
  return _svg(label, parts)


def bars(
  label: str,
  names: Sequence[str],
  series: Sequence[tuple[str, Values]],
  x_name: str,
  y_name: str,
) -> str:
  """A chart of bars side by side, from 0 to 1.

  Args:
    label: what it shows, for people who hear it.
    names: of the groups of bars.
    series: (name, a value for each group; None = no bar).
    x_name: of the axis.
    y_name: of the axis.
  """
  parts = [_grid(x_name, y_name)]
  step = 1 / max(len(names), 1)
  width = 0.8 * step / max(len(series), 1)
  for g, name in enumerate(names):
    parts.append(_text_x((g + 0.5) * step, name))
    for s, (what, values) in enumerate(series):
      value = values[g]
      if value is not None:
        left = g * step + 0.1 * step + s * width
        title = f"{what}, {name}: {value:.3f}"
        parts.append(_bar(left, width * 0.94, value, s, title))
  return _svg(label, parts)


def reliability(
  label: str,
  precision: Values,
  mean_score: Values,
  x_name: str,
  threshold: float | None,
  colour: int,
) -> str:
  """Precision over score in bins of equal width; the diagonal is perfect.

  Args:
    label: what it shows, for people who hear it.
    precision: of each bin; None = empty.
    mean_score: of each bin.
    x_name: of the axis.
    threshold: where a line is drawn; None = nowhere.
    colour: of the bars.
  """
  parts = [_grid(x_name, "share that is right"), *map(_tick_x, _TICKS)]
  step = 1 / max(len(precision), 1)
  for i, (share, score) in enumerate(zip(precision, mean_score, strict=True)):
    if share is None or score is None:
      continue
    title = f"mean score {score:.3f}: {share:.3f} right"
    parts.append(_bar((i + 0.05) * step, 0.9 * step, share, colour, title))
    parts.append(
      f'<circle class="dot" cx="{_x(score):.1f}" cy="{_y(share):.1f}" r="3"/>'
    )
  parts.append(_line(0, 0, 1, 1, "diagonal"))
  if threshold is not None and 0 <= threshold <= 1:
    parts.append(_line(threshold, 0, threshold, 1, "threshold"))
  return _svg(label, parts)


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


def _svg(label: str, parts: Sequence[str]) -> str:
  return (
    f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img"'
    f' aria-label="{html.escape(label)}">{"".join(parts)}</svg>'
  )


def _grid(x_name: str, y_name: str) -> str:
  parts = []
  for tick in _TICKS:
    parts.append(_line(0, tick, 1, tick, "axis" if not tick else "grid"))
    parts.append(
      f'<text class="tick" x="{_LEFT - 6}" y="{_y(tick) + 4:.1f}"'
      f' text-anchor="end">{tick:.1f}</text>'
    )
  parts.append(
    f'<text class="name" x="{_x(0.5):.1f}" y="{_HEIGHT - 6}"'
    f' text-anchor="middle">{html.escape(x_name)}</text>'
    f'<text class="name" text-anchor="middle"'
    f' transform="translate(13 {_y(0.5):.1f}) rotate(-90)">'
    f"{html.escape(y_name)}</text>"
  )
  return "".join(parts)


def _tick_x(value: float) -> str:
  return _line(value, 0, value, 1, "grid") + _text_x(value, f"{value:.1f}")


def _text_x(value: float, text: str) -> str:
  return (
    f'<text class="tick" x="{_x(value):.1f}" y="{_HEIGHT - _BOTTOM + 16}"'
    f' text-anchor="middle">{html.escape(text)}</text>'
  )


def _line(x0: float, y0: float, x1: float, y1: float, name: str) -> str:
  return (
    f'<line class="{name}" x1="{_x(x0):.1f}" y1="{_y(y0):.1f}"'
    f' x2="{_x(x1):.1f}" y2="{_y(y1):.1f}"/>'
  )


def _bar(left: float, width: float, value: float, colour: int, title: str):
  top = _y(value)
  return (
    f'<rect class="bar c{colour}" x="{_x(left):.1f}" y="{top:.1f}"'
    f' width="{width * (_x(1) - _x(0)):.1f}" height="{_y(0) - top:.1f}">'
    f"{_title(title)}</rect>"
  )


def _title(text: str) -> str:
  return f"<title>{html.escape(text)}</title>"
