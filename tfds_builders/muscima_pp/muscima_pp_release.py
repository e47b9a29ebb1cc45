"""Folders of the releases v1.0 and v2.0 -> classes, splits, pages; no TFDS."""

import dataclasses
import pathlib
import re
from collections.abc import Iterable, Mapping

from dwd_jax.core.errors import InputError
from tfds_builders import checks
from tfds_builders.muscima_pp import muscima_pp_annotations as annotations

LAYOUT = "see the README of tfds_builders/muscima_pp for the layout"
_CLASS_LIST = "mff-muscima-mlclasses-annot.xml"


@dataclasses.dataclass(frozen=True)
class Release:
  """What differs between the releases.

  Attributes:
    folders: names of its unpacked folder below the manual folder.
    annotations: folders of annotations, of which the first present one counts.
    root_tag: of the annotation files.
    class_tags: root and item of the class list.
    more_classes: of annotations, that are missing in the list.
  """

  folders: tuple[str, ...]
  annotations: tuple[str, ...]
  root_tag: str
  class_tags: tuple[str, str]
  more_classes: tuple[str, ...] = ()


RELEASES: Mapping[str, Release] = {
  "v2.0": Release(
    folders=("v2.0", "MUSCIMA-pp_v2.0"),
    annotations=("annotations",),
    root_tag=annotations.MUNG,
    class_tags=("NodeClasses", "NodeClass"),
  ),
  "v1.0": Release(
    folders=("v1.0", "MUSCIMA-pp_v1.0"),
    annotations=("cropobjects_withstaff", "cropobjects_manual"),
    root_tag=annotations.CROP_OBJECTS,
    class_tags=("CropObjectClassList", "CropObjectClass"),
    more_classes=("staff_space",),
  ),
}
# Images named like the annotations. Those with staff lines come first, since
# `images` of the official script lack them.
_IMAGE_FOLDERS = ("data/fulls", "data/images/fulls", "data/images", "images")
# Where CVC-MUSCIMA (the part for staff removal) is unpacked.
_CVC_FOLDERS = tuple(
  f"{a}{b}{c}"
  for a in ("", "data/")
  for b in ("", "CVC-MUSCIMA/", "CVCMUSCIMA/", "CVCMUSCIMA_SR/")
  for c in ("", "CvcMuscima-Distortions/")
)
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


def read(
  root: pathlib.Path,
  config: str,
  official_split: str,
  report: checks.BuildReport,
) -> tuple[tuple[str, ...], dict[str, list[checks.PageFiles]]]:
  """The class names of a release, and the pages of its splits.

  Args:
    official_split: see `assign_splits`.
    report: counts pages that are in no split.

  Raises:
    InputError: part of the layout is missing; an annotation has no image, or
      vice versa; there is no page to train on.
  """
  release = RELEASES[config]
  base = _base(root, release)
  specifications = checks.require_dir(base / "specifications", LAYOUT)
  class_names = read_class_names(specifications / _CLASS_LIST, release)
  folder = _annotation_folder(base, release)
  have_annotation = {p.stem for p in folder.glob("*.xml")}
  skipped = _pages_left_out(folder, release)
  for name in sorted(skipped):
    report.add(f"pages skipped: in {release.annotations[-1]} only", name)
  assigned = assign_splits(
    have_annotation, folder, specifications, official_split, report
  )
  if "train" not in assigned:
    raise InputError(
      f"{folder}: no page of a training writer; unpack all of MUSCIMA++"
    )
  images = _find_images(base, root, folder, have_annotation, skipped)
  pages = {
    split: [
      checks.PageFiles(
        name,
        images[name],
        folder / f"{name}.xml",
        rows=annotations.Rows(release.root_tag),
        filename=name + images[name].suffix,
      )
      for name in names
    ]
    for split, names in assigned.items()
  }
  return class_names, pages


def _base(root: pathlib.Path, release: Release) -> pathlib.Path:
  """The folder with `specifications`."""
  for name in (*release.folders, ""):
    if (root / name / "specifications").is_dir():
      return root / name
  return root


def _annotation_folder(base: pathlib.Path, release: Release) -> pathlib.Path:
  found = [
    folder
    for name in release.annotations
    for folder in (base / "data" / name, base / name)
    if folder.is_dir()
  ]
  wanted = base / "data" / release.annotations[0]
  return checks.require_dir(found[0] if found else wanted, LAYOUT)


def _pages_left_out(folder: pathlib.Path, release: Release) -> set[str]:
  """Pages of v1.0 with objects annotated by hand, but without staff objects.

  Training would take them for pages without staves.
  """
  manual = folder.parent / release.annotations[-1]
  return {p.stem for p in manual.glob("*.xml")} - {
    p.stem for p in folder.glob("*.xml")
  }


def read_class_names(path: pathlib.Path, release: Release) -> tuple[str, ...]:
  """Names of all classes, in the order of the specification.

  Includes classes that never occur, so that ids do not depend on the pages.
  """
  root = checks.read_xml(path, release.class_tags[0])
  names = [
    (item.findtext("Name") or "").strip()
    for item in root.iter(release.class_tags[1])
  ]
  names += [name for name in release.more_classes if name not in names]
  if (
    "" in names or len(set(names)) < len(names) or not root.findtext(".//Name")
  ):
    raise InputError(
      f"{path}: a class without a name, or a name twice; take the file of the"
      " MUSCIMA++ release"
    )
  return tuple(names)


def _find_images(
  base: pathlib.Path,
  root: pathlib.Path,
  annotation_folder: pathlib.Path,
  names: set[str],
  skipped: set[str],
) -> dict[str, pathlib.Path]:
  """The image of each page in `names`; images of `skipped` are ignored."""
  for name in _IMAGE_FOLDERS:
    folder = base / name
    found = checks.list_images(folder) if folder.is_dir() else {}
    if not found:
      continue
    lonely = sorted(set(found) - names - skipped)
    if lonely:
      raise InputError(
        f"{annotation_folder / lonely[0]}.xml: no such annotation, but"
        f" {found[lonely[0]]} is there; add the annotation or take the image"
        " away"
      )
    images = {n: found.get(n, folder / f"{n}.png") for n in sorted(names)}
    break
  else:
    images = {
      n: _cvc_image(base, root, n, annotation_folder) for n in sorted(names)
    }
  for name, path in images.items():
    if not path.is_file():
      raise InputError(
        f"{path}: no such image, but {annotation_folder / name}.xml is there;"
        " add the image or remove the annotation"
      )
  return images


def _cvc_image(
  base: pathlib.Path,
  root: pathlib.Path,
  name: str,
  annotation_folder: pathlib.Path,
) -> pathlib.Path:
  """Path of a page's image in CVC-MUSCIMA."""
  writer, piece = page_id(name, annotation_folder / f"{name}.xml")
  kind = name.rpartition("_D-")[2]
  for parent in dict.fromkeys((base, root)):
    for between in _CVC_FOLDERS:
      folder = parent / between / kind
      if folder.is_dir():
        nested = folder / f"w-{writer}" / "image" / f"p0{piece}.png"
        flat = folder / f"w-{writer}" / f"p0{piece}.png"
        return flat if flat.is_file() else nested
  raise InputError(
    f"{base / 'data' / 'images'}: no images; the annotations come without:"
    " unpack the annotated images of CVC-MUSCIMA there, or the folder"
    f" CvcMuscima-Distortions into {root}"
  )


def page_id(name: str, path: pathlib.Path) -> tuple[str, str]:
  """Writer and piece of a page, two digits each; errors name `path`."""
  match = _PAGE_NAME.fullmatch(name)
  if not match:
    raise InputError(
      f"{path}: {name[:100]!r} is not CVC-MUSCIMA_W-xx_N-xx_D-...; name the"
      " page so or remove it"
    )
  return match[1], match[2]


def assign_splits(
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
