"""python -m dwd_jax.detect: files, going on, failures, exit codes."""

import contextlib
import csv
import json
import os
import pathlib

import cv2
import detect_helpers as helpers
import numpy as np
import pytest
from mung import io as mung_io
from staff_helpers import staves

from dwd_jax import detect
from dwd_jax.apps.detect import formats, inputs, outputs, tables
from dwd_jax.checkpoints import weights
from dwd_jax.core import files
from dwd_jax.imaging import grey
from dwd_jax.predict import detector, page_detections, predict_pages
from dwd_jax.show.viewer import write as viewer


def _pages(folder, *names):
  for i, name in enumerate(names):
    helpers.save(folder / name, helpers.ink(i))
  return folder


def _read(out, name):
  return json.loads((out / name).read_text(encoding="utf8"))


def test_all_files_say_the_same(run, tmp_path):
  pages = _pages(tmp_path / "my scans", "Seite 1 + ä.png", "b.png")
  out = tmp_path / "out"
  code, said, complained = run(pages, f"--out={out}")
  assert (code, complained) == (0, "")
  assert f"2 images; look at {out / 'index.html'}" in said
  names = ["Seite 1 + ä", "b"]
  assert _read(out, "detect.json")["pages"] == names
  rows = _read(out, "predictions.json")
  images = _read(out, "coco_images.json")
  assert [image["file_name"] for image in images["images"]] == names
  assert [c["name"] for c in images["categories"]] == list(helpers.CLASSES)
  with (out / "detections.csv").open(encoding="utf8") as file:
    lines = list(csv.DictReader(file))
  for image_id, name in enumerate(names, start=1):
    page = _read(out, f"{name}.json")
    assert (page["height"], page["width"]) == helpers.HW
    assert page["file"] == str(pages / f"{name}.png")
    found = page["detections"]
    assert len(found) == page["num_detections"] > 0
    own = [row for row in rows if row["image_id"] == image_id]
    assert [row["bbox"] for row in own] == [s["bbox"] for s in found]
    of_page = [line for line in lines if line["page"] == name]
    assert [line["name"] for line in of_page] == [s["name"] for s in found]
    nodes = mung_io.read_nodes_from_file(str(out / "mung" / f"{name}.xml"))
    assert [node.class_name for node in nodes] == [s["name"] for s in found]
    assert (out / f"{name}-overlay.png").stat().st_size > 1000
    assert (out / "pages" / f"{name}.jpg").is_file()
    assert all(0.2 <= s["score"] <= 1 for s in found)
  html = (out / "index.html").read_text(encoding="utf8")
  assert "Seite 1" in html and "noteheadBlack" in html


@pytest.mark.parametrize(
  "name", ["=1+1", "+1", "-1", "@x", "\t=1", "\r=1", "a=1", "a\r=1"]
)
def test_names_are_no_formulas(tmp_path, name):
  found = page_detections.PageDetections(
    page=name,
    image_hw=(9, 9),
    boxes_yxyx=np.array([[1.0, 1, 2, 2]], np.float32),
    labels=np.zeros(1, np.int32),
    scores=np.ones(1),
    class_names=(name,),
  )
  source = inputs.Source(name, f"{name}.png", 1, 1)
  page = formats.RunPage(1, found, source)
  with tables.csv_file(tmp_path / "a.csv") as add:
    add(page)
  with (tmp_path / "a.csv").open(encoding="utf8", newline="") as file:
    _, row = csv.reader(file)
  shown = name.replace("\r", "\n")
  shown = shown if name[0] == "a" else f"'{shown}"
  assert row[:4] == [shown, f"{shown}.png", "1", shown]
  assert all(float(cell) > 0 for cell in row[4:])


def _write_line(path, found, origin):
  files.write_atomic(path, f"{found.page}: {len(found)}")


@contextlib.contextmanager
def _lines(path, run):
  with files.atomic(path) as file:
    yield lambda page: file.write(
      f"{page.image_id} {page.source.name}: {len(page.found)}\n"
    )
    file.write(f"{run.min_score}\n")


def test_a_format_is_an_entry_and_every_record_is_read_once(
  run, tmp_path, monkeypatch
):
  page_files = {"lines/{}.txt": _write_line, **formats.PAGE_FILES}
  run_files = {**formats.RUN_FILES, "lines.txt": _lines}
  monkeypatch.setattr(formats, "PAGE_FILES", page_files)
  monkeypatch.setattr(formats, "RUN_FILES", run_files)
  read, read_page = [], formats.read_page

  def counted(out, source, class_names, run):
    found = read_page(out, source, class_names, run)
    read.append((source.name, found is not None))
    return found

  monkeypatch.setattr(formats, "read_page", counted)
  pages, out = _pages(tmp_path / "in", "a.png", "lines.png"), tmp_path / "out"
  assert run(pages, f"--out={out}")[0] == 0
  # Nothing to go on from; threads look for that.
  assert sorted(read[:2]) == [("a", False), ("lines-2", False)]
  assert read[2:] == [("a", True), ("lines-2", True)]
  counts = [
    _read(out, f"{name}.json")["num_detections"] for name in ("a", "lines-2")
  ]
  assert (out / "lines/a.txt").read_text() == f"a: {counts[0]}"
  assert (out / "lines.txt").read_text().splitlines() == [
    f"1 a: {counts[0]}",
    f"2 lines-2: {counts[1]}",
    "0.2",
  ]
  monkeypatch.setattr(outputs, "write_run", lambda *_: None)
  assert run(pages, f"--out={out}", "--overwrite", "--min-score=0")[0] == 0
  assert not (out / "lines.txt").exists()


def test_a_format_can_be_had_later_and_goes_when_not_asked_for(run, tmp_path):
  pages, out = _pages(tmp_path / "in", "a.png", "b.png"), tmp_path / "out"
  assert run(pages, f"--out={out}")[0] == 0
  code, said, _ = run(pages, f"--out={out}", "--format=dota")
  assert code == 0 and "2 done before" in said
  for name in ("a", "b"):
    symbols = _read(out, f"{name}.json")["detections"]
    lines = (out / "labelTxt" / f"{name}.txt").read_text().splitlines()
    assert [line.split()[8] for line in lines] == [s["name"] for s in symbols]
    x, y, _, height = symbols[0]["bbox"]
    corner = [float(number) for number in lines[0].split()[6:8]]
    np.testing.assert_allclose(corner, [x, y + height], atol=0.011)
  assert run(pages, f"--out={out}")[0] == 0
  assert not (out / "labelTxt").exists()


def test_it_goes_on_where_it_stopped(run, tmp_path):
  pages, out = _pages(tmp_path / "in", "a.png", "b.png"), tmp_path / "out"
  assert run(pages, f"--out={out}")[0] == 0
  before = (out / "a.json").stat().st_mtime_ns
  index = (out / "predictions.json").read_text()
  (out / "b.json").unlink()  # as if it had been killed there
  code, said, _ = run(pages, f"--out={out}")
  assert code == 0 and "(1 done before)" in said
  assert (out / "a.json").stat().st_mtime_ns == before
  assert (out / "predictions.json").read_text() == index
  # Another page under the name is done anew, and pages may be added.
  helpers.save(pages / "a.png", helpers.ink(7))
  os.utime(pages / "a.png", ns=(1, 1))
  helpers.save(pages / "c.png", helpers.ink(8))
  code, said, _ = run(pages, f"--out={out}")
  assert code == 0 and "3 images (1 done before)" in said
  assert (out / "a.json").stat().st_mtime_ns != before


def test_other_settings_do_not_mix(run, tmp_path):
  pages, out = _pages(tmp_path / "in", "a.png"), tmp_path / "out"
  assert run(pages, f"--out={out}")[0] == 0
  code, _, complained = run(pages, f"--out={out}", "--min-score=0.9")
  assert code == 2
  assert "(min_score was 0.2, is now 0.9); choose another" in complained
  code, _, _ = run(pages, f"--out={out}", "--min-score=0.9", "--overwrite")
  assert code == 0
  assert _read(out, "detect.json")["settings"]["min_score"] == 0.9
  scores = [s["score"] for s in _read(out, "a.json")["detections"]]
  assert all(score >= 0.9 for score in scores)


# Caption: file beside the pages, in the folder of the results.
OF_THE_USER = {
  "a scan": "pages/a.jpg",
  "labels": "a.json",
  "a link that leads nowhere": "a-overlay.png",
  "a link to a folder": "mung",
}


@pytest.mark.parametrize("caption", OF_THE_USER)
def test_files_of_the_user_stay(run, tmp_path, caption):
  book = tmp_path / "book"
  helpers.save(book / "pages" / "a.png", helpers.ink())
  theirs = book / OF_THE_USER[caption]
  if "link" in caption:
    theirs.symlink_to("absent")
  else:
    theirs.write_text("precious")
  before = sorted(book.rglob("*"))
  code, _, complained = run(book / "pages" / "a.png", f"--out={book}")
  assert code == 2
  assert f"{theirs}: " in complained and "choose another --out" in complained
  assert sorted(book.rglob("*")) == before


def test_our_pictures_are_no_pages(run, tmp_path, monkeypatch):
  book = _pages(tmp_path / "book", "a.png", "pages/b.png")
  for out in (book, book / "found"):
    for _ in range(2):
      code, said, complained = run(book, f"--out={out}")
      assert (code, complained) == (0, "")
      assert "objects on 2 images" in said
  monkeypatch.chdir(book / "pages")
  (tmp_path / "link").symlink_to(book / "pages")
  named = sorted(book.rglob("*.[pj][np]g"))
  for paths in (["."], [tmp_path / "link"], named):
    found, failed = inputs.find([pathlib.Path(path) for path in paths])
    assert [s.path.name for s in found] == [
      *["a.png"] * (paths is named),
      "b.png",
    ]
    assert not failed
  ((_, reason),) = inputs.find([book / "a-overlay.png"])[1]
  assert "only pictures of an earlier detection" in reason


def test_a_file_made_after_its_page_failed_stays(run, tmp_path):
  pages, out = _pages(tmp_path / "in", "a.png"), tmp_path / "out"
  (pages / "b.png").write_bytes(b"no picture")
  assert run(pages, f"--out={out}")[0] == 1
  (out / "b.json").write_text("precious")
  _pages(pages, "b.png")
  for more in ([], ["--overwrite"]):
    code, _, complained = run(pages, f"--out={out}", *more)
    assert code == 2 and f"{out / 'b.json'}: is there already" in complained
    assert (out / "b.json").read_text() == "precious"


# Caption: detect.json.
NO_MANIFEST = {
  "of something else": '{"tool": 1}',
  "no JSON": "precious",
  "deep": "[" * 100_000,
  "many digits": '{"settings": {"a": %s}, "pages": []}' % ("9" * 5_000),
  "no names": '{"settings": {}, "pages": [1]}',
}


@pytest.mark.parametrize("caption", NO_MANIFEST)
def test_beside_no_manifest_nothing_is_removed(run, tmp_path, caption):
  pages, out = _pages(tmp_path / "in", "a.png"), tmp_path / "out"
  out.mkdir()
  (out / "index.html").write_text("precious")
  for folder in (out, pages):
    (folder / "detect.json").write_text(NO_MANIFEST[caption])
  for more in ([], ["--overwrite"]):
    code, _, complained = run(pages, f"--out={out}", *more)
    assert code == 2 and f"{out / 'detect.json'}: damaged" in complained
    assert (out / "index.html").read_text() == "precious"
  assert len(inputs.find([pages])[0]) == 1


def test_a_manifest_of_strangers_names_only_files_of_its_folder(run, tmp_path):
  pages, out = _pages(tmp_path / "in", "a.png"), tmp_path / "out"
  (tmp_path / "b.json").write_text("precious")
  (tmp_path / "theirs").mkdir()
  (tmp_path / "theirs" / "b.xml").write_text("precious")
  out.mkdir()
  names = ["../b", "\0", "\ud800", "..", ""]
  for pages_of in (names, [*names, "b"]):
    content = {"settings": {}, "pages": pages_of}
    (out / "detect.json").write_text(json.dumps(content))
    code, _, complained = run(pages, f"--out={out}", "--overwrite")
    assert (tmp_path / "b.json").read_text() == "precious"
    if code == 0:
      (out / "mung" / "a.xml").unlink()
      (out / "mung").rmdir()
      (out / "mung").symlink_to(tmp_path / "theirs")
  assert code == 2 and f"{out / 'mung'}: a link" in complained
  assert (tmp_path / "theirs" / "b.xml").read_text() == "precious"


def test_a_killed_run_leaves_nothing_to_other_settings(run, tmp_path):
  pages, out = _pages(tmp_path / "in", "a.png", "b.png"), tmp_path / "out"
  assert run(pages, f"--out={out}")[0] == 0
  old = (out / "b.json").read_bytes()
  (out / "c.json").write_text("precious")  # not of the run
  assert run(pages, f"--out={out}", "--overwrite", "--min-score=0")[0] == 0
  (out / "b.json").write_bytes(old)  # whatever brought it back
  code, said, _ = run(pages, f"--out={out}", "--min-score=0")
  assert code == 0 and "2 images (1 done before)" in said
  assert (out / "b.json").read_bytes() != old
  assert (out / "c.json").read_text() == "precious"


def test_classes_are_chosen(run, tmp_path):
  pages, out = _pages(tmp_path / "in", "a.png"), tmp_path / "out"
  assert run(pages, f"--out={out}", "--min-score=0")[0] == 0
  found = {s["name"] for s in _read(out, "a.json")["detections"]}
  wanted = min(found)
  only = tmp_path / "only"
  args = (f"--out={only}", "--min-score=0", f"--classes={wanted}")
  assert run(pages, *args)[0] == 0
  assert {s["name"] for s in _read(only, "a.json")["detections"]} == {wanted}
  code, _, complained = run(pages, f"--out={only}", "--classes=noteheadBlak")
  assert code == 2
  assert "knows no 'noteheadBlak'; did you mean noteheadBlack?" in complained


def test_file_names_that_are_not_utf8(run, tmp_path):
  name = os.fsdecode(b"Pr\xe9lude.png")
  pages, out = _pages(tmp_path / "in", name, "z.png"), tmp_path / "out"
  for _ in range(2):
    code, said, complained = run(pages, f"--out={out}")
    assert (code, complained) == (0, "")
    assert "2 images" in said
  assert _read(out, "detect.json")["pages"] == ["Pr_lude", "z"]
  assert _read(out, "Pr_lude.json")["file"] == str(pages / name)
  table = (out / "detections.csv").read_text(encoding="utf8")
  assert f"Pr_lude,{pages}/Pr?lude.png,1," in table
  assert (out / "index.html").exists()


def test_bad_pages_are_told_of_and_the_others_go_on(run, tmp_path):
  pages, out = _pages(tmp_path / "in", "a.png", "z.png"), tmp_path / "out"
  (pages / "b.png").write_bytes(b"")
  (pages / "c.pdf").write_bytes(b"%PDF-1.4\nbroken")
  helpers.save(pages / "dot.png", np.zeros((1, 1), np.uint8))
  code, said, complained = run(pages, f"--out={out}")
  assert code == 1
  assert "3 images, 2 failed" in said
  lines = complained.splitlines()
  assert len(lines) == 2 and all(x.startswith("dwd_jax: ") for x in lines)
  failed = _read(out, "detect.json")["failed"]
  assert {f["what"] for f in failed} == {
    str(pages / "b.png"),
    str(pages / "c.pdf"),
  }
  assert _read(out, "dot.json")["width"] == 1


def test_a_very_wide_page(run, tmp_path):
  # Scaled down: the tiles of the full width take a minute.
  weights.write(tmp_path / "w.safetensors", helpers.tiny(scale=0.0085))
  wide = np.zeros((1000, 30_000), np.uint8)
  wide[:, 27_000:28_000] = 255
  helpers.save(tmp_path / "wide.png", wide)
  out = tmp_path / "out"
  detect_flags = (f"--out={out}", f"--checkpoint={tmp_path / 'w.safetensors'}")
  code, _, complained = run(tmp_path / "wide.png", *detect_flags)
  assert (code, complained) == (0, "")
  page = _read(out, "wide.json")
  assert page["width"] == 30_000
  right = max(s["bbox"][0] + s["bbox"][2] for s in page["detections"])
  assert right > 26_000  # nothing was cut off


# Caption: flags, what the one line says.
BAD_INPUT = {
  "no such file": (["absent.png"], "absent.png: no such file or folder"),
  "no such weights": (["in", "--checkpoint=absent"], "absent: no such file"),
  "a folder without a checkpoint": (["in", "--checkpoint=in"], "no checkpoint"),
  "no score": (["in", "--min-score=2"], "--min-score: 2 is not 0 to 1"),
  "no format": (["in", "--format=dots"], "--format: 'dots' is unknown; use"),
  "no annotations": (["in", "--format=dota,obb_anns"], "--annotations: give"),
  "no resolution": (["in", "--dpi=-1"], "--dpi: -1; use up to 2400"),
  "no batch": (["in", "--batch-size=0"], "--batch-size: 0; use 1 to 1024"),
  "a file after --": (["in", "--", "b.png"], "b.png: follows --"),
  "shards on an engine": (["in", "--shard=0/2", "--"], "leave out --shard"),
  "a file as folder": (["in", "--out=in/a.png"], "cannot make the folder"),
  "a folder of something else": (["in", "--out=used"], "is there already"),
}


@pytest.mark.parametrize("caption", BAD_INPUT)
def test_bad_input_is_one_line(tiny, tmp_path, monkeypatch, capsys, caption):
  args, message = BAD_INPUT[caption]
  monkeypatch.chdir(tmp_path)
  _pages(tmp_path / "in", "a.png")
  (tmp_path / "used").mkdir()
  (tmp_path / "used" / "predictions.json").write_text("[]")
  flags = [f"--checkpoint={tiny}", "--out=out", "--compilation-cache="]
  assert detect.main([*flags, *args]) == 2
  said, complained = capsys.readouterr()
  assert not said
  assert message in complained.splitlines()[0]
  assert (tmp_path / "used" / "predictions.json").read_text() == "[]"


def test_pages_of_music_are_turned_or_left_out(tmp_path, capsys):
  trained = helpers.tiny(staff_space_px=9.0)
  weights.write(tmp_path / "music.safetensors", trained)
  pages, out = tmp_path / "pages", tmp_path / "out"
  helpers.save(pages / "text.png", helpers.ink(0, (200, 300)))
  lying = np.maximum(staves(9, (200, 300)), helpers.ink(1, (200, 300)))
  helpers.save(pages / "lying.png", np.rot90(lying))
  flags = [f"--checkpoint={tmp_path / 'music.safetensors'}", str(pages)]
  flags += ["--compilation-cache=", "--min-score=0"]
  for _ in range(2):  # the second time, from the results of the first
    assert detect.main([*flags, f"--out={out}"]) == 0
    said = capsys.readouterr().err
    assert "turned to stand upright: 1 page (lying)\n" in said
    assert "as no staff was found: 1 page (text); --without-staves" in said
  text, music = _read(out, "text.json"), _read(out, "lying.json")
  assert (text["without_staves"], text["turned"]) == (True, 0)
  assert text["detections"] == [] and (out / "text-overlay.png").exists()
  assert (music["without_staves"], music["turned"] % 180) == (False, 90)
  assert (music["width"], music["height"]) == (200, 300)
  assert text["staves"] == [] and len(music["staves"]) >= 1
  lines = np.array(music["staves"][0]["lines"])  # x, y; upright on this page
  assert np.ptp(lines[..., 1]) > 5 * np.ptp(lines[..., 0])
  corners = np.array([d["bbox"] for d in music["detections"]])
  assert len(corners) and (corners[:, 1] + corners[:, 3]).max() > 200
  everywhere = tmp_path / "everywhere"
  assert detect.main([*flags, f"--out={everywhere}", "--without-staves"]) == 0
  assert "no staff" not in capsys.readouterr().err
  assert _read(everywhere, "text.json")["num_detections"] > 0


# Where memory runs out, and how that is said.
_CV2_FULL = cv2.error("(-4:Insufficient memory) Failed to allocate 9 bytes")
STEPS = (
  (inputs, "_bytes", MemoryError()),
  (grey, "to_ink", MemoryError()),
  (detector.staves_lib, "find", _CV2_FULL),
  (predict_pages, "predict_page", MemoryError()),  # in the second prediction
  (viewer, "page_picture", MemoryError()),
)


def test_pages_that_do_not_fit_into_memory_are_some_of_many(
  tmp_path, capsys, monkeypatch
):
  """Each step fails at the first page that gets there."""
  made = helpers.tiny(staff_space_px=9.0, class_names=("a", "b", "c"))
  weights.write(tmp_path / "w.safetensors", made)  # it knows no clef
  for i in range(len(STEPS) + 1):
    page = np.maximum(staves(9, (200, 300)), helpers.ink(i, (200, 300)))
    helpers.save(tmp_path / "in" / f"{i}.png", page)
  failed = []

  def fails_once(work, name, error):
    def fail_or_work(*args, **kwargs):
      if name not in failed:
        failed.append(name)
        raise error
      return work(*args, **kwargs)

    return fail_or_work

  for module, name, error in STEPS:
    work = fails_once(getattr(module, name), name, error)
    monkeypatch.setattr(module, name, work)
  flags = [f"--checkpoint={tmp_path / 'w.safetensors'}", "--min-score=0"]
  flags += ["--compilation-cache=", f"--out={tmp_path / 'out'}"]
  assert detect.main([*flags, f"{tmp_path / 'in'}"]) == 1
  said, complained = capsys.readouterr()
  assert f"1 page, {len(STEPS)} failed" in said
  assert complained.count("not fit into memory") == len(STEPS)
  assert sorted(failed) == sorted(name for _, name, _ in STEPS)
