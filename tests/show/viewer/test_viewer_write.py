import base64
import json
import re

import cv2
import numpy as np
import pytest

from dwd_jax.core import words
from dwd_jax.core.errors import InputError
from dwd_jax.core.structs import PageBoxes
from dwd_jax.imaging.staff_lines import Staff
from dwd_jax.show.viewer import write
from dwd_jax.show.viewer.write import ViewerPage

NASTY = [
  "</script><script>alert(1)</script>",
  "\"'<!--<img src=x onerror=alert(1)>",
  "ключ 𝄞 \u2028 \\ {{DATA}} {{POLICY}}",
]


def data_of(path):
  html = path.read_text(encoding="utf8")
  found = re.findall(
    r'(?s)<script type="application/json" id="data">(.*?)<', html
  )
  assert len(found) == 1
  return json.loads(found[0])


def array(text, dtype):
  return np.frombuffer(base64.b64decode(text), dtype)


def test_staff_lines_are_in_the_file(tmp_path, boxes, picture):
  lines = tuple(np.array([[y, 1.5], [y, 90.0]]) for y in range(10, 15))
  found = boxes([(0, 5, 6, 7, 8)], [0.9])
  page = ViewerPage("one", picture("one.jpg"), found, staves=[
    Staff(lines, 1.0, 1.0)
  ])  # fmt: skip
  write.write(tmp_path / "index.html", [page], ["a"], title="T")
  (stored,) = data_of(tmp_path / "index.html")["pages"]
  assert [array(line, "<f4").tolist() for line in stored["staffLines"]] == [
    line.ravel().tolist() for line in lines
  ]


def test_boxes_are_in_the_file_best_score_first(tmp_path, boxes, picture):
  found = boxes(
    [(2, 1, 2, 3, 4), (0, 5, 6, 7, 8), (1, 9, 10, 11.5, 12)], [0.5, 0.9, 0.5]
  )
  truth = boxes([(1, 0, 0, 10, 20)])
  index = tmp_path / "index.html"
  page = ViewerPage("one", picture("one.jpg"), found, truth)
  write.write(index, [page], ["a", "b", "c"], title="T", min_score=0.25)
  data = data_of(index)
  stored = data["pages"][0]
  assert data["classes"] == ["a", "b", "c"]
  assert (data["minScore"], data["minIou"]) == (0.25, 0.5)
  assert stored["hw"] == [300, 200]
  assert stored["found"]["n"] == 3
  # Equal scores keep their order, as in the metrics.
  assert array(stored["found"]["labels"], "<u2").tolist() == [0, 2, 1]
  assert array(stored["found"]["boxes"], "<f4").reshape(-1, 4).tolist() == [
    [5, 6, 7, 8],
    [1, 2, 3, 4],
    [9, 10, 11.5, 12],
  ]
  np.testing.assert_array_equal(
    array(stored["found"]["scores"], "<f4"), np.float32([0.9, 0.5, 0.5])
  )
  assert array(stored["truth"]["boxes"], "<f4").tolist() == [0, 0, 10, 20]
  assert "scores" not in stored["truth"]
  assert list(tmp_path.glob(".*")) == []  # nothing half written is left


@pytest.mark.parametrize("text", NASTY)
def test_no_text_can_break_out(tmp_path, boxes, picture, text):
  index = tmp_path / "index.html"
  page = ViewerPage(text, picture("p.jpg"), boxes([(0, 1, 1, 9, 9)], [1]))
  write.write(index, [page], [text], title=text)
  data = data_of(index)
  assert data["title"] == data["classes"][0] == data["pages"][0]["name"] == text
  html = index.read_text(encoding="utf8")
  assert html.count("<script") == 2
  assert html.count("</script") == 2
  assert "<img src=x" not in html


def test_pictures_of_any_kind_are_images(tmp_path, boxes, picture):
  index = tmp_path / "index.html"
  page = ViewerPage("one", picture("one.jpg"), boxes([], []))
  write.write(index, [page], [], title="T", said=words.ANYTHING)
  assert data_of(index)["words"]["objects"] == "objects"
  html = index.read_text(encoding="utf8")
  shown = re.sub(r"<(style|script).*?</\1>", "", html, flags=re.DOTALL)
  said = [*re.findall(r">([^<]+)<", shown)]
  said += re.findall(r'(?:title|label|placeholder)="([^"]*)"', shown)
  assert "Search images ( g )" in said and "Whole image (f)" in said
  assert not [text for text in said if re.search("[Pp]age|symbol", text)]
  assert "{{" not in shown
  write.write(index, [page], [], title="T")
  assert "Search pages ( g )" in index.read_text(encoding="utf8")


def test_names_that_are_no_unicode_are_replaced(tmp_path, boxes, picture):
  index = tmp_path / "index.html"
  name = b"caf\xe9".decode("utf8", "surrogateescape")
  page = ViewerPage(name, picture("p.jpg"), boxes([], []))
  write.write(index, [page], [name], title=name)
  assert data_of(index)["pages"][0]["name"] == "caf?"
  assert "<title>caf?</title>" in index.read_text(encoding="utf8")
  assert write.page_anchor(name) == "#page=caf%3F"


def test_pictures_are_embedded_below_the_limit(
  tmp_path, boxes, picture, monkeypatch
):
  pages = [
    ViewerPage(name, picture(f"pages/{name}.jpg"), boxes([], []))
    for name in ("a", "b")
  ]
  size = sum((tmp_path / page.image).stat().st_size for page in pages)
  index = tmp_path / "index.html"
  monkeypatch.setattr(write, "MAX_EMBEDDED_BYTES", size + 1)
  write.write(index, pages, [], title="T")
  start = "data:image/jpeg;base64,"
  for page, stored in zip(pages, data_of(index)["pages"], strict=True):
    assert stored["image"].startswith(start)
    data = base64.b64decode(stored["image"].removeprefix(start))
    assert data == (tmp_path / page.image).read_bytes()
  monkeypatch.setattr(write, "MAX_EMBEDDED_BYTES", size)
  write.write(index, pages, [], title="T")
  stored = data_of(index)["pages"]
  assert [page["image"] for page in stored] == [
    "./pages/a.jpg",
    "./pages/b.jpg",
  ]


def test_one_picture_of_many_pages_counts_for_each(
  tmp_path, boxes, picture, monkeypatch
):
  image = picture("a.jpg")
  size = (tmp_path / image).stat().st_size
  monkeypatch.setattr(write, "MAX_EMBEDDED_BYTES", 2 * size)
  pages = [ViewerPage(name, image, boxes([], [])) for name in ("a", "b")]
  write.write(tmp_path / "index.html", pages, [], title="T")
  assert data_of(tmp_path / "index.html")["pages"][0]["image"] == "./a.jpg"


def test_thumbnails_are_small_and_show_the_page(tmp_path, boxes, picture):
  png = tmp_path / "b.png"
  pixels = np.zeros((800, 400, 4), np.uint8)  # transparent: paper
  pixels[400:] = (0, 0, 0, 255)
  assert cv2.imwrite(str(png), pixels)
  pages = [
    ViewerPage("jpeg", picture("a.jpg"), boxes([], [])),
    ViewerPage("png", png.name, boxes([], [])),
  ]
  write.write(tmp_path / "index.html", pages, [], title="T")
  small = []
  for page in data_of(tmp_path / "index.html")["pages"]:
    kind, _, text = page["thumbnail"].partition(",")
    assert kind == "data:image/jpeg;base64"
    data = base64.b64decode(text)
    assert len(data) < 8000
    small.append(
      cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    )
  assert [picture.shape for picture in small] == [(200, 133), (200, 100)]
  assert small[0][20, 20] < 40 < 215 < small[0][100, 100]
  assert small[1][20, 50] > 215
  assert small[1][180, 50] < 40


MISSING = [
  ("no file", None),
  ("no picture", b"GIF89a"),
  ("a truncated header", b"\xff\xd8\xff"),
  (
    "a size that nobody can load",
    b"\x89PNG\r\n\x1a\n" + bytes(8) + b"\xff" * 8,
  ),
]


@pytest.mark.parametrize(
  "data", [m[1] for m in MISSING], ids=[m[0] for m in MISSING]
)
def test_a_page_without_a_readable_picture_keeps_its_boxes(
  tmp_path, boxes, data
):
  if data is not None:
    (tmp_path / "p.png").write_bytes(data)
  page = ViewerPage("p", "p.png", boxes([(0, 1, 1, 9, 9)], [1]))
  with pytest.warns(UserWarning, match=r"1 pictures .* the first is p\.png"):
    write.write(tmp_path / "index.html", [page], ["a"], title="T")
  stored = data_of(tmp_path / "index.html")["pages"][0]
  assert (stored["image"], stored["thumbnail"]) == ("./p.png", "")
  assert stored["found"]["n"] == 1


def test_detections_that_are_not_finite_are_left_out(tmp_path, boxes, picture):
  found = boxes([(0, 1, 1, 9, 9), (0, np.nan, 1, 9, 9)], [1, 1])
  page = ViewerPage("p", picture("p.jpg"), found)
  with pytest.warns(UserWarning, match=r"page\.png: 1 detections"):
    write.write(tmp_path / "index.html", [page], ["a"], title="T")
  assert data_of(tmp_path / "index.html")["pages"][0]["found"]["n"] == 1


@pytest.mark.parametrize("image", ["", "/etc/a.png", "//host/a.png", "\\a.png"])
def test_pictures_must_be_relative(tmp_path, boxes, image):
  page = ViewerPage("p", image, boxes([], []))
  with pytest.raises(InputError, match=r"p: the picture .* relative"):
    write.write(tmp_path / "index.html", [page], [], title="T")


def test_a_scheme_in_a_file_name_stays_a_file_name(tmp_path, boxes, picture):
  page = ViewerPage("p", "https:x.jpg", boxes([], []))
  with pytest.warns(UserWarning, match="https:x"):
    write.write(tmp_path / "index.html", [page], [], title="T")
  assert (
    data_of(tmp_path / "index.html")["pages"][0]["image"] == "./https%3Ax.jpg"
  )


def test_wrong_arguments_raise(tmp_path, boxes, picture):
  index = tmp_path / "index.html"
  page = ViewerPage("p", picture("p.jpg"), boxes([(1, 1, 1, 9, 9)], [1]))
  for pages, options, message in [
    ([page._replace(found=boxes([]))], {}, "need scores"),
    ([page._replace(truth=boxes([(2, 1, 1, 9, 9)]))], {}, r"outside 0 \.\. 1"),
    ([page], {"min_iou": 0.0}, "min_iou"),
    ([page], {"min_score": 1.5}, "min_score"),
  ]:
    with pytest.raises(ValueError, match=message):
      write.write(index, pages, ["a", "b"], title="T", **options)
  assert not index.exists()


def test_nothing_outside_is_named(tmp_path, boxes, picture):
  index = tmp_path / "index.html"
  write.write(
    index, [ViewerPage("p", picture("p.jpg"), boxes([], []))], [], title="T"
  )
  html = index.read_text(encoding="utf8")
  assert not re.search(r"https?:|//\w+\.|@import|url\(|innerHTML", html)
  policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html)
  assert policy
  assert policy[1].startswith("default-src &#x27;none&#x27;; ")
  assert "unsafe" not in policy[1]


def test_page_picture_is_black_on_white_and_not_larger_than_asked():
  ink = np.zeros((600, 400), np.uint8)
  ink[:300] = 255
  data = np.frombuffer(write.page_picture(255 - ink, 300), np.uint8)
  pixels = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
  assert pixels.shape == (300, 200)  # one channel
  assert pixels[:140].max() < 20
  assert pixels[160:].min() > 235
  kept = np.frombuffer(write.page_picture(255 - ink, 600), np.uint8)
  assert cv2.imdecode(kept, cv2.IMREAD_UNCHANGED).shape == (600, 400)
  with pytest.raises(ValueError, match="0 x 5 px"):
    write.page_picture(np.zeros((5, 0), np.uint8), 300)


def test_a_page_of_no_size_can_be_written(tmp_path, picture):
  nothing = PageBoxes(
    "p", (0, 0), np.zeros((0, 4), np.float32), np.zeros(0, int), np.zeros(0)
  )
  page = ViewerPage("p", picture("p.jpg"), nothing)
  write.write(tmp_path / "index.html", [page], [], title="T")
  assert data_of(tmp_path / "index.html")["pages"][0]["hw"] == [1, 1]


def parts_of(path):
  """Names and digests of index.html; number, digest and pages of its parts."""
  html = path.read_text(encoding="utf8")
  text = re.search(r'(?s)id="data">(.*?)</script>', html)
  assert text
  parts = []
  for part in sorted((path.parent / "viewer").iterdir()):
    call = re.fullmatch(r"receivePart\((.*)\);\n", part.read_text("ascii"))
    assert call
    number, digest, pages = json.loads(f"[{call[1]}]")
    assert part.name == f"part-{number:04d}.js"
    parts.append((digest, json.loads(pages)))
  return json.loads(text[1]), parts


def test_many_pages_come_in_parts(tmp_path, boxes, picture, monkeypatch):
  monkeypatch.setattr(write, "PART_PAGES", 2)
  names = [*NASTY, "a", "a"]
  found = boxes([(0, 1, 1, 9, 9), (2, 1, 1, 9, 9)], [1, 0.5])
  pages = [ViewerPage(n, picture("p.jpg"), found, found) for n in names]
  pages[4] = pages[4]._replace(found=boxes([], []), truth=None)
  index = tmp_path / "index.html"
  write.write(index, iter(pages), NASTY, title=NASTY[0])
  assert write.part_files(5) == [f"viewer/part-000{i}.js" for i in (1, 2, 3)]
  data, parts = parts_of(index)
  assert data["names"] == [*NASTY, "a", "a (2)"]
  assert "pages" not in data and data["hasTruth"] and data["partSize"] == 2
  assert [part["digest"] for part in data["parts"]] == [d for d, _ in parts]
  stored = [page for _, pages in parts for page in pages]
  assert [page["name"] for page in stored] == data["names"]
  counts = [part["counts"] for part in data["parts"]]
  assert counts == [[[0, 2, 2], [2, 2, 2]]] * 2 + [[]]
  assert all(page["image"] == "./p.jpg" for page in stored)
  html = index.read_text(encoding="utf8")
  assert html.count("<script") == html.count("</script") == 2
  assert re.search(
    r"script-src &#x27;sha256-\S+ &#x27;strict-dynamic&#x27;;", html
  )
  for file in write.part_files(5):
    assert write.is_part_file(file)
    # A name is text in a text: it can end neither.
    assert "<" not in (tmp_path / file).read_text("ascii")


def test_parts_name_pictures_that_are_missing(tmp_path, boxes, monkeypatch):
  monkeypatch.setattr(write, "PART_PAGES", 1)
  pages = [ViewerPage(n, f"{n}.jpg", boxes([], [])) for n in "ab"]
  with pytest.warns(UserWarning, match=r"2 pictures .* the first is a\.jpg"):
    write.write(tmp_path / "index.html", pages, [], title="T")
  _, parts = parts_of(tmp_path / "index.html")
  assert [page["thumbnail"] for _, (page,) in parts] == ["", ""]


def test_parts_of_more_pages_are_removed(tmp_path, boxes, picture, monkeypatch):
  monkeypatch.setattr(write, "PART_PAGES", 1)
  page, index = ViewerPage("p", picture("p.jpg"), boxes([], [])), "index.html"
  for many, left in ((4, 4), (3, 3), (1, 0)):
    write.write(tmp_path / index, [page] * many, [], title="T")
    write.remove_parts(tmp_path, many)
    files = sorted(p.name for p in tmp_path.glob("viewer/*"))
    assert files == [f"part-000{i + 1}.js" for i in range(left)]


def test_names_that_occur_again_get_a_number(tmp_path, boxes, picture):
  page = ViewerPage("p", picture("p.jpg"), boxes([], []))
  pages = [page, page._replace(name="p (2)"), page, page]
  write.write(tmp_path / "index.html", pages, [], title="T")
  names = [
    stored["name"] for stored in data_of(tmp_path / "index.html")["pages"]
  ]
  assert names == ["p", "p (2)", "p (3)", "p (4)"]
