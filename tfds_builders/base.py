"""The part of a page builder that does not depend on the data set."""

import collections
import dataclasses
import functools
import itertools
import json
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, ClassVar, Protocol

import numpy as np
import tensorflow_datasets as tfds
from etils import epath

from dwd_jax.core import threads
from dwd_jax.core.errors import InputError
from dwd_jax.imaging import tiled_tiff
from tfds_builders import beam_pages, checks
from tfds_builders import colour as colour_lib
from tfds_builders import polarity as polarity_lib

REPORT_NAME = "build_report.json"
_PARTS = "parts"  # folder of a Beam build, see `beam_pages`

# Features of all records.
FEATURES = {
  # A tiled TIFF in the tones of the file, read with SkipDecoding. With three
  # channels where `channels` of the metadata is 3.
  "image": tfds.features.Image(shape=(None, None, 1)),
  "image/filename": tfds.features.Text(),
  "image/height": tfds.features.Scalar(np.int32, doc="pixels"),
  "image/width": tfds.features.Scalar(np.int32, doc="pixels"),
  # Plain tensors: sequences are read as slow Python lists.
  "boxes_yxyx": tfds.features.Tensor(
    shape=(None, 4),
    dtype=np.float32,
    doc="ymin, xmin, ymax, xmax in pixels, half-open",
  ),
  "labels": tfds.features.Tensor(
    shape=(None,),
    dtype=np.int64,
    doc="index into class_names of the metadata",
  ),
}
# Features that `extra_features` of a parsing module may name; `extras` of each
# `ParsedPage` then holds them.
EXTRA_FEATURES = {
  "oriented_yx": tfds.features.Tensor(
    shape=(None, 4, 2),
    dtype=np.float32,
    doc="corners (y, x) of the oriented box of each object, px",
  ),
  "positions": tfds.features.Tensor(
    shape=(None,),
    dtype=np.int32,
    doc="place of each object on its staff: steps of half a staff space from"
    " the middle line, upwards positive; -128 = none or unknown",
  ),
  "onsets": tfds.features.Tensor(
    shape=(None,),
    dtype=np.float32,
    doc="begin of each object in quarter notes; NaN = none or unknown",
  ),
  "mask_runs": tfds.features.Tensor(
    shape=(None,),
    dtype=np.int32,
    doc="run lengths of all masks, see dwd_jax.imaging.masks",
  ),
  "mask_stops": tfds.features.Tensor(
    shape=(None,), dtype=np.int32, doc="end of each object's runs in mask_runs"
  ),
  "pixel_labels": tfds.features.Text(
    doc="tiled TIFF as large as the page, one value a pixel; empty = none"
  ),
}


class Parser(Protocol):
  """The parsing module of a builder, which does not use TFDS.

  `Options` is a frozen dataclass of what `config.data.options` may change.
  Functions count in `report` what they skip or change.
  """

  Options: Any

  def extra_features(self, config: str, options: Any) -> tuple[str, ...]:
    """Names of `EXTRA_FEATURES` in the records."""
    ...

  def read_data_set(
    self,
    root: pathlib.Path,
    config: str,
    options: Any,
    report: checks.BuildReport,
  ) -> checks.DataSet:
    """Lists class names and pages below `root`, the manual folder."""
    ...

  def read_page(
    self,
    page: checks.PageFiles,
    class_names: tuple[str, ...],
    options: Any,
    report: checks.BuildReport,
  ) -> checks.ParsedPage | Iterable[tuple[str, checks.ParsedPage]]:
    """Reads and checks one page.

    A builder of many records per page (cut-outs) returns pairs of key and
    `ParsedPage`.
    """
    ...


def make_options(parser: Any, given: Mapping[str, Any], name: str) -> Any:
  """The options of a builder.

  Args:
    given: `config.data.options`, with the options of all builders; "", 0, False
      and () leave the builder's default.

  Raises:
    InputError: the builder lacks an option, or a value has a wrong type.
  """
  known = {f.name: f.default for f in dataclasses.fields(parser.Options)}
  chosen = {}
  for key, value in given.items():
    if not value:
      continue
    if key not in known:
      raise InputError(
        f"data.options.{key}: the builder {name} has no such option; it has"
        f" {', '.join(known) or 'none'}"
      )
    if isinstance(known[key], tuple) and isinstance(value, list | tuple):
      value = tuple(value)
    if type(value) is not type(known[key]):
      raise InputError(
        f"data.options.{key}: {value!r} is not like {known[key]!r}"
      )
    chosen[key] = value
  return parser.Options(**chosen)


class PageBuilder(  # pyright: ignore
  tfds.core.GeneratorBasedBuilder,
  skip_registration=True,  # pyright: ignore
):
  """Pages with boxes as array_record files, built without TensorFlow.

  Subclasses name their parsing module (`PARSER`), a `VERSION` and, where one
  does not do, `BUILDER_CONFIGS`.
  """

  PARSER: ClassVar[Any] = None
  IN_COLOUR: ClassVar[bool] = False  # records keep colours that matter
  BUILDER_CONFIGS: ClassVar[Any] = [
    tfds.core.BuilderConfig(name="default", description="All pages.")
  ]
  MANUAL_DOWNLOAD_INSTRUCTIONS = "Name the folder of the files as manual_dir."
  HOMEPAGE = ""

  def __init__(
    self,
    *,
    options: Mapping[str, Any] | None = None,
    workers: int = 1,
    polarity: str = "",
    channels: str = "auto",
    **kwargs,
  ):
    """Sets up one config.

    Args:
      workers: threads that read pages.
      polarity: of the pages; "" = they decide, see `tfds_builders.polarity`.
      channels: of the records where `IN_COLOUR`: "1", "3" or "auto" = the
        pages decide, see `tfds_builders.colour`.
      **kwargs: of `tfds.core.GeneratorBasedBuilder`; array_record by default.
    """
    kwargs["file_format"] = kwargs.get("file_format") or "array_record"
    self.options = make_options(self.PARSER, options or {}, self.name)
    self._workers = workers
    self._polarity = polarity
    self._channels = channels
    self.decision: polarity_lib.Decision | None = None  # on the polarity
    self.colour: colour_lib.Decision | None = None
    self._manual_dir: Any = None  # known when it is built
    self._beam_options: Any = None  # that, too; None = without Beam
    super().__init__(**kwargs)
    self.report = checks.BuildReport()

  def _extra_features(self) -> tuple[str, ...]:
    return self.PARSER.extra_features(self._config_name(), self.options)

  def _config_name(self) -> str:
    assert self.builder_config is not None  # every data set has configs
    return self.builder_config.name

  def _info(self) -> tfds.core.DatasetInfo:
    return self.dataset_info_from_configs(
      features=tfds.features.FeaturesDict(
        FEATURES
        | {name: EXTRA_FEATURES[name] for name in self._extra_features()}
      ),
      homepage=self.HOMEPAGE,
      # Filled in later: they are those of the files.
      metadata=tfds.core.MetadataDict(
        class_names=[],
        vocabulary="",
        polarity="",
        channels=1,
        kind="document",
        is_music=False,
      ),
    )

  def _split_generators(self, dl_manager):
    try:
      root = pathlib.Path(dl_manager.manual_dir)
    except AssertionError:  # it is not there, or empty
      raise InputError(
        f"{self._manual_dir}: no such folder, or nothing in it;"
        f" data.manual_dir must hold the files of {self.name}"
      ) from None
    data_set = self.PARSER.read_data_set(
      root, self._config_name(), self.options, self.report
    )
    assert self.info.metadata is not None  # given in _info
    self.info.metadata["class_names"] = list(data_set.class_names)
    self.info.metadata["vocabulary"] = data_set.vocabulary
    self.decision = self._decide(data_set)
    self.colour = self._decide_colour(data_set, self.decision.is_music)
    if self.colour.channels == 3:
      data_set = colour_lib.in_colour(data_set)
    self.info.metadata["is_music"] = self.decision.is_music
    self.info.metadata["polarity"] = self.decision.polarity
    self.info.metadata["channels"] = self.colour.channels
    self.info.metadata["kind"] = self.colour.kind
    read = self._reader(data_set)
    return {
      split: self._generate_examples(pages, read)
      for split, pages in data_set.splits.items()
    }

  def _reader(self, data_set: checks.DataSet) -> Callable:
    """A function from a page to its examples and the counts of its report."""
    read = functools.partial(
      read_examples,
      read_page=self.PARSER.read_page,
      class_names=data_set.class_names,
      options=self.options,
      extras=self._extra_features(),
    )
    if self._beam_options is None:
      return read
    every = list(itertools.chain(*data_set.splits.values()))
    pages = {page.name: page for page in every}
    folder = pathlib.Path(self.data_dir, _PARTS)
    beam_pages.read_all(list(pages.values()), read, folder, self._beam_options)
    counts = collections.Counter(page.name for page in every)
    shared = {name for name, count in counts.items() if count > 1}
    return functools.partial(beam_pages.take, folder=folder, keep=shared)

  def _decide(self, data_set: checks.DataSet) -> polarity_lib.Decision:
    if self._polarity:
      return polarity_lib.Decision(self._polarity, "")
    return polarity_lib.of_data_set(
      data_set,
      lambda page: self.PARSER.read_page(
        page, data_set.class_names, self.options, checks.BuildReport()
      ),
      self._workers,
    )

  def _decide_colour(
    self, data_set: checks.DataSet, is_music: bool
  ) -> colour_lib.Decision:
    if not self.IN_COLOUR:
      return colour_lib.Decision(1, "")
    if is_music and self._channels == "auto":
      return colour_lib.Decision(1, "pages of music")
    found = colour_lib.of_data_set(data_set, self._workers)
    kind = "document" if is_music else found.kind
    if self._channels != "auto":
      return colour_lib.Decision(int(self._channels), "", kind)
    return found

  def _generate_examples(
    self, pages: Iterable[checks.PageFiles], read: Callable
  ) -> Iterator[tuple[str, dict]]:
    nothing = True
    for made, counted in threads.in_order(read, pages, self._workers):
      self.report.merge(counted)
      nothing = nothing and not made
      yield from made
    if nothing:
      raise InputError(
        f"{self._manual_dir}: nothing is left for a split"
        f" ({self.report.line() or 'no pages'}); add pages or correct these"
      )

  def _download_and_prepare(self, dl_manager, download_config=None):
    if download_config is not None:
      self._manual_dir = download_config.manual_dir
      self._beam_options = download_config.beam_options
    super()._download_and_prepare(dl_manager, download_config)
    # TFDS renames this temporary folder afterwards.
    folder = epath.Path(self.data_dir)
    if self._beam_options is not None:
      (folder / _PARTS).rmtree()
    report = json.dumps(self.report.as_dict(), indent=2) + "\n"
    (folder / REPORT_NAME).write_text(report)


def read_examples(
  page: checks.PageFiles,
  *,
  read_page: Callable,
  class_names: tuple[str, ...],
  options: Any,
  extras: tuple[str, ...],
) -> tuple[list[tuple[str, dict[str, Any]]], dict]:
  """Reads one page: its records by key, and the counts of its report."""
  report = checks.BuildReport()
  parsed = read_page(page, class_names, options, report)
  if isinstance(parsed, checks.ParsedPage):
    parsed = [(page.name, parsed)]
  examples = []
  for name, part in parsed:
    own_name = page.filename or page.image.name
    filename = own_name if name == page.name else f"{name}.tif"
    examples.append((name, _example(filename, part, extras)))
  return examples, report.as_dict()


def _example(
  filename: str, parsed: checks.ParsedPage, extras: tuple[str, ...]
) -> dict[str, Any]:
  height, width = parsed.ink.shape[:2]
  return {
    "image": tiled_tiff.encode_page(parsed.ink),
    "image/filename": filename,
    "image/height": height,
    "image/width": width,
    "boxes_yxyx": parsed.boxes_yxyx,
    "labels": parsed.labels,
  } | {name: parsed.extras[name] for name in extras}
