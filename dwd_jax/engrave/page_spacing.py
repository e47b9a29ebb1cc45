"""How densely a page is set: options of verovio for choices of `spacing`."""

import random

ORCHESTRA = {
  "spacingStaff": 4,
  "spacingBracketGroup": 4,
  "spacingBraceGroup": 5,
}
# How much more music than usual goes on a page.
FULLNESS = {"dense": 1.5, "sparse": 0.8, "short": 0.75}
_MOST_MARGIN = 500  # of verovio


def options(rng: random.Random, name: str, width: int) -> dict:
  """Options of verovio for one score.

  Args:
    name: a choice of the weights' group `spacing`.
    width: of the page in verovio's units.
  """
  found: dict[str, float] = {
    "beamMaxSlope": rng.choice((5, 10, 10, 15, 20)),
    "ossiaStaffSize": rng.uniform(0.6, 0.8),
  }
  if name == "dense":
    found |= {
      "spacingLinear": rng.uniform(0.08, 0.18),
      "spacingNonLinear": rng.uniform(0.45, 0.55),
      "spacingStaff": rng.randrange(4, 8),
      "spacingSystem": rng.randrange(2, 5),
      "measureMinWidth": 8,
    }
  elif name == "sparse":
    found |= {
      "spacingLinear": rng.uniform(0.35, 0.6),
      "spacingNonLinear": rng.uniform(0.6, 0.75),
      "spacingStaff": rng.randrange(13, 22),
      "spacingSystem": rng.randrange(10, 24),
    }
  elif name in ("short", "snippet"):
    found |= {
      "pageMarginLeft": _margin(rng, width),
      "pageMarginRight": _margin(rng, width),
    }
  if name == "snippet":
    found |= {
      "pageMarginTop": _margin(rng, width),
      "noJustification": rng.random() < 0.5,
      "justifyVertically": False,
    }
  return found


def _margin(rng: random.Random, width: int) -> int:
  return min(round(width * rng.uniform(0.05, 0.24)), _MOST_MARGIN)
