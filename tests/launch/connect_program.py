"""Connects with each of the settings given; run by test_distributed.py.

The arguments are JSON.
"""

import json
import sys

from dwd_jax.cluster import distributed
from dwd_jax.core.errors import InputError


def main() -> None:
  for text in sys.argv[1:]:
    settings = distributed.ProcessSettings(**json.loads(text))
    try:
      with distributed.running(settings):
        print("connected")
    except InputError as e:
      print(f"refused: {e}")


if __name__ == "__main__":
  main()
