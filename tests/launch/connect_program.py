"""Connects with settings given as JSON; run by test_distributed.py."""

import json
import sys

from dwd_jax.cluster import distributed
from dwd_jax.core.errors import InputError


def main() -> None:
  try:
    with distributed.running(
      distributed.ProcessSettings(**json.loads(sys.argv[1]))
    ):
      print("connected")
  except InputError as e:
    sys.exit(f"refused: {e}")


if __name__ == "__main__":
  main()
