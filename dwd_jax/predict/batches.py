"""Images of many pages through the network in batches, pages in their order.

A few pages are open at once. Their images (whole pages or tiles, at each
scale) wait by size until a batch is full, or until the oldest page has to go
on. One batch is computed while the host prepares the next and joins the last.
"""

import collections
import math
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, NamedTuple, TypeAlias, TypeVar

import cv2
import jax
import numpy as np
from jaxtyping import UInt8

from dwd_jax.cluster import sharding
from dwd_jax.core.errors import InputError
from dwd_jax.core.structs import Array, Detections, PageImage
from dwd_jax.imaging import page_windows
from dwd_jax.predict import assemble, normalise, tiling
from dwd_jax.predict.assemble import PagePrediction
from dwd_jax.predict.predict_config import PredictConfig

T = TypeVar("T")
# Bytes [B, H, W, c] -> detections, energy levels [B, H, W, G].
PredictFn: TypeAlias = Callable[[Array], tuple[Detections, Array]]
# The same with at least so many slots.
MoreSlots: TypeAlias = Callable[[Array, int], tuple[Detections, Array]]
Result: TypeAlias = PagePrediction | InputError | None

_OF_LIBRARIES = (jax.errors.JaxRuntimeError, cv2.error)
MAYBE_OUT_OF_MEMORY = (MemoryError, OverflowError, *_OF_LIBRARIES)
_WORDS = ("RESOURCE_EXHAUSTED", "Out of memory", "Insufficient memory")
_IN_FLIGHT = 2  # calls: one is computed, the next is ready
_BATCHES = 2  # full ones that the open pages may fill
_LEAST_ROOM_PX = 1 << 28  # of the open pages: as many as the largest has


def too_large(page: PageImage, error: Exception) -> InputError:
  """What is said of a page that does not fit into memory.

  Raises `error` itself if it has another reason.
  """
  if isinstance(error, _OF_LIBRARIES) and not any(
    word in str(error) for word in _WORDS
  ):
    raise error
  height, width = page.ink.shape[:2]
  said = InputError(
    f"{page.filename}: {width} x {height} pixels at scale {page.scale:.3g} do"
    " not fit into memory; scale the image down, or lower the batch size"
  )
  said.__cause__ = error
  return said


class Batcher(Generic[T]):
  """Pages on their way through the network; see `run`."""

  def __init__(
    self,
    predict_fn: PredictFn,
    cfg: PredictConfig,
    more_slots: MoreSlots | None = None,
  ):
    """See `predict_pages.predict_pages` for the arguments."""
    self._predict_fn = predict_fn
    self._more_slots = more_slots
    self._cfg = cfg
    self._normaliser = normalise.Normaliser(cfg)
    self._open: collections.deque[_Page[T]] = collections.deque()
    self._waiting: dict[tuple[int, int], collections.deque[_Image]] = {}
    self._flying: collections.deque[_Call] = collections.deque()
    self._limits: dict[tuple[int, int], int] = {}  # of one device
    self._compiled: set[tuple[int, ...]] = set()

  def run(
    self, items: Iterable[tuple[T, PageImage | None]], keep_levels: int = 0
  ) -> Iterator[tuple[T, Result]]:
    """Yields a result for each item, in order.

    Args:
      items: pages with what belongs to them; None = nothing to predict, the
        item comes out again in its place.
      keep_levels: number of first pages whose energy levels are kept.

    Yields:
      A prediction; an error of that page alone, with its cause; or None.
    """
    for item, page in items:
      self._open.append(self._opened(item, page, keep_levels > 0))
      keep_levels -= page is not None
      self._send_full()
      while self._is_full() and not self._open[0].is_done:
        self._step()
      yield from self._closed()
    while self._open:
      self._step()
      yield from self._closed()
    self._normaliser.warn()

  def _opened(
    self, item: T, image: PageImage | None, keep_levels: bool
  ) -> "_Page[T]":
    """Cuts a page, and lets its images wait."""
    page = _Page(item, image, keep_levels)
    if image is None:
      return page
    start = time.perf_counter()
    try:
      page.cut(self._normaliser.scaled(image), self._cfg)
    except InputError as e:
      page.fail(e)
    except MAYBE_OUT_OF_MEMORY as e:
      page.fail(too_large(image, e))
    else:
      for made in page.images():
        self._waiting_of(made.hw).append(made)
    page.seconds += time.perf_counter() - start
    return page

  def _waiting_of(self, hw: tuple[int, int]) -> "collections.deque[_Image]":
    return self._waiting.setdefault(hw, collections.deque())

  def _is_full(self) -> bool:
    most = self._cfg.batch_size * self._cfg.devices
    pages = 1 if most == 1 else _BATCHES * most
    room = max(_LEAST_ROOM_PX, _BATCHES * self._cfg.devices * self._cfg.max_px)
    return len(self._open) > pages or sum(p.num_px for p in self._open) > room

  def _closed(self) -> "Iterator[tuple[T, Result]]":
    while self._open and self._open[0].is_done:
      page = self._open.popleft()
      yield page.item, page.result

  def _step(self) -> None:
    """Brings the oldest page on."""
    page = self._open[0]
    if page.is_done:
      return
    for hw, waiting in self._waiting.items():
      if any(image.page is page for image in waiting):
        self._send(hw)
        return
    self._fetch()

  def _limit(self, hw: tuple[int, int]) -> int:
    """Most images of a size that a device takes in one call."""
    fits = max(1, self._cfg.max_px // math.prod(hw))
    return self._limits.get(hw, min(self._cfg.batch_size, fits))

  def _send_full(self) -> None:
    for hw, waiting in self._waiting.items():
      while len(waiting) >= self._limit(hw) * self._cfg.devices:
        self._send(hw)

  def _send(self, hw: tuple[int, int]) -> None:
    """Lets the network begin with images of a size; waits for an older call."""
    waiting, devices = self._waiting[hw], self._cfg.devices
    # Powers of two: incomplete batches compile few sizes.
    each = 1 << max(1, len(waiting) // devices).bit_length() - 1
    each = min(self._limit(hw), each)
    count = min(len(waiting), each * devices)
    images = tuple(waiting.popleft() for _ in range(count))
    start = time.perf_counter()
    shape = (each * devices, *hw, self._cfg.channels)
    is_new = shape not in self._compiled
    self._compiled.add(shape)
    try:
      stack = np.zeros(shape, np.uint8)
      for row, image in zip(stack, images, strict=False):
        row[...] = image.pixels().reshape(row.shape)
      if devices > 1:
        stack = sharding.over_local_devices(stack)
      found, levels = self._predict_fn(stack)
    except MAYBE_OUT_OF_MEMORY as e:
      self._halve(images, each, e)
      return
    kept = levels if any(image.page.keep_levels for image in images) else None
    seconds = math.nan if is_new else time.perf_counter() - start
    self._flying.append(_Call(images, stack, found, kept, each, seconds))
    while len(self._flying) > _IN_FLIGHT:
      self._fetch()

  def _fetch(self) -> None:
    """Waits for the oldest call, and gives its pages what it has found."""
    call = self._flying.popleft()
    start = time.perf_counter()
    try:
      found: Detections = jax.device_get(call.found)
      most, slots = int(np.max(found.count)), np.shape(found.valid)[1]
      if self._more_slots is not None and most > slots:
        found = jax.device_get(self._more_slots(call.stack, most)[0])
      levels = None if call.levels is None else np.asarray(call.levels)
    except MAYBE_OUT_OF_MEMORY as e:
      self._halve(call.images, call.each, e)
      return
    seconds = call.seconds + time.perf_counter() - start
    for i, image in enumerate(call.images):
      of_image = jax.tree.map(lambda x, i=i: x[i], found)
      image.page.seconds += seconds / len(call.images)
      image.page.put(image, of_image, None if levels is None else levels[i])

  def _halve(
    self, images: "tuple[_Image, ...]", each: int, error: Exception
  ) -> None:
    """After a call that did not fit: smaller ones, or the end of its pages."""
    said = [too_large(image.page.image, error) for image in images]
    if each > 1:
      hw = images[0].hw
      self._limits[hw] = min(self._limit(hw), each // 2)
      self._waiting[hw].extendleft(reversed(images))
      return
    for image, why in zip(images, said, strict=True):
      image.page.fail(why)
    for waiting in self._waiting.values():
      left = [image for image in waiting if not image.page.is_done]
      waiting.clear()
      waiting.extend(left)


class _View(NamedTuple):
  """A page at one scale, and the tiles that it is cut into."""

  window: page_windows.Window
  ink: UInt8[np.ndarray, "H W *c"]
  tiles: tuple[tiling.Tile, ...]


class _Image(NamedTuple):
  """What goes through the network: a tile of a view of a page."""

  page: "_Page"
  view: int
  tile: int

  @property
  def hw(self) -> tuple[int, int]:
    return self.page.views[self.view].tiles[self.tile].hw

  def pixels(self) -> UInt8[np.ndarray, "h w *c"]:
    view = self.page.views[self.view]
    return view.tiles[self.tile].cut(view.ink)


class _Call(NamedTuple):
  """A call of the network whose results are not fetched yet.

  Attributes:
    levels: None = not wanted.
    each: images of a device.
    seconds: that it took so far; NaN = it was compiled.
  """

  images: tuple[_Image, ...]
  stack: Array
  found: Detections
  levels: Array | None
  each: int
  seconds: float


class _Page(Generic[T]):
  """An open page, and what was found on it so far."""

  def __init__(self, item: T, image: PageImage | None, keep_levels: bool):
    self.item = item
    self.keep_levels = keep_levels
    self.seconds = 0.0
    self.views: list[_View] = []
    self.result: Result = None
    self.is_done = image is None
    self._image = image
    self._found: dict[tuple[int, int], tuple[Detections, Array | None]] = {}

  @property
  def image(self) -> PageImage:
    assert self._image is not None
    return self._image

  @property
  def num_px(self) -> int:
    """Pixels in memory."""
    own = 0 if self._image is None else self._image.ink.size
    return own + sum(view.ink.size for view in self.views)

  def cut(self, image: PageImage, cfg: PredictConfig) -> None:
    """Cuts the page at each scale; raises InputError if it is unusable."""
    self._image = image
    ink, name = image.ink, image.filename
    wanted = () if cfg.channels == 1 else (cfg.channels,)
    if ink.shape[2:] != wanted or ink.ndim < 2 or ink.dtype != np.uint8:
      what = "uint8 ink [H, W]" if not wanted else "uint8 RGB [H, W, 3]"
      raise InputError(
        f"{name}: pixels are {ink.dtype} {ink.shape}; give {what}"
      )
    height, width = ink.shape[:2]
    if not ink.size:
      raise InputError(
        f"{name}: the image has {width} x {height} pixels; leave it out"
      )
    windows = []
    for scale in (image.scale * factor for factor in cfg.scales):
      if not normalise.is_possible(scale, height * width, cfg.page_multiple):
        raise InputError(
          f"{name}: {width} x {height} pixels cannot be scaled by {scale:g};"
          " choose another scale"
        )
      window = page_windows.page_window(
        (height, width), scale, cfg.page_multiple
      )
      tiles = tiling.plan(window.out_hw, cfg.max_px, cfg.overlap_px, cfg.sizes)
      windows.append((window, tiles))
    for window, tiles in windows:
      self.views.append(_View(window, page_windows.cut(ink, window), tiles))

  def images(self) -> Iterator[_Image]:
    for view, cut in enumerate(self.views):
      for tile in range(len(cut.tiles)):
        yield _Image(self, view, tile)

  def put(self, image: _Image, found: Detections, levels: Array | None) -> None:
    """Takes what was found on an image; the last one closes the page."""
    if self.is_done:  # it has failed
      return
    self._found[image.view, image.tile] = found, levels
    if len(self._found) < sum(len(view.tiles) for view in self.views):
      return
    start = time.perf_counter()
    try:
      result = self._joined()
    except MAYBE_OUT_OF_MEMORY as e:
      self.fail(too_large(self.image, e))
      return
    seconds = self.seconds + time.perf_counter() - start
    self.result = result._replace(seconds=seconds)
    self.is_done = True

  def _joined(self) -> PagePrediction:
    predicted = [
      assemble.join(
        self.image,
        view.window,
        view.ink,
        view.tiles,
        [self._found[k, i] for i in range(len(view.tiles))],
        self.keep_levels and k == 0,
      )
      for k, view in enumerate(self.views)
    ]
    return predicted[0]._replace(
      detections=assemble.fuse([view.detections for view in predicted]),
      overflow=any(view.overflow for view in predicted),
    )

  def fail(self, error: InputError) -> None:
    self.result, self.is_done = error, True
