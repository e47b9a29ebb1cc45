"""The viewer in a real browser: what is drawn, counted, said and reached."""

import csv
import dataclasses

import numpy as np
import pytest

from dwd_jax.show.viewer import write
from dwd_jax.show.viewer.write import ViewerPage

# Pixels of the canvas in a colour "#rrggbb"; the blended edges do not count.
_PIXELS = """(colour) => {
  const rgb = [1, 3, 5].map((i) => parseInt(colour.slice(i, i + 2), 16));
  const copy = new OffscreenCanvas(canvas.width, canvas.height);
  const reader = copy.getContext("2d", {willReadFrequently: true});
  reader.drawImage(canvas, 0, 0);
  const {data} = reader.getImageData(0, 0, canvas.width, canvas.height);
  let count = 0;
  for (let i = 0; i < data.length; i += 4) {
    const far = rgb.some((value, k) => Math.abs(data[i + k] - value) > 8);
    if (!far && data[i + 3] > 200) count++;
  }
  return count;
}"""
_SETTLED = (
  "() => new Promise((r) => requestAnimationFrame(() => setTimeout(r)))"
)
_NAMES = ["clef", "note", "rest"]


@pytest.fixture
def two_pages(tmp_path, boxes, picture):
  """A viewer of two pages, the first with truth; returns its index.html."""
  found = boxes(
    [
      (0, 10, 10, 60, 40),
      (1, 100, 20, 120, 45),
      (1, 100, 80, 120, 105),
      (2, 200, 20, 230, 40),
    ],
    [0.95, 0.9, 0.4, 0.2],
    name="first",
  )
  truth = boxes(
    [(0, 10, 10, 60, 40), (2, 100, 80, 120, 105), (1, 250, 150, 270, 175)],
    name="first",
  )
  pages = [
    ViewerPage("first", picture("pages/1.jpg"), found, truth),
    ViewerPage("second/ü#?%", picture("pages/2.jpg"), boxes([], [])),
  ]
  index = tmp_path / "index.html"
  write.write(index, pages, _NAMES, title="Two pages")
  return index


def pixels(page, colour):
  page.evaluate(_SETTLED)
  return page.evaluate(_PIXELS, colour)


def colours(page):
  return page.evaluate("DATA.colours")


def class_counts(page):
  rows = page.locator("#class-list li")
  names = rows.locator(".name").all_inner_texts()
  counts = rows.locator(".count").all_inner_texts()
  return dict(zip(names, counts, strict=True))


def page_counts(page):
  return page.locator("#page-list .count").all_inner_texts()


def stage_point(page, y, x):
  """Point of the window where a pixel of the page is."""
  box = page.locator("#stage").bounding_box()
  left, top = page.evaluate("([x, y]) => toStage(x, y)", [x, y])
  return box["x"] + left, box["y"] + top


def test_the_first_page_is_shown_with_its_boxes(page_in, two_pages):
  page = page_in(two_pages)
  assert page.title() == "Two pages"
  assert page.locator("h1").inner_text() == "Two pages"
  assert page.locator("#page-name").inner_text() == "first"
  assert page.locator("#page-position").inner_text() == "1 of 2"
  assert page_counts(page) == ["4", "0"]
  assert class_counts(page) == {"note": "2", "clef": "1", "rest": "1"}
  assert all(pixels(page, colour) > 50 for colour in colours(page))
  assert page.evaluate("picture.naturalWidth") == 200
  assert page.locator("#notice").is_hidden()


def test_classes_can_be_left_out(page_in, two_pages):
  page = page_in(two_pages)
  clef, note, rest = colours(page)
  page.get_by_role("checkbox", name="note").uncheck()
  assert pixels(page, note) == 0
  assert pixels(page, clef) > 50
  assert page_counts(page)[0] == "2"
  assert class_counts(page)["note"] == "2"  # what there is to show
  assert "2 boxes shown" in page.locator("#shown-count").inner_text()
  page.get_by_role("button", name="Show only rest").focus()
  page.keyboard.press("Enter")
  assert [pixels(page, c) > 50 for c in (clef, note, rest)] == [0, 0, 1]
  page.get_by_role("button", name="None").click()
  assert page.evaluate("drawing.drawn") == 0 or pixels(page, rest) == 0
  assert "No box" in page.locator("#notice").inner_text()
  page.get_by_role("button", name="All").click()
  assert page_counts(page)[0] == "4"


def test_all_and_none_mean_the_classes_that_are_listed(page_in, two_pages):
  page = page_in(two_pages)
  page.keyboard.press("/")
  page.keyboard.type("RE")  # the keys r and e do nothing else here
  assert page.locator("#class-list .name:visible").all_inner_texts() == ["rest"]
  page.get_by_role("button", name="None").click()
  assert page_counts(page)[0] == "3"
  page.locator("#search").fill("zz")
  assert page.locator("#no-class").is_visible()


def test_the_score_changes_what_is_drawn_and_counted(page_in, two_pages):
  page = page_in(two_pages)
  rest = colours(page)[2]
  page.locator("#score").fill("0.3")
  assert page.locator("#score-number").input_value() == "0.3"
  assert page_counts(page)[0] == "3"
  assert class_counts(page)["rest"] == "0"
  assert pixels(page, rest) == 0
  page.locator("#score-number").fill("0.9")
  assert page.locator("#score").input_value() == "0.9"
  assert page_counts(page)[0] == "2"  # 0.9 itself, as in Python, is included
  page.locator("#stage").focus()
  page.keyboard.press("]")
  assert page.locator("#score-number").input_value() == "0.95"
  page.keyboard.press("[")
  assert page.locator("#score-number").input_value() == "0.9"


def test_the_slider_begins_at_the_given_score(
  page_in, tmp_path, boxes, picture
):
  found = boxes([(0, 1, 1, 9, 9), (0, 20, 1, 29, 9)], [0.3466, 0.3464])
  index = tmp_path / "index.html"
  pages = [ViewerPage("p", picture("p.jpg"), found)]
  write.write(index, pages, _NAMES, title="T", min_score=0.3465)
  page = page_in(index)
  assert page.locator("#score-number").input_value() == "0.3465"
  assert page_counts(page) == ["1"]
  assert page.locator("#modes").is_hidden()  # there is no truth


def page_point(page, x, y):
  """Pixel (y, x) of the page at a point of the window."""
  box = page.locator("#stage").bounding_box()
  at = [x - box["x"], y - box["y"]]
  return page.evaluate("([x, y]) => toPage(x, y)", at)[::-1]


@pytest.mark.parametrize("clicks", [-300, 300], ids=["in", "out"])
def test_the_wheel_keeps_the_point_under_the_pointer(
  page_in, two_pages, clicks
):
  page = page_in(two_pages)
  page.keyboard.press("+")
  # A browser gives the pointer's place in whole pixels.
  at = np.rint(stage_point(page, 110, 30))
  row, column = page_point(page, *at)
  before = page.evaluate("view.scale")
  page.mouse.move(*at)
  page.mouse.wheel(0, clicks)
  page.wait_for_function("(before) => view.scale !== before", arg=before)
  after = page.evaluate("view.scale")
  assert (after > before) == (clicks < 0)
  np.testing.assert_allclose(stage_point(page, row, column), at, atol=0.01)
  page.evaluate(_SETTLED)
  # The picture follows.
  corner = page.locator("#paper").bounding_box()
  np.testing.assert_allclose(
    (corner["x"], corner["y"]), stage_point(page, 0, 0), atol=1
  )
  assert corner["width"] == pytest.approx(200 * after, abs=1)


def test_dragging_moves_the_page_and_pins_nothing(page_in, two_pages):
  page = page_in(two_pages)
  page.keyboard.press("0")
  assert page.locator("#zoom").inner_text() == "100 %"
  x, y = stage_point(page, 35, 25)
  page.mouse.move(x, y)
  page.mouse.down()
  page.mouse.move(x + 30, y + 10)
  page.mouse.move(x + 50, y + 20)
  page.mouse.up()
  np.testing.assert_allclose(stage_point(page, 35, 25), (x + 50, y + 20))
  assert page.evaluate("state.pinned") == -1
  page.mouse.move(x, y)
  page.mouse.down()
  page.mouse.move(x + 5000, y)
  page.mouse.up()
  # Some of the page always stays to be taken hold of.
  left = page.locator("#paper").bounding_box()["x"]
  stage = page.locator("#stage").bounding_box()
  assert left <= stage["x"] + stage["width"] - 50


def test_two_fingers_zoom(page_in, two_pages):
  page = page_in(two_pages, has_touch=True)
  x, y = stage_point(page, 150, 100)
  before = page.evaluate("view.scale")
  touch = page.context.new_cdp_session(page)
  for kind, apart in (("touchStart", 40), ("touchMove", 50), ("touchMove", 80)):
    points = [{"x": x - apart, "y": y}, {"x": x + apart, "y": y}]
    touch.send(
      "Input.dispatchTouchEvent", {"type": kind, "touchPoints": points}
    )
  touch.send(
    "Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []}
  )
  assert page.evaluate("view.scale") == pytest.approx(2 * before, rel=0.01)
  np.testing.assert_allclose(stage_point(page, 150, 100), (x, y), atol=1)


def test_hover_tells_what_a_box_is_and_a_click_keeps_it(page_in, two_pages):
  page = page_in(two_pages)
  tip = page.locator("#tip")
  page.mouse.move(*stage_point(page, 110, 30))
  assert tip.inner_text().split("\n") == [
    "note",
    "score 0.90 · 25 \u00d7 20 px",
  ]
  page.mouse.move(*stage_point(page, 150, 150))
  assert tip.is_hidden()
  page.mouse.click(*stage_point(page, 30, 20))
  page.mouse.move(*stage_point(page, 150, 150))
  assert tip.inner_text().split("\n") == [
    "clef",
    "score 0.95 · 30 \u00d7 50 px",
  ]
  assert "clef, score 0.95" in page.locator("#live").inner_text()
  page.keyboard.press("Escape")
  assert tip.is_hidden()


def test_the_smallest_box_is_the_one_that_is_meant(
  page_in, tmp_path, boxes, picture
):
  found = boxes([(0, 0, 0, 300, 200), (1, 100, 100, 110, 110)], [0.9, 0.1])
  index = tmp_path / "index.html"
  pages = [ViewerPage("p", picture("p.jpg"), found)]
  write.write(index, pages, _NAMES, title="T")
  page = page_in(index)
  page.mouse.move(*stage_point(page, 105, 105))
  assert "note" in page.locator("#tip").inner_text()
  page.mouse.move(*stage_point(page, 200, 105))
  assert "clef" in page.locator("#tip").inner_text()


def test_an_oriented_box_is_where_it_is_drawn(
  page_in, tmp_path, boxes, picture
):
  # A beam from (200, 20) up to (100, 180) in truth; detections are upright.
  beam = np.array([[[190, 20], [90, 180], [110, 180], [210, 20]]], np.float32)
  truth = boxes([(1, 90, 20, 210, 180)])
  anticlockwise = beam[:, ::-1]
  truth = dataclasses.replace(truth, oriented_yx=anticlockwise)
  found = boxes([(0, 95, 25, 115, 45)], [0.9])
  index = tmp_path / "index.html"
  pages = [ViewerPage("p", picture("p.jpg"), found, truth)]
  write.write(index, pages, _NAMES, title="T")
  page = page_in(index)
  tip = page.locator("#tip")
  page.mouse.move(*stage_point(page, 105, 30))
  assert "clef" in tip.inner_text()  # upright
  page.keyboard.press("t")
  for y, x, hit in (
    (150, 100, True), (110, 160, True), (95, 30, False), (205, 170, False)
  ):  # fmt: skip
    page.mouse.move(*stage_point(page, y, x))
    assert tip.is_visible() == hit
    if hit:
      assert "note" in tip.inner_text()
  page.mouse.click(*stage_point(page, 150, 100))  # marked, and drawn as such
  (row,) = read_csv(page, "d")[1]
  corners = [[float(row[f"{a}{i}"]) for a in "yx"] for i in (1, 2, 3, 4)]
  assert sorted(corners) == sorted(beam[0].tolist())


def test_the_address_names_the_page(page_in, two_pages):
  name = "second/ü#?%"
  page = page_in(two_pages, write.page_anchor(name))
  assert page.locator("#page-name").inner_text() == name
  assert "Nothing was found" in page.locator("#notice").inner_text()
  page.locator("#page-list a").first.click()
  assert page.locator("#page-name").inner_text() == "first"
  assert page.url.endswith("#page=first")
  page.go_back()
  page.wait_for_function("state.page === 1")
  page.evaluate("location.hash = '#page=first'")
  page.wait_for_function("state.page === 0")
  page.evaluate("location.hash = '#page=%'")  # no such page, no error
  page.evaluate(_SETTLED)
  assert page.locator("#page-name").inner_text() == "first"


def test_keys_turn_pages(page_in, two_pages):
  page = page_in(two_pages)
  for key, expected in [
    ("j", 1),
    ("k", 0),
    ("ArrowRight", 1),
    ("ArrowRight", 1),
    ("ArrowUp", 0),
    ("End", 1),
    ("Home", 0),
  ]:
    page.keyboard.press(key)
    page.wait_for_function("(i) => state.page === i", arg=expected)
  assert page.locator("[aria-current=page] .name").inner_text() == "first"
  # In a field they are its own.
  page.locator("#score").focus()
  page.keyboard.press("ArrowRight")
  page.evaluate(_SETTLED)
  assert page.evaluate("[state.page, state.minScore > 0]") == [0, True]


def test_keys_step_through_the_boxes(page_in, two_pages):
  page = page_in(two_pages)
  name = page.locator("#tip strong")
  page.keyboard.press("n")
  assert name.inner_text() == "clef"
  page.keyboard.press("n")
  page.keyboard.press("n")
  assert page.evaluate("state.pinned") == 2  # from left to right
  page.keyboard.press("p")
  assert page.evaluate("state.pinned") == 1
  page.keyboard.press("o")
  assert page_counts(page)[0] == "2"
  page.keyboard.press("n")
  page.keyboard.press("n")
  assert page.evaluate("state.pinned") == 1  # and around
  page.keyboard.press("a")
  assert page_counts(page)[0] == "4"


def test_tab_steps_and_escape_lets_it_leave(page_in, two_pages):
  page = page_in(two_pages)
  page.locator("#stage").focus()
  page.keyboard.press("Tab")
  page.keyboard.press("Tab")
  assert page.evaluate("state.pinned") == 1
  page.keyboard.press("Shift+Tab")
  assert page.evaluate("state.pinned") == 0
  assert page.evaluate("document.activeElement.id") == "stage"
  page.keyboard.press("Escape")
  page.keyboard.press("Tab")
  assert page.evaluate("document.activeElement.id") == "score"
  page.keyboard.press("Shift+Tab")
  for _ in range(4):
    page.keyboard.press("Tab")
  assert page.evaluate("document.activeElement.id") == "stage"
  page.keyboard.press("Tab")  # after the last box
  assert page.evaluate("document.activeElement.id") == "score"


def test_a_box_far_away_comes_into_view(page_in, two_pages):
  page = page_in(two_pages)
  page.evaluate("zoomTo(16, 0, 0)")
  page.keyboard.press("p")  # the last one: the rest at the bottom
  x, y = stage_point(page, 215, 30)
  stage = page.locator("#stage").bounding_box()
  assert stage["x"] < x < stage["x"] + stage["width"]
  assert stage["y"] < y < stage["y"] + stage["height"]


def test_boxes_can_be_hidden(page_in, two_pages):
  page = page_in(two_pages)
  page.keyboard.press("h")
  assert sum(pixels(page, colour) for colour in colours(page)) == 0
  assert page.locator("#hide").get_attribute("aria-pressed") == "true"
  assert "hidden" in page.locator("#notice").inner_text()
  page.keyboard.press("h")
  assert pixels(page, colours(page)[0]) > 50


def test_help_lists_the_keys(page_in, two_pages):
  page = page_in(two_pages)
  page.keyboard.press("?")
  assert page.get_by_role("dialog", name="Keys").is_visible()
  page.keyboard.press("j")  # only the list listens now
  page.keyboard.press("Escape")
  assert page.locator("#help").is_hidden()
  assert page.evaluate("state.page") == 0


def test_every_control_has_a_name(page_in, two_pages):
  page = page_in(two_pages)
  unnamed = page.evaluate("""() =>
    [...document.querySelectorAll("button, input, a, [tabindex]")]
      .filter((e) => !(e.labels?.length || e.ariaLabel
        || e.textContent.trim().length > 1))
      .map((e) => e.outerHTML)""")
  assert unnamed == []


def read_csv(page, press):
  with page.expect_download() as download:
    page.keyboard.press(press)
  text = download.value.path().read_text(encoding="utf8")
  name = download.value.suggested_filename
  return name, list(csv.DictReader(text.splitlines()))


def test_what_is_shown_can_be_downloaded(page_in, two_pages):
  page = page_in(two_pages)
  page.locator("#score").fill("0.3")
  page.get_by_role("checkbox", name="clef").uncheck()
  name, rows = read_csv(page, "d")
  assert name == "first.csv"
  common = {"page": "first", "class": "note", "y": "100"}
  size = {"width": "25", "height": "20"}
  assert rows == [
    {**common, "score": "0.9", "x": "20", **size},
    {**common, "score": "0.4", "x": "80", **size},
  ]
  page.keyboard.press("c")
  rows = read_csv(page, "d")[1]
  assert [(r["class"], r["outcome"], r["true_class"]) for r in rows] == [
    ("note", "falsePositive", ""),
    ("note", "wrongClass", "rest"),
    ("rest", "missed", ""),
    ("note", "missed", ""),
  ]


def test_hostile_names_stay_text(page_in, tmp_path, boxes, picture):
  nasty = "=\"</script><img src=x onerror=alert(1)>', {{DATA}}\n\u2028"
  found = boxes([(0, 10, 10, 60, 40)], [0.9])
  index = tmp_path / "index.html"
  page_of = ViewerPage(nasty, picture("p.jpg"), found, found)
  write.write(index, [page_of], [nasty], title=nasty)
  page = page_in(index, write.page_anchor(nasty))
  page.keyboard.press("c")
  page.keyboard.press("n")
  assert page.locator("img").count() == 2  # page and thumbnail
  assert page.locator("#tip strong").evaluate("e => e.textContent") == nasty
  assert page.locator("h1").evaluate("e => e.textContent") == nasty
  with page.expect_download() as download:
    page.keyboard.press("d")
  text = download.value.path().read_bytes().decode()
  # Quoted, and no formula for a spreadsheet.
  assert "'" + nasty.replace('"', '""') in text


def test_pictures_beside_the_page_are_loaded(
  page_in, tmp_path, boxes, picture, monkeypatch
):
  monkeypatch.setattr(write, "MAX_EMBEDDED_BYTES", 0)
  image = picture("pages/a b#c?d%20:ü'.jpg")
  index = tmp_path / "index.html"
  write.write(index, [ViewerPage("p", image, boxes([], []))], [], title="T")
  page = page_in(index)
  page.wait_for_function("picture.naturalWidth === 200")
  assert page.evaluate("picture.src").startswith("file:")


def test_without_pages_it_says_so(page_in, tmp_path):
  index = tmp_path / "index.html"
  write.write(index, [], _NAMES, title="Nothing")
  page = page_in(index)
  assert "no pages" in page.locator("#notice").inner_text()
  for key in ["j", "n", "+", "f", "c", "d", "h", "o", "]", "a", "Escape"]:
    page.keyboard.press(key)
  page.mouse.move(600, 300)
  page.mouse.wheel(0, 100)
  page.mouse.click(600, 300)


def test_without_its_picture_a_page_shows_its_boxes(page_in, tmp_path, boxes):
  index = tmp_path / "index.html"
  found = boxes([(0, 10, 10, 60, 40)], [0.9])
  with pytest.warns(UserWarning, match=r"gone\.jpg"):
    write.write(index, [ViewerPage("p", "gone.jpg", found)], _NAMES, title="T")
  page = page_in(index)
  page.wait_for_function("pictureFailed")
  assert "gone.jpg is missing" in page.locator("#notice").inner_text()
  assert pixels(page, colours(page)[0]) > 50
  # The browser itself says so, too; nothing else went wrong.
  assert all("ERR_FILE_NOT_FOUND" in fault for fault in page_in.faults)
  page_in.faults.clear()


def test_a_narrow_window_has_all_controls(page_in, two_pages):
  page = page_in(two_pages, size=(400, 700))
  assert page.locator("#panel").is_hidden()
  page.get_by_role("button", name="Score and classes").click()
  assert page.locator("#score").is_visible()
  width = page.evaluate("document.documentElement.scrollWidth")
  assert width <= 400
  for button in page.locator("header button").all():
    box = button.bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 400
  page.keyboard.press("Escape")
  assert page.locator("#panel").is_hidden()
