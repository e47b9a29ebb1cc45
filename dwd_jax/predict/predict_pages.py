"""Whole pages -> detections in source-image pixels."""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int

from dwd_jax.cluster import sharding
from dwd_jax.core.errors import InputError
from dwd_jax.core.structs import Array, Detections, PageImage
from dwd_jax.decode import refine, siblings, suppression, watershed
from dwd_jax.decode.decode_config import DecodeConfig
from dwd_jax.models import (
  box_refinement,
  compiling,
  dwd,
  pixel_sampling,
  staff_positions,
)
from dwd_jax.models.refinenet import upsample
from dwd_jax.predict.assemble import PagePrediction
from dwd_jax.predict.batches import Batcher, MoreSlots, PredictFn
from dwd_jax.predict.predict_config import DEFAULT, PredictConfig


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
    A jit-ed function of variables and image [B, H, W, 1], bytes or floats (see
    `dwd.network_input`), which compiles once for each size of image; two such
    functions if `decode_cfg.on` keeps them apart. Equal arguments give the same
    function, so that the next evaluation of a run does not recompile. It
    returns the detections and the energy levels [B, H, W, G], where the decode
    runs. Batch norm uses the running averages. A batch that the devices of this
    process can share is divided among them.
  """
  groups = tuple(map(int, group_of_class))
  # Names without siblings change nothing.
  names = () if siblings.lending(class_names) is None else tuple(class_names)
  return _predict_fn(model, decode_cfg, groups, names)


@functools.lru_cache(maxsize=8)
def _predict_fn(
  model: nn.Module,
  decode_cfg: DecodeConfig,
  group_of_class: tuple[int, ...],
  class_names: tuple[str, ...],
):
  groups = np.array(group_of_class, np.int32)
  options = compiling.options(model)
  if decode_cfg.on == "host":
    network = _divided(functools.partial(_maps, model), options)
    decode = _decode(model, decode_cfg, groups, class_names)
    return _decoded_on_host(network, decode)
  predict = network_and_decode(model, decode_cfg, groups, class_names)
  return _divided(predict, options)


def _divided(function, options):
  """Compiles a function of variables and images, which devices share."""
  if jax.local_device_count() == 1:
    return jax.jit(function, compiler_options=options)
  # Each device for itself: they would wait for each other in every loop of the
  # decode.
  divided = sharding.on_each_local_device(function)

  def each(variables, image):
    alone = image.shape[0] % jax.local_device_count()
    return (function if alone else divided)(variables, image)

  return jax.jit(each, compiler_options=options)


def _decoded_on_host(network, decode):
  """Network on the device, decode on the host's CPU; both compiled."""
  host = sharding.host_cpu()
  if host is None:
    raise InputError(
      "config key decode.on: JAX may not use the host's CPU; add cpu to"
      " JAX_PLATFORMS, or choose device"
    )
  decode = jax.jit(decode)

  def predict(variables, image):
    maps, params = network(variables, image), variables["params"]
    head = {name: params[name] for name in dwd.PIXEL_HEADS if name in params}
    with jax.default_device(host):
      return decode(*jax.device_put((head, maps), host))

  return predict


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
  decode = _decode(model, decode_cfg, group_of_class, class_names, levels_hw)

  def predict(variables, image):
    return decode(variables["params"], _maps(model, variables, image))

  return predict


def _maps(model, variables, image):
  """The network's `Predictions`."""
  return model.apply(variables, dwd.network_input(image), train=False)


def _decode(model, decode_cfg, group_of_class, class_names, levels_hw=None):
  """Function of the parameters of `PIXEL_HEADS` and the network's maps."""
  lent = siblings.lending(class_names)
  if decode_cfg.class_vote == "majority":
    lent = None

  def decode(params, predictions):
    def class_fn(*at):  # page, y, x, group
      features = predictions.class_features
      probs = jnp.asarray(
        pixel_sampling.class_probs_at(params, features, group_of_class, *at)
      )
      if lent is None:
        return probs
      return jnp.matmul(probs, lent, precision=jax.lax.Precision.HIGHEST)

    def size_fn(*at):
      return jnp.asarray(pixel_sampling.boxes_at(predictions, *at))

    levels = watershed.levels_from_logits(predictions.energy_logits, decode_cfg)
    levels = upsample(levels, dwd.energy_stride(predictions))
    levels = jnp.asarray(levels)  # [B, H, W, G]
    if levels_hw:
      room = [(0, levels_hw[i] - levels.shape[i + 1]) for i in range(2)]
      levels = jnp.pad(levels, ((0, 0), *room, (0, 0)))
    cfg, refines = decode_cfg, box_refinement.NAME in params
    if refines:  # duplicates are told by what boxes become
      cfg = dataclasses.replace(decode_cfg, suppress_iou=0.0)
    found = watershed.decode_levels(levels, size_fn, class_fn, cfg)
    if refines:
      found = refine.refine(
        found,
        functools.partial(pixel_sampling.refinements_of, params),
        predictions.image,
        predictions.class_features,
        box_refinement.has_oriented(params),
      )
      found = suppression.suppress_pages(found, decode_cfg.suppress_iou)
    if staff_positions.NAME in params:
      found = staff_positions.with_positions(
        found,
        params,
        predictions.image,
        space_px=model.cfg.position_space_px,
        position_classes=model.cfg.position_classes,
      )
    return found, levels

  return decode


def predict_page(
  predict_fn: PredictFn,
  page: PageImage,
  cfg: PredictConfig = DEFAULT,
  keep_levels: bool = False,
  more_slots: MoreSlots | None = None,
) -> PagePrediction:
  """Predicts one page; see `predict_pages`."""
  pages = predict_pages(predict_fn, [page], cfg, int(keep_levels), more_slots)
  return next(pages)


def predict_pages(
  predict_fn: PredictFn,
  pages: Iterable[PageImage],
  cfg: PredictConfig = DEFAULT,
  keep_levels: int = 0,
  more_slots: MoreSlots | None = None,
) -> Iterator[PagePrediction]:
  """Predicts pages of any size, in order.

  A page is scaled (see `predict.normalise`), padded to one of few sizes, and
  kept whole up to `cfg.max_mpx` or the largest of `cfg.sizes`; a larger one is
  cut into overlapping tiles, each with all slots of the decode. Pages of one
  padded size go through the network together, even if others lie between them.
  A warning names pages with more objects than slots.

  Args:
    predict_fn: with its variables bound.
    pages: read as the results are taken, two batches ahead.
    keep_levels: number of first pages whose energy levels are kept.
    more_slots: predicts images again that hold more objects than slots.

  Raises:
    InputError: an empty page, one of a wrong type, or an impossible scale.
  """
  batcher = Batcher(predict_fn, cfg, more_slots)
  for _, found in batcher.run(((None, page) for page in pages), keep_levels):
    if isinstance(found, InputError):
      raise found.__cause__ or found
    assert found is not None
    yield found
