"""Writes the viewer: an index.html that shows pages with boxes in any browser.

`write` puts style, scripts, boxes (as compact JSON) and small pictures into the
file, under a policy that lets no other script run. The boxes of more than
`PART_PAGES` pages lie in files beside it (`part_files`), which it loads when
they are needed; one of these is in memory at a time.
"""

import base64
import contextlib
import hashlib
import json
import os
import pathlib
import re
import urllib.parse
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
import pyvips
from jaxtyping import UInt8

from dwd_jax.core import files, words
from dwd_jax.core.errors import InputError
from dwd_jax.core.structs import PageBoxes
from dwd_jax.imaging import oriented_boxes
from dwd_jax.imaging.images import MAX_PIXELS, header_hw
from dwd_jax.imaging.staff_lines import Staff
from dwd_jax.metrics.matching import sane
from dwd_jax.show import drawing
from dwd_jax.show.viewer import html_file, palette

__all__ = [
  "ViewerPage", "is_part_file", "page_anchor", "page_picture", "part_files",
  "remove_parts", "write", "writing",
]  # fmt: skip

PART_PAGES = 500
_PART = "viewer/part-{:04d}.js"  # data.js has the same name
MAX_EMBEDDED_BYTES = 24 * 2**20  # of all pictures; more stay files
_MAX_CLASSES = 2**16
_QUALITY = 60  # of ink on paper; from here on the rings around it are faint
_THUMBNAIL_HW = (200, 160)  # px; shown smaller, hence sharp on fine screens
_TYPES = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg"}


class ViewerPage(NamedTuple):
  """One page to show.

  Attributes:
    name: shown, and the anchor: index.html#page=NAME (see `page_anchor`).
    image: file of the page's picture (JPEG or PNG), relative to the folder of
      index.html, with forward slashes.
    found: detections with scores, boxes in pixels of the source page
      (`image_hw`); the picture may have another resolution.
    truth: true boxes, in the same pixels, to compare with.
    staves: whose lines are drawn below the boxes, in the same pixels.
  """

  name: str
  image: str
  found: PageBoxes
  truth: PageBoxes | None = None
  staves: Sequence[Staff] = ()


def write(
  path: pathlib.Path,
  pages: Iterable[ViewerPage],
  class_names: Sequence[str],
  *,
  title: str,
  min_score: float = 0.0,
  min_iou: float = 0.5,
  said: words.Words = words.MUSIC,
) -> None:
  """Writes the viewer of `pages`, in this order; see `writing`."""
  with writing(
    path,
    class_names,
    title=title,
    min_score=min_score,
    min_iou=min_iou,
    said=said,
  ) as add:
    for page in pages:
      add(page)


@contextlib.contextmanager
def writing(
  path: pathlib.Path,
  class_names: Sequence[str],
  *,
  title: str,
  min_score: float = 0.0,
  min_iou: float = 0.5,
  said: words.Words = words.MUSIC,
) -> Iterator[Callable[[ViewerPage], None]]:
  """Yields a function that takes the next page; writes index.html at the end.

  Pictures of less than 24 MiB together are embedded; otherwise the viewer loads
  them from where they are, so they must stay there. A missing or unreadable
  picture is named in a warning and on the page, whose boxes are shown without.

  Args:
    path: the index.html to write; pictures are relative to its folder. A
      repeated name of a page gets a number.
    min_score: initial position of the score slider, 0..1; all boxes are in the
      file.
    min_iou: least overlap of a hit, above 0 and up to 1.
    said: what pages and what is on them are called.

  Raises:
    InputError: a picture's path is not relative.
    ValueError: a label or a number is out of its range, or `found` has no
      scores.
  """
  if not 0 < min_iou <= 1 or not 0 <= min_score <= 1:
    raise ValueError(f"min_iou {min_iou} or min_score {min_score} is not 0..1")
  if len(class_names) > _MAX_CLASSES:
    raise ValueError(f"{len(class_names)} classes, at most {_MAX_CLASSES}")
  settings = {
    "title": title,
    "words": said._asdict(),
    "minScore": float(min_score),
    "minIou": float(min_iou),
    "classes": list(class_names),
    "colours": palette.class_colours(len(class_names)),
    "outcomes": _outcome_colours(),
    "staffColour": _hex(drawing.STAFF_RGB),
  }
  viewer = _Viewer(pathlib.Path(path), settings, said)
  yield viewer.add
  viewer.close()


def part_files(num_pages: int) -> list[str]:
  """Files beside the index.html of so many pages, relative to its folder."""
  if num_pages <= PART_PAGES:
    return []
  return [_PART.format(i + 1) for i in range(-(-num_pages // PART_PAGES))]


def is_part_file(name: str) -> bool:
  """Whether `part_files` has the name for some number of pages."""
  return re.fullmatch(r"viewer/part-\d{4,9}\.js", name, re.ASCII) is not None


def remove_parts(folder: pathlib.Path, num_pages: int) -> None:
  """Removes what an earlier viewer of more pages has left in a folder."""
  number = len(part_files(num_pages)) + 1
  while (path := folder / _PART.format(number)).is_file():
    path.unlink()
    number += 1


def page_anchor(name: str) -> str:
  """What a link to a page ends in: "#page=" and the encoded name."""
  return "#page=" + urllib.parse.quote(_linkable(name), safe="")


def page_picture(
  tones: UInt8[np.ndarray, "h w *c"], max_side_px: int = 2400
) -> bytes:
  """The picture of a page: a JPEG, grey or in colour.

  A dense page of 2000 x 2800 px takes 200 to 400 KB.

  Args:
    tones: grey or RGB, see `imaging.grey.tones_of`.
    max_side_px: larger pages are scaled down to this.

  Raises:
    ValueError: the page is empty.
  """
  height, width = tones.shape[:2]
  if not height or not width:
    raise ValueError(f"a page of {width} x {height} px has no picture")
  scale = min(1.0, max_side_px / max(height, width))
  if scale < 1:
    size = max(1, round(width * scale)), max(1, round(height * scale))
    tones = cv2.resize(tones, size, interpolation=cv2.INTER_AREA)
  options = [cv2.IMWRITE_JPEG_QUALITY, _QUALITY, cv2.IMWRITE_JPEG_OPTIMIZE, 1]
  pixels = tones if tones.ndim == 2 else tones[..., ::-1]
  ok, data = cv2.imencode(".jpg", np.ascontiguousarray(pixels), options)
  if not ok:
    raise ValueError(f"a page of {width} x {height} px could not be encoded")
  return data.tobytes()


def media_type(data: bytes) -> str:
  """image/png or image/jpeg; "" for other files and sizes beyond all limits."""
  hw = header_hw(data)
  if hw is None or not 0 < hw[0] * hw[1] <= MAX_PIXELS:
    return ""
  return next((t for magic, t in _TYPES.items() if data.startswith(magic)), "")


def thumbnail(data: bytes) -> bytes:
  """A small JPEG of a PNG or JPEG; b"" if it cannot be decoded."""
  height, width = _THUMBNAIL_HW
  try:
    small = pyvips.Image.thumbnail_buffer(data, width, height=height)
    # Transparent pixels count as paper.
    small = small.flatten(background=255) if small.hasalpha() else small  # pyright: ignore
    return small.jpegsave_buffer(Q=55, keep="none", optimize_coding=True)  # pyright: ignore
  except pyvips.Error:
    return b""


def data_uri(data: bytes, kind: str) -> str:
  """The bytes as a data URI."""
  return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def boxes_payload(page: PageBoxes, num_classes: int) -> dict[str, Any]:
  """The arrays of a page, best score first, as little-endian base64.

  Args:
    page: truth or detections; detections that are not finite are left out
      with a warning.

  Returns:
    `n`; `boxes`, float32 [n, 4] (ymin, xmin, ymax, xmax); `labels`, uint16; if
    the page has them `scores`, float32, `outlines` of oriented boxes, float32
    [n, 4, 2] (y, x), clockwise, and `positions` on the staff, int8, -128 =
    none.

  Raises:
    ValueError: a label is outside 0 .. C-1.
  """
  if page.scores is not None:
    page = page.finite()
  labels = np.asarray(page.labels)
  if labels.size and (labels.min() < 0 or labels.max() >= num_classes):
    raise ValueError(
      f"{page.filename}: a label lies outside 0 .. {num_classes - 1}"
    )
  order = np.arange(len(labels))
  if page.scores is not None:
    # In the order of `metrics.matching`, on which the scripts rely.
    order = np.argsort(-page.scores, kind="stable")
  result = {
    "n": len(labels),
    "boxes": _base64(sane(page.boxes_yxyx)[order], "<f4"),
    "labels": _base64(labels[order], "<u2"),
  }
  if page.scores is not None:
    result["scores"] = _base64(page.scores[order], "<f4")
  if page.oriented_yx is not None:
    corners = sane(page.oriented_yx)[order]
    reverse = oriented_boxes.areas(corners) < 0
    corners[reverse] = corners[reverse, ::-1]
    result["outlines"] = _base64(corners, "<f4")
  if page.positions is not None:
    result["positions"] = _base64(page.positions[order], "i1")
  return result


class _Viewer:
  """Holds the pages of one part at a time, and writes the parts."""

  def __init__(
    self, path: pathlib.Path, settings: dict[str, Any], said: words.Words
  ):
    self._path, self._settings, self._said = path, settings, said
    self._names: dict[str, int] = {}  # in order; the last number of a repeated
    self._parts: list[dict[str, Any]] = []
    self._held: list[dict[str, Any]] = []  # pages of the next part
    self._counts = self._no_counts()  # of their labels: found, truth
    self._has_truth = False
    self._unread, self._first_unread = 0, ""

  def add(self, page: ViewerPage) -> None:
    """Takes the next page."""
    if len(self._held) == PART_PAGES:
      self._write_part()
    if page.found.scores is None:
      raise ValueError(f"{page.name}: detections need scores")
    page = page._replace(found=page.found.finite())
    shown = _page(self._path.parent, page, len(self._settings["classes"]))
    self._held.append({"name": self._new_name(page.name), **shown})
    self._has_truth |= page.truth is not None
    of_page = page.found, page.truth
    for counts, boxes in zip(self._counts, of_page, strict=True):
      if boxes is not None:
        counts += np.bincount(boxes.labels, minlength=len(counts))

  def close(self) -> None:
    """Writes index.html."""
    in_parts = bool(self._parts)
    if in_parts:
      self._write_part()
    else:
      self._embed_pictures()
      self._parts.append({"counts": self._sparse_counts()})
    if self._unread:
      warnings.warn(
        f"{self._path}: {self._unread} pictures are missing or no"
        f" readable JPEG or PNG, the first is {self._first_unread}; their boxes"
        " are shown without",
        stacklevel=4,
      )
    data = {
      **self._settings,
      "hasTruth": self._has_truth,
      "partSize": PART_PAGES,
      "parts": self._parts,
    }
    title = self._settings["title"]
    before, after = html_file.around_data(title, in_parts, self._said)
    with files.atomic(self._path) as file:
      file.write(before)
      key = "names" if in_parts else "pages"
      file.write(f'{html_file.to_json(data)[:-1]},"{key}":[')
      for i, page in enumerate(self._names if in_parts else self._held):
        file.write("," * bool(i) + html_file.to_json(page))
      file.write("]}")
      file.write(after)

  def _write_part(self) -> None:
    for page in self._held:
      if not (self._path.parent / page["file"]).is_file():
        self._note_unread(page)
    text = html_file.to_json(self._held)
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    self._parts.append({"digest": digest, "counts": self._sparse_counts()})
    number = len(self._parts)
    # A string to parse, so that no name is ever taken for a script.
    script = f"receivePart({number}, {json.dumps(digest)}, {json.dumps(text)});"
    files.write_atomic(self._path.parent / _PART.format(number), script + "\n")
    self._held, self._counts = [], self._no_counts()

  def _embed_pictures(self) -> None:
    """Puts thumbnails into the pages, and the pictures if they are small."""
    paths = [self._path.parent / page["file"] for page in self._held]
    total = sum(path.stat().st_size for path in paths if path.is_file())
    for path, page in zip(paths, self._held, strict=True):
      data, kind = _read(path)
      small = thumbnail(data) if kind else b""
      if not small:
        self._note_unread(page)
        continue
      page["thumbnail"] = data_uri(small, "image/jpeg")
      if total < MAX_EMBEDDED_BYTES:
        page["image"] = data_uri(data, kind)

  def _note_unread(self, page: dict[str, Any]) -> None:
    page["thumbnail"] = ""
    self._first_unread = self._first_unread or page["file"]
    self._unread += 1

  def _new_name(self, name: str) -> str:
    """The name, with a number if it was there before."""
    name = unique = _linkable(name)
    while unique in self._names:
      self._names[name] += 1
      unique = f"{name} ({self._names[name]})"
    self._names[unique] = 1
    return unique

  def _no_counts(self) -> tuple[np.ndarray, np.ndarray]:
    num_classes = len(self._settings["classes"])
    return np.zeros(num_classes, int), np.zeros(num_classes, int)

  def _sparse_counts(self) -> list[list[int]]:
    """Label, found, truth of each class that occurs."""
    found, truth = self._counts
    return [
      [int(i), int(found[i]), int(truth[i])]
      for i in np.flatnonzero(found + truth)
    ]


def _base64(array: np.ndarray, dtype: str) -> str:
  return base64.b64encode(array.astype(dtype).tobytes()).decode()


def _linkable(name: str) -> str:
  """Replaces halves of surrogate pairs, which no link can hold.

  They are in names of files that are not UTF-8.
  """
  return name.encode("utf8", "replace").decode()


def _hex(rgb: tuple[int, int, int]) -> str:
  return "#{:02x}{:02x}{:02x}".format(*rgb)


def _outcome_colours() -> dict[str, str]:
  return {
    name: _hex(rgb)
    for name, rgb in {
      "found": drawing.FOUND_RGB,
      "hit": drawing.HIT_RGB,
      "wrongClass": palette.WRONG_CLASS_RGB,
      "falsePositive": drawing.WRONG_RGB,
      "missed": drawing.MISSED_RGB,
    }.items()
  }


def _page(
  folder: pathlib.Path, page: ViewerPage, num_classes: int
) -> dict[str, Any]:
  """What the scripts know of a page; its picture is a file."""
  # A browser takes a leading backslash for a slash, and // for another host.
  if not page.image or page.image[0] in "/\\":
    raise InputError(
      f"{page.name}: the picture {page.image!r} must be a path relative to the"
      f" folder {folder}"
    )
  result = {
    "file": page.image,
    # "./" keeps a name with a colon from being taken for a scheme.
    "image": "./" + urllib.parse.quote(os.fsencode(page.image)),
    "hw": [max(1, int(side)) for side in page.found.image_hw],
    "found": boxes_payload(page.found, num_classes),
  }
  if page.truth is not None:
    result["truth"] = boxes_payload(page.truth, num_classes)
  if page.staves:
    result["staffLines"] = [
      _base64(line, "<f4") for staff in page.staves for line in staff.lines_yx
    ]
  return result


def _read(path: pathlib.Path) -> tuple[bytes, str]:
  """Bytes and media type of a picture; "" = it cannot be read."""
  try:
    data = path.read_bytes()
  except (OSError, ValueError):  # ValueError: a name with a zero byte
    return b"", ""
  return data, media_type(data)
