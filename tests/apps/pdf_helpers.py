"""PDFs written by hand, some of which ask for far more than they hold."""

import pathlib
import zlib

SHEET = b"/MediaBox[0 0 600 800]/Contents 4 0 R"
_TWICE = b"/Filter[/FlateDecode/FlateDecode]"


def write(
  path: pathlib.Path, page: bytes, *objects: tuple[bytes, bytes]
) -> pathlib.Path:
  """Writes a PDF of one page.

  Args:
    page: the inside of the page's dictionary.
    objects: dictionary and stream of the objects 4, 5, ...
  """
  text = b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n"
  text += b"2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n"
  text += b"3 0 obj<</Type/Page/Parent 2 0 R" + page + b">>endobj\n"
  for number, (facts, data) in enumerate(objects, start=4):
    facts += b"/Length %d" % len(data)
    text += b"%d 0 obj<<%s>>stream\n%s\nendstream endobj\n" % (
      number,
      facts,
      data,
    )
  path.write_bytes(text + b"trailer<</Root 1 0 R>>\n")
  return path


def picture_bomb(path: pathlib.Path, side: int) -> pathlib.Path:
  """A page with an empty picture of side x side pixels."""
  picture = b"/Type/XObject/Subtype/Image/Width %d/Height %d" % (side, side)
  picture += b"/ColorSpace/DeviceGray/BitsPerComponent 1" + _TWICE
  return write(
    path,
    SHEET + b"/Resources<</XObject<</I 5 0 R>>>>",
    (b"", b"600 0 0 800 0 0 cm /I Do"),
    (picture, _twice(bytes(side * side // 8))),
  )


def drawing_bomb(path: pathlib.Path, lines: int) -> pathlib.Path:
  """A page on which so many lines are drawn."""
  drawing = _twice(b"0 0 m 1 1 l S " * lines)
  return write(path, SHEET, (_TWICE, drawing))


def _twice(data: bytes) -> bytes:
  return zlib.compress(zlib.compress(data, 9), 9)
