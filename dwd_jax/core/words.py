"""What pictures and what is on them are called in lines for people."""

from typing import NamedTuple


class Words(NamedTuple):
  """The words of a user's field, in lower case."""

  image: str
  images: str
  object: str
  objects: str
  whole: str  # that images are parts of
  wholes: str

  @property
  def an_image(self) -> str:
    """With its article."""
    return f"{'an' if self.image[0] in 'aeiou' else 'a'} {self.image}"

  def count(self, number: int, name: str = "objects") -> str:
    """A number with its word, such as "1 image", "1,200 objects".

    Args:
      name: `images`, `objects` or `wholes`.
    """
    word = getattr(self, name if number != 1 else name.removesuffix("s"))
    return f"{number:,} {word}"


MUSIC = Words("page", "pages", "symbol", "symbols", "piece", "pieces")
ANYTHING = Words(
  "image", "images", "object", "objects", "document", "documents"
)


def of(is_music: bool) -> Words:
  """Pages and symbols where there is music, else images and objects."""
  return MUSIC if is_music else ANYTHING


def of_set(builder: str, has_staves: bool) -> Words:
  """The words for a data set: own data without staves is not music.

  Args:
    builder: the folder of its builder in tfds_builders/.
  """
  return of(builder != "boxes" or has_staves)


def of_data(data_cfg) -> Words:
  """The words for the data set of a run.

  Args:
    data_cfg: `config.data`, with the staff space that was found.
  """
  return of_set(data_cfg.builder, bool(data_cfg.staff_space_px))
