"""A SLURM of two nodes, all on this machine, for tests; needs root."""

import contextlib
import os
import pathlib
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator

import launch_helpers as helpers

from launch import cluster

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol")
# Names of nodes lead nowhere, as in some clouds. A job that returns to the
# queue waits there for the life of a credential.
CONF = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
AuthInfo=socket={folder}/munge.socket,cred_expire=5
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=batch_sched_delay=0,sched_interval=2
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
NodeName=dwd-node0 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=8
NodeName=dwd-node1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=8
PartitionName=low Nodes=ALL Default=YES PriorityTier=1 GraceTime=300
PartitionName=high Nodes=ALL PriorityTier=2
"""
_ENDED = "COMPLETED|FAILED|CANCELLED|TIMEOUT|NODE_FAIL|PREEMPTED"


def is_missing() -> str:
  """Why there can be no cluster here; "" = there can."""
  if os.geteuid():
    return "SLURM's daemons need root"
  missing = [name for name in PROGRAMS if not shutil.which(name)]
  return f"no {missing[0]}: install slurm-wlm and munge" if missing else ""


class Cluster:
  """A running cluster."""

  def __init__(self, folder: pathlib.Path):
    self._env = helpers.environment() | {
      "SLURM_CONF": str(folder / "slurm.conf")
    }
    self._script = folder / "script"
    self._jobs: list[str] = []

  def do(self, *command: str) -> str:
    """Runs a program of SLURM; returns its stdout."""
    done = subprocess.run(
      command, env=self._env, cwd=helpers.REPO, capture_output=True, text=True
    )
    assert done.returncode == 0, (command, done.stderr)
    return done.stdout

  def launch(self, *argv: str) -> str:
    """Submits what `launch.cluster slurm` writes; returns the job's number."""
    text, (program,) = cluster.slurm(argv)
    self._script.write_text(text)
    return self.submit(program, str(self._script))

  def submit(self, *command: str) -> str:
    """Runs `sbatch`; returns the number of the job."""
    self._jobs += re.findall(r"Submitted batch job (\d+)", self.do(*command))
    return self._jobs[-1]

  def job(self, job: str) -> dict[str, str]:
    """What SLURM knows of a job."""
    text = self.do("scontrol", "show", "job", job)
    return dict(w.split("=", 1) for w in text.split() if "=" in w)

  def wait(
    self, job: str, ready: Callable[[dict[str, str]], bool], timeout_s: float
  ) -> dict[str, str]:
    """Waits for a state of a job; returns what SLURM knows of it then."""
    deadline = time.monotonic() + timeout_s
    while not ready(found := self.job(job)):
      assert time.monotonic() < deadline, found
      time.sleep(0.1)
    return found

  def finish(self, job: str, timeout_s: float = 60) -> dict[str, str]:
    """Waits for the end of a job."""

    def ended(found: dict[str, str]) -> bool:
      return re.fullmatch(_ENDED, found["JobState"]) is not None

    return self.wait(job, ended, timeout_s)

  def cancel_all(self) -> None:
    """Ends all jobs; without this their tasks outlive the daemons."""
    if self._jobs:
      self.do("scancel", "--quiet", *self._jobs)
      for job in self._jobs:
        self.finish(job)


@contextlib.contextmanager
def running(folder: pathlib.Path) -> Iterator[Cluster]:
  """Starts a cluster in a folder, and ends it.

  Args:
    folder: empty; its path is short, since sockets are in it.
  """
  (folder / "state").mkdir()
  key = folder / "munge.key"
  key.write_bytes(os.urandom(128))
  key.chmod(0o400)
  conf = folder / "slurm.conf"
  conf.write_text(
    CONF.format(
      folder=folder,
      host=socket.gethostname().split(".")[0],
      ports=[helpers.free_port() for _ in range(3)],
    )
  )
  files = {
    "key-file": key,
    "socket": folder / "munge.socket",
    "pid-file": folder / "munge.pid",
    "log-file": folder / "munge.log",
    "seed-file": folder / "munge.seed",
  }
  commands = [
    ["munged", "--foreground", "--force"],
    ["slurmctld", "-D", "-i", "-f", str(conf)],
    *(["slurmd", "-D", "-N", f"dwd-node{i}", "-f", str(conf)] for i in (0, 1)),
  ]
  commands[0] += [f"--{key}={path}" for key, path in files.items()]
  daemons: list[subprocess.Popen] = []
  found = Cluster(folder)
  try:
    for i, command in enumerate(commands):
      with (folder / f"daemon{i}.log").open("wb") as log:
        daemons.append(subprocess.Popen(command, stdout=log, stderr=log))
      if i == 0:
        helpers.wait_until(files["socket"].exists, daemons[0], 10)
    deadline = time.monotonic() + 60
    while not _is_up(found):
      assert time.monotonic() < deadline, [
        path.read_text()[-2000:] for path in sorted(folder.glob("daemon*.log"))
      ]
      time.sleep(0.2)
    yield found
  finally:
    with contextlib.suppress(AssertionError):
      found.cancel_all()
    for daemon in reversed(daemons):
      daemon.terminate()
    for daemon in daemons:
      try:
        daemon.wait(timeout=20)
      except subprocess.TimeoutExpired:
        daemon.kill()
        daemon.wait()


def _is_up(found: Cluster) -> bool:
  with contextlib.suppress(AssertionError):
    states = found.do("sinfo", "--noheader", "--Node", "--format=%t").split()
    return set(states) == {"idle"}
  return False
