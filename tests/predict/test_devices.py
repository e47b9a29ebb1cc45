"""Pages are divided among all devices of a process."""

import json
import os
import pathlib
import subprocess
import sys


def test_eight_devices_say_the_same_as_one(repo_dir):
  here = pathlib.Path(__file__).parent
  flags = os.environ.get("XLA_FLAGS", "")
  flags += " --xla_force_host_platform_device_count=8"
  done = subprocess.run(
    [sys.executable, str(here / "devices_program.py")],
    env={
      **os.environ,
      "XLA_FLAGS": flags,
      "PYTHONPATH": os.pathsep.join([str(repo_dir), str(here)]),
      "JAX_PLATFORMS": "cpu",
    },
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stderr
  found = json.loads(done.stdout.splitlines()[-1])
  assert found["apart"] < 1e-5 and found["objects"] > 100, found
  # Eleven pages are two calls, the second padded.
  assert found["lies"] == [["uint8", 8, True]] * 2
