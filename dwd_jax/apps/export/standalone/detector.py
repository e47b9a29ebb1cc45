"""Detection with an exported network and decode: needs jax and numpy only.

python detector.py page.npy [MIN_SCORE]

`Detector` does the same from Python. A page is an array [H, W] or [H, W, 3], at
the size that README.md beside this file asks for.
"""

import json
import pathlib
import sys

import jax
from jax import export

from dwd_jax.apps.export.standalone.detector_pages import (
  finish,
  main,
  pad,
  to_ink,
)


class Detector:
  """Page -> class names, scores, boxes; compiles for each new padded size."""

  def __init__(self, folder=""):
    """Loads detector.stablehlo and classes.json; "" = beside this file."""
    folder = pathlib.Path(folder or pathlib.Path(__file__).parent)
    self.card = json.loads((folder / "classes.json").read_text("utf8"))
    exported = (folder / "detector.stablehlo").read_bytes()
    self._run = jax.jit(export.deserialize(bytearray(exported)).call)

  def __call__(self, page, min_score=None):
    """Detects; see `finish` for what is returned."""
    ink = to_ink(page, self.card["polarity"], self.card["channels"])
    image = pad(ink, self.card["multiple"])
    most = self.card["most_hw"]
    if image.shape[1] > most[0] or image.shape[2] > most[1]:
      raise ValueError(
        f"a page of {ink.shape[0]} x {ink.shape[1]} px: this file takes up to"
        f" {most[0]} x {most[1]}; export with larger --height and --width"
      )
    found = {k: v[0] for k, v in jax.device_get(self._run(image)).items()}
    used = found["valid"]
    keys = ["boxes_yxyx", "labels", "scores"]
    keys += [key for key in ("oriented_yx", "positions") if key in found]
    rows = [found[key][used] for key in keys]
    return finish(rows, ink.shape[:2], self.card, min_score)


if __name__ == "__main__":
  sys.exit(main(sys.argv, 1, lambda _: Detector()))
