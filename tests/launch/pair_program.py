"""One of two processes that count together; run by test_lost_process.py.

Arguments: port of the coordinator, number of this process, what to do:

  count   adds up over both processes for ever
  fail    process 1 raises an error while process 0 waits for it
  refuse  process 1 refuses its input, 0 waits
  alike   both refuse the same input
"""

import sys
import time

import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from dwd_jax.cluster import distributed, processes
from dwd_jax.core.errors import InputError


def _count() -> None:
  mesh = jax.make_mesh((2,), ("data",), axis_types=(AxisType.Auto,))
  sharding = NamedSharding(mesh, PartitionSpec("data"))
  ones = np.ones(1, np.float32)
  while True:
    x = jax.make_array_from_process_local_data(sharding, ones)
    total = jax.jit(lambda x: x.sum())(x)
    assert float(total) == 2
    print("counted", flush=True)
    time.sleep(0.05)


def main() -> None:
  port, process, task = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
  settings = distributed.ProcessSettings(
    coordinator=f"127.0.0.1:{port}",
    num_processes=2,
    process_id=process,
    lost_after_s=5,
  )
  if task == "alike":  # both fail before they hear of each other
    distributed._Job._listen = lambda self: None
  with distributed.running(settings):
    if task == "count":
      _count()
    elif task == "alike" or (task == "refuse" and process == 1):
      raise InputError("this.key: is wrong; correct it")
    elif task == "fail" and process == 1:
      raise KeyError("a mistake of ours")
    elif task in ("fail", "refuse"):
      processes.wait_for_all("never")
  print("after", processes.is_first(), flush=True)


if __name__ == "__main__":
  main()
