"""Writes the viewer: one index.html that shows pages with boxes in any browser.

`write` puts style, scripts, boxes (as compact JSON) and small pictures into the
file, under a policy that lets no other script run.
"""

import base64
import hashlib
import html
import importlib.resources
import json
import os
import pathlib
import re
import urllib.parse
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
import pyvips
from jaxtyping import UInt8

from dwd_jax.core import files
from dwd_jax.core.errors import InputError
from dwd_jax.core.structs import PageBoxes
from dwd_jax.imaging.images import MAX_PIXELS, header_hw
from dwd_jax.metrics.matching import sane
from dwd_jax.show import drawing
from dwd_jax.show.viewer import palette

__all__ = ["ViewerPage", "page_anchor", "page_picture", "write"]

MAX_EMBEDDED_BYTES = 24 * 2**20  # of all pictures; more stay files
_MAX_CLASSES = 2**16
_QUALITY = 60  # of ink on paper; from here on the rings around it are faint
_THUMBNAIL_HW = (200, 160)  # px; shown smaller, hence sharp on fine screens
_TYPES = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg"}
_SCRIPTS = (
  "data.js", "matching.js", "grid.js", "items.js", "view.js", "drawing.js",
  "panels.js", "input.js", "main.js",
)  # fmt: skip


class ViewerPage(NamedTuple):
  """One page to show.

  Attributes:
    name: shown, and the anchor: index.html#page=NAME (see `page_anchor`).
    image: file of the page's picture (JPEG or PNG), relative to the folder of
      index.html, with forward slashes.
    found: detections with scores, boxes in pixels of the source page
      (`image_hw`); the picture may have another resolution.
    truth: true boxes, in the same pixels, to compare with.
  """

  name: str
  image: str
  found: PageBoxes
  truth: PageBoxes | None = None


def write(
  path: pathlib.Path,
  pages: Iterable[ViewerPage],
  class_names: Sequence[str],
  *,
  title: str,
  min_score: float = 0.0,
  min_iou: float = 0.5,
) -> None:
  """Writes the viewer in one step.

  Pictures of less than 24 MiB together are embedded; otherwise the viewer loads
  them from where they are, so they must stay there. A missing or unreadable
  picture is named in a warning and on the page, whose boxes are shown without.

  Args:
    path: the index.html to write; pictures are relative to its folder.
    pages: in the order to show; a repeated name gets a number.
    min_score: initial position of the score slider, 0..1; all boxes are in the
      file.
    min_iou: least overlap of a hit, above 0 and up to 1.

  Raises:
    InputError: a picture's path is not relative.
    ValueError: a label or a number is out of its range, or `found` has no
      scores.
  """
  if not 0 < min_iou <= 1 or not 0 <= min_score <= 1:
    raise ValueError(f"min_iou {min_iou} or min_score {min_score} is not 0..1")
  if len(class_names) > _MAX_CLASSES:
    raise ValueError(f"{len(class_names)} classes, at most {_MAX_CLASSES}")
  path, pages = pathlib.Path(path), list(pages)
  embed = _total_bytes(path.parent, pages) < MAX_EMBEDDED_BYTES
  data = {
    "title": title,
    "minScore": float(min_score),
    "minIou": float(min_iou),
    "classes": list(class_names),
    "colours": palette.class_colours(len(class_names)),
    "outcomes": _outcome_colours(),
    "pages": [
      {"name": name, **_page(path.parent, page, len(class_names), embed)}
      for name, page in zip(_unique_names(pages), pages, strict=True)
    ],
  }
  unread = [page["file"] for page in data["pages"] if not page["thumbnail"]]
  if unread:
    warnings.warn(
      f"{path}: {len(unread)} pictures of pages are missing or no readable"
      f" JPEG or PNG, the first is {unread[0]}; their boxes are shown without",
      stacklevel=2,
    )
  files.write_atomic(path, _fill_in(title, to_json(data)))


def page_anchor(name: str) -> str:
  """What a link to a page ends in: "#page=" and the encoded name."""
  return "#page=" + urllib.parse.quote(_linkable(name), safe="")


def page_picture(
  ink: UInt8[np.ndarray, "h w"], max_side_px: int = 2400
) -> bytes:
  """The picture of a page: a grey JPEG, black on white.

  A dense page of 2000 x 2800 px takes 200 to 400 KB.

  Args:
    ink: the page, 0 = paper, 255 = ink.
    max_side_px: larger pages are scaled down to this.

  Raises:
    ValueError: the page is empty.
  """
  height, width = ink.shape
  if not height or not width:
    raise ValueError(f"a page of {width} x {height} px has no picture")
  scale = min(1.0, max_side_px / max(height, width))
  if scale < 1:
    size = max(1, round(width * scale)), max(1, round(height * scale))
    ink = cv2.resize(ink, size, interpolation=cv2.INTER_AREA)
  options = [cv2.IMWRITE_JPEG_QUALITY, _QUALITY, cv2.IMWRITE_JPEG_OPTIMIZE, 1]
  ok, data = cv2.imencode(".jpg", 255 - ink, options)
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
    `n`; `boxes`, float32 [n, 4] (ymin, xmin, ymax, xmax); `labels`, uint16;
    `scores`, float32, if the page has them.

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
  return result


def to_json(data: Mapping[str, Any]) -> str:
  """JSON that is safe inside a <script> element, whatever the strings hold."""
  text = json.dumps(data, separators=(",", ":"), allow_nan=False)
  for sign in "<>&":
    text = text.replace(sign, f"\\u{ord(sign):04x}")
  return text


def _base64(array: np.ndarray, dtype: str) -> str:
  return base64.b64encode(array.astype(dtype).tobytes()).decode()


def _linkable(name: str) -> str:
  """Replaces halves of surrogate pairs, which no link can hold.

  They are in names of files that are not UTF-8.
  """
  return name.encode("utf8", "replace").decode()


def _unique_names(pages: Sequence[ViewerPage]) -> list[str]:
  names: dict[str, None] = {}
  for page in pages:
    name, number = _linkable(page.name), 2
    while name in names:
      name = f"{_linkable(page.name)} ({number})"
      number += 1
    names[name] = None
  return list(names)


def _outcome_colours() -> dict[str, str]:
  return {
    name: "#{:02x}{:02x}{:02x}".format(*rgb)
    for name, rgb in {
      "found": drawing.FOUND_RGB,
      "hit": drawing.HIT_RGB,
      "wrongClass": palette.WRONG_CLASS_RGB,
      "falsePositive": drawing.WRONG_RGB,
      "missed": drawing.MISSED_RGB,
    }.items()
  }


def _total_bytes(folder: pathlib.Path, pages: Sequence[ViewerPage]) -> int:
  paths = [_picture_path(folder, page) for page in pages]
  return sum(path.stat().st_size for path in paths if path.is_file())


def _picture_path(folder: pathlib.Path, page: ViewerPage) -> pathlib.Path:
  # A browser takes a leading backslash for a slash, and // for another host.
  if not page.image or page.image[0] in "/\\":
    raise InputError(
      f"{page.name}: the picture {page.image!r} must be a path relative to the"
      f" folder {folder}"
    )
  return folder / page.image


def _page(
  folder: pathlib.Path, page: ViewerPage, num_classes: int, embed: bool
) -> dict[str, Any]:
  if page.found.scores is None:
    raise ValueError(f"{page.name}: detections need scores")
  picture = _read(_picture_path(folder, page))
  small = thumbnail(picture[0]) if picture[1] else b""
  link = urllib.parse.quote(os.fsencode(page.image))
  result = {
    "file": page.image,
    # "./" keeps a name with a colon from being taken for a scheme.
    "image": data_uri(*picture) if embed and small else "./" + link,
    "thumbnail": data_uri(small, "image/jpeg") if small else "",
    "hw": [max(1, int(side)) for side in page.found.image_hw],
    "found": boxes_payload(page.found, num_classes),
  }
  if page.truth is not None:
    result["truth"] = boxes_payload(page.truth, num_classes)
  return result


def _read(path: pathlib.Path) -> tuple[bytes, str]:
  """Bytes and media type of a picture; "" = it cannot be read."""
  try:
    data = path.read_bytes()
  except (OSError, ValueError):  # ValueError: a name with a zero byte
    return b"", ""
  return data, media_type(data)


def _fill_in(title: str, data: str) -> str:
  """The template filled with style, scripts and data."""
  style = _asset("viewer.css")
  script = "\n".join(map(_asset, _SCRIPTS))
  policy = "; ".join(
    [
      "default-src 'none'",
      # As a file, and from a server.
      "img-src data: 'self' file:",
      f"style-src {_hash(style)}",
      f"script-src {_hash(script)}",
      "base-uri 'none'",
      "form-action 'none'",
    ]
  )
  return _replace(
    _asset("page.html"),
    {
      "POLICY": html.escape(policy),
      "TITLE": html.escape(title),
      "STYLE": style,
      "SCRIPT": script,
      "DATA": data,
    },
  )


def _replace(template: str, parts: Mapping[str, str]) -> str:
  """Fills in each {{NAME}} once; what a part holds is not filled in."""
  return re.sub(r"\{\{([A-Z]+)\}\}", lambda m: parts[m[1]], template)


def _asset(name: str) -> str:
  folder = importlib.resources.files("dwd_jax.show.viewer") / "assets"
  return (folder / name).read_text(encoding="utf8").strip()


def _hash(text: str) -> str:
  digest = hashlib.sha256(text.encode()).digest()
  return f"'sha256-{base64.b64encode(digest).decode()}'"
