"""What the launchers print: parsed, and compared with the APIs it is for."""

import re
import shlex
import subprocess

import pytest
import yaml

from launch import cluster, devices, local

CLASSES = "--config.data.leave_out=('a','b $(c)')"


def _printed(capsys, launcher, line: str) -> str:
  """What a command line prints, flags as in a shell."""
  assert _main(launcher, *shlex.split(line)) == 0
  return capsys.readouterr().out


def _main(launcher, *argv: str) -> int:
  """`launcher` is local, or the name of a cluster."""
  if launcher is local:
    return local.main(["--dry-run", *argv])
  return cluster.main([launcher, "--dry-run", *argv])


# --- local


def test_local_gives_every_process_its_number(capsys, monkeypatch):
  monkeypatch.setenv("JAX_PLATFORMS", "cpu")
  monkeypatch.setenv("XLA_FLAGS", "--xla_abc=1")
  text = _printed(
    capsys,
    local,
    "--processes=3 --devices-per-process=2 -- --config=c.py"
    " --workdir='my runs/a'",
  )
  lines = [shlex.split(line) for line in text.splitlines()]
  assert len(lines) == 3
  for i, words in enumerate(lines):
    assert words[0] == (
      "XLA_FLAGS=--xla_abc=1 --xla_force_host_platform_device_count=2"
    )
    assert shlex.join(words[2:]) == (
      "-m dwd_jax.main --config=c.py '--workdir=my runs/a'"
      f" --coordinator=127.0.0.1:7123 --num_processes=3 --process_id={i}"
    )


def test_one_local_process_is_an_ordinary_run(capsys, monkeypatch):
  monkeypatch.setenv("JAX_PLATFORMS", "cpu")
  monkeypatch.delenv("XLA_FLAGS", raising=False)
  text = _printed(capsys, local, "--processes=1 -- --config=c --workdir=w")
  assert text.endswith(" -m dwd_jax.main --config=c --workdir=w\n")


# Caption: processes, GPUs of each, GPUs there are, what each process sees.
GPUS = {
  "divided evenly": (2, None, "0123", ["0,1", "2,3"]),
  "one each, one is left": (2, 1, "012", ["0", "1"]),
  "all to one": (1, None, "0123", ["0,1,2,3"]),
}


@pytest.mark.parametrize("caption", GPUS)
def test_gpus_are_divided(caption):
  processes, each, gpus, wanted = GPUS[caption]
  found = devices.shares(processes, each, list(gpus))
  assert found == [{"CUDA_VISIBLE_DEVICES": w} for w in wanted]


def test_gpus_are_those_that_are_visible(monkeypatch):
  monkeypatch.delenv("JAX_PLATFORMS", raising=False)
  for visible, wanted in (("2, 3", ["2", "3"]), ("", [])):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert devices.visible_gpus() == wanted
  monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
  monkeypatch.setenv("JAX_PLATFORMS", "cpu")
  assert devices.visible_gpus() == []


# --- SLURM


def _directives(text: str) -> dict[str, str]:
  found = {}
  for line in text.splitlines():
    if line.startswith("#SBATCH "):
      (word,) = shlex.split(line.removeprefix("#SBATCH "))
      key, _, value = word.removeprefix("--").partition("=")
      assert key not in found
      found[key] = value
  return found


def _is_bash(text: str) -> bool:
  done = subprocess.run(
    ["bash", "-n"], input=text, capture_output=True, text=True, check=False
  )
  return done.returncode == 0 and not done.stderr


def test_slurm_asks_for_what_was_given(capsys):
  text = _printed(
    capsys,
    "slurm",
    "--nodes=4 --gpus-per-node=8 --task=host --name=dwd --save-s=300"
    " --time=2-00:00:00 --cpus-per-task=16 --sbatch=--mem=64G"
    " --sbatch=--partition=a100 --setup=\"module load 'a b'\""
    " -- --config=c.py --workdir=w",
  )
  assert text.startswith("#!/bin/bash\n#SBATCH ")
  assert _is_bash(text)
  assert _directives(text) == {
    "job-name": "dwd",
    "nodes": "4",
    "ntasks-per-node": "1",
    "gpus-per-node": "8",
    "cpus-per-task": "16",
    "time": "2-00:00:00",
    "partition": "a100",
    "output": "w/slurm-%j.out",
    "open-mode": "append",
    "signal": "B:TERM@300",
    "requeue": "",
    "mem": "64G",
  }
  assert "\nmodule load 'a b'\n" in text
  assert "srun --kill-on-bad-exit=0 --wait=90 --ntasks=4 " in text
  assert '--cpus-per-task="$SLURM_CPUS_PER_TASK" ' in text
  assert "--local_devices" not in text


def test_slurm_starts_a_task_for_every_gpu(capsys):
  text = _printed(
    capsys,
    "slurm",
    "--nodes=2 --gpus-per-node=4 --task=gpu -- --config=c.py --workdir=w",
  )
  assert _is_bash(text)
  assert _directives(text)["ntasks-per-node"] == "4"
  assert "--ntasks=8 " in text
  assert '--local_devices="$SLURM_LOCALID"' in text


def test_slurm_works_on_cpus(capsys):
  text = _printed(
    capsys, "slurm", "--gpus-per-node=0 -- --config=c --workdir=w"
  )
  assert "gpus-per-node" not in _directives(text)


def test_slurm_starts_the_workers_of_a_search(capsys):
  text = _printed(
    capsys,
    "slurm",
    "--sweep=8 --gpus-per-node=2 -- --config=c.py '--out=my sweeps'"
    " '--set=seed=int(1,5)'",
  )
  assert _is_bash(text)
  found = _directives(text)
  assert found["array"] == "0-7"
  assert found["nodes"] == found["ntasks-per-node"] == "1"
  assert found["output"] == "my sweeps/slurm-%A_%a.out"
  assert (
    "python -m launch.sweep --config=c.py '--out=my sweeps'"
    " '--set=seed=int(1,5)' &\n"
  ) in text
  assert "--coordinator" not in text


# --- Kubernetes

RUN = ("--", "--config=c.py", "--workdir=/data/my run", CLASSES)
GPU = ("--name=dwd", "--image=lab/dwd:1", "--claim=runs", "--processes=4")
TPU = ("--name=dwd", "--image=lab/dwd:1", "--claim=runs", "--topology=4x4")
TPU += ("--accelerator=tpu-v5-lite-podslice",)


# Fields and types that the API takes: of the JobSet from its CRD (v1alpha2,
# kubernetes-sigs/jobset at 01078527), of Job and Pod as that CRD repeats them.
# Those of which there is no use here are left out; a field that is not known is
# an error, as with `kubectl --validate=strict`.
_NAMES = {str: str}
_QUANTITIES = {str: int | str}
_CONTAINER = {
  "name": str,
  "image": str,
  "command": [str],
  "ports": [{"containerPort": int}],
  "resources": {"requests": _QUANTITIES, "limits": _QUANTITIES},
  "volumeMounts": [{"name": str, "mountPath": str}],
}
_POD = {
  "restartPolicy": {"Always", "OnFailure", "Never"},
  "terminationGracePeriodSeconds": int,
  "nodeSelector": _NAMES,
  "containers": [_CONTAINER],
  "volumes": [
    {
      "name": str,
      "persistentVolumeClaim": {"claimName": str},
      "emptyDir": {"medium": {"", "Memory"}},
    }
  ],
}
_EXIT_CODES = {
  "containerName": str,
  "operator": {"In", "NotIn"},
  "values": [int],
}
_JOB_ACTIONS = {"FailJob", "FailIndex", "Ignore", "Count"}
_JOB = {
  "parallelism": int,
  "completions": int,
  "completionMode": {"NonIndexed", "Indexed"},
  "backoffLimit": int,
  "podFailurePolicy": {
    "rules": [{"action": _JOB_ACTIONS, "onExitCodes": _EXIT_CODES}]
  },
  "template": {"spec": _POD},
}
_ACTIONS = {"FailJobSet", "RestartJobSet", "RestartJobSetAndIgnoreMaxRestarts"}
_REASONS = {"BackoffLimitExceeded", "DeadlineExceeded", "FailedIndexes"}
_REASONS |= {"MaxFailedIndexesExceeded", "PodFailurePolicy"}
_JOBSET = {
  "apiVersion": {"jobset.x-k8s.io/v1alpha2"},
  "kind": {"JobSet"},
  "metadata": {"name": str, "namespace": str, "annotations": _NAMES},
  "spec": {
    "network": {"enableDNSHostnames": bool, "subdomain": str},
    "failurePolicy": {
      "maxRestarts": int,
      "rules": [
        {
          "name": re.compile("[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?"),
          "action": _ACTIONS,
          "onJobFailureReasons": [_REASONS],
        }
      ],
    },
    "successPolicy": {
      "operator": {"All", "Any"},
      "targetReplicatedJobs": [str],
    },
    "replicatedJobs": [
      {"name": str, "replicas": int, "template": {"spec": _JOB}}
    ],
  },
}


def _check(value, fields, where="JobSet") -> None:
  """Fails where a field is unknown, or its value of another type."""
  if fields is _NAMES or fields is _QUANTITIES:
    for key, one in value.items():
      _check(key, str, where)
      _check(one, fields[str], f"{where}.{key}")
  elif isinstance(fields, dict):
    assert set(value) <= set(fields), where
    for key, one in value.items():
      _check(one, fields[key], f"{where}.{key}")
  elif isinstance(fields, list):
    assert isinstance(value, list), where
    for one in value:
      _check(one, fields[0], where)
  elif isinstance(fields, set):
    assert value in fields, where
  elif isinstance(fields, re.Pattern):
    assert fields.fullmatch(value), where
  else:
    assert isinstance(value, fields), where
    assert isinstance(value, bool) == (fields is bool), where


def test_a_field_that_the_api_does_not_know_is_found(capsys):
  text = _printed(capsys, "jobset", shlex.join([*GPU, *RUN]))
  for old, new in {
    "subdomain:": "subDomain:",  # unknown
    "replicas: 1": "replicas: '1'",  # another type
    "name: badInput": "name: bad-input",
    "operator: All": "operator: all",
  }.items():
    assert text.count(old) == 1
    with pytest.raises(AssertionError):
      _job(text.replace(old, new))


def _job(text: str) -> tuple[dict, dict, dict]:
  """JobSet, spec of its job, spec of the pods."""
  (found,) = yaml.safe_load_all(text)
  _check(found, _JOBSET)
  spec = found["spec"]
  assert spec["network"] == {"enableDNSHostnames": True, "subdomain": "dwd"}
  assert spec["successPolicy"] == {
    "operator": "All",
    "targetReplicatedJobs": ["worker"],
  }
  (rule,) = spec["failurePolicy"]["rules"]
  assert rule == {
    "name": "badInput",
    "action": "FailJobSet",
    "onJobFailureReasons": ["PodFailurePolicy"],
  }
  (replicated,) = spec["replicatedJobs"]
  assert replicated["name"] == "worker"
  job = replicated["template"]["spec"]
  assert job["completionMode"] == "Indexed"
  assert job["backoffLimit"] == 0
  assert job["parallelism"] == job["completions"]
  pod = job["template"]["spec"]
  # A podFailurePolicy asks for this.
  assert pod["restartPolicy"] == "Never"
  (rule,) = job["podFailurePolicy"]["rules"]
  assert rule["action"] == "FailJob"
  assert rule["onExitCodes"] == {
    "containerName": pod["containers"][0]["name"],
    "operator": "In",
    "values": [2],
  }
  return found, job, pod


def test_jobset_for_gpus(capsys):
  text = _printed(
    capsys,
    "jobset",
    f"{shlex.join(GPU)} --gpus=8 --restarts=7 --grace-s=90 --namespace=lab"
    f" {shlex.join(RUN)}",
  )
  found, job, pod = _job(text)
  assert found["metadata"] == {"name": "dwd", "namespace": "lab"}
  assert found["spec"]["failurePolicy"]["maxRestarts"] == 7
  assert found["spec"]["replicatedJobs"][0]["replicas"] == 1
  assert job["parallelism"] == 4
  assert pod["terminationGracePeriodSeconds"] == 90
  assert pod["nodeSelector"] == {}
  (container,) = pod["containers"]
  assert container["image"] == "lab/dwd:1"
  assert container["resources"]["limits"]["nvidia.com/gpu"] == 8
  # <jobset>-<replicated job>-<job>-<pod>.<subdomain>; $$ is a plain $.
  command = ["python", "-m", "dwd_jax.main", "--config=c.py"]
  command += ["--workdir=/data/my run", CLASSES.replace("$", "$$")]
  command += ["--coordinator=dwd-worker-0-0.dwd:7123", "--num_processes=4"]
  command += ["--process_id=$(JOB_COMPLETION_INDEX)", "--preempted_code=75"]
  assert container["command"] == command
  volumes = {v["name"]: v for v in pod["volumes"]}
  assert volumes["runs"]["persistentVolumeClaim"] == {"claimName": "runs"}
  mounts = {m["name"]: m["mountPath"] for m in container["volumeMounts"]}
  assert mounts == {"runs": "/data", "shared-memory": "/dev/shm"}


def test_jobset_for_tpus(capsys):
  flags = shlex.join([*TPU, "--slices=2", *RUN])
  text = _printed(capsys, "jobset", flags)
  found, job, pod = _job(text)
  assert found["metadata"]["annotations"] == {
    "alpha.jobset.sigs.k8s.io/exclusive-topology": (
      "cloud.google.com/gke-nodepool"
    )
  }
  assert found["spec"]["replicatedJobs"][0]["replicas"] == 2
  assert job["parallelism"] == 4  # 4 x 4 chips, 4 to a host
  assert pod["nodeSelector"] == {
    "cloud.google.com/gke-tpu-accelerator": "tpu-v5-lite-podslice",
    "cloud.google.com/gke-tpu-topology": "4x4",
  }
  (container,) = pod["containers"]
  assert container["resources"]["limits"]["google.com/tpu"] == 4
  assert container["command"][-2:] == [
    "--distributed=auto",
    "--preempted_code=75",
  ]


# --- mistakes

W = ("--", "--config=c", "--workdir=/data/w")

# Caption: launcher, command line, what the line says.
WRONG = {
  "no processes": (local, W, "--processes"),
  "none at all": (local, ("--processes=0", *W), "from 1 on"),
  "no workdir": (local, ("--processes=2", "--", "--config=c"), "--workdir="),
  "no --": (local, ("--processes=2", "--config=c"), "--config"),
  "a flag of ours": (
    local,
    ("--processes=2", *W, "--process_id=1"),
    "--process_id: is set by the launcher",
  ),
  "restarts below 0": (local, ("--processes=2", "--restarts=-1", *W), "from 0"),
  "no cluster": ("lsf", W, "name a cluster: slurm or jobset"),
  "no time": ("slurm", ("--time=soon", *W), "--time: 'soon': give 24:00:00"),
  "a line in a name": ("slurm", ("--name=a\n#SBATCH -x", *W), "--name: 'a"),
  "a word as an option": ("slurm", ("--sbatch=mem 3", *W), "'mem 3': give an"),
  "a line in an option": ("slurm", ("--sbatch=--a=b\nc", *W), "--sbatch: '"),
  "a second line": ("slurm", ("--setup=a\nb", *W), "--setup"),
  "a quote in the path": (
    "slurm",
    ("--", "--config=c", '--workdir="'),
    "SLURM",
  ),
  "a command in the path": (
    "slurm",
    ("--sweep=2", "--", "--config=c", "--out=$(id)"),
    "--out=$(id): has a character that SLURM cannot take",
  ),
  "no folder of a search": ("slurm", ("--sweep=2", *W), "--out="),
  "a search on two machines": (
    "slurm",
    ("--sweep=2", "--nodes=2", "--", "--config=c", "--out=o"),
    "each job has one machine",
  ),
  "GPUs without GPUs": (
    "slurm",
    ("--task=gpu", "--gpus-per-node=0", *W),
    "--gpus-per-node=0",
  ),
  "no image": ("jobset", ("--name=a", "--claim=b", *W), "--image"),
  "a bad name": ("jobset", (*GPU, "--name=A_b", *W), "'A_b': give lower-case"),
  "no pods": ("jobset", (*GPU[:3], *W), "give --processes for GPUs, or"),
  "GPUs and TPUs": (
    "jobset",
    (*GPU, "--accelerator=tpu", *W),
    "give --processes for GPUs, or",
  ),
  "workdir in the pod": (
    "jobset",
    (*GPU, "--", "--config=c", "--workdir=/tmp/w"),
    "is not below --mount=/data",
  ),
  "workdir that leaves": (
    "jobset",
    (*GPU, "--", "--config=c", "--workdir=/data/../tmp"),
    "absolute paths",
  ),
  "no topology": ("jobset", (*TPU[:3], *W), "give --processes for GPUs, or"),
  "half a host": ("jobset", (*TPU, "--topology=3x3", *W), "no multiple"),
  "memory": ("jobset", (*GPU, "--memory=much", *W), "'much': give it as"),
  "a bell": ("jobset", (*GPU, *W, "--x=\a"), "cannot be printed"),
}


@pytest.mark.parametrize("caption", WRONG)
def test_mistakes_are_one_line_and_code_2(capsys, caption):
  launcher, argv, message = WRONG[caption]
  with pytest.raises(SystemExit) as e:
    _main(launcher, *argv)
  assert e.value.code == 2
  out, err = capsys.readouterr()
  assert out == ""
  assert err.count("\n") == 1
  assert err.startswith("launch.")
  assert message in err


HOSTILE = {
  "YAML": """a": [x], 'b'\\, {c: `id` é #""",
  "a command": "$(id); `id` && id | id > id &",
  "an escaped variable of Kubernetes": "$$(HOME) $$$(HOME) $HOME $$",
  "quotes": """'"'$(id)'"'""",
}


@pytest.mark.parametrize("caption", HOSTILE)
def test_nothing_breaks_out_of_its_quotes(capsys, caption):
  """Neither in YAML, nor in what Kubernetes replaces, nor in the shell."""
  words = [f"--config={HOSTILE[caption]}", "--workdir=/data/w"]
  text = _printed(capsys, "jobset", shlex.join([*GPU, "--", *words]))
  command = _job(text)[2]["containers"][0]["command"]
  assert [_in_the_pod(word) for word in command[3:5]] == words
  # A line break, which is nothing that can be printed, is refused there.
  words[0] += "\nid\n#SBATCH --nodes=99"
  text = _printed(capsys, "slurm", shlex.join(["--", *words]))
  assert _is_bash(text)
  start = text.index("python -m dwd_jax.main")
  command = text[start : text.rindex(" &\nwhile ")]
  script = f"printf '%s\\0' {command}"
  given = subprocess.run(
    ["bash", "-c", script], capture_output=True, check=True
  )
  assert given.stdout.decode().split("\0")[3:5] == words
  directives = [s for s in text.splitlines() if s.startswith("#SBATCH")]
  assert directives[-1].startswith("#SBATCH --nodes=99'")  # in the quotes
  assert directives[-2] == "#SBATCH --requeue"  # after which SLURM reads none


def _in_the_pod(word: str) -> str:
  """As Kubernetes replaces variables, of which it knows HOME here."""
  return re.sub(
    r"\$\$|\$\((\w+)\)",
    lambda found: "/root" if found[1] == "HOME" else "$",
    word,
  )


def test_what_submits_is_given_the_text(monkeypatch, tmp_path, capsys):
  """Programs of the cluster that note what they get."""
  for name in ("sbatch", "kubectl"):
    program = tmp_path / name
    program.write_text(
      f'#!/bin/sh\necho "$@" > {tmp_path}/args\n'
      f"/bin/cat > {tmp_path}/text\nexit 3"
    )
    program.chmod(0o755)
  monkeypatch.setenv("PATH", str(tmp_path))
  folder = tmp_path / "w"
  run = ("--", "--config=c", f"--workdir={folder}")
  for name, flags, words in (
    ("slurm", (), ""),
    ("jobset", (*GPU, f"--mount={tmp_path}"), "apply -f -"),
  ):
    assert cluster.main([name, *flags, *run]) == 3
    assert (tmp_path / "args").read_text() == f"{words}\n"
    shown = _printed(capsys, name, shlex.join([*flags, *run]))
    assert (tmp_path / "text").read_text() == shown
  assert folder.is_dir()  # for SLURM's output
  monkeypatch.setenv("PATH", "")
  with pytest.raises(SystemExit):
    cluster.main(["slurm", *run])
  assert "sbatch: not found; use --dry-run" in capsys.readouterr().err
