"""Connected components of a mask (8 neighbours), exact and jit-able.

All pixels of a 2 x 2 block touch each other, so a block is one node; blocks
that touch side by side form runs; only the runs take part in the union-find:
hooking to the smallest neighbour and pointer jumping, which needs about log2
rounds for any shape (spirals and serpentines included).
"""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Int

from dwd_jax.decode import foreground


def component_roots(
  mask: Bool[jax.Array, "h w"],
) -> Int[jax.Array, "h w"]:
  """For each pixel of the mask, the first pixel of its component.

  Args:
    mask: pixels to label.

  Returns:
    int32 [h, w]: raster index (y * w + x) of the component's first pixel in
    raster order; -1 outside the mask.
  """
  h, w = mask.shape
  if h == 0 or w == 0:
    return jnp.full((h, w), -1, jnp.int32)
  runs, run_list, edges, links = _runs(mask)
  parent = _union(runs, run_list, edges, links, (w + 1) // 2)
  component = parent[runs]  # [h2 * w2], of each block
  first = _first_pixels(mask)  # [h2 * w2]
  size = runs.shape[0]
  used = first < h * w
  lowest = jnp.full(size, h * w, jnp.int32)
  lowest = lowest.at[foreground.drop_unless(used, component, size)].min(
    first, mode="drop"
  )
  of_block = lowest[component].reshape((h + 1) // 2, (w + 1) // 2)
  of_pixel = jnp.repeat(jnp.repeat(of_block, 2, 0), 2, 1)[:h, :w]
  return jnp.where(mask, of_pixel, -1)


def label_components(
  mask: Bool[jax.Array, "h w"],
) -> tuple[Int[jax.Array, "h w"], Int[jax.Array, ""]]:
  """Labels 8-connected components, as `scipy.ndimage.label` does.

  Args:
    mask: pixels to label.

  Returns:
    component_ids: int32, 0 outside the mask, else 1 .. count in the raster
      order of the components' first pixels.
    count: number of components.
  """
  h, w = mask.shape
  roots = component_roots(mask).reshape(-1)
  is_first = roots == jnp.arange(h * w, dtype=jnp.int32)
  rank = foreground.exclusive_cumsum(is_first.astype(jnp.int32)) + 1
  ids = jnp.where(roots >= 0, rank[jnp.maximum(roots, 0)], 0)
  return ids.reshape(h, w), is_first.sum(dtype=jnp.int32)


def _quads(mask):
  """The four pixels of each 2 x 2 block, each [h2, w2]."""
  h, w = mask.shape
  m = jnp.pad(mask, ((0, h % 2), (0, w % 2)))
  return m[::2, ::2], m[::2, 1::2], m[1::2, ::2], m[1::2, 1::2]


def _first_pixels(mask):
  """Raster index of each block's first pixel; h * w where it is empty."""
  h, w = mask.shape
  a, b, c, d = _quads(mask)
  y = 2 * jnp.arange(a.shape[0], dtype=jnp.int32)[:, None]
  x = 2 * jnp.arange(a.shape[1], dtype=jnp.int32)[None]
  at = y * w + x
  first = jnp.full(a.shape, h * w, jnp.int32)
  for pixel, offset in ((d, w + 1), (c, w), (b, 1), (a, 0)):
    first = jnp.where(pixel, at + offset, first)
  return first.reshape(-1)


def _shift(x, dy, dx):
  """x[i - dy, j - dx], False beyond the border (dy in 0, 1; dx in -1 .. 1)."""
  h, w = x.shape
  padded = jnp.pad(x, ((1, 1), (1, 1)))
  return padded[1 - dy : 1 - dy + h, 1 - dx : 1 - dx + w]


def _runs(mask):
  """Numbers the runs of blocks and finds the edges between block rows.

  Returns:
    runs: int32 [h2 * w2], the run of each block.
    run_list: the runs as a list to walk over.
    edges: list of the blocks with an edge to the row above.
    links: bool [3, h2 * w2], the edges to the blocks above left, above,
      above right. Edges that repeat another one are left out.
  """
  a, b, c, d = _quads(mask)
  left = (a | c) & _shift(b | d, 0, 1)  # joined with the block to the left
  right = _shift(left, 0, -1)
  up = (a | b) & _shift(c | d, 1, 0)
  up_left = a & _shift(d, 1, 1)
  up_right = b & _shift(c, 1, -1)
  above_left, above_right = _shift(left, 1, 0), _shift(right, 1, 0)
  # An edge is a repeat if a neighbouring edge joins the same two runs.
  up_new = up & ~(left & above_left & _shift(up, 0, 1))
  up_left &= ~(up & above_left) & ~(left & _shift(up, 0, 1))
  up_right &= ~(up & above_right) & ~(right & _shift(up, 0, -1))
  links = jnp.stack([up_left, up_new, up_right]).reshape(3, -1)
  starts = ((a | b | c | d) & ~left).reshape(-1)
  order = foreground.exclusive_cumsum(starts.astype(jnp.int32))
  runs = jnp.maximum(order + starts - 1, 0)
  run_list = foreground.first_numbers(starts.sum(), runs.shape[0])
  return runs, run_list, foreground.compact(links.any(0)), links


def _union(runs, run_list, edges, links, width):
  """Root run of every run: the smallest run number of its component.

  `width` is the number of blocks in a row; the rest is made by `_runs`.
  """
  size = runs.shape[0]

  def hook(state, blocks, live):
    parent, new_parent, changed = state
    for i, offset in enumerate((-width - 1, -width, -width + 1)):
      ok = live & links[i, blocks]
      one = parent[runs[blocks]]
      other = parent[runs[jnp.where(ok, blocks + offset, 0)]]
      ok &= one != other
      high = foreground.drop_unless(ok, jnp.maximum(one, other), size)
      low = jnp.minimum(one, other)
      new_parent = new_parent.at[high].min(low, mode="drop")
      changed |= jnp.any(ok)
    return parent, new_parent, changed

  def round_(state):
    parent, _ = state
    _, parent, changed = foreground.for_chunks(
      edges, hook, (parent, parent, jnp.array(False))
    )
    return foreground.jump_pointers(parent, run_list), changed

  start = jnp.arange(size, dtype=jnp.int32)
  return jax.lax.while_loop(
    lambda state: state[1], round_, (start, jnp.array(True))
  )[0]
