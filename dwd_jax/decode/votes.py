"""Which class an object has: its pixels vote.

Class probabilities are computed only where they are asked for, a chunk of
pixels at a time; no map of all classes exists at full resolution.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from dwd_jax.decode import config as config_lib
from dwd_jax.decode import foreground
from dwd_jax.decode import objects as objects_lib

# (y int32 [P], x int32 [P]) -> probabilities float32 [P, C]
PlaneClassFn = Callable[[jax.Array, jax.Array], jax.Array]
_SLOTS = 128  # objects per step of the loop over peaks
_STEP_PX = 2  # between the pixels asked: class features are coarser than pixels


def vote_all_pixels(
  objects: objects_lib.Objects,
  roots: Int[jax.Array, " n"],
  pixels: Int[jax.Array, " m"],
  num_pixels: Int[jax.Array, ""],
  width: int,
  class_fn: PlaneClassFn,
) -> tuple[Int[jax.Array, " K"], Float[jax.Array, " K"]]:
  """Takes the most frequent best class among all pixels of a component.

  Args:
    objects: objects with seeds, in K slots.
    roots: for each pixel the seed of its object, else -1.
    pixels: list of the pixels of all objects.
    num_pixels: its used length.
    width: of the plane, in pixels.
    class_fn: class probabilities at pixels; a row of zeros casts no vote.

  Returns:
    labels: class of each slot; the smaller id wins a tie.
    share: votes for it / pixels of the object.
  """
  k = objects.seeds.shape[0]
  num_classes = _num_classes(class_fn)
  slot_of = jnp.full(roots.shape[0], k, jnp.int32)
  seeds = foreground.drop_unless(objects.valid, objects.seeds, roots.shape[0])
  slot_of = slot_of.at[seeds].set(jnp.arange(k, dtype=jnp.int32), mode="drop")

  def step(votes, at, live):
    probs = class_fn(at // width, at % width)  # [CHUNK, C]
    slot = slot_of[roots[at]]
    ok = live & (slot < k) & (probs.max(1) > 0)
    place = slot * num_classes + probs.argmax(1).astype(jnp.int32)
    place = foreground.drop_unless(ok, place, k * num_classes)
    return votes.at[place].add(1, mode="drop")

  votes = jnp.zeros(k * num_classes, jnp.int32)
  votes = foreground.for_chunks(pixels, num_pixels, step, votes)
  votes = votes.reshape(k, num_classes)
  share = votes.max(1) / jnp.maximum(objects.area, 1)
  return votes.argmax(1).astype(jnp.int32), share.astype(jnp.float32)


def vote_near_peaks(
  objects: objects_lib.Objects,
  peaks: Int[jax.Array, " n"],
  width: int,
  class_fn: PlaneClassFn,
  cfg: config_lib.DecodeConfig,
) -> tuple[Int[jax.Array, " K"], Float[jax.Array, " K"]]:
  """Takes the class with the highest mean probability around the peak.

  Only `cfg.class_pixels` pixels of each object are asked, so the cost follows
  the number of objects and no object goes without a vote.

  Args:
    objects: objects with seeds, in K slots.
    peaks: for each pixel the peak of its basin, else -1.
    width: of the plane, in pixels.
    class_fn: class probabilities at pixels; a row of zeros casts no vote.
    cfg: settings of the decode.

  Returns:
    labels: class of each slot; the smaller id wins a tie.
    share: its mean probability over the pixels asked, those of zeros included.
  """
  k, n = objects.seeds.shape[0], peaks.shape[0]
  height = n // width
  reach = round(cfg.class_pixels**0.5) // 2
  offset = _STEP_PX * jnp.arange(-reach, reach + 1, dtype=jnp.int32)
  dy = jnp.repeat(offset, 2 * reach + 1)
  dx = jnp.tile(offset, 2 * reach + 1)
  seeds = jnp.pad(objects.seeds, (0, -k % _SLOTS))

  def body(i, state):
    labels, shares = state
    seed = jax.lax.dynamic_slice(seeds, (i * _SLOTS,), (_SLOTS,))[:, None]
    y, x = seed // width + dy, seed % width + dx  # [_SLOTS, class_pixels]
    ok = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    y, x = jnp.clip(y, 0, height - 1), jnp.clip(x, 0, width - 1)
    ok &= peaks[y * width + x] == seed
    probs = class_fn(y.reshape(-1), x.reshape(-1))
    probs = probs.reshape(*ok.shape, -1) * ok[..., None]
    mean = probs.sum(1) / jnp.maximum(ok.sum(1), 1)[:, None]  # [_SLOTS, C]
    label = mean.argmax(1).astype(jnp.int32)
    update = jax.lax.dynamic_update_slice
    labels = update(labels, label, (i * _SLOTS,))
    return labels, update(shares, mean.max(1), (i * _SLOTS,))

  used = jnp.minimum(objects.count, k)
  start = (jnp.zeros(seeds.shape, jnp.int32), jnp.zeros(seeds.shape))
  labels, shares = jax.lax.fori_loop(
    0, (used + _SLOTS - 1) // _SLOTS, body, start
  )
  return labels[:k], shares[:k]


def _num_classes(class_fn: PlaneClassFn) -> int:
  one = jax.ShapeDtypeStruct((1,), jnp.int32)
  return jax.eval_shape(class_fn, one, one).shape[-1]
