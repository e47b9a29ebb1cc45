"""python -m dwd_jax.export: files, exit codes, what it says."""

import dataclasses
import json
import sys
import types

import export_helpers as helpers
import flax.linen as nn
import jax
import pytest

from dwd_jax import export
from dwd_jax.apps.export import export_files
from dwd_jax.checkpoints import weights
from dwd_jax.decode import backend
from dwd_jax.decode.decode_config import DecodeConfig


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
  path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
  weights.write(path, helpers.tiny(**helpers.WITHOUT))
  return path


def _fails(capsys, *args):
  assert export.main([*map(str, args)]) == 2
  (line,) = capsys.readouterr().err.splitlines()
  return line


@pytest.mark.parametrize(
  ("staff_space_px", "wanted"), [(0.0, "light"), (9.0, None)]
)
def test_the_polarity_is_exported(staff_space_px, wanted):
  made = dataclasses.replace(
    helpers.tiny(), staff_space_px=staff_space_px, polarity="light"
  )
  card = json.loads(export_files._classes_json(made))
  assert card["polarity"] == wanted  # pages of music may be negatives
  assert "on" not in card["decode"]  # of the machine


def test_the_exported_decode_is_that_of_cpus(monkeypatch):
  def traced_on_cpu(image):
    del image
    on_cpu = bytes([backend.on_cpu()])
    return types.SimpleNamespace(serialize=lambda: on_cpu)

  monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
  monkeypatch.setattr(
    export_files.jax_export, "export", lambda *_, **__: traced_on_cpu
  )
  assert not backend.on_cpu()
  assert export_files._exported(helpers.tiny(), (64, 64)) == b"\1"


@pytest.mark.parametrize("name", ["new/file.safetensors", "folder"])
def test_weights_are_copied_with_their_meaning(tiny, tmp_path, capsys, name):
  out = tmp_path / name
  export.main([f"--checkpoint={tiny}", f"--out={out}"])
  path = out if out.is_file() else out / "detector.safetensors"
  found = weights.fingerprint(weights.read(path))
  assert found == weights.fingerprint(weights.read(tiny))
  said = capsys.readouterr().out
  for part in (str(path), "5 classes", "threshold 0.100", found):
    assert part in said


@pytest.mark.parametrize(
  ("wanted", "names"),
  [
    ("onnx", ["model.onnx", "numpy_decode.py", "numpy_basins.py"]),
    ("stablehlo", ["detector.stablehlo", "detector.py"]),
  ],
)
def test_folders_explain_themselves(tiny, tmp_path, wanted, names):
  export.main(
    [f"--checkpoint={tiny}", f"--out={tmp_path}", f"--format={wanted}"]
  )
  found = {path.name for path in tmp_path.iterdir()}
  scripts = {"detector_pages.py", "grey.py", "contradictions.py", "siblings.py"}
  assert {*names, *scripts, "classes.json", "README.md"} <= found
  text = (tmp_path / "README.md").read_text()
  assert "$" not in text
  assert "9 pixels apart" in text
  for script in tmp_path.glob("*.py"):
    assert "dwd_jax.apps.export" not in script.read_text()
  assert text.count(names[1]) >= 1


def test_files_of_the_user_stay(tiny, tmp_path, capsys, monkeypatch):
  content = {"model.onnx": b"", "README.md": "ours"}
  monkeypatch.setattr(export_files, "_onnx", lambda _: content)
  for name, wanted in (
    ("README.md", f"--out={tmp_path}"),
    ("a.safetensors", f"--out={tmp_path / 'a.safetensors'}"),
    ("detector.safetensors", f"--out={tmp_path}"),
  ):
    (tmp_path / name).write_text("precious")
    kind = "onnx" if name == "README.md" else "safetensors"
    line = _fails(capsys, f"--checkpoint={tiny}", wanted, f"--format={kind}")
    assert f"{tmp_path / name}: is there already, and of no earlier" in line
    assert (tmp_path / name).read_text() == "precious"
    (tmp_path / name).unlink()
  assert not list(tmp_path.iterdir())
  flags = [f"--checkpoint={tiny}", f"--out={tmp_path}"]
  for kind in ("onnx", "onnx", "safetensors", "safetensors"):
    export.main([*flags, f"--format={kind}"])  # its own are replaced


def test_bad_flags_are_one_line(tiny, tmp_path, capsys):
  given = (f"--checkpoint={tiny}", f"--out={tmp_path / 'out'}")
  gone = _fails(capsys, "--checkpoint=/gone", given[1])
  assert "/gone: no such file" in gone
  size = _fails(capsys, *given, "--format=onnx", "--height=64")
  assert "for --format=stablehlo only" in size
  for height in (0, 10**6):
    line = _fails(capsys, *given, "--format=stablehlo", f"--height={height}")
    assert "is no size of a page" in line
  (tmp_path / "file").touch()
  where = _fails(capsys, given[0], f"--out={tmp_path / 'file' / 'x'}")
  assert "choose another --out" in where
  assert not (tmp_path / "out").exists()


def test_a_missing_package_is_named(tiny, tmp_path, capsys, monkeypatch):
  monkeypatch.setitem(sys.modules, "onnx", None)
  flags = (f"--checkpoint={tiny}", f"--out={tmp_path}", "--format=onnx")
  assert "pip install 'dwd_jax[onnx]'" in _fails(capsys, *flags)


def test_a_decode_that_numpy_does_not_know_is_refused(tmp_path, capsys):
  path = tmp_path / "w.safetensors"
  decode = DecodeConfig(method="threshold")
  weights.write(path, helpers.tiny(decode=decode, **helpers.WITHOUT))
  flags = (f"--checkpoint={path}", f"--out={tmp_path}", "--format=onnx")
  assert "use --format=stablehlo" in _fails(capsys, *flags)


def test_a_backbone_that_onnx_does_not_know_is_refused(
  tiny, tmp_path, capsys, monkeypatch
):
  monkeypatch.setattr(export_files, "ResNet", nn.Dense)
  flags = (f"--checkpoint={tiny}", f"--out={tmp_path}", "--format=onnx")
  assert "knows ResNets only" in _fails(capsys, *flags)
