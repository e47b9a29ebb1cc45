"""The command line: what is wrong is said in one line, with exit code 2."""

import errno
import io
import os
import pathlib
import re
import subprocess
import sys

import pytest
from absl import logging

from dwd_jax import main as main_lib
from dwd_jax.core.errors import InputError
from dwd_jax.train import config_file

CONFIG = "--config=configs/smoke.py"


BROKEN = {
  "no_function.py": "x = 1\n",
  "no_syntax.py": "def get_config(:\n",
  "nothing.py": "def get_config():\n  return None\n",
  "bug.py": "def get_config():\n  return unknown_name\n",
  "type.py": (
    "from dwd_jax.train import settings\n"
    "def get_config():\n"
    "  c = settings.default()\n"
    "  c.seed = 'x'\n"
    "  return c\n"
  ),
  "old.py": "from configs import defaults_of_old\n",
  "older.py": "import configs.defaults_of_old\n",
}

# Caption: arguments, what the line says. FOLDER holds the files above.
BAD = {
  "no config": (["--workdir=w"], r"--config is missing; give --config="),
  "empty workdir": ([CONFIG, "--workdir="], r"--workdir is missing"),
  "no workdir": ([CONFIG, "--mode=eval"], r"--workdir is missing; give the"),
  "missing config": (
    ["--config=configs/nothing.py", "--workdir=w"],
    r"--config=configs/nothing\.py: no such file; .* configs/boxes\.py, ",
  ),
  "missing config and an override": (
    ["--config=nope.py", "--workdir=w", "--config.seed=1"],
    r"--config=nope\.py: no such file",
  ),
  "missing config, two words": (
    ["--config", "nope.py", "--workdir=w"],
    r"--config=nope\.py: no such file",
  ),
  "a folder": (
    ["--config=configs", "--workdir=w"],
    r"--config=configs: no such",
  ),
  "unknown flag": (
    [CONFIG, "--workdir=w", "--batch=3"],
    r"'batch'.*--help lists the flags",
  ),
  "unknown section": (
    [CONFIG, "--workdir=w", "--config.foo.bar=1"],
    r"unknown key 'foo\.bar'; known: \['adapt', 'data'",
  ),
  "misspelt key": (
    [CONFIG, "--workdir=w", "--config.optimizer.nmae=adam"],
    r"unknown key 'optimizer\.nmae'; did you mean 'name'",
  ),
  "misspelt key of a stage": (
    [CONFIG, "--workdir=w", "--config.stages[0].step=3"],
    r"unknown key 'stages\[0\]\.step'; did you mean 'steps'",
  ),
  "a stage too many": (
    [CONFIG, "--workdir=w", "--config.stages[9].steps=3"],
    r"--config\.stages\[9\]\.steps=3.*fewer entries",
  ),
  "not a number": (
    [CONFIG, "--workdir=w", "--config.train.batch_size=many"],
    r"--config\.train\.batch_size=many",
  ),
  "a process lost at once": (
    [CONFIG, "--workdir=w", "--lost_after_s=1"],
    r"--lost_after_s=1: .* 5",
  ),
  "unknown mode": (
    [CONFIG, "--workdir=w", "--mode=test"],
    r"--mode=test: .*train\|eval\|train_and_eval",
  ),
  "a word without dashes": (
    [CONFIG, "--workdir=w", "eval"],
    r"unexpected argument 'eval'; options start with --",
  ),
  "an argument the config does not take": (
    ["--config=configs/smoke.py:runlocal", "--workdir=w"],
    r"configs/smoke\.py: TypeError: .*takes 0 positional arguments",
  ),
  "a config without get_config": (
    ["--config=FOLDER/no_function.py", "--workdir=w"],
    r"no_function\.py: AttributeError: .*get_config",
  ),
  "a config that is no Python": (
    ["--config=FOLDER/no_syntax.py", "--workdir=w"],
    r"no_syntax\.py: SyntaxError: .*line 1",
  ),
  "a config that returns nothing": (
    ["--config=FOLDER/nothing.py", "--workdir=w"],
    r"nothing\.py: TypeError: get_config\(\) does not return a ConfigDict",
  ),
  "a config of an older version": (
    ["--config=FOLDER/old.py", "--workdir=w"],
    r"old\.py: cannot import .*; defaults .* write `from dwd_jax\.train imp",
  ),
  "a config of an older version, by module": (
    ["--config=FOLDER/older.py", "--workdir=w"],
    r"older\.py: .*'configs\.defaults_of_old'; defaults .* `settings\.def",
  ),
  "a config with a bug": (
    ["--config=FOLDER/bug.py", "--workdir=w"],
    r"bug\.py: NameError: .*unknown_name",
  ),
  "a config with a wrong type": (
    ["--config=FOLDER/type.py", "--workdir=w"],
    r"type\.py: TypeError: ",
  ),
}


def _is_one_line(text: str) -> bool:
  return text.startswith("dwd_jax: ") and text.count("\n") == 1


@pytest.mark.parametrize("caption", BAD)
def test_bad_command_lines_are_one_line(caption, parse, tmp_path, capsys):
  for name, text in BROKEN.items():
    (tmp_path / name).write_text(text)
  args, message = BAD[caption]
  with pytest.raises(SystemExit) as e:
    parse(*(arg.replace("FOLDER", str(tmp_path)) for arg in args))
  assert e.value.code == 2
  out, err = capsys.readouterr()
  assert not out
  assert _is_one_line(err), err
  assert re.search(message, err), err


OWN_PROJECT = {
  "configs/__init__.py": "",
  "configs/base.py": "WIDTH = 5\n",
  "configs/mine.py": (
    "from configs import base\n"
    "from dwd_jax.train import recipes, settings\n"
    "def get_config(arg=''):\n"
    "  c = settings.default()\n"
    "  recipes.adamw(c)\n"
    "  c.data.builder = arg or 'boxes'\n"
    "  c.model.backbone_width = base.WIDTH\n"
    "  raise ValueError(f'{c.data.builder} {c.model.backbone_width}')\n"
  ),
  "old.py": "from configs import gone\n",
}


@pytest.fixture
def own_project(tmp_path):
  """A folder with a package `configs` of its own."""
  for name, text in OWN_PROJECT.items():
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(text)
  return tmp_path


# Caption: config, what the line says: how far it came.
FROM_OWN_PROJECT = {
  "its own, with an argument": ("configs/mine.py:x", r"ValueError: x 5$"),
  "an old one": (
    "old.py",
    r"cannot import name 'gone' from 'configs' .*; defaults",
  ),
  "an installed one": (
    "configs/boxes.py:runlocal",
    r"data\.manual_dir: not set; name the folder of the original files",
  ),
  "none": (
    "configs/base2.py",
    r"no such file; dwd_jax comes with configs/",
  ),
}


@pytest.mark.parametrize("caption", FROM_OWN_PROJECT)
def test_a_project_may_have_configs_of_its_own(own_project, repo_dir, caption):
  config, message = FROM_OWN_PROJECT[caption]
  done = subprocess.run(
    [
      *(sys.executable, "-m", "dwd_jax.main", f"--config={config}"),
      "--workdir=w",
    ],
    cwd=own_project,
    env=os.environ | {"PYTHONPATH": str(repo_dir)},
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 2
  assert not done.stdout
  assert _is_one_line(done.stderr), done.stderr
  assert re.search(message, done.stderr.strip()), done.stderr
  assert caption == "an installed one" or not (own_project / "w").exists()


def test_a_config_is_of_the_current_folder_first(own_project, monkeypatch):
  monkeypatch.chdir(own_project)
  assert config_file.find("configs/mine.py:a:b") == "configs/mine.py:a:b"
  found, _, argument = config_file.find("configs/boxes.py:runlocal").partition(
    ":"
  )
  assert pathlib.Path(found) == config_file.installed() / "boxes.py"
  assert argument == "runlocal"
  for other in (
    "boxes.py",
    "configs/../configs/boxes.py",
    "x/configs/boxes.py",
  ):
    with pytest.raises(InputError, match="no such file"):
      config_file.find(other)
  (own_project / "configs/boxes.py").touch()
  assert config_file.find("configs/boxes.py") == "configs/boxes.py"


def test_overrides_reach_the_config(parse, tmp_path):
  parse(
    CONFIG,
    f"--workdir={tmp_path}",
    "--config.stages[4].steps=5",
    "--config.data.crop_hw=(96, 64)",
    "--config.optimizer.learning_rate=0.5",
    "--config.data.leave_out=('staff',)",
  )
  config = main_lib._CONFIG.value
  assert [s.steps for s in config.stages] == [2, 2, 2, 1, 5]
  assert config.data.crop_hw == (96, 64)
  assert config.optimizer.learning_rate == 0.5
  assert config.data.leave_out == ("staff",)


# Caption: flags, level of what is shown.
LEVELS = {
  "warnings by default": ([], logging.WARNING),
  "more if asked for": (["--verbosity=1"], logging.DEBUG),
  "less if asked for": (["--verbosity=-2"], logging.ERROR),
}


@pytest.mark.parametrize("caption", LEVELS)
def test_libraries_are_quiet_unless_asked(caption, parse):
  args, level = LEVELS[caption]
  parse(CONFIG, "--workdir=w", *args)
  assert logging.get_verbosity() == level


# Caption: flags, what the line says. These get past the flags.
BAD_RUNS = {
  "unwritable workdir": (
    ["--workdir=FOLDER/file/run"],
    r"file/run: cannot write there \(.*\); choose another --workdir",
  ),
  "bad value": (
    ["--workdir=FOLDER/w", "--config.optimizer.name=lion"],
    r"optimizer\.name is 'lion'; use one of \('rmsprop', 'adam', 'sgd'\)",
  ),
  "no stage": (
    ["--workdir=FOLDER/w"]
    + [f"--config.stages[{i}].steps=0" for i in range(5)],
    r"no stage has steps; give one",
  ),
  "unknown data": (
    ["--workdir=FOLDER/w", "--config.data.builder=nothing"],
    r"no builder 'nothing'",
  ),
  "unknown option of the generator": (
    ["--workdir=FOLDER/w", "--config=FOLDER/option.py"],
    r"data\.engrave\.widht: unknown option .*; known: .*, width",
  ),
  "no such device": (
    ["--workdir=FOLDER/w", "--local_devices=-1"],
    r"--local_devices: needs numbers, e\.g\. 0,1",
  ),
  "no pages": (
    ["--workdir=FOLDER/w", "--config.data.engrave.pages=0"],
    r"data\.manual_dir: not set; name the folder",
  ),
}


@pytest.mark.parametrize("caption", BAD_RUNS)
def test_bad_runs_are_one_line(caption, parse, tmp_path, capsys):
  (tmp_path / "file").write_text("")
  (tmp_path / "option.py").write_text(
    "from configs import smoke\n"
    "def get_config():\n"
    "  c = smoke.get_config()\n"
    "  c.data.engrave.widht = 400\n"
    "  return c\n"
  )
  args, message = BAD_RUNS[caption]
  args = [arg.replace("FOLDER", str(tmp_path)) for arg in args]
  parse(*([] if "--config=" in args[-1] else [CONFIG]), *args)
  with pytest.raises(SystemExit) as e:
    main_lib.main([])
  assert e.value.code == 2
  _, err = capsys.readouterr()
  assert _is_one_line(err), err
  assert re.search(message, err), err


def test_a_full_disk_is_one_line(parse, tmp_path, monkeypatch, capsys):
  def full(mode, workdir):
    raise OSError(errno.ENOSPC, "No space left on device", f"{workdir}/x")

  parse(CONFIG, f"--workdir={tmp_path}")
  monkeypatch.setattr(main_lib, "_run", full)
  with pytest.raises(SystemExit) as e:
    main_lib.main([])
  assert e.value.code == 2
  _, err = capsys.readouterr()
  assert _is_one_line(err), err
  assert f"{tmp_path}/x: No space left on device; make room" in err


def test_names_in_warnings_do_not_control_the_terminal(monkeypatch):
  handler = logging.get_absl_handler().python_handler
  monkeypatch.setattr(handler, "stream", handler.stream)  # is put back
  stream = io.TextIOWrapper(io.BytesIO(), "utf8")
  monkeypatch.setattr(sys, "stdout", io.StringIO())
  monkeypatch.setattr(sys, "stderr", stream)
  with pytest.raises(SystemExit):
    main_lib.program(["--help"])
  handler.stream.write("\x1b]0;page\x07.png")
  stream.flush()
  assert b"?]0;page?.png" in stream.buffer.getvalue()
