"""The model card of a run, from the files that its evaluation has written.

python -m benchmarks.model_card --workdir=RUN [--sets=test,NAME,...] \
  [--train_s=SECONDS --hardware=TEXT] --out=dwd_jax/predict/pretrained/README.md

Every figure is read from RUN/eval/NAME.json, RUN/config.json and
RUN/checkpoints; nothing is typed in but the hardware and the time.
"""

import argparse
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
python -m dwd_jax.main --config=configs/detector.py --workdir=runs/detector
python -m dwd_jax.export --checkpoint=runs/detector --format=safetensors \\
  --out=dwd_jax/predict/pretrained/printed.safetensors
```

On one machine with the same versions, equal bits; elsewhere, equal up to what
float32 sums in another order change over thousands of steps.
"""
_SETS = """
`test`: pages generated with those of the training, of other scores. `scan` and
`photo`: 30 pages each of `python -m dwd_jax.engrave --pages=30 --seed=11
--splits=train=100 --degrade=scan` (`photo`). `deepscores_pages`: three real
pages of DeepScores (2017), never trained on; their scale was measured. All by
`--mode=eval`, with the last three as `eval.on`.
"""
_LIMITS = """## Limits

- Trained on generated pages only, engraved by verovio in four fonts (Leipzig,
  Bravura, Leland, Gootville), as printed, and partly as scans and photos would
  show them. Real scans and photos were not measured: no boxes of such pages
  were at hand.
- Not for handwriting, tablature, neumes, lyrics, or staves of other than five
  lines. Text is not read.
- The names are the 124 of DeepScores (2017). Stems, beams, slurs and ties are
  not among them; staves are traced without the network.
- Pages are brought to {space:g} px between staff lines. Below some 6 px in the
  picture, dots and thin accidentals are lost. Where no staff is found, nothing
  is looked for.
- Classes with few objects in the table below say little, one way or the other.
"""


def card(
  run: pathlib.Path,
  sets: list[str],
  hardware: str,
  train_s: float,
) -> str:
  """The card as Markdown.

  Args:
    run: workdir; all `sets` have been evaluated.
    sets: names of evaluations; the first is the generated test split.
    hardware: that it was trained on.
    train_s: wall time of the training, seconds; 0 = not known.
  """
  trained = finished_run.weights_of_run(run)
  config = json.loads((run / "config.json").read_text(encoding="utf8"))
  results = {name: _read(run, name) for name in sets}
  parts = [
    _INTRO,
    _facts(trained, config, hardware, train_s),
    _REPRODUCE,
    _scores(results),
    _LIMITS.format(space=trained.staff_space_px),
    _per_class(results),
  ]
  return "\n".join(parts)


def _read(run: pathlib.Path, name: str) -> dict[str, Any]:
  return json.loads((run / "eval" / f"{name}.json").read_text(encoding="utf8"))


def _facts(
  trained: Weights, config: dict[str, Any], hardware: str, train_s: float
) -> str:
  data, model = config["data"], trained.model
  count = sum(x.size for x in jax.tree.leaves(trained.variables["params"]))
  steps = sum(stage["steps"] for stage in config["stages"])
  pages = data["engrave"]["pages"]
  took = f", {train_s / 60:.0f} minutes" if train_s else ""
  lines = {
    "Network": f"ResNet-{model.backbone_depth} of width"
    f" {model.backbone_width}, RefineNet of {model.filters} filters,"
    f" {count / 1e6:.1f} million parameters",
    "Fingerprint": f"`{weights.fingerprint(trained)}`",
    "Data": f"{pages} generated pages (seed {data['engrave']['seed']}; 80 %"
    " train, 8 % val, 12 % test, split by score), crops of"
    f" {data['crop_hw'][0]} x {data['crop_hw'][1]} px; scans"
    f" {data['degrade']['scan_prob']:g}, photos"
    f" {data['degrade']['photo_prob']:g}, pages of symbols"
    f" {data['synthetic']['prob']:g} of the crops",
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
    " weighted by objects | precision, recall at the threshold |",
    "| --- | --- | --- | --- | --- | --- | --- | --- |",
  ]
  for name, found in results.items():
    present = sum(1 for c in found["per_class"].values() if c["num_objects"])
    keys = ("mAP", "mAP_50", "AP_50_weighted")
    numbers = " | ".join(_number(found[key]) for key in keys)
    lines.append(
      f"| `{name}` | {found['num_pages']} | {found['num_objects']} |"
      f" {present} | {numbers} | {_number(found['precision'])},"
      f" {_number(found['recall'])} |"
    )
  return "\n".join(lines) + "\n" + _SETS


def _per_class(results: dict[str, dict[str, Any]]) -> str:
  names = list(results)
  first = results[names[0]]["per_class"]
  lines = [
    "## Per class",
    "",
    "AP_50 (and number of objects).",
    "",
    "| class | " + " | ".join(f"`{name}`" for name in names) + " |",
    "| --- |" + " --- |" * len(names),
  ]
  for class_name in first:
    cells = []
    for name in names:
      found = results[name]["per_class"].get(class_name, {"num_objects": 0})
      count = found["num_objects"]
      cells.append(f"{_number(found['AP_50'])} ({count})" if count else "")
    lines.append(f"| {class_name} | " + " | ".join(cells) + " |")
  return "\n".join(lines) + "\n"


def main(argv: list[str]) -> None:
  """Writes the card."""
  parser = argparse.ArgumentParser(description=str(__doc__))
  parser.add_argument("--workdir", required=True, type=pathlib.Path)
  parser.add_argument("--sets", default="test")
  parser.add_argument("--hardware", default="two CPU cores")
  parser.add_argument("--train_s", type=float, default=0.0)
  parser.add_argument("--out", required=True, type=pathlib.Path)
  args = parser.parse_args(argv)
  sets = args.sets.split(",")
  text = card(args.workdir, sets, args.hardware, args.train_s)
  files.write_atomic(args.out, text)


if __name__ == "__main__":
  main(sys.argv[1:])
