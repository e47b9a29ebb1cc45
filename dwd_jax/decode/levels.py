"""Energy levels of a page from the logits that the network gives at stride 4.

Between four neighbouring cells the logits are interpolated. Most squares of
four cells are background whatever the weights, which a bound on the cells
proves; only the pixels of the others are evaluated, exactly.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from dwd_jax import structs
from dwd_jax.decode import bits, foreground
from dwd_jax.decode import config as config_lib

_SQUARES = 512  # evaluated at a time


def from_logits(
  energy_logits: Float[structs.Array, "*n E"], cfg: config_lib.DecodeConfig
) -> Float[jax.Array, "*n"]:
  """Energy level of each pixel: the mean of the softmax, or the likeliest.

  Args:
    energy_logits: over E levels.
    cfg: `energy` says which.
  """
  logits = jnp.asarray(energy_logits, jnp.float32)
  if not cfg.mean_energy:
    return jnp.argmax(logits, -1).astype(jnp.float32)
  level = jnp.arange(logits.shape[-1], dtype=jnp.float32)
  weight = jnp.exp(logits - logits.max(-1, keepdims=True))
  return (weight @ level) / weight.sum(-1)


def from_coarse_logits(
  energy_logits: Float[structs.Array, "B h w G E"],
  stride: int,
  cfg: config_lib.DecodeConfig,
) -> Float[jax.Array, "B H W G"]:
  """Energy levels of all pixels that can matter to the decode.

  Args:
    energy_logits: at the stride, over E levels.
    stride: pixels between cells; even.
    cfg: settings; only what `energy_cutoff` and `smooth` need is evaluated.

  Returns:
    `from_logits` of the bilinearly upsampled logits wherever the level may be
    above the cutoff, or smoothing may carry it there; elsewhere 0 or this.
  """
  logits = jnp.asarray(energy_logits, jnp.float32)
  b, h, w, g, e = logits.shape
  planes = logits.transpose(0, 3, 1, 2, 4).reshape(b * g, h, w, e)
  levels = jax.lax.map(lambda x: _plane(x, stride, cfg), planes)
  levels = levels.reshape(b, g, h * stride, w * stride)
  return levels.transpose(0, 2, 3, 1)


def _plane(logits, stride, cfg):
  """Levels [H, W] of one plane of logits [h, w, E]."""
  h, w, num_levels = logits.shape
  framed = jnp.pad(logits, ((1, 1), (1, 1), (0, 0)), mode="edge")
  matters = _spread(_may_rise(framed, cfg), -(-2 * cfg.smooth // stride))
  squares = foreground.compact(bits.pack(matters))
  cells = framed.reshape(-1, num_levels)
  weights = _weights(stride)

  def step(levels, at, live):
    first = at // (w + 1) * (w + 2) + at % (w + 1)  # the upper left cell
    corners = first[:, None] + np.array([0, 1, w + 2, w + 3])
    mixed = jnp.einsum("pc,sce->spe", weights, cells[corners])
    place = foreground.drop_unless(live, at, levels.shape[0])
    # XLA would mix anew for each use.
    found = from_logits(jax.lax.optimization_barrier(mixed), cfg)
    return levels.at[place].set(found, mode="drop")

  nothing = jnp.zeros(((h + 1) * (w + 1), stride**2))
  levels = foreground.for_chunks(squares, step, nothing, _SQUARES)
  levels = levels.reshape(h + 1, w + 1, stride, stride).transpose(0, 2, 1, 3)
  levels = levels.reshape((h + 1) * stride, (w + 1) * stride)
  half = stride // 2  # the first square begins half a cell before the page
  return levels[half : half + h * stride, half : half + w * stride]


def _weights(stride):
  """Share of the four cells in each pixel of a square: [stride ** 2, 4]."""
  t = (np.arange(stride) + 0.5) / stride
  one = np.stack((1 - t, t), 1)  # [stride, 2]
  both = one[:, None, :, None] * one[None, :, None, :]
  return jnp.asarray(both.reshape(stride**2, 4), jnp.float32)


def _may_rise(framed, cfg) -> Bool[jax.Array, "h1 w1"]:
  """Squares where some mixture of the four cells may be above the cutoff.

  The mean level is above the cutoff c where the sum of (e - c) exp(z_e) over
  the levels e above c exceeds that of (c - e) exp(z_e) over those below. Of a
  mixture the former is at most that of the best cell (Hoelder), the latter at
  least its largest term with the smallest z_e of the cells. The likeliest
  level: the same with maxima.
  """
  level = np.arange(framed.shape[-1])
  above = level > cfg.energy_cutoff
  if cfg.mean_energy:
    gap = np.abs(level - cfg.energy_cutoff)
    gain = np.log(np.where(gap > 0, gap, np.finfo(np.float32).tiny))
    gain = gain.astype(np.float32)
    top = jnp.where(above, framed + gain, -jnp.inf)
    highest = top.max(-1)
    safe = jnp.where(jnp.isfinite(highest), highest, 0)
    rise = jnp.log(jnp.exp(top - safe[..., None]).sum(-1)) + safe
  else:
    gain = np.zeros(len(level), np.float32)
    rise = jnp.where(above, framed, -jnp.inf).max(-1)
  least = _of_corners(framed, jnp.minimum)
  fall = jnp.where(above, -jnp.inf, least + gain).max(-1)
  # Rounding must not lose a pixel. Comparisons with NaN are False.
  return ~(_of_corners(rise, jnp.maximum) < fall - 1e-3)


def _of_corners(cells, combine):
  rows = combine(cells[:-1], cells[1:])
  return combine(rows[:, :-1], rows[:, 1:])


def _spread(mask, reach):
  """Adds the neighbours within `reach` squares."""
  for _ in range(reach):
    p = jnp.pad(mask, 1)
    p = p[:-2] | p[1:-1] | p[2:]
    mask = p[:, :-2] | p[:, 1:-1] | p[:, 2:]
  return mask
