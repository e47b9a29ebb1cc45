"""Options of the compiler: what is asked for where, and results stay."""

import functools
import os

import jax
import numpy as np
import pytest

from dwd_jax.models import compiling, dwd


def _net(filters):
  return dwd.make_model(dwd.ModelConfig(num_classes=3, filters=filters))


@pytest.fixture(autouse=True)
def forget():
  """What is known of the options is found out anew."""
  compiling._known.cache_clear()
  yield
  compiling._known.cache_clear()


def test_code_is_kept_where_the_environment_says(monkeypatch, tmp_path):
  kept = {}
  monkeypatch.setattr(jax.config, "update", kept.__setitem__)
  monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "elsewhere")
  compiling.keep(tmp_path)
  assert not kept
  monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
  compiling.keep(tmp_path, 0.5)
  assert set(kept.values()) == {str(tmp_path), 0.5}


@pytest.fixture
def home(tmp_path, monkeypatch):
  """A home folder, and the settings that JAX gets."""
  kept = {}
  monkeypatch.setattr(jax.config, "update", kept.__setitem__)
  monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
  monkeypatch.setenv("HOME", str(tmp_path))
  return tmp_path / ".cache/dwd_jax/compiled", kept


def test_code_of_a_user_is_the_users_only(home):
  folder, kept = home
  usual = os.umask(0o002)  # as of many systems, where each user is a group
  try:
    compiling.keep()
  finally:
    os.umask(usual)
  assert str(folder) in kept.values()
  assert folder.stat().st_mode & 0o777 == 0o700


# Caption: what someone else does to the folder.
OPEN_TO_OTHERS = {
  "others may write": lambda folder: folder.chmod(0o777),
  "others may replace it": lambda folder: folder.parent.chmod(0o777),
  "a link": lambda folder: (
    folder.rmdir(),
    (folder.parent / "his").mkdir(),
    folder.symlink_to(folder.parent / "his"),
  ),
  "a file": lambda folder: (folder.rmdir(), folder.touch()),
}


@pytest.mark.parametrize("caption", OPEN_TO_OTHERS)
def test_code_is_not_kept_where_others_may_write(home, caplog, caption):
  folder, kept = home
  folder.mkdir(parents=True)
  OPEN_TO_OTHERS[caption](folder)
  compiling.keep()
  assert not kept
  assert "code is not cached" in caplog.text


def test_code_is_not_kept_without_a_home(home, caplog, monkeypatch):
  monkeypatch.delenv("HOME")
  monkeypatch.setattr(os, "getuid", lambda: 2**31 - 2)  # no name, no home
  compiling.keep()
  assert not home[1]
  assert "code is not cached" in caplog.text


def test_only_wide_networks_leave_ynnpack():
  if jax.default_backend() != "cpu":
    pytest.skip("the options are for CPUs")
  narrow = compiling.options(_net(32))
  assert narrow
  assert narrow == compiling.options(object())
  assert len(compiling.options(_net(256))) == len(narrow) + 1


def test_other_devices_have_xlas_defaults(monkeypatch):
  monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
  assert not compiling.options(_net(256))
  assert not compiling.training_options()
  assert compiling.training_options(deterministic=True) == {
    "xla_gpu_deterministic_ops": "True"
  }


def test_an_option_that_xla_does_not_know_is_left_out(monkeypatch):
  known = compiling.training_options()
  narrow = compiling.options(_net(32))
  unknown = ("xla_cpu_no_such_option", "1")
  monkeypatch.setattr(compiling, "_WITHOUT_YNNPACK", unknown)
  assert compiling.options(_net(256)) == narrow
  assert len(compiling.training_options()) == len(known) - 1


def test_a_wide_convolution_stays_the_same():
  if jax.default_backend() != "cpu":
    pytest.skip("the options are for CPUs")
  convolve = functools.partial(
    jax.lax.conv_general_dilated,
    window_strides=(1, 1),
    padding="SAME",
    dimension_numbers=("NHWC", "HWIO", "NHWC"),
  )
  rng = np.random.default_rng(0)
  image = rng.normal(size=(1, 12, 10, 128)).astype(np.float32)
  kernel = rng.normal(size=(3, 3, 128, 128)).astype(np.float32)
  options = compiling.options(_net(256))
  found = jax.jit(convolve, compiler_options=options)(image, kernel)
  wanted = jax.jit(convolve)(image, kernel)
  np.testing.assert_allclose(found, wanted, atol=1e-5 * np.abs(wanted).max())


def test_a_training_step_needs_less_memory():
  if not compiling.training_options():
    pytest.skip("the options are for CPUs")

  def loss(w, x):
    for _ in range(8):
      x = jax.nn.relu(x @ w)
    return x.sum()

  shapes = [jax.ShapeDtypeStruct((256, 256), np.float32)] * 2
  lowered = jax.jit(jax.grad(loss)).lower(*shapes)

  def temporaries(options):
    found = lowered.compile(compiler_options=options).memory_analysis()
    return found.temp_size_in_bytes

  assert temporaries(compiling.training_options()) <= temporaries({})
