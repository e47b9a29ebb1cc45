"""Pages, records, masks or folders of images -> symbols; no TFDS in here."""

import dataclasses
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from dwd_jax.core.errors import InputError
from dwd_jax.imaging import grey, masks
from tfds_builders import checks
from tfds_builders.deepscores import deepscores_parsing
from tfds_builders.muscima_pp import muscima_pp_parsing
from tfds_builders.symbols import symbols_crops, symbols_folder
from tfds_builders.symbols.symbols_crops import SPLIT

_LARGEST_PX = 4096
_MASKS = {"masks": "v2.0", "masks_v1.0": "v1.0"}  # config -> that of muscima_pp


@dataclasses.dataclass(frozen=True)
class Options:
  """What `data.options` can change; the config `folder` uses none of it.

  Attributes:
    per_class: most symbols of a class.
    context_px: margin around the symbol's box.
    max_symbol_px: symbols with a longer side are skipped.
    symbol_only: leave out the boxes of neighbours.
    official_split: of the builder muscima_pp, for masks only.
  """

  per_class: int = 200
  context_px: int = 32
  max_symbol_px: int = 400
  symbol_only: bool = False
  official_split: str = ""


def extra_features(config: str, options: Options) -> tuple[str, ...]:
  """See `base.Parser`."""
  del config, options
  return ()


def read_data_set(
  root: pathlib.Path, config: str, options: Options, report: checks.BuildReport
) -> checks.DataSet:
  """Chooses symbols for a split `train`, the only one; see `base.Parser`.

  Args:
    root: folder: of symbol images; cropped: of prepared records; engraved: in
      the layout of DeepScores (2017), as `dwd_jax.engrave` writes it; masks
      and masks_v1.0: of MUSCIMA++.

  Returns:
    Class names and vocabulary of the pages' own data set, in its order; the
    pages with symbols to cut out.

  Raises:
    InputError: from the pages' own reader, or no symbol was found.
  """
  _check(options)
  if config == "folder":
    return symbols_folder.read_data_set(root, report)
  if config == "cropped":
    # Imported here, since reading records needs TFDS.
    from tfds_builders.symbols import symbols_records

    names, vocabulary = symbols_records.class_names_of(root)
    pages = symbols_records.pages(root)
  else:
    parser, parser_config, parser_options = _parser(config, options)
    data_set = parser.read_data_set(root, parser_config, parser_options, report)
    names, vocabulary = data_set.class_names, data_set.vocabulary
    pages = _boxes(parser, parser_options, data_set, report)
  chosen = symbols_crops.choose(
    pages, config, names, options.per_class, options.max_symbol_px, report
  )
  if not chosen:
    raise InputError(
      f"{root}: no symbol on its training pages, or none of at most"
      f" {options.max_symbol_px} px; raise data.options.max_symbol_px or take"
      " other pages"
    )
  # Symbols are cut out of ink.
  return checks.DataSet(names, {SPLIT: chosen}, vocabulary, polarity="dark")


def _check(options: Options) -> None:
  for name in ("per_class", "context_px", "max_symbol_px"):
    value = getattr(options, name)
    most = _LARGEST_PX if name.endswith("_px") else 1 << 31
    if not 1 <= value <= most:
      raise InputError(
        f"data.options.{name}: {value} is not in 1..{most}; 0 = the default"
      )


def _parser(config: str, options: Options) -> tuple[Any, str, Any]:
  """The parser of a config's pages; that parser's config and options."""
  if config in _MASKS:
    made = muscima_pp_parsing.Options(
      official_split=options.official_split, masks=True
    )
    return muscima_pp_parsing, _MASKS[config], made
  return deepscores_parsing, "dense_2017", deepscores_parsing.Options()


def _boxes(
  parser: Any,
  parser_options: Any,
  data_set: checks.DataSet,
  report: checks.BuildReport,
) -> Iterator[tuple[checks.PageFiles, np.ndarray, np.ndarray]]:
  for page in data_set.splits[SPLIT]:
    parsed = parser.read_page(
      page, data_set.class_names, parser_options, report
    )
    yield page, parsed.boxes_yxyx, parsed.labels


def read_page(
  page: checks.PageFiles,
  class_names: tuple[str, ...],
  options: Options,
  report: checks.BuildReport,
) -> Iterator[tuple[str, checks.ParsedPage]]:
  """Cuts the chosen symbols out of one page; see `base.Parser`.

  Yields:
    Key and image of each symbol; the symbol is the first of the boxes.

  Raises:
    InputError: from the page's own reader.
  """
  wanted = page.rows
  if wanted.config == "folder":
    symbol = symbols_folder.read_page(page, class_names, report)
    if symbol is not None:
      yield page.name, symbol
    return
  whole = _whole_page(page, class_names, options)
  if wanted.objects[-1] >= len(whole.labels):
    raise InputError(
      f"{page.annotation}: changed while it was read, or does not fit the"
      f" image {page.image.name}; build again"
    )
  mask_of = _masks(whole) if wanted.config in _MASKS else None
  for i in wanted.objects:
    if mask_of is None:
      symbol = symbols_crops.crop(
        whole, i, options.context_px, options.symbol_only
      )
    elif mask_of[i] is None:
      report.add("symbols skipped: no mask", f"{page.name}: object {i}")
      continue
    else:
      symbol = symbols_crops.cut_out(whole, i, mask_of[i], options.context_px)
    if symbol is None:
      report.add("symbols skipped: no ink", f"{page.name}: object {i}")
      continue
    yield f"{page.name}-{i:05d}", symbol


def _whole_page(
  page: checks.PageFiles, class_names: tuple[str, ...], options: Options
) -> checks.ParsedPage:
  config = page.rows.config
  page = dataclasses.replace(page, rows=page.rows.rows)
  if config == "cropped":
    from tfds_builders.symbols import symbols_records  # needs TFDS

    return symbols_records.read_page(page)
  parser, _, parser_options = _parser(config, options)
  # What it skips was already counted when symbols were chosen.
  whole = parser.read_page(
    page, class_names, parser_options, checks.BuildReport()
  )
  # Engraved or binary: without a table around the page.
  return dataclasses.replace(whole, ink=grey.to_ink(255 - whole.ink))


def _masks(page: checks.ParsedPage) -> list[np.ndarray | None]:
  return masks.of_page(
    page.extras["mask_runs"], page.extras["mask_stops"], page.boxes_yxyx
  )
