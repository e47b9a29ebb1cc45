"""Classes of objects, by votes of their pixels.

Class probabilities are computed a chunk of pixels at a time and only where
needed; no map of all classes exists at full resolution.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from dwd_jax.decode import backend, bits, pixel_lists
from dwd_jax.decode.decode_config import DecodeConfig
from dwd_jax.decode.measure import Objects


class Likeliest(NamedTuple):
  """Classes without probabilities, which count as 1.

  Attributes:
    labels: class of each pixel; -1 = background, which casts no vote.
  """

  labels: Int[jax.Array, " P"]
  num_classes: int


# (y int32 [P], x int32 [P]) -> probabilities float32 [P, C] or the classes
PlaneClassFn = Callable[[jax.Array, jax.Array], jax.Array | Likeliest]
_SLOTS = 128  # objects per step of the loop over peaks, on CPUs
_STEP_PX = 2  # between sampled pixels; class features are coarser than pixels


def _pixels_at_once() -> int:
  """Pixels evaluated at once for all classes.

  On accelerators as many as features and classes of some 0.7 GB; nearly always
  that is one step.
  """
  return pixel_lists.CHUNK if backend.on_cpu() else pixel_lists.LARGE_STEP


def first_max(
  values: Float[jax.Array, "*n C"] | Int[jax.Array, "*n C"],
) -> tuple[jax.Array, jax.Array]:
  """The argmax and the maximum, on CPUs far faster than `jnp.argmax`."""
  if not backend.on_cpu():
    return jnp.argmax(values, -1).astype(jnp.int32), values.max(-1)
  highest = values.max(-1)
  number = jnp.arange(values.shape[-1], dtype=jnp.int32)
  found = jnp.where(values == highest[..., None], number, values.shape[-1])
  return jnp.minimum(found.min(-1), values.shape[-1] - 1), highest


def _likeliest(class_fn, y, x):
  """Class of each pixel, -1 = no vote, and the number of classes."""
  asked = class_fn(y, x)
  if isinstance(asked, Likeliest):
    return asked
  # Without the barrier XLA would compute the probabilities once per use.
  label, highest = first_max(jax.lax.optimization_barrier(asked))
  return Likeliest(jnp.where(highest > 0, label, -1), asked.shape[-1])


def _probabilities(class_fn, y, x):
  """Class probabilities of each pixel."""
  asked = class_fn(y, x)
  if isinstance(asked, Likeliest):
    return _one_hot(lambda *_: asked, y, x)
  return asked


def _one_hot(class_fn, y, x):
  """1 for the likeliest class of each pixel, all 0 for background."""
  asked = _likeliest(class_fn, y, x)
  return jax.nn.one_hot(asked.labels, asked.num_classes)


def vote_all_pixels(
  objects: Objects,
  parts: pixel_lists.Segments,
  width: int,
  class_fn: PlaneClassFn,
  cfg: DecodeConfig,
) -> tuple[Int[jax.Array, " S"], Float[jax.Array, " S"]]:
  """Lets all pixels of a component vote.

  Args:
    class_fn: class probabilities at pixels, or the likeliest classes; a row of
      zeros casts no vote.

  Returns:
    labels: class of each slot [S]; the smaller id wins a tie.
    share: votes for it (or their probability) / pixels of the object.
  """
  k = objects.rows.shape[0]
  nowhere = jnp.zeros(0, jnp.int32)
  num_classes = _likeliest(class_fn, nowhere, nowhere).num_classes

  def count(votes, at, live, row):
    label = _likeliest(class_fn, at // width, at % width).labels
    slot = backend.take(objects.slot_of, row)
    ok = live & (slot < k)
    place = slot * num_classes + label
    place = pixel_lists.drop_unless(ok & (label >= 0), place, k * num_classes)
    return votes.at[place].add(1, mode="drop")

  def add(votes, at, live, row):
    probs = _probabilities(class_fn, at // width, at % width)
    slot = pixel_lists.drop_unless(live, backend.take(objects.slot_of, row), k)
    return votes.at[slot].add(probs, mode="drop")

  # Certain classes need no sum over all of them.
  certain = isinstance(class_fn(nowhere, nowhere), Likeliest)
  if cfg.class_vote == "majority" or certain:
    votes = jnp.zeros(k * num_classes, jnp.int32)
    step = count
  else:
    votes = jnp.zeros((k, num_classes), jnp.float32)
    step = add
  votes = pixel_lists.for_chunks(
    parts.pixels, step, votes, beside=(parts.rows,), most=_pixels_at_once()
  )
  votes = votes.reshape(k, num_classes)
  label, most = first_max(votes)
  share = most / jnp.maximum(objects.area, 1)
  return label, share.astype(jnp.float32)


def vote_near_peaks(
  objects: Objects,
  basins: pixel_lists.Segments,
  width: int,
  class_fn: PlaneClassFn,
  cfg: DecodeConfig,
) -> tuple[Int[jax.Array, " S"], Float[jax.Array, " S"]]:
  """Lets `cfg.class_pixels` pixels around each peak vote.

  The cost follows the number of objects, and every object gets a vote.

  Returns:
    labels: class of each slot [S]; the smaller id wins a tie.
    share: its mean probability (or share of the votes) over the sampled pixels,
      those of zeros included.
  """
  k, height = objects.rows.shape[0], basins.mask.shape[0]
  reach = round(cfg.class_pixels**0.5) // 2
  offset = _STEP_PX * jnp.arange(-reach, reach + 1, dtype=jnp.int32)
  dy = jnp.repeat(offset, 2 * reach + 1)
  dx = jnp.tile(offset, 2 * reach + 1)

  slots = min(k, _SLOTS)
  if not backend.on_cpu():
    slots = min(k, max(1, _pixels_at_once() // cfg.class_pixels))

  def vote(first):
    slot = jnp.minimum(first + jnp.arange(slots), k - 1)
    seed = backend.take(objects.seeds, slot)[:, None]
    y, x = seed // width + dy, seed % width + dx  # [slots, class_pixels]
    ok = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    y, x = jnp.clip(y, 0, height - 1), jnp.clip(x, 0, width - 1)
    inside, place = bits.look_up(basins.mask, y, x)
    row = backend.take(objects.rows, slot)[:, None]
    ok &= inside & (backend.take(basins.rows, place) == row)
    ask = _one_hot if cfg.class_vote == "majority" else _probabilities
    probs = ask(class_fn, y.reshape(-1), x.reshape(-1))
    probs = probs.reshape(*ok.shape, -1) * ok[..., None]
    mean = probs.sum(1) / jnp.maximum(ok.sum(1), 1)[:, None]  # [slots, C]
    return slot, *first_max(mean)

  if slots == k:
    return vote(0)[1:]

  def body(i, state):
    slot, label, share = vote(i * slots)
    return state[0].at[slot].set(label), state[1].at[slot].set(share)

  # On CPUs there is one plane, so the slots in use are the first ones.
  used = objects.valid.sum() if backend.on_cpu() else k
  start = (jnp.zeros(k, jnp.int32), jnp.zeros(k))
  return jax.lax.fori_loop(0, (used + slots - 1) // slots, body, start)
