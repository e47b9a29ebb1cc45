"""The folder that is written: layout, splits, sameness, what is skipped."""

import functools
import hashlib
import json
import pathlib
import subprocess
import sys

import engrave_helpers as helpers
import numpy as np
import pytest
import verovio
from lxml import etree
from PIL import Image

from dwd_jax import engrave
from dwd_jax.core.errors import InputError
from dwd_jax.engrave import (
  dataset,
  deepscores_folder,
  engraver,
  pool,
  smufl_classes,
)
from dwd_jax.engrave.deepscores_folder import Splitter
from dwd_jax.engrave.rarities import CHOICES
from dwd_jax.imaging import images, staff_space

_SMALL = {"width": 700, "height": 700}
_KERN = "**kern\n*clefG2\n*M2/4\n=1\n4c\n8d\n8e\n=2\n2f#\n==\n*-\n"
_XML = """<score-partwise version="3.1"><part-list><score-part id="P1">
<part-name>M</part-name></score-part></part-list><part id="P1">
<measure number="1"><attributes><divisions>1</divisions><time><beats>4</beats>
<beat-type>4</beat-type></time><clef><sign>F</sign><line>4</line></clef>
</attributes><note><pitch><step>C</step><octave>3</octave></pitch>
<duration>4</duration><type>whole</type></note></measure></part>
</score-partwise>"""

# A worker that dies of, refuses or never finishes some scores.
_SICK = """
import os, signal, time
from dwd_jax.engrave import pool
healthy = pool.engrave
def engrave(task, toolkit):
  if task.index == {crash}: os.kill(os.getpid(), signal.SIGSEGV)
  if task.index == {hang}: time.sleep(600)
  if task.index == {refuse}: raise ValueError("no notes")
  return healthy(task, toolkit)
pool.engrave = engrave
pool.main()
"""


def _hashes(folder):
  return {
    str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
    for path in sorted(folder.rglob("*"))
    if path.is_file()
  }


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
  """24 small pages, and the summary."""
  out = tmp_path_factory.mktemp("engrave") / "pages"
  return out, engrave.generate(out, 24, seed=5, workers=1, **_SMALL)


def test_workers_do_without_jax():
  """They start in a third of the time, and need less memory."""
  program = "import sys; from dwd_jax.engrave import pool; print(*sys.modules)"
  modules = subprocess.check_output([sys.executable, "-c", program], text=True)
  assert not {"jax", "flax", "tensorflow_datasets"} & set(modules.split())


def test_another_seed_gives_other_pages(pages, tmp_path):
  folder, _ = pages
  other = tmp_path / "other"
  engrave.generate(other, 2, seed=6, workers=1, **_SMALL)
  assert not set(_hashes(other).values()) & {
    digest for name, digest in _hashes(folder).items() if "png" in name
  }


def test_layout_is_that_of_deepscores(pages):
  folder, summary = pages
  images = folder / "segmentation_detection/images_png"
  names = {path.stem for path in images.iterdir()}
  assert len(names) == summary.pages == 24
  listed = []
  for split in ("train", "val", "test"):
    lines = (folder / f"train_val_test/{split}.txt").read_text().split()
    assert len(lines) == summary.splits[split] > 0
    listed += lines
  assert sorted(listed) == sorted(names)
  assert not (folder / deepscores_folder.PIXELS).exists()
  known = smufl_classes.get("deepscores_v1")
  rows = (folder / "DeepScores_classification/class_names.csv").read_text()
  assert rows.split() == [f"{i},{n}" for i, n in enumerate(known.names)]
  total = 0
  for name in names:
    image = Image.open(images / f"{name}.png")
    assert image.mode == "L" and image.size == (700, 700)
    pixels = np.asarray(image)
    assert np.median(pixels) == 255 and pixels.min() < 32  # dark ink on white
    root = etree.parse(
      folder / f"segmentation_detection/xml_annotations/{name}.xml"
    ).getroot()
    assert root.findtext("filename") == f"{name}.png"
    assert root.findtext("size/width") == "700"
    for element in root.iter("object"):
      total += 1
      assert element.findtext("name") in known.known
      box = element.find("bndbox")
      assert [e.tag for e in box] == ["xmin", "xmax", "ymin", "ymax"]
      x0, x1, y0, y1 = (float(e.text) for e in box)
      assert 0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1
  assert total == sum(summary.objects.values()) > 1000
  written = json.loads((folder / "engraved.json").read_text())
  assert written["objects"] == summary.objects
  # The generator's 9 px, and 5 % more or less from score to score.
  spaces = written["staff_spaces_px"]
  assert len(spaces) == 24
  known = [px for px in spaces.values() if px is not None]
  assert all(8.55 <= px <= 9.45 for px in known)
  assert len(known) > 15 and len(set(known)) > 10


def test_one_line_of_percussion_has_no_staff_space(tmp_path):
  kinds = (*CHOICES["score"], *CHOICES["layout"])
  others = {n: 0.0 for n in kinds if n not in ("percussion", "plain")}
  engrave.generate(tmp_path / "p", 4, workers=1, weights=others, **_SMALL)
  written = json.loads((tmp_path / "p" / "engraved.json").read_text())
  for name, px in written["staff_spaces_px"].items():
    path = tmp_path / "p" / "segmentation_detection/images_png" / f"{name}.png"
    ink = images.read_page(path.read_bytes(), name)
    assert (staff_space.estimate(ink) is None) == (px is None)
  assert None in written["staff_spaces_px"].values()


def test_pages_of_a_score_stay_in_one_split(pages):
  folder, _ = pages
  where = {}
  for path in (folder / "train_val_test").iterdir():
    for name in path.read_text().split():
      score = name.rsplit("-page-", 1)[0]
      assert where.setdefault(score, path.stem) == path.stem
  assert len(where) < 24  # some scores have two pages


def test_boxes_have_ink_inside(pages):
  folder, _ = pages
  for path in sorted(folder.rglob("*.xml"))[:4]:
    image = str(path).replace("xml_annotations", "images_png")[:-3] + "png"
    pixels = np.asarray(Image.open(image))
    for element in etree.parse(path).getroot().iter("object"):
      x0, x1, y0, y1 = (700 * float(e.text) for e in element.find("bndbox"))
      inside = pixels[int(y0) : int(y1) + 1, int(x0) : int(x1) + 1]
      assert inside.min() < 128, element.findtext("name")


def test_nearly_all_names_occur():
  """At least 105 of 124 names, here already in far fewer than 300 pages."""
  found = set()
  fonts = ("Leipzig", "Bravura", "Leland", "Gootville")
  for seed in range(24):
    page = helpers.random_page(seed, fonts[seed % 4], 14)
    found |= {item.name for item in helpers.objects(page)}
  assert len(found) >= 105, sorted(
    smufl_classes.get("deepscores_v1").known - found
  )


@pytest.mark.parametrize(
  ("shares", "expected"),
  [
    (None, {"train": 160, "val": 16, "test": 24}),
    ({"train": 1.0}, {"train": 200, "val": 0, "test": 0}),
    ({"train": 2, "test": 2}, {"train": 100, "val": 0, "test": 100}),
  ],
)
def test_splits_meet_their_shares(shares, expected):
  splitter = Splitter(shares)
  for score in range(200):
    splitter.add(f"s{score}", [f"p{score}"])
  found = {name: len(pages) for name, pages in splitter.pages.items()}
  assert found == expected
  assert splitter.add("s0", ["again"]) == "train"  # where s0 went


def _sick_run(monkeypatch, timeout_s, **indices):
  """Lets `generate` use workers that fail on the given scores."""
  command = (sys.executable, "-c", _SICK.format(**indices))
  monkeypatch.setattr(
    dataset.pool,
    "run",
    functools.partial(pool.run, command=command, timeout_s=timeout_s),
  )


def test_scores_that_crash_verovio_or_take_too_long_are_skipped(
  monkeypatch, tmp_path
):
  _sick_run(monkeypatch, hang=0, crash=1, refuse=2, timeout_s=8.0)
  summary = engrave.generate(tmp_path / "out", 4, seed=0, workers=2, **_SMALL)
  assert summary.pages == 4
  reasons = dict(summary.skipped)
  assert reasons.keys() == {f"engraved-0-0000{i}" for i in range(3)}
  assert reasons["engraved-0-00000"] == "took too long"
  assert "signal 11" in reasons["engraved-0-00001"]
  assert "no notes" in reasons["engraved-0-00002"]
  names = {path.name[:16] for path in (tmp_path / "out").rglob("*.png")}
  assert names and not names & reasons.keys()


def test_nothing_is_left_where_all_scores_fail(monkeypatch, tmp_path):
  command = (sys.executable, "-c", "import sys; sys.exit('no such library')")
  monkeypatch.setattr(
    dataset.pool, "run", functools.partial(pool.run, command=command)
  )
  with pytest.raises(InputError, match="exit code 1: no such library"):
    engrave.generate(tmp_path / "out", 2, workers=2)
  assert not list(tmp_path.iterdir())


def test_music_files_of_the_user(tmp_path):
  music = tmp_path / "music"
  (music / "deeper").mkdir(parents=True)
  (music / "my song & more.krn").write_text(_KERN)
  (music / "deeper" / "bass.musicxml").write_text(_XML)
  (music / "broken.mei").write_text("<mei><oops")
  (music / "notes.txt").write_text("not music")
  out = tmp_path / "out"
  summary = engrave.generate(
    out, 8, workers=2, scores=music, weights={"from_file": 0.8}, **_SMALL
  )
  assert summary.pages == 8
  assert [pathlib.Path(name).name for name, _ in summary.skipped] == [
    "broken.mei"
  ]
  # A score comes again in another font, but never in another split.
  where = {}
  for path in (out / "train_val_test").iterdir():
    for name in path.read_text().split():
      where.setdefault(name.split("-")[0], set()).add(path.stem)
  assert where.keys() == {"bass", "my_song_more", "engraved"}
  assert len(where["bass"]) == len(where["my_song_more"]) == 1


def test_nothing_but_broken_music_files(tmp_path):
  (tmp_path / "broken.mei").write_text("<mei><oops")
  with pytest.raises(InputError, match=r"none of 1 scores .* damaged XML"):
    engrave.generate(
      tmp_path / "out",
      2,
      workers=1,
      scores=tmp_path,
      weights={"from_file": 1.0},
    )


def test_memory_is_flat():
  """Verovio, lxml and libvips free what a page took."""

  def resident_mib():
    fields = pathlib.Path("/proc/self/statm").read_text().split()
    return int(fields[1]) * 4096 / 2**20

  if not pathlib.Path("/proc/self/statm").exists():
    pytest.skip("memory is measured on Linux only")
  toolkit = verovio.toolkit()
  fonts = ("Leipzig", "Bravura", "Leland", "Gootville")
  sizes = []
  for index in range(36):
    task = engraver.EngraveTask(0, fonts, index=index, **_SMALL)
    engraver.engrave(task, toolkit)
    sizes.append(resident_mib())
  assert max(sizes) - sizes[11] < 40


@pytest.mark.parametrize(
  ("caption", "arguments", "message"),
  [
    ("no pages", {"pages": 0}, "pages=0"),
    ("negative workers", {"workers": -1}, "workers=-1"),
    ("variation", {"variation": 1.5}, "variation=1.5 must be 0 to 1"),
    ("unknown font", {"fonts": ("Times",)}, "verovio has Leipzig"),
    ("no font", {"fonts": ()}, "verovio has Leipzig"),
    ("unknown vocabulary", {"vocabulary": "x"}, "use deepscores_v1"),
    ("unknown weight", {"weights": {"x": 1.0}}, "weights: 'x' is unknown"),
    ("page smaller than a staff", {"width": 100}, "width=100"),
    ("page of gigabytes", {"height": 10**6}, "height=1000000"),
    ("staff of a pixel", {"staff_space": 0.5}, "staff_space=0.5"),
    ("wild jitter", {"jitter": 2.0}, "jitter=2.0"),
    ("no split", {"shares": {"train": 0.0}}, "split shares"),
    ("unknown split", {"shares": {"dev": 1.0}}, "split shares"),
    ("missing folder", {"scores": "/no/such"}, "such: no such folder"),
  ],
)
def test_bad_arguments(caption, arguments, message, tmp_path):
  out = tmp_path / "deeper" / "out"
  with pytest.raises(InputError, match=message):
    engrave.generate(**{"out": out, "pages": 2, **arguments})
  assert not out.exists(), caption


def test_folder_without_music(tmp_path):
  with pytest.raises(InputError, match="has no music files"):
    engrave.generate(tmp_path / "out", 2, scores=tmp_path)


def test_nothing_is_overwritten(tmp_path):
  (tmp_path / "mine.txt").write_text("precious")
  with pytest.raises(InputError, match="not empty; choose another"):
    engrave.generate(tmp_path, 2)
  assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
