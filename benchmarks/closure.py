"""How much of a data set the targets, energy groups and the decode can keep.

python -m benchmarks.closure --set=muscima_pp:v2.0:DIR:val \
  --set=engraved:18:80:val [--json=FILE]
python -m benchmarks.closure --set=deepscores:dense_2017:DIR:train+val+test \
  --groups=engraved:18:80:train --option=decode.smooth=1 --noise none smooth

A set is BUILDER:CONFIG:FOLDER[:SPLIT] or generated: engraved:STAFF_SPACE:PAGES
[:SPLIT] with the classes of DeepScores, engraved_v2:... with those of
DeepScoresV2; by default its validation split. Energy groups come from the train
split of the same set, or of the first of --groups with the same classes. Truth
goes to target maps and back through the decode, with perfect maps and with
noise; an object came back if a box of its class has an IoU of 0.5 or more,
one-to-one.
Exact repeats in the truth share one detection: recall counts them as lost,
recall_distinct leaves them out. The cost is that of the decode alone, by the
number of groups. All else is default, but where class discs overlap the
nearest centre counts, as in all trained configs.
"""

import argparse
import ast
import collections
import functools
import itertools
import sys
import tempfile
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import common, perfect_maps
from dwd_jax.core.errors import InputError
from dwd_jax.data import prepare, sources
from dwd_jax.decode import watershed
from dwd_jax.objectives import energy_groups, targets
from dwd_jax.train import settings as config_lib

_VOCABULARIES = {"engraved": "deepscores_v1", "engraved_v2": "deepscores_v2"}
_PAGE_PX = 1050, 1485  # width and height of a page with 9 px staff space


class _Set(NamedTuple):
  """Boxes in source pixels and labels of some pages."""

  name: str
  class_names: tuple[str, ...]
  pages: list[tuple[np.ndarray, np.ndarray]]


def open_set(text: str, folder: str, split: str = "") -> _Set:
  """Builds the records of a set as the command line names it.

  Args:
    text: see the module.
    folder: for the records, one folder below it for each set.
    split: instead of the one in `text`.
  """
  parts = text.split(":")
  if len(parts) not in (3, 4):
    raise InputError(f"--set={text}: use BUILDER:CONFIG:FOLDER[:SPLIT]")
  cfg: Any = config_lib.default().data
  if parts[0] in _VOCABULARIES:
    space = float(parts[1])
    cfg.builder, cfg.builder_config = "deepscores", "dense_2017"
    width, height = (round(side * space / 9) for side in _PAGE_PX)
    with cfg.engrave.unlocked():
      cfg.engrave.update(
        pages=int(parts[2]),
        staff_space=space,
        width=width,
        height=height,
        vocabulary=_VOCABULARIES[parts[0]],
      )
  else:
    cfg.builder, cfg.builder_config, cfg.manual_dir = parts[:3]
  records = f"{folder}/{'_'.join(parts[:3]).replace('/', '_')}"
  data_dir = prepare.prepare(cfg, records)
  split = split or (parts[3] if len(parts) == 4 else "val")
  source = sources.open_split(cfg, data_dir, split)
  index = source.box_index()
  rows = map(index.of_page, range(len(source)))
  pages = [(np.array(index.boxes_yxyx[r]), index.labels[r]) for r in rows]
  return _Set(f"{parts[0]}:{parts[1]}:{split}", source.class_names, pages)


def closure_row(
  data: _Set, groups: np.ndarray, scale: float, noise: str, settings, args
) -> dict[str, Any]:
  """Recall and precision over the pages of a set."""
  pages = _scaled(data, scale)
  max_boxes = max(len(labels) for _, labels in pages)
  run = perfect_maps.make_closure(
    groups, _room(pages), settings.targets, settings.decode, noise
  )
  lost: collections.Counter[tuple[str, str]] = collections.Counter()
  total = np.zeros(4, int)
  for i, (boxes, labels) in enumerate(pages):
    page = perfect_maps.run_page(
      run, boxes, labels, max_boxes, jax.random.key(i)
    )
    unmatched = int((page.lost & page.repeated).sum())
    total += (len(labels), page.num_found, page.num_matched, unmatched)
    lost += perfect_maps.causes(
      page,
      boxes,
      labels,
      groups,
      data.class_names,
      settings.targets.energy_disc_px,
    )
  objects, found, matched, repeated = map(int, total)
  return {
    "set": data.name,
    "pages": len(pages),
    "groups": int(groups.max()) + 1,
    "scale": scale,
    "noise": noise,
    "objects": objects,
    "found": found,
    "recall": matched / max(objects, 1),
    "recall_distinct": matched / max(objects - repeated, 1),
    "precision": matched / max(found, 1),
    "lost": objects - matched,
    "lost_most": [
      {"class": name, "cause": cause, "objects": count}
      for (name, cause), count in lost.most_common(args.top)
    ],
  }


def cost_row(
  data: _Set, groups: np.ndarray, scale: float, settings, args
) -> dict[str, Any]:
  """Time and memory of the decode of the fullest page."""
  pages = _scaled(data, scale)
  boxes, labels = max(pages, key=lambda page: len(page[1]))
  hw = _room(pages)

  @jax.jit
  def render(boxes, labels):
    mask = jnp.ones((1, len(labels)), bool)
    page = (boxes[None], labels[None], mask)
    return targets.render(*page, groups, hw, settings.targets)

  maps = render(boxes, labels)

  def decode(energy, sizes, classes):
    def class_fn(page, y, x, group):
      return jax.nn.one_hot(classes[page, y, x, group] - 1, len(groups))

    levels = energy.astype(jnp.float32)
    return watershed.decode_levels(levels, sizes, class_fn, settings.decode)

  timing = common.measure(
    decode, maps.energy, maps.sizes_px, maps.classes, repeats=args.repeats
  )
  return {
    "set": data.name,
    "groups": int(groups.max()) + 1,
    "scale": scale,
    "map_hw": hw,
    "objects": len(labels),
    **timing,
  }


def _scaled(data: _Set, scale: float) -> list[tuple[np.ndarray, np.ndarray]]:
  return [
    ((boxes * scale).astype(np.float32), labels) for boxes, labels in data.pages
  ]


def _room(pages) -> tuple[int, int]:
  """Size of a map that holds the boxes of every page."""
  most = np.max([boxes[:, 2:].max(0) for boxes, _ in pages], 0)
  height, width = (np.ceil(most / 64) * 64).astype(int).tolist()
  return height, width


def _settings(options: list[str]):
  """The default settings with SECTION.KEY=VALUE changed."""
  c: Any = config_lib.default()
  c.targets.class_overlap = "nearest"
  for option in options:
    path, _, value = option.partition("=")
    section, _, key = path.partition(".")
    if section not in ("decode", "targets") or key not in c[section]:
      raise InputError(f"--option={option}: use decode.KEY or targets.KEY")
    old = c[section][key]
    new = value if isinstance(old, str) else ast.literal_eval(value)
    c[section][key] = type(old)(new)
  return config_lib.validate(c)


def _arguments(argv: list[str]) -> argparse.Namespace:
  parser = common.parser("Closure: truth -> maps -> decode -> truth")
  add = functools.partial(parser.add_argument, nargs="+")
  parser.add_argument("--set", action="append", required=True, dest="sets")
  parser.add_argument("--groups", action="append", default=[])
  parser.add_argument("--option", action="append", default=[])
  add("--num_groups", type=int, default=[1, 2, 3, 4])
  add("--scale", type=float, default=[0.5, 1.0])
  add("--noise", choices=perfect_maps.NOISES, default=list(perfect_maps.NOISES))
  parser.add_argument("--max_pages", type=int, default=0, help="0 = all")
  parser.add_argument("--top", type=int, default=8, help="causes listed")
  return parser.parse_args(argv)


def main(argv: list[str]) -> None:
  """Measures every set and prints JSON."""
  args = _arguments(argv)
  settings = _settings(args.option)
  rows, costs = [], []
  with tempfile.TemporaryDirectory() as folder:
    others = [open_set(text, folder) for text in args.groups]
    for text in args.sets:
      data = open_set(text, folder)
      same = [o for o in others if o.class_names == data.class_names]
      train = same[0] if same else open_set(text, folder, "train")
      data = data._replace(pages=data.pages[: args.max_pages or None])
      for scale, num in itertools.product(args.scale, args.num_groups):
        groups = energy_groups.assign_groups(
          train.pages,
          len(data.class_names),
          num,
          float(settings.targets.energy_disc_px),
          scale,
        )
        for noise in args.noise:
          row = closure_row(data, groups, scale, noise, settings, args)
          rows.append(row | {"groups_from": train.name})
          print(rows[-1], file=sys.stderr)
        costs.append(cost_row(data, groups, scale, settings, args))
  results = {"options": args.option, "closure": rows, "cost": costs}
  common.report("closure", results, args.json)


if __name__ == "__main__":
  main(sys.argv[1:])
