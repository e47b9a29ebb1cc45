"""Files and folders -> pages: formats, names, and what cannot be read."""

import os
import pathlib

import detect_helpers as helpers
import numpy as np
import pdf_helpers
import pytest
from matplotlib.figure import Figure
from PIL import Image

from dwd_jax.apps.detect import inputs
from dwd_jax.core.errors import InputError, TransientError
from dwd_jax.imaging import pdf

pytestmark = pytest.mark.usefixtures("bounded_memory")


def _names(*paths, taken=()):
  sources, failures = inputs.find(paths, taken)
  assert not failures
  return [source.name for source in sources]


def test_folders_are_walked_in_order(tmp_path):
  page = helpers.ink()
  for name in ("b.png", "a.PNG", "sub/c.jpg", ".hidden.png", ".git/d.png"):
    helpers.save(tmp_path / name, page)
  (tmp_path / "notes.txt").write_text("no page")
  assert _names(tmp_path) == ["a", "b", "c"]
  # A file that is named twice is one page.
  assert _names(tmp_path, tmp_path / "b.png") == ["a", "b", "c"]
  assert _names(tmp_path / "sub", tmp_path) == ["c", "a", "b"]


def test_names_are_unique_and_safe(tmp_path):
  page = helpers.ink()
  for name in ("a.png", "A.jpg", "x/a.png", "Süß 1 楽.png", "index.png"):
    helpers.save(tmp_path / name, page)
  helpers.save(tmp_path / f"{'n' * 200}.png", page)
  helpers.save(tmp_path / "new\nline.png", page)
  found = _names(tmp_path, taken=("index",))
  assert sorted(found) == sorted(
    ["A", "a-2", "a-3", "Süß 1 楽", "index-2", "n" * 120, "new_line"]
  )


def test_equal_names_in_many_folders_take_no_longer_each():
  asked = []

  class Taken(dict):
    def __contains__(self, name):
      asked.append(name)
      return super().__contains__(name)

  taken, path = Taken(), pathlib.Path("volume/0001.png")
  names = [
    inputs._new_name(path, number=1, of=1, taken=taken) for _ in range(1000)
  ]
  assert names[0] == "0001" and names[-1] == "0001-1000"
  assert len(set(names)) == len(names) and len(asked) < 3000


def test_long_names_fit_into_the_file_system(tmp_path):
  for i, letter in enumerate("音a"):
    name = letter * (240 // len(letter.encode()))
    helpers.save(tmp_path / f"{i}" / f"{name}.png", helpers.ink())
    (found,) = _names(tmp_path / f"{i}")
    assert len(found.encode()) <= 120 and set(found) == {letter}


@pytest.mark.parametrize("suffix", [".pdf", ".tif"])
def test_pages_of_a_file_are_numbered(tmp_path, suffix):
  pages = [helpers.ink(i) for i in range(3)]
  path = helpers.save_pages(tmp_path / f"score{suffix}", *pages)
  sources, _ = inputs.find([path])
  assert [s.name for s in sources] == [f"score-p00{i}" for i in (1, 2, 3)]
  for source, page in zip(sources, pages, strict=True):
    read = inputs.read(source, 0.0)
    assert read.ink.shape == page.shape
    # JPEG in the PDF: near to the page, and to no other one.
    assert np.abs(read.ink.astype(int) - page).mean() < 3
    assert read.dpi == (150.0 if suffix == ".pdf" else 0.0)
  one = helpers.save_pages(tmp_path / f"one{suffix}", pages[0])
  assert _names(one) == ["one"]


def _of_mode(mode):
  def make(path, page):
    Image.fromarray(255 - page).convert(mode).save(path)

  return make


def _alpha(path, page):
  black = np.zeros((*page.shape, 3), np.uint8)
  Image.fromarray(np.concatenate([black, page[..., None]], -1)).save(path)


def _sixteen(path, page):
  Image.fromarray((255 - page).astype(np.uint16) * 257).save(path)


def _negative(path, page):
  Image.fromarray(page).save(path)


# Caption: file name, how the page becomes it.
FORMATS = {
  "grey PNG": ("a.png", _of_mode("L")),
  "colour PNG": ("a.png", _of_mode("RGB")),
  "palette PNG": ("a.png", _of_mode("P")),
  "1-bit PNG": ("a.png", _of_mode("1")),
  "PNG with alpha": ("a.png", _alpha),
  "16-bit PNG": ("a.png", _sixteen),
  "white on black": ("a.png", _negative),
  "grey JPEG": ("a.jpg", _of_mode("L")),
  "CMYK JPEG": ("a.jpg", _of_mode("CMYK")),
  "BMP": ("a.bmp", _of_mode("RGB")),
  "1-bit TIFF": ("a.tif", _of_mode("1")),
  "CMYK TIFF": ("a.tiff", _of_mode("CMYK")),
  "16-bit TIFF": ("a.tiff", _sixteen),
  "TIFF with alpha": ("a.tiff", _alpha),
}


@pytest.mark.parametrize("caption", FORMATS)
def test_every_kind_of_picture_is_ink_on_paper(tmp_path, caption):
  name, make = FORMATS[caption]
  page = helpers.ink()
  make(tmp_path / name, page)
  (source,), _ = inputs.find([tmp_path / name])
  read = inputs.read(source, 0.0)
  assert np.abs(read.ink.astype(int) - page).mean() < 4


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "RGBA", "CMYK"])
def test_every_kind_of_page_in_a_tiff_is_ink_on_paper(tmp_path, mode):
  pages = [Image.fromarray(255 - helpers.ink(i)).convert(mode) for i in (0, 1)]
  path = tmp_path / "a.tif"
  pages[0].save(path, save_all=True, append_images=pages[1:])
  sources, _ = inputs.find([path])
  second = inputs.read(sources[1], 0.0)
  assert np.abs(second.ink.astype(int) - helpers.ink(1)).mean() < 4


_ENCRYPTED = b"""%%PDF-1.4
1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj
2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj
3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]>>endobj
4 0 obj<</Filter/Standard/V 1/R 2/P -4/O<%b>/U<%b>>>endobj
trailer<</Root 1 0 R/Encrypt 4 0 R/ID[<00><00>]>>
"""


def _write(data):
  return lambda path: path.write_bytes(data)


def _no_pages(path):
  text = b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n"
  text += b"2 0 obj<</Type/Pages/Kids[]/Count 0>>endobj\n"
  path.write_bytes(text + b"trailer<</Root 1 0 R>>\n")


def _cut(path):
  helpers.save(path, helpers.ink())
  path.write_bytes(path.read_bytes()[:-40])


# Caption: file name, how it is made, what the error says.
BAD_FILES = {
  "missing": ("a.png", lambda path: None, "no such file or folder"),
  "0 bytes": ("a.png", _write(b""), "not a readable PNG, JPEG"),
  "no image": ("a.png", _write(b"hello" * 99), "not a readable PNG, JPEG"),
  "another kind": ("a.txt", _write(b"hello"), "not a readable PNG, JPEG"),
  "cut PNG": ("a.png", _cut, "truncated"),
  "broken PDF": ("a.pdf", _write(b"%PDF-1.4\nnothing"), "not a readable PDF"),
  "empty PDF": ("a.pdf", _write(b""), "not a readable PDF"),
  "PDF without pages": ("a.pdf", _no_pages, "PDF"),
  "encrypted PDF": (
    "a.pdf",
    _write(_ENCRYPTED % (b"12" * 32, b"34" * 32)),
    "encrypted; save it without a password",
  ),
  "broken TIFF": ("a.tif", _write(b"II*\0" + b"\xff" * 99), "not a readable"),
  "empty folder": ("a.d", lambda path: path.mkdir(), "no image or PDF in"),
}


@pytest.mark.parametrize("caption", BAD_FILES)
def test_bad_files_are_one_line(tmp_path, caption):
  name, make, message = BAD_FILES[caption]
  path = tmp_path / name
  make(path)
  sources, failures = inputs.find([path])
  if sources:
    with pytest.raises(InputError, match=message) as error:
      inputs.read(sources[0], 0.0)
    reason = str(error.value)
  else:
    reason = failures[0].reason
  assert message in reason
  assert str(path) in reason and "\n" not in reason


def _vector_pdf(path, space_in):
  """Three staves of drawn lines on a page of 7 x 5 inches."""
  figure = Figure((7, 5))
  axes = figure.add_axes((0, 0, 1, 1))
  axes.set(xlim=(0, 7), ylim=(0, 5))
  axes.axis("off")
  for top in (0.6, 2.0, 3.4):
    for line in range(5):
      y = 5 - top - space_in * line
      axes.plot((0.3, 6.7), (y, y), "k", linewidth=72 * 0.12 * space_in)
  figure.savefig(path)
  return path


def test_a_page_of_a_pdf_is_drawn_at_the_wanted_staff_space(tmp_path):
  path = _vector_pdf(tmp_path / "staves.pdf", space_in=0.1)
  drawn = pdf.draw(path, 1, 9.0)
  assert drawn.dpi == pytest.approx(90, rel=0.05)
  assert drawn.ink.shape[0] == pytest.approx(450, rel=0.05)
  assert pdf.draw(path, 1, 9.0, dpi=200).ink.shape == (1000, 1400)
  # Too small to be seen at 150 dpi: it is looked at more closely.
  path = _vector_pdf(tmp_path / "tiny.pdf", space_in=0.015)
  assert pdf.draw(path, 1, 9.0).dpi == pytest.approx(600, rel=0.05)
  # Without staves, or with any size right, it is drawn as it comes.
  assert pdf.draw(path, 1, 0.0).dpi == pdf.FIRST_DPI
  blank = tmp_path / "blank.pdf"
  Figure((2, 1)).savefig(blank)
  assert pdf.draw(blank, 1, 9.0).dpi == pdf.FIRST_DPI


def test_lines_of_a_pdf_do_not_snap_to_pixels(tmp_path):
  path = _vector_pdf(tmp_path / "staves.pdf", space_in=0.1)
  ink = pdf.draw(path, 1, 0.0, dpi=93.0).ink.astype(int)
  column = ink[:, ink.shape[1] // 2]
  (rows,) = np.nonzero(column)
  starts = rows[np.diff(rows, prepend=-9) > 1]
  centers = []
  for start in starts:
    part = column[start : start + 4]
    centers.append(start + (part * np.arange(len(part))).sum() / part.sum())
  gaps = np.diff(centers)[[0, 1, 2, 3]]
  np.testing.assert_allclose(gaps, 9.3, atol=0.2)  # snapped: 9, 9, 10, 9


def test_scans_in_a_pdf_keep_their_resolution(tmp_path):
  page = helpers.ink(0, (500, 700))
  path = tmp_path / "scan.pdf"
  Image.fromarray(255 - page).save(path, resolution=217.0)
  drawn = pdf.draw(path, 1, 9.0)
  assert drawn.dpi == pytest.approx(217, rel=0.01)
  assert np.abs(np.array(drawn.ink.shape) - page.shape).max() <= 1


def test_a_huge_page_is_drawn_coarser(tmp_path):
  text = b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n"
  text += b"2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n"
  text += (
    b"3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 14000 14000]>>endobj\n"
  )
  path = tmp_path / "huge.pdf"
  path.write_bytes(text + b"trailer<</Root 1 0 R>>\n")
  drawn = pdf.draw(path, 1, 9.0)
  assert drawn.ink.size <= 1.01 * 2**26
  assert drawn.dpi < 50


def test_a_picture_too_large_to_be_drawn_is_no_empty_page(tmp_path):
  path = pdf_helpers.picture_bomb(tmp_path / "bomb.pdf", 17_000)
  assert path.stat().st_size < 2_000
  for dpi in (0.0, 100.0):
    with pytest.raises(InputError, match=r"page 1: holds .* 17000 x 17000 pix"):
      pdf.draw(path, 1, 9.0, dpi)


def test_a_pdf_takes_no_more_memory_than_it_may(tmp_path, limits):
  limits(MEMORY_BYTES=200 << 20)
  path = pdf_helpers.drawing_bomb(tmp_path / "bomb.pdf", 10_000_000)
  assert path.stat().st_size < 20_000
  with pytest.raises(InputError, match=r"bomb\.pdf: page 1 cannot") as said:
    pdf.draw(path, 1, 9.0)
  assert not isinstance(said.value, TransientError)
  # The next one is drawn by another process.
  good = _vector_pdf(tmp_path / "staves.pdf", space_in=0.1)
  assert pdf.count(good) == 1


def test_a_pdf_takes_no_more_time_than_it_may(tmp_path, limits):
  limits(TIME_S=0.05)
  drawing = b"0 0 1 rg " + b"0 0 600 800 re f " * 20_000
  path = pdf_helpers.write(
    tmp_path / "slow.pdf", pdf_helpers.SHEET, (b"", drawing)
  )
  # It may have been the disk's fault: worth another try.
  with pytest.raises(TransientError, match=r"slow\.pdf: page 1 .* within 0 s"):
    pdf.draw(path, 1, 9.0)


def test_a_page_without_width_is_not_drawn_long(tmp_path):
  path = pdf_helpers.write(tmp_path / "thin.pdf", b"/MediaBox[0 0 1 41700000]")
  assert max(pdf.draw(path, 1, 9.0).ink.shape) <= 1.01 * 2**16


def test_pdfs_are_drawn_by_no_module_of_the_current_folder(
  tmp_path, limits, monkeypatch
):
  good = pdf_helpers.write(tmp_path / "good.pdf", pdf_helpers.SHEET)
  (tmp_path / "cv2.py").write_text("open('ran', 'w')")
  monkeypatch.chdir(tmp_path)
  limits()
  assert pdf.count(good) == 1
  assert not (tmp_path / "ran").exists()


def test_an_interrupted_page_is_not_taken_for_the_next(
  tmp_path, limits, monkeypatch
):
  wide, high = (
    pdf_helpers.write(tmp_path / f"{i}.pdf", b"/MediaBox[0 0 %d %d]" % hw)
    for i, hw in enumerate([(400, 100), (100, 400)])
  )

  def interrupt(_):
    raise KeyboardInterrupt

  limits()
  with monkeypatch.context() as patch:
    patch.setattr(pdf.np, "prod", interrupt)
    with pytest.raises(KeyboardInterrupt):
      pdf.draw(wide, 1, 0.0)
  height, width = pdf.draw(high, 1, 0.0).ink.shape
  assert height > 3 * width


@pytest.fixture
def limits(monkeypatch):
  """Starts the next drawing in a process with other limits."""

  def set_(**values):
    for key, value in values.items():
      monkeypatch.setattr(pdf, key, value)
    pdf._end()

  yield set_
  pdf._end()


def test_an_unreadable_folder_is_one_line(tmp_path, monkeypatch):
  # Root may read everything: the file system's answer is made up.
  def refuse(path):
    raise PermissionError(13, "Permission denied", str(path))

  monkeypatch.setattr(os, "scandir", refuse)
  _, (failure,) = inputs.find([tmp_path])
  assert failure.reason == (
    f"{tmp_path}: cannot be read (Permission denied); check its permissions"
  )
