"""Preparing records: once, whole or not at all, in turns."""

import errno
import inspect
import json
import multiprocessing
import pathlib
import shutil
import signal

import prepare_process
import pytest

from dwd_jax import engrave
from dwd_jax.core import files
from dwd_jax.core.errors import InputError
from dwd_jax.data import prepare, sources


def _files(folder: pathlib.Path) -> list[str]:
  """Everything below a folder but the lock, which is empty and stays."""
  return sorted(
    str(p.relative_to(folder))
    for p in folder.rglob("*")
    if not p.name.endswith(".lock")
  )


def test_records_are_built_once(data_cfg, tmp_path, capsys):
  data_dir = prepare.prepare(data_cfg, tmp_path)
  assert data_dir == tmp_path / "data"
  first = capsys.readouterr().out
  assert first.startswith("Polarity dark: dark staff lines on 3 pages\n")
  assert first.count("\n") == 2
  assert "3, val 1, test 1" in first
  records = data_dir / "deepscores/dense_2017/2.0.0"
  before = {p: p.stat().st_mtime_ns for p in records.iterdir()}
  report = json.loads((records / "build_report.json").read_text())
  assert report == {"counts": {}, "first_examples": {}}
  prepare.prepare(data_cfg, tmp_path)
  assert capsys.readouterr().out == f"Records: {records}\n"
  assert {p: p.stat().st_mtime_ns for p in records.iterdir()} == before
  assert _files(data_dir)[0] == "deepscores"  # no temporary folder left
  assert len(sources.open_split(data_cfg, data_dir, "train")) == 3


def test_files_that_change_later_are_noticed(data_cfg, tmp_path):
  scores = tmp_path / "scores"
  shutil.copytree(data_cfg.manual_dir, scores)
  data_cfg.manual_dir = str(scores / ".." / scores.name)
  # Among the files, and not of them.
  data_cfg.data_dir = str(scores / "records")
  config = scores / "run/config.json"
  config.parent.mkdir()
  config.write_text("{}")
  prepare.prepare(data_cfg, scores / "run")
  config.write_text("{ }")
  xml = scores / _XML
  text = xml.read_text()
  xml.write_text(text)  # another time, the same content
  (xml.parent / "new.xml").write_text("<x/>")
  prepare.prepare(data_cfg, scores / "run")

  at = text.index("<name>") + len("<name>")
  xml.write_text(f"{text[:at]}X{text[at + 1 :]}")  # as long as before
  with pytest.raises(InputError, match=rf": 1 changed \({_XML}\); remove the"):
    prepare.prepare(data_cfg, scores / "run")
  xml.unlink()
  with pytest.raises(InputError, match=rf": 1 removed \({_XML}\); remove the"):
    prepare.prepare(data_cfg, scores / "run")
  # Records outlive their files.
  data_cfg.data_dir = str(shutil.move(scores / "records", tmp_path / "records"))
  shutil.rmtree(scores)
  prepare.prepare(data_cfg, tmp_path / "run")


def test_relative_folders(data_cfg, tmp_path, monkeypatch):
  shutil.copytree(data_cfg.manual_dir, tmp_path / "my/scores")
  monkeypatch.chdir(tmp_path)
  data_cfg.manual_dir = "my/scores"
  data_cfg.data_dir = "records"
  assert prepare.prepare(data_cfg, "run") == tmp_path / "records"
  assert not (tmp_path / "run").exists()


_XML = "segmentation_detection/xml_annotations/dummy-rgba-page-1.xml"


def test_a_bad_file_leaves_nothing_behind(data_cfg, tmp_path):
  scores = tmp_path / "scores"
  shutil.copytree(data_cfg.manual_dir, scores)
  good = (scores / _XML).read_text()
  (scores / _XML).write_text(good[:-30])
  data_cfg.manual_dir = str(scores)
  with pytest.raises(InputError, match=r"dummy-rgba-page-1\.xml: broken XML"):
    prepare.prepare(data_cfg, tmp_path / "w")
  assert _files(tmp_path / "w") == ["data"]
  (scores / _XML).write_text(good)  # the remedy
  prepare.prepare(data_cfg, tmp_path / "w")


@pytest.mark.parametrize("content", ["{", "[]", "{}", "\xff"])
def test_a_damaged_origin_is_one_line(data_cfg, tmp_path, content):
  data_dir = prepare.prepare(data_cfg, tmp_path)
  (path,) = data_dir.rglob("origin.json")
  path.write_bytes(content.encode("latin-1"))
  with pytest.raises(InputError, match=r"origin\.json: damaged; remove"):
    prepare.prepare(data_cfg, tmp_path)


@pytest.mark.parametrize("content", ["{", "[]", '{"name": 3}', "\xff"])
def test_a_damaged_description_is_one_line(data_cfg, tmp_path, content):
  data_dir = prepare.prepare(data_cfg, tmp_path)
  (path,) = data_dir.rglob("dataset_info.json")
  path.write_bytes(content.encode("latin-1"))
  with pytest.raises(InputError, match="damaged or missing records") as e:
    prepare.prepare(data_cfg, tmp_path)
  assert "\n" not in str(e.value)


@pytest.mark.parametrize("damage", ["gone", "empty"])
def test_records_that_are_not_whole_are_not_taken(data_cfg, tmp_path, damage):
  data_dir = prepare.prepare(data_cfg, tmp_path)
  (path,) = data_dir.rglob("deepscores-val.array_record*")
  path.unlink()
  if damage == "empty":
    path.touch()
  with pytest.raises(InputError, match=r"deepscores-val.*missing or empty"):
    prepare.prepare(data_cfg, tmp_path)


@pytest.fixture
def read_only(monkeypatch):
  """Makes a folder one that cannot be written, also for root."""

  def make(folder: pathlib.Path) -> None:
    whole = pathlib.Path.open

    def refuse(path):
      if pathlib.Path(path).is_relative_to(folder):
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    def open_(self, mode="r", *args, **kwargs):
      if mode != "r" and mode != "rb":
        refuse(self)
      return whole(self, mode, *args, **kwargs)

    monkeypatch.setattr(pathlib.Path, "open", open_)
    monkeypatch.setattr(
      files.tempfile, "TemporaryDirectory", lambda prefix, dir: refuse(dir)
    )

  return make


def test_finished_records_may_lie_where_nothing_can_be_written(
  data_cfg, tmp_path, read_only, capsys
):
  data_dir = prepare.prepare(data_cfg, tmp_path)
  next(data_dir.glob(".*.lock")).unlink()
  read_only(data_dir)
  capsys.readouterr()
  prepare.prepare(data_cfg, tmp_path)
  assert capsys.readouterr().out.startswith("Records: ")
  data_cfg.builder_config = "ipad_2017"
  with pytest.raises(InputError, match=r"data: cannot write .*\(Read-only"):
    prepare.prepare(data_cfg, tmp_path)


def test_skipped_boxes_are_printed_and_stored(data_cfg, tmp_path, capsys):
  scores = tmp_path / "scores"
  shutil.copytree(data_cfg.manual_dir, scores)
  text = (scores / _XML).read_text()
  (scores / _XML).write_text(text.replace("<xmin>0.", "<xmin>nan", 1))
  data_cfg.manual_dir = str(scores)
  data_dir = prepare.prepare(data_cfg, tmp_path / "w")
  kind = "boxes skipped: not a usable number"
  assert capsys.readouterr().out.endswith(f"; 1 {kind}\n")
  report = json.loads(next(data_dir.rglob("build_report.json")).read_text())
  assert report["counts"] == {kind: 1}
  assert report["first_examples"] == {kind: ["dummy-rgba-page-1.xml: object 0"]}


@pytest.mark.parametrize(
  "change, message",
  [
    ({"builder": ""}, "data.builder: not set"),
    ({"builder": "nothing"}, "data.builder: no builder 'nothing'"),
    ({"manual_dir": ""}, "data.manual_dir: not set"),
    ({"manual_dir": "no/such"}, "no/such: no such folder"),
    ({"data_dir": __file__}, r"test_prepare\.py: cannot make the folder"),
  ],
  ids=["no builder", "unknown builder", "no files", "lost files", "a file"],
)
def test_errors_name_key_or_folder(data_cfg, tmp_path, change, message):
  data_cfg.update(change)
  with pytest.raises(InputError, match=message) as e:
    prepare.prepare(data_cfg, tmp_path)
  assert "\n" not in str(e.value)


def test_other_pages_are_not_taken_for_these(data_cfg, tmp_path):
  other = tmp_path / "other"
  shutil.copytree(data_cfg.manual_dir, other)
  prepare.prepare(data_cfg, tmp_path / "w")
  data_cfg.manual_dir = str(other)
  with pytest.raises(InputError, match=r"made from .*dummy_data, not from .*"):
    prepare.prepare(data_cfg, tmp_path / "w")
  shutil.rmtree(other)  # the files may be gone, the records stay good
  prepare.prepare(data_cfg, tmp_path / "w")


@pytest.fixture
def generated(data_cfg, monkeypatch, repo_dir):
  """A config that generates pages, by copying the dummy pages."""
  calls = []
  dummy = pathlib.Path(data_cfg.manual_dir)

  def generate(out, pages, seed, workers, **options):
    calls.append((pages, seed, workers, options))
    shutil.copytree(dummy, out)

  generate.__signature__ = inspect.signature(engrave.generate)
  monkeypatch.setattr(engrave, "generate", generate)
  data_cfg.manual_dir = ""
  data_cfg.engrave.pages = 5
  return calls


def test_pages_are_generated_once(data_cfg, generated, tmp_path, capsys):
  data_dir = prepare.prepare(data_cfg, tmp_path)
  assert generated == [(5, 0, 0, {})]
  lines = capsys.readouterr().out.splitlines()
  assert lines[0].startswith("Generated 5 pages in ")
  assert lines[0].endswith(str(tmp_path / "data/engraved"))
  assert len(lines) == 2
  # Killed between the pages and the records: the pages are kept.
  shutil.rmtree(data_dir / "deepscores")
  prepare.prepare(data_cfg, tmp_path)
  assert len(generated) == 1


def test_another_seed_is_noticed(data_cfg, generated, tmp_path):
  prepare.prepare(data_cfg, tmp_path)
  data_cfg.engrave.workers = 3  # changes no page
  prepare.prepare(data_cfg, tmp_path)
  data_cfg.engrave.seed = 1
  with pytest.raises(InputError, match=r"'seed': 0.*'seed': 1"):
    prepare.prepare(data_cfg, tmp_path)


def test_options_of_the_generator_are_recorded(data_cfg, generated, tmp_path):
  data_cfg.engrave.vocabulary = "deepscores_v2"
  data_cfg.engrave.width = 900
  data_cfg.engrave.weights = {"coda": 2.0}
  prepare.prepare(data_cfg, tmp_path)
  assert generated[0][-1] == {
    "vocabulary": "deepscores_v2",
    "width": 900,
    "weights": {"coda": 2.0},
  }
  prepare.prepare(data_cfg, tmp_path)  # the same
  data_cfg.engrave.width = 0  # as the generator has it
  with pytest.raises(InputError, match=r"'width': 900.* not .*_v2'.*; remove"):
    prepare.prepare(data_cfg, tmp_path)


def test_a_failing_generator_leaves_nothing(
  data_cfg, generated, tmp_path, monkeypatch
):
  def generate(out, **options):
    pathlib.Path(out).mkdir()
    (pathlib.Path(out) / "half").touch()
    raise OSError("no space left on device")

  monkeypatch.setattr(engrave, "generate", generate)
  with pytest.raises(OSError, match="no space"):
    prepare.prepare(data_cfg, tmp_path)
  assert _files(tmp_path) == ["data"]


def _start(*args) -> multiprocessing.process.BaseProcess:
  process = multiprocessing.get_context("spawn").Process(
    target=prepare_process.prepare_in_a_process, args=args
  )
  process.start()
  return process


def test_killed_while_building_then_two_at_once(data_cfg, tmp_path):
  killed = _start(data_cfg, str(tmp_path), True)
  killed.join()
  assert killed.exitcode == -signal.SIGKILL
  # Here all files are written, but not yet in their place.
  assert list(tmp_path.rglob("2.0.0/metadata.json"))
  assert not list((tmp_path / "data/deepscores").rglob("2.0.0"))
  both = [_start(data_cfg, str(tmp_path), False) for _ in range(2)]
  for process in both:
    process.join()
  assert [p.exitcode for p in both] == [0, 0]
  assert len(sources.open_split(data_cfg, tmp_path / "data", "train")) == 3
  assert not [n for n in _files(tmp_path) if "incomplete" in n]
