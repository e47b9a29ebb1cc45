import cv2
import pytest

from benchmarks import screenshot
from dwd_jax.show.viewer import write
from dwd_jax.show.viewer.write import ViewerPage


@pytest.mark.usefixtures("needs_chromium")
def test_takes_a_picture_of_a_page(tmp_path, boxes, picture):
  found = boxes([(0, 10, 10, 60, 40)], [0.9])
  index, out = tmp_path / "index.html", tmp_path / "shots" / "a.jpg"
  pages = [ViewerPage(n, picture("p.jpg"), found) for n in ("a", "b & c")]
  write.write(index, pages, ["note"], title="T")
  screenshot.take(index, out, size=(640, 480), page_name="b & c", keys=["n"])
  shown = cv2.imread(str(out))
  assert shown is not None
  assert shown.shape == (480, 640, 3)


def test_says_what_is_wrong(tmp_path, capsys, monkeypatch):
  index = tmp_path / "index.html"
  flags = [str(index), f"--out={tmp_path / 'a.png'}"]
  with pytest.raises(SystemExit, match="2"):
    screenshot.main(flags)
  assert "index.html: no such file" in capsys.readouterr().err
  with pytest.raises(SystemExit, match="2"):
    screenshot.main([*flags, "--size=wide"])
  assert "WIDTHxHEIGHT" in capsys.readouterr().err
  index.write_text("")
  monkeypatch.setenv("PATH", "")
  with pytest.raises(SystemExit, match="2"):
    screenshot.main(flags)
  assert "install the browser Chromium" in capsys.readouterr().err
