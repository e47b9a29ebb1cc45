"""The program: folders in, text, exit code and report out."""

import contextlib
import html.parser
import io
import json
import shutil

import check_helpers as h
import numpy as np
import pytest

from dwd_jax.check import __main__, choose_builder, findings

_NASTY = "<script>alert('x')</script>&\x1b[31m"


def _pages(first, count, **kwargs):
  return {
    f"p{i}": h.make_page(i, **kwargs) for i in range(first, first + count)
  }


@pytest.fixture
def good(tmp_path):
  return h.write_data_set(
    tmp_path / "good", {"train": _pages(0, 3), "test": _pages(3, 2)}
  )


def _check(capsys, folder, *flags, out=None):
  """Exit code, stdout, stderr and check.json (None where it is not ours)."""
  out = out or folder.parent / "report"
  code = __main__.main(
    [str(folder), f"--out={out}", "--workers=2", "--pages=2", *flags]
  )
  text = capsys.readouterr()
  path = out / "check.json"
  found = json.loads(path.read_text()) if code != 2 else None
  return code, text.out, text.err, found


def _levels(found):
  return {(f["level"], f["kind"]) for f in found["findings"]}


@pytest.fixture(scope="module")
def good_run(tmp_path_factory):
  """Exit code, stdout, check.json and folder of the report of `good`."""
  root = tmp_path_factory.mktemp("good")
  splits = {"train": _pages(0, 3), "test": _pages(3, 2)}
  folder = h.write_data_set(root / "good", splits)
  out, report = io.StringIO(), root / "report"
  with contextlib.redirect_stdout(out):
    code = __main__.main(
      [str(folder), f"--out={report}", "--workers=3", "--pages=2"]
    )
  found = json.loads((report / "check.json").read_text())
  return code, out.getvalue(), found, report


def test_a_good_data_set(good_run):
  code, out, found, _ = good_run
  assert code == 0
  assert "--builder=deepscores --builder-config=dense_2017" in out
  assert found["splits"] == {
    "train": {"pages": 3, "objects": 120},
    "test": {"pages": 2, "objects": 80},
  }
  counts = [c["objects"] for c in found["classes"].values()]
  assert sum(c["train"] + c["test"] for c in counts) == 200
  assert found["classes_without_objects"] == ["unused"]
  assert "and 1 class without objects" in out
  assert not [f for f in found["findings"] if f["level"] == "error"]
  assert [p["filename"] for p in found["pages"]] == [
    f"p{i}.png" for i in range(5)
  ]


class _Links(html.parser.HTMLParser):
  def __init__(self):
    super().__init__()
    self.links, self.tags = [], set()

  def handle_starttag(self, tag, attrs):
    self.tags.add(tag)
    self.links += [v for k, v in attrs if k in ("src", "href")]


def test_the_page_is_whole_and_asks_for_nothing_outside(good_run):
  report = good_run[-1]
  parsed, text = _Links(), (report / "index.html").read_text()
  parsed.feed(text)
  assert "default-src 'none'" in text
  assert len(parsed.links) > 10
  for link in parsed.links:
    assert (report / link).is_file(), link
    assert link.startswith("pictures/")
  assert "script" not in parsed.tags and "link" not in parsed.tags
  names = {p.name for p in (report / "pictures").iterdir()}
  assert {
    "contact-train.webp",
    "class-00000.webp",
    "train-000000.webp",
  } <= names
  assert "train-000002.webp" not in names  # --pages=2, and nothing suspicious


def test_names_are_escaped(tmp_path, capsys):
  names = ("notehead", "rest", _NASTY[:-5], "unused")
  folder = tmp_path / "nasty"
  h.write_data_set(folder, {"train": _pages(0, 1)}, names)
  code, _, _, _ = _check(capsys, folder)
  assert code == 0
  page = (tmp_path / "report" / "index.html").read_text()
  assert "<script" not in page
  assert "&lt;script&gt;alert(&#39;x&#39;)" in page


def test_text_for_the_terminal_has_no_escapes():
  assert findings.table(["a"], [[_NASTY]])[1].endswith("&?[31m")


def test_all_bad_pages_are_listed(good, capsys):
  (good / "xml_annotations/p0.xml").write_text("<annotation>")
  (good / "images_png/p3.png").write_bytes(b"\x89PNG\r\n\x1a\n")
  code, out, _, found = _check(capsys, good)
  assert code == 1
  assert "p0.xml: broken XML" in out and "p3.png: not a readable PNG" in out
  assert [b["split"] for b in found["unreadable"]] == ["train", "test"]
  assert found["splits"]["train"]["pages"] == 2
  code, _, err, _ = _check(capsys, good, "--no-keep-going")
  assert code == 2 and "p0.xml" in err and len(err.splitlines()) == 1


def test_no_readable_page_is_bad_input(good, capsys):
  for path in (good / "xml_annotations").iterdir():
    path.write_text("<annotation>")
  code, _, err, _ = _check(capsys, good)
  assert code == 2 and "no page can be read" in err


def test_exchanged_annotations(good, capsys):
  folder = good / "xml_annotations"
  texts = [(folder / f"p{i}.xml").read_text() for i in (0, 4)]
  for i, text in ((4, texts[0]), (0, texts[1])):
    (folder / f"p{i}.xml").write_text(text)
  code, out, _, found = _check(capsys, good, "--pages=0")
  assert code == 1
  assert ("error", "boxes of another picture") in _levels(found)
  assert "annotations are exchanged; train/p0.png, test/p4.png" in out
  pictures = good.parent / "report" / "pictures"
  assert (pictures / "train-000000.webp").is_file()  # drawn: suspicious
  assert not (pictures / "train-000001.webp").exists()


def test_a_page_in_two_splits(tmp_path, capsys):
  pages = _pages(0, 2, symbols=80, hw=(800, 640))
  copy = {"copy": (pages["p0"][0] // 2, *pages["p0"][1:])}
  folder = h.write_data_set(tmp_path / "x", {"train": pages, "test": copy})
  code, out, _, found = _check(capsys, folder)
  assert code == 1
  assert ("error", "leak between splits") in _levels(found)
  assert "train/p0.png = test/copy.png" in out


def test_records(records, tmp_path, capsys):
  for name, pages in (("deepscores", 5), ("muscima_pp", 5)):
    code, out, _, found = _check(
      capsys, records / name, out=tmp_path / f"out_{name}"
    )
    assert code in (0, 1)
    assert f"Reading records of {name}/" in out
    assert sum(s["pages"] for s in found["splits"].values()) == pages


def test_records_and_files_give_the_same(records, repo_dir, tmp_path, capsys):
  kinds = []
  for folder in (
    records / "deepscores",
    repo_dir / "tfds_builders/deepscores/dummy_data",
  ):
    _, _, _, found = _check(capsys, folder, out=tmp_path / str(len(kinds)))
    keys = ("splits", "classes", "objects", "page")
    kinds.append({key: found[key] for key in keys})
    kinds[-1]["splits"] = dict(sorted(kinds[-1]["splits"].items()))
  assert kinds[0] == kinds[1]


def test_two_sets_of_records_in_one_folder(records, tmp_path, capsys):
  code, _, err, found = _check(capsys, records, out=tmp_path / "out")
  assert code == 2 and "2 folders of records" in err and found is None


@pytest.mark.parametrize("content", ["", "{}", '{"name": 3}', "[" * 5000])
def test_damaged_records(content, tmp_path, capsys):
  (tmp_path / "x").mkdir()
  (tmp_path / "x/dataset_info.json").write_text(content)
  code, _, err, _ = _check(capsys, tmp_path / "x")
  assert code == 2 and len(err.splitlines()) == 1 and "x: " in err


# Caption: the folder that is named, and what the first line tells.
LEVELS = {
  "one level too low": ("good/images_png", "deepscores reads {}/good:"),
  "one level too high": ("", "deepscores reads {}/good:"),
  "two levels too low": ("good/images_png/deep", "deepscores reads {}/good:"),
  "something else": ("other", "what each of them misses"),
}


@pytest.mark.parametrize("caption", LEVELS)
def test_a_wrong_folder_is_explained(caption, tmp_path, capsys):
  where, hint = LEVELS[caption]
  root = tmp_path / "a" / "b"
  h.write_data_set(root / "good", {"train": _pages(0, 1)})
  (root / "good/images_png/deep").mkdir()
  (root / "good/images_png/deep/x.txt").write_text("x")
  # Far from the data set, so that neither is near the other.
  other = root.parent.parent / "c" / "d" / "e"
  (other / "f").mkdir(parents=True)
  (other / "f/x.txt").write_text("x")
  folder = other if caption == "something else" else root / where
  code, _, err, found = _check(capsys, folder, out=tmp_path / "out")
  assert code == 2 and found is None
  lines = err.splitlines()
  assert hint.format(root) in lines[0]
  assert len(lines) == 1 + len(choose_builder.names())
  for line, name in zip(lines[1:], choose_builder.names(), strict=True):
    assert line.startswith(f"  {name}: ")


FLAGS = {
  "unknown builder": (["--builder=nothing"], "there are"),
  "another builder": (["--builder=deepscores_v2"], "no such folder"),
  "unknown config": (
    ["--builder=deepscores", "--builder-config=x"],
    "it has dense_2017",
  ),
  "unknown option": (["--option=x=1"], "--option"),
  "scale 0": (["--scale=0"], "--scale"),
  "scale nan": (["--scale=nan"], "--scale"),
  "crop 0": (["--crop=0"], "--crop"),
}


@pytest.mark.parametrize("caption", FLAGS)
def test_bad_flags(caption, good, capsys):
  flags, message = FLAGS[caption]
  code, _, err, _ = _check(capsys, good, *flags)
  assert code == 2 and message in err and len(err.splitlines()) == 1


def test_no_folder(tmp_path, capsys):
  code, _, err, _ = _check(capsys, tmp_path / "absent")
  assert code == 2 and "no such folder" in err


def test_only_its_own_folder_is_taken_over(good, good_run, capsys):
  out = good.parent / "used"
  out.mkdir()
  (out / "mine.txt").write_text("keep me")
  code, _, err, _ = _check(capsys, good, out=out)
  assert code == 2 and "in use" in err
  assert (out / "mine.txt").read_text() == "keep me"
  out = shutil.copytree(good_run[-1], good.parent / "report")
  pictures = out / "pictures"
  (pictures / "mine.png").write_text("keep me")
  (pictures / "old.webp").touch()
  with (pictures / "written.txt").open("a") as file:
    file.write("old.webp\n../../used/mine.txt\n..\na\0b\n")
  assert _check(capsys, good)[0] == 0
  assert not (pictures / "old.webp").exists()
  assert (pictures / "mine.png").read_text() == "keep me"
  assert (good.parent / "used" / "mine.txt").read_text() == "keep me"
  (pictures / "written.txt").unlink()  # whose are they now?
  code, _, err, _ = _check(capsys, good)
  assert code == 2 and "is there already, and of something else" in err


@pytest.mark.parametrize("text", ["", "[1]", '{"mine": 1}', "[" * 9999])
def test_a_check_json_of_something_else_is_left_alone(
  good, tmp_path, capsys, text
):
  (tmp_path / "check.json").write_text(text)
  assert __main__.main([str(good), f"--out={tmp_path}"]) == 2
  assert "in use" in capsys.readouterr().err
  assert (tmp_path / "check.json").read_text() == text


def test_the_same_report_twice(good_run, tmp_path, capsys):
  """Whatever the number of workers."""
  *_, found, report = good_run
  _, _, _, again = _check(
    capsys, report.parent / "good", "--workers=1", out=tmp_path / "again"
  )
  reports = []
  for content, folder in ((found, report), (again, tmp_path / "again")):
    facts = {
      key: value
      for key, value in content.items()
      if key not in ("seconds", "pages_per_second")
    }
    pictures = {p.name: p.read_bytes() for p in (folder / "pictures").iterdir()}
    reports.append((facts, pictures, (folder / "index.html").read_text()))
  assert reports[0] == reports[1]


def test_a_builder_must_read_the_annotations_too(good, good_run):
  # The layout alone fits muscima_pp's folder of 2017 as well.
  parser = choose_builder.choose(good, "muscima_pp", "", {})
  assert parser.data_set.splits
  _, out, _, _ = good_run
  assert "--builder=deepscores " in out
  assert "possible too" not in out


def test_real_pages_have_no_errors(shared_data, tmp_path, capsys):
  code, _, _, found = _check(
    capsys, shared_data / "deepscores_v1", "--pages=0", out=tmp_path / "out"
  )
  assert code == 0
  objects = {k: v["objects"] for k, v in found["splits"].items()}
  assert objects == {"train": 325, "val": 325, "test": 171}
  # One page in two fonts.
  assert ("warning", "similar pictures") in _levels(found)
  assert all(p["fit_edge"] > 0.8 for p in found["pages"])


def test_nan_sizes_never_reach_the_report(good, capsys):
  shutil.rmtree(good / "train_val_test")
  (good / "train_val_test").mkdir()
  (good / "train_val_test/train.txt").write_text("p0")
  (good / "xml_annotations/p0.xml").write_text("<annotation/>")
  code, _, _, found = _check(capsys, good)
  assert code == 0 and found["objects"]["height_px"] is None
  assert not np.isnan(found["page"]["ink_share"]["p50"])
