"""Nothing imports TensorFlow, even where it is installed.

A module of that name lies on the path and fails when it is imported.
"""

import os
import subprocess
import sys

_FAKE = """
import traceback
print("IMPORTED BY", "".join(traceback.format_stack()))
raise ImportError("TensorFlow was imported")
"""

_PROGRAM = """
import importlib, pkgutil, sys
import configs, dwd_jax, tfds_builders
for package in (configs, dwd_jax, tfds_builders):
  for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
    importlib.import_module(module.name)

from dwd_jax.data import pipeline, prepare, sources
from dwd_jax.train.settings import default
for name in ("deepscores", "muscima_pp"):
  cfg = default().data
  cfg.builder = name
  cfg.manual_dir = f"tfds_builders/{name}/dummy_data"
  cfg.crop_hw = (32, 32)
  data_dir = prepare.prepare(cfg, sys.argv[1])
  source = sources.open_split(cfg, data_dir, "train")
  loader = pipeline.train_loader(source, cfg, batch_size=2, seed=0)
  next(loader)
  loader.close()
  next(pipeline.read_eval_pages(source, cfg))
assert "tensorflow" not in sys.modules
print("modules", sum(m.startswith("dwd_jax.") for m in sys.modules))
"""


def test_tensorflow_is_never_imported(repo_dir, tmp_path):
  fake = tmp_path / "path" / "tensorflow"
  fake.mkdir(parents=True)
  (fake / "__init__.py").write_text(_FAKE)
  done = subprocess.run(
    [sys.executable, "-c", _PROGRAM, str(tmp_path / "work")],
    cwd=repo_dir,
    env={**os.environ, "PYTHONPATH": str(fake.parent)},
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stdout + done.stderr
  assert "IMPORTED BY" not in done.stdout
  assert int(done.stdout.split()[-1]) > 15
