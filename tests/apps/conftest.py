"""The program `detect` with a tiny detector, for the tests that run it."""

import detect_helpers as helpers
import pytest

from dwd_jax import detect
from dwd_jax.checkpoints import weights


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
  path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
  weights.write(path, helpers.tiny())
  return path


@pytest.fixture
def run(tiny, capsys):
  """Runs the program; exit code, what it printed, what it complained of."""

  def call(*args):
    flags = (f"--checkpoint={tiny}", "--compilation-cache=")
    code = detect.main([*flags, *map(str, args)])
    return (code, *capsys.readouterr())

  return call
