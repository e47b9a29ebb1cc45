"""Whole pages -> detections in source-image pixels."""

import contextlib
import functools
import itertools
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

import cv2
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int, UInt8

from dwd_jax.core.errors import InputError
from dwd_jax.core.structs import Array, Detections, PageImage
from dwd_jax.decode import siblings, watershed
from dwd_jax.decode.decode_config import DecodeConfig
from dwd_jax.imaging import page_windows
from dwd_jax.models import compiling, dwd, pixel_sampling
from dwd_jax.models.refinenet import upsample
from dwd_jax.predict import assemble, normalise, tiling
from dwd_jax.predict.assemble import PagePrediction
from dwd_jax.predict.predict_config import DEFAULT, PredictConfig

# Images [B, H, W, 1] -> detections, energy levels [B, H, W, G].
PredictFn: TypeAlias = Callable[[Array], tuple[Detections, Array]]
OnBad: TypeAlias = Callable[[PageImage, InputError], None]


def make_predict_fn(
  model: nn.Module,
  decode_cfg: DecodeConfig,
  group_of_class: Int[np.ndarray, " C"],
  class_names: Sequence[str] = (),
) -> Callable[[Any, Array], tuple[Detections, jax.Array]]:
  """Compiles network (a `DWDNet`) and decode as one function.

  Args:
    class_names: tell which classes are siblings, see `decode.siblings`.

  Returns:
    A jit-ed function of variables and image [B, H, W, 1], which compiles once
    for each size of image. Equal arguments give the same function, so that the
    next evaluation of a run does not recompile. It returns the detections and
    the energy levels [B, H, W, G], on the device. Batch norm uses the running
    averages.
  """
  groups = tuple(map(int, group_of_class))
  return _predict_fn(model, decode_cfg, groups, tuple(class_names))


@functools.lru_cache(maxsize=8)
def _predict_fn(
  model: nn.Module,
  decode_cfg: DecodeConfig,
  group_of_class: tuple[int, ...],
  class_names: tuple[str, ...],
):
  predict = network_and_decode(
    model, decode_cfg, np.array(group_of_class, np.int32), class_names
  )
  return jax.jit(predict, compiler_options=compiling.options(model))


def network_and_decode(
  model: nn.Module,
  decode_cfg: DecodeConfig,
  group_of_class: Int[np.ndarray, " C"],
  class_names: Sequence[str] = (),
  levels_hw: tuple[int, int] | None = None,
) -> Callable[[Any, Array], tuple[Detections, jax.Array]]:
  """The function that `make_predict_fn` compiles.

  Args:
    class_names: see `make_predict_fn`.
    levels_hw: height and width to which the energy is padded, px, for images
      whose size is unknown when tracing; None = as the image.
  """

  lent = siblings.lending(class_names)
  if decode_cfg.class_vote == "majority":
    lent = None

  def predict(variables, image):
    predictions: Any = model.apply(variables, image, train=False)

    def class_fn(*at):  # page, y, x, group
      params, features = variables["params"], predictions.class_features
      probs = jnp.asarray(
        pixel_sampling.class_probs_at(params, features, group_of_class, *at)
      )
      return probs if lent is None else probs @ lent

    def size_fn(*at):
      return jnp.asarray(pixel_sampling.boxes_at(predictions, *at))

    levels = watershed.levels_from_logits(predictions.energy_logits, decode_cfg)
    levels = jnp.asarray(upsample(levels, dwd.STRIDE))  # [B, H, W, G]
    if levels_hw:
      room = [(0, levels_hw[i] - levels.shape[i + 1]) for i in range(2)]
      levels = jnp.pad(levels, ((0, 0), *room, (0, 0)))
    found = watershed.decode_levels(levels, size_fn, class_fn, decode_cfg)
    return found, levels

  return predict


def predict_page(
  predict_fn: PredictFn,
  page: PageImage,
  cfg: PredictConfig = DEFAULT,
  keep_levels: bool = False,
) -> PagePrediction:
  """Predicts one page; see `predict_pages`."""
  return next(predict_pages(predict_fn, [page], cfg, int(keep_levels)))


def predict_pages(
  predict_fn: PredictFn,
  pages: Iterable[PageImage],
  cfg: PredictConfig = DEFAULT,
  keep_levels: int = 0,
  on_bad: OnBad | None = None,
) -> Iterator[PagePrediction]:
  """Predicts pages of any size, in order.

  A page is scaled (see `predict.normalise`), padded to one of few sizes, and
  kept whole up to `cfg.max_mpx` or the largest of `cfg.sizes`; a larger one is
  cut into overlapping tiles, each with all slots of the decode. Consecutive
  pages of one padded size go through the network together. A warning names
  pages with more objects than slots.

  Args:
    predict_fn: with its variables bound.
    pages: read as the results are taken, a batch at a time.
    keep_levels: number of first pages whose energy levels are kept.
    on_bad: called with each page that cannot be predicted, and the error; the
      page is left out. None: it raises.

  Raises:
    InputError: an empty page, one of a wrong type, or an impossible scale.
  """
  run, done = _Runner(predict_fn, cfg), 0
  normaliser = normalise.Normaliser(cfg)
  for group in _groups(normaliser(pages), cfg, on_bad):
    start = time.perf_counter()
    keep = [done + i < keep_levels for i in range(len(group))]
    predicted: list[PagePrediction] = []
    with without_too_large([job.page for job in group], on_bad):
      predicted = _predict_group(run, group, keep)
    seconds = time.perf_counter() - start + normaliser.seconds()
    seconds /= len(group)
    seconds = math.nan if run.was_new() else seconds
    done += len(group)
    for prediction in predicted:
      yield prediction._replace(seconds=seconds)


@contextlib.contextmanager
def without_too_large(
  pages: Iterable[PageImage], on_bad: OnBad | None
) -> Iterator[None]:
  """Leaves pages out for which there is too little memory.

  Args:
    pages: those that the block works on.
    on_bad: see `predict_pages`.
  """
  try:
    yield
  except (MemoryError, OverflowError, *_OF_LIBRARIES) as e:
    if on_bad is None or not _is_out_of_memory(e):
      raise
    for page in pages:
      height, width = page.ink.shape
      on_bad(
        page,
        InputError(
          f"{page.filename}: {width} x {height} pixels at scale"
          f" {page.scale:.3g} do not fit into memory; scale the page down, or"
          " lower the batch size"
        ),
      )


_OF_LIBRARIES = (jax.errors.JaxRuntimeError, cv2.error)


def _is_out_of_memory(error: Exception) -> bool:
  if isinstance(error, _OF_LIBRARIES):
    words = ("RESOURCE_EXHAUSTED", "Out of memory", "Insufficient memory")
    return any(word in str(error) for word in words)
  return True


class _View(NamedTuple):
  """A page at one scale, and the tiles that it is cut into."""

  window: page_windows.Window
  tiles: tuple[tiling.Tile, ...]


class _Job(NamedTuple):
  """A page and its views, one for each scale."""

  page: PageImage
  views: tuple[_View, ...]

  @property
  def sizes(self) -> list[tuple[int, int]]:
    """Heights and widths of the tiles of each view, px."""
    return [view.tiles[0].hw for view in self.views]

  @property
  def most_px(self) -> int:
    """Pixels that go through the network for the largest view."""
    return max(
      len(view.tiles) * math.prod(view.tiles[0].hw) for view in self.views
    )


class _Runner:
  """Runs images of one size in batches, and notes which sizes are new."""

  def __init__(self, predict_fn: PredictFn, cfg: PredictConfig):
    self.cfg = cfg
    self._predict_fn = predict_fn
    self._sizes = set()
    self._new = False

  def __call__(
    self, images: Sequence[UInt8[np.ndarray, "h w"]]
  ) -> Iterator[tuple[Detections, Array]]:
    """Yields detections (without the axis B, on the host) and energy levels."""
    per_call = self.cfg.max_px // max(images[0].size, 1)
    per_call = max(1, min(self.cfg.batch_size, per_call))
    start = 0
    while start < len(images):
      # Powers of two: incomplete batches compile few sizes.
      n = min(per_call, 1 << (len(images) - start).bit_length() - 1)
      stack = page_windows.to_network(np.stack(images[start : start + n]))
      self._new |= stack.shape not in self._sizes
      self._sizes.add(stack.shape)
      on_device, levels = self._predict_fn(stack)
      found: Detections = jax.device_get(on_device)
      for i in range(n):
        yield jax.tree.map(lambda x, i=i: x[i], found), levels[i]
      start += n

  def was_new(self) -> bool:
    """Whether a size was new since the last call."""
    new, self._new = self._new, False
    return new


def _groups(
  pages: Iterable[PageImage], cfg: PredictConfig, on_bad: OnBad | None
) -> Iterator[list[_Job]]:
  """Groups consecutive pages that fit into one call of the network."""
  group: list[_Job] = []
  for page in pages:
    try:
      job = _Job(page, _views(page, cfg))
    except InputError as e:
      if on_bad is None:
        raise
      on_bad(page, e)
      continue
    room = cfg.max_px // job.most_px
    if group and (len(group) >= room or job.sizes != group[0].sizes):
      yield group
      group = []
    group.append(job)
    if len(group) >= min(room, cfg.batch_size):
      yield group
      group = []
  if group:
    yield group


def _views(page: PageImage, cfg: PredictConfig) -> tuple[_View, ...]:
  """The whole page at each scale; raises InputError for unusable pages."""
  ink, name = page.ink, page.filename
  if ink.ndim != 2 or ink.dtype != np.uint8:
    raise InputError(
      f"{name}: pixels are {ink.dtype} {ink.shape}; give uint8 ink [H, W]"
    )
  if not ink.size:
    raise InputError(
      f"{name}: the page has {ink.shape[1]} x {ink.shape[0]} pixels; leave it"
      " out"
    )
  views = []
  for scale in (page.scale * factor for factor in cfg.scales):
    if not normalise.is_possible(scale, ink.size, cfg.page_multiple):
      raise InputError(
        f"{name}: {ink.shape[1]} x {ink.shape[0]} pixels cannot be scaled by"
        f" {scale:g}; choose another scale"
      )
    window = page_windows.page_window(ink.shape, scale, cfg.page_multiple)
    tiles = tiling.plan(window.out_hw, cfg.max_px, cfg.overlap_px, cfg.sizes)
    views.append(_View(window, tiles))
  return tuple(views)


def _predict_group(
  run: _Runner, group: list[_Job], keep_levels: list[bool]
) -> list[PagePrediction]:
  """Predicts pages with tiles of one size, scale by scale."""
  results: list[list[PagePrediction]] = [[] for _ in group]
  for k in range(len(group[0].views)):
    views = [job.views[k] for job in group]
    inks = [
      page_windows.cut(job.page.ink, view.window)
      for job, view in zip(group, views, strict=True)
    ]
    found = run(
      [
        tile.cut(ink)
        for ink, view in zip(inks, views, strict=True)
        for tile in view.tiles
      ]
    )
    for job, view, ink, result, keep in zip(
      group, views, inks, results, keep_levels, strict=True
    ):
      of_page = itertools.islice(found, len(view.tiles))
      result.append(
        assemble.join(
          job.page, view.window, ink, view.tiles, of_page, keep and k == 0
        )
      )
  return [
    views[0]._replace(
      detections=assemble.fuse([view.detections for view in views]),
      overflow=any(view.overflow for view in views),
    )
    for views in results
  ]
