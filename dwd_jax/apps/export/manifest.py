"""What a program needs to know beside an exported network: classes.json.

```
  class_names      of the labels 0, 1, ...
  group_of_class   energy group of each class
  multiple         sides of images are multiples of this, px
  most_hw          largest image, px; null = any
  staff_space_px   between staff lines of the pages that the network knows;
                   0 = unknown
  scale            pixels of the network's image per pixel of a page whose
                   staff space is not known
  threshold        probability from which a detection counts by default
  calibration      probability = 1 / (1 + exp(-z)), z = a * log(score)
                   - b * log(1 - score) + c + offsets[label]; null = scores
                   stay as they are
  decode           settings of the decode, see `decode.config.DecodeConfig`
  fingerprint      differs where any prediction could
  about            for people
```
"""

import dataclasses
import json

from dwd_jax.checkpoints import weights as weights_lib
from dwd_jax.checkpoints.weights import Weights

MULTIPLE = 64  # of the sides of padded pages, px; what `predict` takes


def make(weights: Weights, most_hw: tuple[int, int] | None = None) -> str:
  """The text of classes.json.

  Args:
    weights: the detector.
    most_hw: largest padded page, px; None = any.
  """
  calibration = weights.calibration
  score_map = calibration and calibration.score_map
  content = {
    "class_names": list(weights.class_names),
    "group_of_class": list(weights.group_of_class),
    "multiple": MULTIPLE,
    "most_hw": most_hw and list(most_hw),
    "staff_space_px": weights.staff_space_px,
    "scale": weights.scale,
    "threshold": weights.threshold,
    "calibration": score_map
    and {
      "a": score_map.a,
      "b": score_map.b,
      "c": score_map.c,
      "offsets": score_map.offsets.tolist(),
    },
    "decode": dataclasses.asdict(weights.decode),
    "fingerprint": weights_lib.fingerprint(weights),
    "about": weights.about,
  }
  text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
  return text + "\n"
