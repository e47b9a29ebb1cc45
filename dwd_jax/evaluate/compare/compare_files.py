"""Compares saved evaluations and writes the files."""

import json
import pathlib
from collections.abc import Callable, Sequence

from dwd_jax.core import files
from dwd_jax.core.errors import InputError
from dwd_jax.evaluate import latex_table
from dwd_jax.evaluate.compare import compare_page, comparison, crops, sides

PAGE = "index.html"
DATA = "comparison.json"
_MOST = 10  # classes that are printed


def write(
  evaluations: Sequence[str],
  out: pathlib.Path,
  names: Sequence[str] = (),
  say: Callable[[str], None] = print,
) -> None:
  """Writes classes.tex, and for two evaluations index.html, comparison.json.

  Args:
    evaluations: see `sides.open_sides`.
    out: folder of the files.
    names: of the detectors; () = those of their runs.
    say: takes what was found, a line at a time.

  Raises:
    InputError: fewer than two evaluations, or see `sides.open_sides`.
  """
  if len(evaluations) < 2:
    raise InputError("one evaluation is nothing to compare; name two or more")
  opened = sides.open_sides(evaluations, names)
  files.make_dir(out, "choose another --out")
  table = latex_table.class_table(
    {side.name: side.measured.metrics for side in opened}
  )
  files.write_atomic(out / latex_table.NAME, table)
  if len(opened) > 2:
    say(f"{out / latex_table.NAME}; only two evaluations make a page")
    return
  a, b = opened
  pages = [*comparison.counted(a, b)]
  data = comparison.compare(a, b, pages)
  files.write_atomic(out / DATA, json.dumps(data, allow_nan=False) + "\n")
  shown = crops.most_different(
    pages, [a.folder, b.folder], a.measured.class_names
  )
  files.write_atomic(out / PAGE, compare_page.render(data, (a, b), shown, out))
  for key, value in data["totals"].items():
    say(_line(key, value))
  sure = [(n, r["AP"]) for n, r in data["per_class"].items() if r["AP"]["sure"]]
  if sure:
    say(f"AP of {len(sure)} classes differs by more than the choice of pages:")
  for name, value in sorted(sure, key=lambda v: -abs(v[1]["difference"]))[
    :_MOST
  ]:
    say("  " + _line(name, value))
  say(f"Look at {out / PAGE}")


def _line(key: str, value: dict) -> str:
  """A total of both, and whether the difference is more than noise."""
  if value["difference"] is None:
    return f"{key}: unknown"
  a, b, difference = (value[k] for k in ("a", "b", "difference"))
  text = f"{key}: {a:.3f}, {b:.3f} ({difference:+.3f}"
  if value["interval"]:
    text += ", 95 % of samples {:+.3f} to {:+.3f}".format(*value["interval"])
  return text + ")"
