"""Loops in one of two processes; run by test_preemption.py.

Arguments: port of the coordinator, number of this process, seconds of a step.
Prints a line when the loop begins, and the steps at which three loops ended:
the first ends by itself, the second by SIGTERM, the third is asked in vain.
"""

import contextlib
import itertools
import os
import signal
import sys
import time

import jax

from dwd_jax.cluster.preemption import Preemption


def main() -> None:
  port, process, step_s = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
  jax.config.update("jax_enable_preemption_service", False)
  jax.distributed.initialize(f"127.0.0.1:{port}", 2, process)
  with contextlib.closing(Preemption()) as preemption:
    first = any(preemption.reached(step) for step in range(3))
  with contextlib.closing(Preemption()) as preemption:
    print("looping", flush=True)
    for step in itertools.count(100):
      time.sleep(step_s)
      if preemption.reached(step):
        break
  third = Preemption()
  if process == 0:
    third.close()  # this process is done: the other cannot stop before it
  else:
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(1)
  late = process == 1 and any(third.reached(step) for step in range(3))
  third.close()
  print(first, step, late, signal.getsignal(signal.SIGTERM) == 0, flush=True)


if __name__ == "__main__":
  main()
