"""Detection and builds by Apache Beam on a cluster of two Dask workers.

Beam and Dask are an extra; CI installs it after the other tests.
"""

import shutil

import detect_helpers as helpers
import pytest

from dwd_jax import build, detect
from dwd_jax.checkpoints import weights

pytest.importorskip("apache_beam", reason="needs dwd_jax[beam]")
distributed = pytest.importorskip("distributed", reason="needs dwd_jax[beam]")


@pytest.fixture(scope="module")
def client():
  """A client of a cluster with two processes of one thread."""
  with (
    distributed.LocalCluster(
      n_workers=2,
      threads_per_worker=1,
      processes=True,
      dashboard_address="127.0.0.1:0",
    ) as cluster,
    distributed.Client(cluster) as client,
  ):
    yield client


@pytest.fixture(scope="module")
def dask(client):
  """The arguments after which the cluster does the work."""
  address = client.scheduler.address
  return ("--", "--runner=DaskRunner", f"--dask_client_address={address}")


@pytest.fixture
def run(tmp_path, capsys):
  """Detects; the first lines of stderr and the last of stdout."""
  weights.write(tmp_path / "tiny.safetensors", helpers.tiny())

  def call(pages, out, *engine):
    flags = (
      f"--checkpoint={tmp_path / 'tiny.safetensors'}",
      "--compilation-cache=",
    )
    assert detect.main([str(pages), f"--out={out}", *flags, *engine]) == 1
    said, complained = capsys.readouterr()
    return complained, said.splitlines()[-1].partition(";")[0]

  return call


def _files(folder):
  return {
    str(path.relative_to(folder)): path.read_bytes()
    for path in sorted(folder.rglob("*"))
    if path.is_file() and not path.name.endswith(".lock")
  }


def _workers(stream):
  """Addresses of those that have run a `DoFn`."""
  return {
    t["worker"]
    for t in stream.data
    if "from_sequence-apply_dofn" in str(t["key"])
  }


def test_detection(client, dask, run, tmp_path):
  pages = tmp_path / "pages"
  for i in range(4):
    helpers.save(pages / f"{i}.png", helpers.ink(i))
  helpers.save_pages(pages / "score.pdf", helpers.ink(5), helpers.ink(6))
  (pages / "damaged.png").write_bytes(b"nothing")
  complained, summary = run(pages, tmp_path / "plain")
  assert complained.startswith(f"dwd_jax: {pages / 'damaged.png'}: not a")
  assert complained.count("\n") == 1
  assert summary.endswith(" objects on 6 images, 1 failed")
  with distributed.get_task_stream(client) as stream:
    assert run(pages, tmp_path / "dask", *dask) == (complained, summary)
  assert _workers(stream) == set(client.scheduler_info()["workers"])
  plain = _files(tmp_path / "plain")
  assert _files(tmp_path / "dask") == plain
  # Another engine goes on where that one has ended.
  (tmp_path / "dask" / "score-p002.json").unlink()
  direct = run(pages, tmp_path / "dask", "--", "--runner=FnApiRunner")
  assert direct == (complained, summary.replace(",", " (5 done before),"))
  assert _files(tmp_path / "dask") == plain


def test_builds(client, dask, tmp_path, repo_dir, capsys):
  pages = tmp_path / "pages"
  shutil.copytree(repo_dir / "tfds_builders/deepscores/dummy_data", pages)

  def run(out, *engine):
    flags = (f"--manual-dir={pages}", f"--data-dir={tmp_path / out}")
    return build.main(["deepscores", *flags, *engine])

  assert run("plain") == 0
  with distributed.get_task_stream(client) as stream:
    assert run("dask", *dask) == 0
  assert _workers(stream) == set(client.scheduler_info()["workers"])
  plain = _files(tmp_path / "plain")
  assert sum(".array_record" in name for name in plain) == 3
  assert _files(tmp_path / "dask") == plain
  (annotation,) = pages.rglob("dummy-rgba-page-1.xml")
  annotation.write_text("<annotation>")
  capsys.readouterr()
  assert run("bad", *dask) == 2
  last = capsys.readouterr().err.splitlines()[-1]
  assert last.startswith(f"dwd_jax: {annotation}: broken XML")
  assert not list((tmp_path / "bad").rglob("metadata.json"))
