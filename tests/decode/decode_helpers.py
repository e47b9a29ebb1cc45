"""One compiled decode of given maps, for the tests of all files."""

import functools

import jax

from dwd_jax.decode import watershed

HW, CLASSES, SLOTS = (64, 96), 3, 8  # few shapes, so few compilations


@functools.partial(jax.jit, static_argnames="cfg")
def decode(levels, sizes, probs, cfg):
  """Decodes maps [B, h, w, G], [B, h, w, G, 2 or 4] and [B, h, w, G, C]."""
  read = watershed.read_map
  return watershed.decode_levels(levels, read(sizes), read(probs), cfg)
