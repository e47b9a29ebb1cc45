"""Initialises a network from the parameters of another, by name and shape."""

import collections
import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

_CLASS_HEAD = "class_head"  # its last axis is the classes
_ENERGY_HEAD = "energy_head"  # its last axes are groups and levels
_LISTED = 12  # modules of a group in a printed report


@dataclasses.dataclass(frozen=True)
class ClassNames:
  """Class names of both networks, in the order of their class heads."""

  own: tuple[str, ...]
  given: tuple[str, ...]

  def rows(self) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the shared classes, (own [n], given [n])."""
    index = {name: i for i, name in enumerate(self.given)}
    pairs = [(i, index[n]) for i, n in enumerate(self.own) if n in index]
    both = np.array(pairs, np.int64).reshape(-1, 2)
    return both[:, 0], both[:, 1]


@dataclasses.dataclass(frozen=True)
class Report:
  """Source of every array, by names such as "params/backbone/stem/kernel".

  Attributes:
    loaded: copied whole.
    partly: copied for some classes.
    kept: initialised anew, as missing or of another shape in the given network.
    ignored: given, but not used.
    classes: (classes copied, classes) of the class head; None = the class head
      was not matched by class names.
    numbers: (parameters loaded, parameters), without batch statistics.
  """

  loaded: tuple[str, ...]
  partly: tuple[str, ...]
  kept: tuple[str, ...]
  ignored: tuple[str, ...]
  classes: tuple[int, int] | None
  numbers: tuple[int, int]

  def lines(self) -> list[str]:
    """Lines for the terminal: counts, and the names in groups."""
    found = [f"{self.numbers[0]:,} of {self.numbers[1]:,} parameters loaded"]
    for text, names in (
      ("loaded", self.loaded),
      ("loaded for some classes", self.partly),
      ("initialised anew", self.kept),
      ("ignored", self.ignored),
    ):
      if names:
        found.append(f"  {text}: {len(names)} arrays ({_grouped(names)})")
    if self.classes is not None:
      found.append(
        f"  class head: {self.classes[0]} of {self.classes[1]} classes by name"
      )
    return found


def _grouped(names: Sequence[str]) -> str:
  """Modules with their numbers of arrays: "backbone/stage1 26, head 2"."""
  counts: collections.Counter[str] = collections.Counter()
  for name in names:
    _, *modules, _ = name.split("/")
    group = "/".join(modules[:2] if modules[0] == "backbone" else modules[:1])
    counts[re.sub(r"(_block\d+|(?<=stem)_bn)$", "", group)] += 1
  shown = [f"{group} {count}" for group, count in counts.items()]
  more = len(shown) - _LISTED
  if more > 0:
    shown[_LISTED:] = [f"{more} more modules"]
  return ", ".join(shown)


def _flat(tree: Any) -> dict[str, np.ndarray]:
  leaves = jax.tree_util.tree_leaves_with_path(tree)
  return {"/".join(str(p.key) for p in path): leaf for path, leaf in leaves}


def match(
  own: Any, given: Any, classes: ClassNames | None = None
) -> tuple[Any, Report]:
  """Copies the arrays of `given` whose name and shape match one of `own`.

  Args:
    own: {"params": .., "batch_stats": ..}; its dtypes are kept.
    given: such a tree of another network.
    classes: None = both heads have the same classes in the same order. If they
      differ, only the rows of shared classes are copied, provided that both
      heads have inputs of the same width.
  """
  theirs = _flat(given)
  renamed = classes is not None and classes.own != classes.given
  rows = total = None
  if classes is not None and renamed and _same_input(own, given, classes):
    rows, total = classes.rows(), len(classes.own)
  done: dict[str, list[str]] = collections.defaultdict(list)
  taken = [0, 0]

  def leaf(path, mine):
    name = "/".join(str(p.key) for p in path)
    size = int(np.prod(mine.shape)) if name.startswith("params/") else 0
    taken[1] += size
    value = theirs.get(name)
    head = renamed and any(part.key == _CLASS_HEAD for part in path)
    if head and rows is not None and value is not None:
      of_own, of_given = rows
      whole = len(of_own) == total
      done["loaded" if whole else "partly" if len(of_own) else "kept"] += [name]
      taken[0] += size * len(of_own) // mine.shape[-1]
      made = np.array(mine)
      made[..., of_own] = np.asarray(value)[..., of_given]
      return made
    if head or value is None or value.shape != mine.shape:
      done["kept"].append(name)
      return mine
    done["loaded"].append(name)
    taken[0] += size
    return np.asarray(value, mine.dtype)

  merged = jax.tree_util.tree_map_with_path(leaf, own)
  used = {*done["loaded"], *done["partly"]}
  report = Report(
    **{key: tuple(done[key]) for key in ("loaded", "partly", "kept")},
    ignored=tuple(name for name in theirs if name not in used),
    classes=None if rows is None else (len(rows[0]), total or 0),
    numbers=(taken[0], taken[1]),
  )
  return merged, report


def _same_input(own: Any, given: Any, classes: ClassNames) -> bool:
  """Whether the class heads have inputs of the same width."""
  mine, theirs = (
    tree["params"].get(_CLASS_HEAD, {}).get("kernel") for tree in (own, given)
  )
  if mine is None or theirs is None:
    return False
  widths = mine.shape[0], len(classes.own), len(classes.given)
  return widths == (theirs.shape[0], mine.shape[1], theirs.shape[1])


def fit_channels(own: Mapping[str, Any], given: Any) -> Any:
  """Variables `given`, whose first layer takes as many channels as `own`'s.

  From grey to colours, each channel gets a third of the kernel: grey pictures
  give what they gave. From colours to grey, the kernels are added up.
  """
  mine, theirs = (
    tree["params"].get("backbone", {}).get("stem", {}).get("kernel")
    for tree in (own, given)
  )
  if mine is None or theirs is None or mine.ndim != 4 or theirs.ndim != 4:
    return given
  wanted, had = mine.shape[2], theirs.shape[2]
  if wanted == had or 1 not in (wanted, had):
    return given
  kernel = np.asarray(theirs)
  if had == 1:
    kernel = np.repeat(kernel, wanted, axis=2) / wanted
  else:
    kernel = kernel.sum(axis=2, keepdims=True)
  params = dict(given["params"])
  backbone = dict(params["backbone"])
  backbone["stem"] = {**backbone["stem"], "kernel": kernel}
  return {**given, "params": {**params, "backbone": backbone}}


def fit_energy_cells(own: Mapping[str, Any], given: Any) -> Any:
  """Variables `given`, whose energy head tells as many cells as `own`'s.

  Each cell of a pixel gets what the pixel had, and a pixel the mean of cells.
  """
  mine, theirs = (tree["params"].get(_ENERGY_HEAD) for tree in (own, given))
  if not mine or not theirs:
    return given
  more = mine["bias"].ndim - theirs["bias"].ndim
  if not more:
    return given
  head = {}
  for name, value in theirs.items():
    value, at = np.asarray(value), value.ndim - theirs["bias"].ndim
    if more > 0:
      cells = mine["bias"].shape[:more]
      value = np.expand_dims(value, tuple(range(at, at + more)))
      shape = value.shape[:at] + cells + value.shape[at + more :]
      head[name] = np.broadcast_to(value, shape)
    else:
      head[name] = value.mean(tuple(range(at, at - more)))
  return {**given, "params": {**given["params"], _ENERGY_HEAD: head}}


def share_decoder(own: Mapping[str, Any], given: Any) -> Any:
  """Variables `given`, with a decoder per head if `own` has one per head.

  Then "refinenet_HEAD" of every head replaces the shared "refinenet".
  """
  heads = [k for k in own["params"] if k.startswith("refinenet_")]
  if not heads or "refinenet" not in given["params"]:
    return given
  made = {}
  for collection, tree in given.items():
    tree = dict(tree)
    decoder = tree.pop("refinenet", None)
    if decoder is not None:
      tree |= dict.fromkeys(heads, decoder)
    made[collection] = tree
  return made
