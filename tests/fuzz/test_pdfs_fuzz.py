"""Whatever a PDF holds: pages, or one line, and the process goes on."""

import detect_helpers
import fuzz_helpers as helpers
import numpy as np
import pdf_helpers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dwd_jax.core.errors import InputError
from dwd_jax.imaging import pdf


@pytest.fixture(scope="module")
def good(tmp_path_factory):
  """A drawing, a scan, and a picture that nobody sees, as bytes."""
  folder = tmp_path_factory.mktemp("pdf")
  drawing = b"1 w 10 10 m 90 90 l S 0 0 20 20 re f"
  sheet = b"/MediaBox[0 0 100 100]/Contents 4 0 R"
  pdf_helpers.write(folder / "drawing.pdf", sheet, (b"", drawing))
  detect_helpers.save_pages(folder / "scan.pdf", detect_helpers.ink())
  return {p.stem: p.read_bytes() for p in folder.iterdir()}, folder / "x.pdf"


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
  """A page may take as long and as much as is allowed: not here."""
  monkeypatch.setattr(pdf, "TIME_S", 5.0)
  monkeypatch.setattr(pdf, "MEMORY_BYTES", 200 << 20)
  pdf._end()
  yield
  pdf._end()


_WORDS = st.sampled_from(
  [
    *(b"<<", b">>", b"[", b"]", b"0 0 R", b"3 0 R", b"endobj", b"stream"),
    *(b"/Kids[2 0 R]", b"/MediaBox[0 0 1e9 1e9]", b"/MediaBox[0 0 0 0]"),
    *(b"/Count 99999999", b"/Encrypt 4 0 R", b"99999999999", b"-1", b"nan"),
  ]
)


@pytest.mark.parametrize("caption", ["drawing", "scan"])
@helpers.cases(0.25)
@given(
  pieces=helpers.PIECES,
  words=st.lists(
    st.tuples(st.floats(0, 1), st.integers(0, 20), _WORDS), max_size=3
  ),
)
def test_damaged_files(good, caption, pieces, words):
  contents, path = good
  path.write_bytes(helpers.replaced(contents[caption], [*words, *pieces]))
  with helpers.may_refuse(path):
    number = min(pdf.count(path), 3)
    for page in range(1, number + 1):
      try:
        drawn = pdf.draw(path, page, staff_space_px=9.0)
      except InputError as e:
        assert f"{path}: page {page}" in str(e)
        raise
      assert drawn.ink.dtype == np.uint8 and drawn.ink.size < 1 << 27


@helpers.cases(0.25)
@given(start=st.sampled_from([b"", b"%PDF-1.4\n"]), rest=st.binary())
def test_random_bytes(good, start, rest):
  _, path = good
  path.write_bytes(start + rest)
  with helpers.may_refuse(path):
    pdf.count(path)
