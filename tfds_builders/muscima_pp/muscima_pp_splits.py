"""Which page of MUSCIMA++ belongs to which split; no TFDS in here."""

import pathlib
import re
from collections.abc import Iterable

from dwd_jax.core.errors import InputError
from tfds_builders import checks

# Writers whose pages are kept out of `train`: 12 pages (10 %) of 12 different
# pieces each, chosen so that 106 of the 115 classes occur in either part, and
# all of them in `train`.
VAL_WRITERS = frozenset({"17", "18", "26", "37"})
HELDOUT_WRITERS = frozenset({"11", "23", "38", "50"})
# Those of the eight without a page in testset-dependent, whose writers must all
# have pages in `train`.
DEPENDENT_VAL_WRITERS = frozenset({"11", "17", "18", "38"})
KINDS = ("", "independent", "dependent")
_PAGE_NAME = re.compile(r"CVC-MUSCIMA_W-([0-9]{2})_N-([0-9]{2})_D-[\w-]{1,40}")


def page_id(name: str, path: pathlib.Path) -> tuple[str, str]:
  """Writer and piece of a page, two digits each; errors name `path`."""
  match = _PAGE_NAME.fullmatch(name)
  if not match:
    raise InputError(
      f"{path}: {name[:100]!r} is not CVC-MUSCIMA_W-xx_N-xx_D-...; name the"
      " page so or take it away"
    )
  return match[1], match[2]


def assign(
  names: Iterable[str],
  folder: pathlib.Path,
  specifications: pathlib.Path,
  kind: str,
  report: checks.BuildReport,
) -> dict[str, list[str]]:
  """The page names of each split.

  Args:
    folder: of their annotations, for errors.
    specifications: folder with the official lists of test pages.
    kind: "": test (testset-independent), val, heldout and train, all by writer;
      "independent": the same without heldout; "dependent": test is
      testset-dependent, whose writers are in train too, and val is by writer.
    report: counts official test pages that are missing, and pages by a writer
      of an independent test that are not on its list: they are in no split.

  Raises:
    InputError: an unknown kind, a bad list, a foreign page name, or one page
      under two names.
  """
  if kind not in KINDS:
    raise InputError(
      f"data.options.official_split: {kind!r} is none of ''"
      " (independent test, val and heldout), 'independent', 'dependent'"
    )
  dependent = kind == "dependent"
  path = specifications / f"testset-{'' if dependent else 'in'}dependent.txt"
  official = {page_id(name, path): name for name in _read_list(path)}
  test_writers = {} if dependent else {writer for writer, _ in official}
  splits: dict[str, list[str]] = {}
  seen: dict[tuple[str, str], str] = {}
  for name in sorted(names):
    page = page_id(name, folder / f"{name}.xml")
    if page in seen:
      raise InputError(
        f"{folder / name}.xml: the same page as {seen[page]}; keep one of them"
      )
    seen[page] = name
    if page in official:
      split = "test"
    elif page[0] in test_writers:
      report.add("pages skipped: by a test writer, not in the test", name)
      continue
    else:
      split = _by_writer(page[0], kind)
    splits.setdefault(split, []).append(name)
  for page in sorted(set(official) - set(seen)):
    report.add("official test pages absent", official[page])
  return splits


def _by_writer(writer: str, kind: str) -> str:
  val = DEPENDENT_VAL_WRITERS if kind == "dependent" else VAL_WRITERS
  if writer in val:
    return "val"
  return "heldout" if not kind and writer in HELDOUT_WRITERS else "train"


def _read_list(path: pathlib.Path) -> list[str]:
  names = checks.read_text(path).split()
  if len(set(names)) < len(names):
    raise InputError(f"{path}: a page is listed twice; keep it once")
  return names
