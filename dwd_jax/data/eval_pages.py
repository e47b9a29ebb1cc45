"""Whole pages with their truth, for evaluation (grain)."""

import dataclasses
from collections.abc import Iterator

import grain

from dwd_jax.core.structs import PageBoxes, PageImage
from dwd_jax.data.sources import PageSource


@dataclasses.dataclass(frozen=True)
class EvalPage:
  """One whole page and its truth.

  Attributes:
    image: as the records have it, with the scale to predict it at.
    truth: boxes in pixels of the image.
  """

  image: PageImage
  truth: PageBoxes


def count(source: PageSource, data_cfg) -> int:
  """Pages of a split that are evaluated: the first `max_pages`, 0 = all."""
  return min(len(source), data_cfg.max_pages or len(source))


def read(
  source: PageSource, data_cfg, part: range | None = None
) -> Iterator[EvalPage]:
  """Whole pages in the order of the records, read one ahead.

  Args:
    source: pages of the split.
    data_cfg: `config.data`.
    part: numbers of the wanted pages; None = the first `max_pages` (0 = all).

  Returns:
    Iterator over these pages.
  """
  if part is None:
    part = range(count(source, data_cfg))
  if not part:
    return iter(())
  pages = grain.MapDataset.range(part.start, part.stop).map(
    lambda i: _eval_page(source, int(i), float(data_cfg.eval_scale))
  )
  options = grain.ReadOptions(num_threads=1, prefetch_buffer_size=1)
  return iter(pages.to_iter_dataset(options))


def _eval_page(source: PageSource, i: int, scale: float) -> EvalPage:
  record = source[i]
  height, width = record.image.shape
  return EvalPage(
    image=PageImage(record.filename, record.image, scale),
    truth=PageBoxes(
      filename=record.filename,
      image_hw=(height, width),
      boxes_yxyx=record.boxes_yxyx,
      labels=record.labels,
    ),
  )
