"""The model card of a run, from the files that its evaluation has written.

python -m benchmarks.model_card --workdir=RUN [--sets=test,NAME,...] \
  [--start=WEIGHTS] [--train_s=SECONDS --hardware=TEXT] \
  --out=dwd_jax/predict/pretrained/README.md

Every figure is read from RUN/eval/NAME.json, RUN/config.json,
RUN/data/engraved/engraved.json and RUN/checkpoints; nothing is typed in but the
hardware and the time. WEIGHTS: the file that the training started from.
"""

import argparse
import collections
import json
import pathlib
import sys
import time
from typing import Any

import jax

from dwd_jax.checkpoints import finished_run, weights
from dwd_jax.checkpoints.weights import Weights
from dwd_jax.core import files

_INTRO = """# The packaged detector: printed music

`printed.safetensors` is what `python -m dwd_jax.detect` and
`dwd_jax.detect(image)` use when no checkpoint is named. This page is made by
`python -m benchmarks.model_card`; the files it was made from are in
[benchmarks/results/](../../benchmarks/results/).
"""
_REPRODUCE = """## Make it again

```
python -m dwd_jax.main --config=configs/detector.py --workdir=runs/detector \\
  --config.data.engrave.fonts=Leipzig,Bravura,Leland,Gootville,FONTS \\
  --config.data.engrave.scores=SCORES
python -m dwd_jax.export --checkpoint=runs/detector --format=safetensors \\
  --out=dwd_jax/predict/pretrained/printed.safetensors
```

with fonts and scores as named above. On one machine with the same versions,
fonts and start, equal bits; elsewhere other texts are set, and sums differ in
their last bits.
"""
# What the sets of pages are, by the first word of their names.
_SETS = {
  "test": "pages generated with those of the training, of other scores, or"
  " other excerpts of these",
  "clean": "30 pages of `python -m dwd_jax.engrave --vocabulary=printed"
  " --seed=11 --splits=train=100` with the same fonts and of scores that were"
  " kept from the training",
  "scan": "the same with `--degrade=scan`, at the strength in the name",
  "photo": "the same with `--degrade=photo`",
  "peer": "pages of `python -m benchmarks.other_engraver`: real music,"
  " engraved by LilyPond, of scores that were kept from the training",
  "deepscores": "three real pages of DeepScores (2017), never trained on; their"
  " scale was measured",
}
_LIMITS = """## Limits

- Trained on generated pages only, engraved by verovio, as printed, and partly
  as scans and photos would show them. Pages of real scans and photos were
  looked at, not measured: [limits](../../../docs/limits.md).
- Not for handwriting, tablature, neumes, lyrics, or staves of other than five
  lines. Text is not read.
- Staves are not among the {classes} classes: they are traced without the
  network. Other lists of names: `--names`.
- Long slurs, ties and wedges are found less well than anything else: see the
  table below.
- Pages are brought to {space:g} px between staff lines. Below some 6 px in the
  picture, dots and thin accidentals are lost. Where no staff is found, nothing
  is looked for.
- Classes with few objects in the table below say little, one way or the other.
"""


def card(
  run: pathlib.Path,
  sets: list[str],
  start: pathlib.Path | None,
  hardware: str,
  train_s: float,
) -> str:
  """The card as Markdown.

  Args:
    run: workdir; all `sets` have been evaluated.
    sets: names of evaluations; the first is the generated test split.
    start: file of the weights that the training started from.
    hardware: that it was trained on.
    train_s: wall time of the training, seconds; 0 = not known.
  """
  trained = finished_run.weights_of_run(run)
  config = _json(run / "config.json")
  results = {name: _json(run / "eval" / f"{name}.json") for name in sets}
  parts = [
    _INTRO,
    _facts(run, trained, config, hardware, train_s),
    _REPRODUCE + _from(start),
    _scores(results),
    _LIMITS.format(
      space=trained.staff_space_px, classes=len(trained.class_names)
    ),
    _per_class(results),
  ]
  return "\n".join(parts)


def _json(path: pathlib.Path) -> dict[str, Any]:
  return json.loads(path.read_text(encoding="utf8"))


def _printed_in(engraved: dict[str, Any]) -> tuple[str, int, int]:
  """Music fonts with their pages, number of music files, of text fonts."""
  music: collections.Counter[str] = collections.Counter()
  files = set()
  for name in engraved["staff_spaces_px"]:
    # FILE-NUMBER-FONT-page-K, see `dwd_jax.engrave`.
    score, font, _, _ = name.rsplit("-", 3)
    music[font] += 1
    files.add(score.rsplit("-", 1)[0])
  fonts = ", ".join(f"{font} {count}" for font, count in music.most_common())
  drawn = {name for name in files if name.startswith("engraved-")}
  return fonts, len(files - drawn), len(engraved["text_fonts"])


def _from(start: pathlib.Path | None) -> str:
  """Says what the training started from."""
  if start is None:
    return ""
  mark = weights.fingerprint(weights.read(start))
  return f"It started from the packaged detector before it, `{mark}`.\n"


def _facts(
  run: pathlib.Path,
  trained: Weights,
  config: dict[str, Any],
  hardware: str,
  train_s: float,
) -> str:
  data, model = config["data"], trained.model
  engraved = _json(run / "data/engraved/engraved.json")
  count = sum(x.size for x in jax.tree.leaves(trained.variables["params"]))
  steps = sum(stage["steps"] for stage in config["stages"])
  fonts, scores, faces = _printed_in(engraved)
  splits = ", ".join(f"{n} {key}" for key, n in engraved["splits"].items())
  took = f", {train_s / 60:.0f} minutes" if train_s else ""
  lines = {
    "Network": f"ResNet-{model.backbone_depth} of width"
    f" {model.backbone_width}, RefineNet of {model.filters} filters,"
    f" {count / 1e6:.1f} million parameters",
    "Fingerprint": f"`{weights.fingerprint(trained)}`",
    "Classes": f"{len(trained.class_names)}",
    "Pages": f"{engraved['pages']} generated ones (seed {engraved['seed']};"
    f" {splits}, split by score), {sum(engraved['objects'].values())} objects",
    "Music fonts": f"{fonts} pages; all under the OFL (LilyPond's Emmentaler:"
    " OFL and GPL)",
    "Music": f"{scores} files of OpenScore (songs and string quartets, CC0) for"
    " half of the scores, random music for the others",
    "Texts": f"words of several languages in {faces} faces of the machine's"
    " fonts",
    "Crops": f"{data['crop_hw'][0]} x {data['crop_hw'][1]} px; of them as scans"
    f" {data['degrade']['scan_prob']:g}, as photos"
    f" {data['degrade']['photo_prob']:g}, strength"
    f" {data['degrade']['strength']:g}; pages of symbols"
    f" {data['synthetic']['prob']:g}",
    "Training": f"{steps} steps of {config['train']['batch_size']} crops,"
    f" seed {config['seed']}{took} on {hardware}",
    "Scores": "calibrated on `val`; default threshold"
    f" {trained.threshold:.3f}, the best F1 there",
    "Licence": "that of the package; nothing but generated pages was seen",
    "Made": time.strftime("%Y-%m-%d"),
  }
  rows = "\n".join(f"| {key} | {value} |" for key, value in lines.items())
  return f"| what | value |\n| --- | --- |\n{rows}\n"


def _number(value: float | None) -> str:
  return "-" if value is None else f"{value:.3f}"


def _scores(results: dict[str, dict[str, Any]]) -> str:
  lines = [
    "## Scores",
    "",
    "| pages | number | objects | classes there | COCO mAP | mAP_50 | AP_50"
    " weighted by objects | precision, recall at the threshold | mAP_50 of"
    " oriented boxes | places on the staff |",
    "| --- |" + " --- |" * 9,
  ]
  for name, found in results.items():
    present = sum(1 for c in found["per_class"].values() if c["num_objects"])
    keys = ("mAP", "mAP_50", "AP_50_weighted")
    numbers = " | ".join(_number(found[key]) for key in keys)
    lines.append(
      f"| `{name}` | {found['num_pages']} | {found['num_objects']} |"
      f" {present} | {numbers} | {_number(found['precision'])},"
      f" {_number(found['recall'])} |"
      f" {_number(found.get('rotated', {}).get('mAP_50'))} |"
      f" {_number(found.get('position_accuracy'))} |"
    )
  told = dict.fromkeys(name.split("_")[0] for name in results)
  lines += ["", *(f"- `{key}`: {_SETS[key]}." for key in told)]
  lines += ["", "All by `--mode=eval`; all but the first as `eval.on`.", ""]
  return "\n".join(lines)


def _per_class(results: dict[str, dict[str, Any]]) -> str:
  names = list(results)
  first = results[names[0]]["per_class"]
  lines = [
    "## Per class",
    "",
    f"AP_50 (and number of objects); last, that of oriented boxes on"
    f" `{names[0]}`.",
    "",
    "| class | " + " | ".join(f"`{name}`" for name in names) + " | oriented |",
    "| --- |" + " --- |" * (len(names) + 1),
  ]
  for class_name in first:
    cells = []
    for name in names:
      found = results[name]["per_class"].get(class_name, {"num_objects": 0})
      count = found["num_objects"]
      cells.append(f"{_number(found['AP_50'])} ({count})" if count else "")
    cells.append(_number(first[class_name].get("AP_50_rotated")))
    lines.append(f"| {class_name} | " + " | ".join(cells) + " |")
  return "\n".join(lines) + "\n"


def main(argv: list[str]) -> None:
  """Writes the card."""
  parser = argparse.ArgumentParser(description=str(__doc__))
  parser.add_argument("--workdir", required=True, type=pathlib.Path)
  parser.add_argument("--sets", default="test")
  parser.add_argument("--start", type=pathlib.Path)
  parser.add_argument("--hardware", default="two CPU cores")
  parser.add_argument("--train_s", type=float, default=0.0)
  parser.add_argument("--out", required=True, type=pathlib.Path)
  args = parser.parse_args(argv)
  sets = args.sets.split(",")
  text = card(args.workdir, sets, args.start, args.hardware, args.train_s)
  files.write_atomic(args.out, text)


if __name__ == "__main__":
  main(sys.argv[1:])
