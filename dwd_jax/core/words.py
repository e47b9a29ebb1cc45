"""What pictures and what is on them are called in lines for people."""

from typing import NamedTuple


class Words(NamedTuple):
  """The words of a user's field, in lower case."""

  image: str
  images: str
  object: str
  objects: str

  def count(self, number: int, name: str = "objects") -> str:
    """A number with its word, such as "1 image", "1,200 objects".

    Args:
      name: `images` or `objects`.
    """
    word = getattr(self, name if number != 1 else name.removesuffix("s"))
    return f"{number:,} {word}"


MUSIC = Words("page", "pages", "symbol", "symbols")
ANYTHING = Words("image", "images", "object", "objects")


def of(is_music: bool) -> Words:
  """Pages and symbols where there is music, else images and objects."""
  return MUSIC if is_music else ANYTHING


def of_data(data_cfg) -> Words:
  """The words for the data set of a run.

  Args:
    data_cfg: `config.data`, with the staff space that was found.
  """
  own = data_cfg.builder == "boxes" and not data_cfg.staff_space_px
  return of(not own)
