"""What a checkpoint says of its network, and where two of them differ."""

import dataclasses
from collections.abc import Mapping
from typing import Any

CARD_KEYS = ("class_names", "group_of_class", "model")


@dataclasses.dataclass(frozen=True)
class ModelCard:
  """What a checkpoint must agree on with the run that reads it.

  Attributes:
    class_names: C names, in the order of the class head.
    group_of_class: energy group of each class.
    model: fields of `ModelConfig`.
    training: what shapes the rest of the state: name of the optimizer, window
      of the running means.
    staff_space_px: distance of two staff lines as the network sees it; 0 =
      unknown. Older cards lack it; another one is no other network.
  """

  class_names: tuple[str, ...]
  group_of_class: tuple[int, ...]
  model: dict[str, Any]
  training: dict[str, Any]
  staff_space_px: float = 0.0

  def to_json(self) -> dict[str, Any]:
    """Plain lists and dicts."""
    return {
      "class_names": list(self.class_names),
      "group_of_class": [int(group) for group in self.group_of_class],
      "model": dict(self.model),
      "training": dict(self.training),
      "staff_space_px": self.staff_space_px,
    }

  def difference(self, saved: Mapping[str, Any]) -> str | None:
    """Where a saved card differs: "model: filters is 8 there and 16 here".

    Args:
      saved: of `to_json`.
    """
    wanted = self.to_json()
    for part in ("model", "training"):
      # The first checkpoints said nothing of the training.
      there = saved.get(part, wanted[part])
      for key in sorted(set(there) | set(wanted[part])):
        had, want = there.get(key), wanted[part].get(key)
        # What older cards do not name was not there, and is off by default.
        if had != want and (key in there or want):
          return f"{part}: {key} is {had} there and {want} here"
    for key in ("class_names", "group_of_class"):
      if saved[key] != wanted[key]:
        return f"model: its {key} differ"
    return None
