"""The list of classes: given, listed in files, or inferred."""

import pathlib
from collections.abc import Sequence

from dwd_jax.core.errors import InputError
from tfds_builders import checks
from tfds_builders.boxes.boxes_pages import Found, Page

MAX_CLASSES = 10_000
CLASSES_TXT = "classes.txt"
_OPTION = "data.options.class_names"


def checked(names: Sequence, where: object) -> tuple[str, ...]:
  """Returns class names by id if they are printable and unique.

  Raises:
    InputError: there are none or too many; one is empty, no text, or repeated.
      The message names `where`, the file or key.
  """
  if not names or len(names) > MAX_CLASSES:
    raise InputError(
      f"{where}: {len(names):,} classes; there must be 1 to {MAX_CLASSES:,}"
    )
  seen = set()
  for i, name in enumerate(names):
    if (
      not isinstance(name, str)
      or not name.strip()
      or not name.isprintable()
      or len(name) > 200
    ):
      raise InputError(
        f"{where}: class {i} has the name {str(name)[:200]!r}; give it a"
        " printable name of at most 200 characters"
      )
    if name in seen:
      raise InputError(f"{where}: class {name!r} occurs twice; keep it once")
    seen.add(name)
  return tuple(names)


def read_classes_txt(path: pathlib.Path) -> tuple[str, ...]:
  """Names by id, one per line.

  Raises:
    InputError: a line between others is empty: tools that number the classes by
      line count it, or do not.
  """
  text = checks.read_text(path, max_bytes=4 << 20).rstrip()
  names = [line.strip() for line in text.splitlines()]
  if "" in names:
    raise InputError(
      f"{path}: line {names.index('') + 1} is empty, but classes are numbered"
      " by line; name the class there, or remove the line if no label counts it"
    )
  return checked(names, path)


def resolve(
  root: pathlib.Path,
  given: tuple[str, ...],
  found: Found,
  report: checks.BuildReport,
) -> tuple[str, ...]:
  """The classes of a data set.

  The first present of: the option, classes.txt, the list in the files, the
  sorted names of the objects.

  Args:
    given: the option; () = not set.
    found: content of the annotations.
    report: what was left out of them.

  Raises:
    InputError: the class of an object is not listed, or there is no object.
  """
  if not any(page.objects.names for page in found.pages):
    out = report.line()
    raise InputError(
      f"{root}: {len(found.pages)} annotated images, but no object on any of"
      f" them{f' ({out})' if out else ''}; check the annotations"
    )
  path = root / CLASSES_TXT
  if given:
    names, where = checked(given, _OPTION), _OPTION
  elif path.is_file():
    names, where = read_classes_txt(path), str(path)
  elif found.class_names:
    names, where = found.class_names, "the list of classes"
  else:
    occur = {name for page in found.pages for name in page.objects.names}
    for page in found.pages:
      _refuse_strange(page)
    return checked(sorted(occur), root)
  known = set(names)
  for page in found.pages:
    for i, name in enumerate(page.objects.names):
      if name not in known:
        raise InputError(
          f"{page.annotation}: object {i} of {page.image.name} has the class"
          f" {name[:200]!r}, which is not in {where}; add it there or correct"
          " it"
        )
  return names


def _refuse_strange(page: Page) -> None:
  for i, name in enumerate(page.objects.names):
    if not name or not name.isprintable() or len(name) > 200:
      raise InputError(
        f"{page.annotation}: object {i} has the class {name[:200]!r}; give it"
        " a printable name of at most 200 characters"
      )
