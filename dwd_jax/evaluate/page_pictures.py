"""Pictures of pages for the viewer, written while the pages pass by."""

import hashlib
import pathlib
import re

from dwd_jax.core import files
from dwd_jax.data.eval_pages import EvalPage
from dwd_jax.show.viewer import write as viewer

FOLDER = "pages"  # beside index.html
MAX_SIDE_PX = 2400


def name_of(filename: str) -> str:
  """The file of a page's picture, relative to index.html.

  Args:
    filename: of the page. a.png becomes pages/a.jpg; what is no plain name, or
      ends in another way, gets a few digits that tell it from all others.
  """
  path = pathlib.PurePath(filename)
  stem = re.sub(r"[^\w.+-]", "_", path.stem, flags=re.ASCII)[:100]
  if f"{stem}.png" != filename:
    digest = hashlib.sha256(filename.encode(errors="surrogatepass"))
    stem += f"-{digest.hexdigest()[:8]}"
  return f"{FOLDER}/{stem}.jpg"


class Pictures:
  """Writes the pictures of the first pages of a split, one at a time."""

  def __init__(self, folder: pathlib.Path, wanted: int, first: int = 0):
    """What to write.

    Args:
      folder: of index.html.
      wanted: number of pages of the split that get one; -1 = all.
      first: number of the first page that will come.
    """
    self._folder, self._wanted, self._next = folder, wanted, first

  def __call__(self, page: EvalPage) -> None:
    """Writes the picture of the next page, if it is wanted."""
    number, self._next = self._next, self._next + 1
    if 0 <= self._wanted <= number:
      return
    files.write_atomic(
      self._folder / name_of(page.image.filename),
      viewer.page_picture(page.image.ink, MAX_SIDE_PX),
    )
