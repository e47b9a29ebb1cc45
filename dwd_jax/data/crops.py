"""Training crops: their place on a page, pixels and boxes."""

import dataclasses

import grain
import numpy as np
from absl import logging

from dwd_jax.core import boxes as boxes_lib
from dwd_jax.core.errors import InputError
from dwd_jax.data import split_staff_spaces
from dwd_jax.data.degraded_crops import DegradedCrops, Wear
from dwd_jax.data.sampling import CropSampler
from dwd_jax.data.scenes import Scene
from dwd_jax.data.sources import PageSource
from dwd_jax.data.synthetic import SyntheticSymbols
from dwd_jax.imaging import (
  masks,
  oriented_boxes,
  page_windows,
  photo_look,
)
from dwd_jax.imaging.page_windows import Window


class MixedCrops(grain.transforms.RandomMap):
  """Crops of which a share is taken from further pages."""

  def __init__(self, usual: "TrainCrops", further: "TrainCrops", prob: float):
    """Mixes two kinds of crops.

    Args:
      usual: of the pages of the epoch.
      further: of any of its own pages.
      prob: share of the latter.
    """
    self._usual, self._further, self._prob = usual, further, prob

  def random_map(self, page, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Draws a crop; `page` is the next one of the shuffled epoch."""
    if rng.random() >= self._prob:
      return self._usual.random_map(page, rng)
    other = rng.integers(len(self._further))
    return self._further.random_map(other, rng)


class TrainCrops(grain.transforms.RandomMap):
  """Page number -> one training crop with padded boxes."""

  def __init__(
    self,
    source: PageSource,
    data_cfg,
    synthetic: SyntheticSymbols | None = None,
    *,
    oriented: bool = False,
    positions: bool = False,
    with_masks: bool = False,
  ):
    """Crops of the pages in `source`.

    Args:
      data_cfg: `config.data`.
      oriented: crops have oriented boxes, too. Unlike the upright ones, they
        are not cut where an object reaches over the edge of its crop.
      positions: crops have places on the staff, too.
      with_masks: crops have energies on masks, too. Degradations move them as
        they do upright boxes.

    Raises:
      InputError: the records lack what is asked for.
    """
    if oriented:
      source.require("oriented_yx", "model.oriented")
    if positions:
      source.require("positions", "model.staff_positions")
    if with_masks:
      source.require_masks()
    self._source = source
    self._oriented = oriented
    self._positions = positions
    self._masks = with_masks
    self._synthetic = synthetic
    factors = split_staff_spaces.scale_factors(source, data_cfg)
    self._sampler = CropSampler(source.box_index(), data_cfg, factors)
    self._degraded = DegradedCrops(
      data_cfg.degrade, float(data_cfg.staff_space_px)
    )
    self._min_visible = float(data_cfg.min_visible)
    self._max_boxes = int(data_cfg.max_boxes)
    self._is_photo = data_cfg.kind == "photo"
    if self._is_photo and positions:
      raise InputError(
        "config: data.kind=photo turns crops, and model.staff_positions needs"
        " them upright; set data.kind=document"
      )
    self._flip = bool(data_cfg.flip)
    self._warned: set[int] = set()

  def __len__(self) -> int:
    """Number of pages."""
    return len(self._source)

  def random_map(self, page, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Draws a crop; `page` is the next one of the shuffled epoch."""
    page, window = self._sampler(int(page), rng)
    # A degradation needs more of the page than the crop shows.
    wear = self._degraded(window, rng)
    scene = self._scene(page, wear.shown if wear else window, rng)
    scene = self._crop(scene, window, wear)
    if self._flip and rng.random() < 0.5:
      scene = scene.flipped()
    if self._is_photo:
      scene = self._varied(scene, rng)
    if len(scene.labels) > self._max_boxes:
      self._warn(page, len(scene.labels))
      scene = scene.keep(
        page_windows.nearest_to_centre(
          scene.boxes_yxyx, window.out_hw, self._max_boxes
        )
      )
    return scene.padded(self._max_boxes)

  def _varied(self, scene: Scene, rng: np.random.Generator) -> Scene:
    """Another photograph of the same: turned, mirrored, in other light."""
    height, width = scene.ink.shape[:2]
    # A crop that is not square keeps its shape.
    step = 1 if height == width else 2
    scene = scene.turned(step * int(rng.integers(4 // step)))
    if rng.random() < 0.5:
      scene = scene.flipped()
    look = photo_look.vary(scene.ink, rng)
    return dataclasses.replace(scene, ink=look)

  def _crop(self, scene: Scene, window: Window, wear: Wear | None) -> Scene:
    """The objects in sight, in pixels of the crop."""
    if wear:
      image, boxes = wear.apply(scene.ink, scene.boxes_yxyx)
    else:
      image = page_windows.resize(scene.ink, window.out_hw)
      boxes = window.at_origin.to_output(scene.boxes_yxyx)
    clipped, kept = boxes_lib.visible(boxes, window.out_hw, self._min_visible)
    scene = scene.keep(kept)
    oriented = scene.oriented_yx if self._oriented else None
    if oriented is not None and wear:
      oriented = wear.corners(oriented, boxes[kept])
    elif oriented is not None:
      oriented = oriented_boxes.rectangles(
        window.at_origin.points_to_output(oriented)
      )
    return Scene(
      image,
      clipped[kept],
      scene.labels,
      oriented,
      scene.positions if self._positions else None,
      None
      if scene.masks is None
      else masks.cut_patches(scene.masks, boxes[kept], clipped[kept]),
    )

  def _scene(
    self, page: int, window: Window, rng: np.random.Generator
  ) -> Scene:
    """A window of a page with synthetic symbols, in pixels of the page."""
    page_hw = tuple(self._source.box_index().page_hw[page].tolist())
    top, left, height, width = window.on_page(page_hw)
    example = self._source.example(page)
    region = self._source.ink_of(example, (top, left, height, width))
    labels, boxes = self._source.labels_and_boxes(page)
    wanted = {"oriented_yx": self._oriented, "positions": self._positions}
    scene = Scene(
      page_windows.pad(region, window, top=top, left=left),
      boxes,
      labels,
      **{
        name: self._source.feature(name, page, example)
        for name in wanted
        if wanted[name]
      },
      masks=self._source.mask_energies(page, example) if self._masks else None,
    ).moved(-window.top, -window.left)
    if self._synthetic is None:
      return scene
    return self._synthetic(scene, rng, min(window.scale_hw))

  def _warn(self, page: int, count: int) -> None:
    if page in self._warned:
      return
    self._warned.add(page)
    logging.warning(
      "%s: a crop shows %d objects, the %d nearest to its centre are kept;"
      " raise data.max_boxes",
      self._source.box_index().filenames[page],
      count,
      self._max_boxes,
    )
