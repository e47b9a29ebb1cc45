"""Folders of runs that were given none."""

import concurrent.futures
import pathlib

import pytest

from configs import boxes, deepscores, engraved, muscima_pp
from dwd_jax.core.errors import InputError
from dwd_jax.train import resume


def _own(manual_dir: str):
  config = boxes.get_config()
  config.data.manual_dir = manual_dir
  return config


def _changed(config, level="none", depth=0):
  config.pretraining.level = level
  config.model.backbone_depth = depth or config.model.backbone_depth
  return config


# Caption: config, where its run goes.
FOLDERS = {
  "generated": (engraved.get_config(), "engraved/none/RefineNet-Res18"),
  "printed, pretrained": (
    _changed(deepscores.get_config(), "semseg", 50),
    "deepscores-dense_2017/semseg/RefineNet-Res50",
  ),
  "handwritten": (
    muscima_pp.get_config(),
    "muscima_pp-v2.0/none/RefineNet-Res101",
  ),
  "own pages": (
    _own("../some where/My Pages"),
    "My_Pages/none/RefineNet",
  ),
  "own pages, odd name": (_own("/"), "data/none/RefineNet"),
}


@pytest.mark.parametrize("caption", FOLDERS)
def test_a_run_gets_the_next_number(tmp_path, caption):
  config, wanted = FOLDERS[caption]
  for number in range(3):
    made = resume.choose_workdir(config, tmp_path)
    assert made == tmp_path / wanted / f"run_{number}" and made.is_dir()


def test_numbers_go_on_after_the_highest(tmp_path):
  config = engraved.get_config()
  parent = resume.choose_workdir(config, tmp_path).parent
  for name in ("run_7", "run_x", "run_12_old", "notes"):
    (parent / name).mkdir()
  assert resume.choose_workdir(config, tmp_path).name == "run_8"


def test_runs_that_start_together_get_different_folders(tmp_path):
  config = engraved.get_config()
  with concurrent.futures.ThreadPoolExecutor(8) as pool:
    made = list(
      pool.map(lambda _: resume.choose_workdir(config, tmp_path), range(16))
    )
  assert len(set(made)) == 16


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
  (tmp_path / "runs").write_text("a file")
  with pytest.raises(InputError, match=r"runs/engraved.*; give --workdir"):
    resume.choose_workdir(engraved.get_config(), tmp_path / "runs")


def test_the_root_is_in_the_current_folder():
  assert pathlib.Path("runs") == resume.ROOT
