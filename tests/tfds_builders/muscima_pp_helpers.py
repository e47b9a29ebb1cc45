"""One page of MUSCIMA++ v1.0 whose annotation tests overwrite."""

import pathlib
import shutil

from dwd_jax.imaging import masks
from tfds_builders import checks
from tfds_builders.muscima_pp import muscima_pp_annotations as annotations
from tfds_builders.muscima_pp import muscima_pp_parsing as parsing

PAGE = "CVC-MUSCIMA_W-01_N-90_D-ideal"
CLASSES = (
  "notehead-full",
  "stem",
  "staff_line",
  'trill_"wobble"',
  "staff_space",
)
NUM_OBJECTS = 13


def copy_page(repo_dir: pathlib.Path, folder: pathlib.Path) -> checks.PageFiles:
  """A dummy page of 96 x 160 px with its annotation in `folder`."""
  dummy = repo_dir / "tfds_builders/muscima_pp/dummy_data/v1.0"
  xml = folder / f"{PAGE}.xml"
  shutil.copy(dummy / f"data/cropobjects_withstaff/{PAGE}.xml", xml)
  return checks.PageFiles(
    PAGE,
    dummy / "CvcMuscima-Distortions/ideal/w-01/image/p090.png",
    xml,
    rows=annotations.Rows(annotations.CROP_OBJECTS),
  )


def read(page: checks.PageFiles, content: str | bytes, with_masks: bool = True):
  """What the parser makes of a content of the annotation, and its report."""
  if isinstance(content, str):
    content = content.encode()
  page.annotation.write_bytes(content)
  report = checks.BuildReport()
  options = parsing.Options(masks=with_masks)
  return parsing.read_page(page, CLASSES, options, report), report


def masks_of(parsed: checks.ParsedPage) -> list:
  """The mask of each object; None = it has none."""
  return masks.of_page(
    parsed.extras["mask_runs"], parsed.extras["mask_stops"], parsed.boxes_yxyx
  )


def first(text: str, **values: str) -> str:
  """With other values in the first object, a notehead of 9 x 11 px."""
  head, tail = text.split("</CropObject>", 1)
  for tag, value in values.items():
    before, rest = head.split(f"<{tag}>")
    head = f"{before}<{tag}>{value}</{tag}>{rest.split(f'</{tag}>')[1]}"
  return f"{head}</CropObject>{tail}"
