"""A viewer of many pages in a real browser: parts are loaded when needed."""

import pytest

from dwd_jax.show.viewer import write
from dwd_jax.show.viewer.write import ViewerPage

_NASTY = "=\"</script><img src=x onerror=alert(1)>', {{DATA}}\n\u2028"


@pytest.fixture
def library(tmp_path, boxes, picture, monkeypatch):
  """Eleven pages in parts of four; the third has no clefs."""
  monkeypatch.setattr(write, "PART_PAGES", 4)
  pages = [
    ViewerPage(
      _NASTY if i == 9 else f"page {i:02d}",
      picture("p.jpg"),
      boxes([(i // 8, 10, 10, 60, 40), (1, 90, 10, 99, 40)], [0.9, 0.4]),
    )
    for i in range(11)
  ]
  index = tmp_path / "index.html"
  write.write(index, pages, ["clef", "note", "rest"], title="Library")
  return index


def shown(page):
  """Waits for the wanted page; its name, and the names in the list."""
  page.wait_for_function("() => state.page === wantedPage")
  names = page.locator("#page-list .name").all_text_contents()
  return page.locator("#page-name").inner_text(), names


def parts(page):
  """Pages and number of symbols of each part."""
  texts = page.locator("#part option").all_inner_texts()
  return [text.replace("\u2013", "-").split(" · ") for text in texts]


def test_pages_are_turned_across_parts(page_in, library):
  page = page_in(library)
  assert shown(page) == ("page 00", [f"page {i:02d}" for i in range(4)])
  assert page.evaluate("[...loaded.keys()]") == [0]
  for key, name, first in [
    ("End", "page 10", 8),
    ("PageUp", "page 04", 4),
    ("k", "page 03", 0),
    ("j", "page 04", 4),
    ("PageDown", "page 08", 8),
    ("PageDown", "page 08", 8),
    ("Home", "page 00", 0),
  ]:
    page.keyboard.press(key)
    page.wait_for_function("(n) => current?.page.name === n", arg=name)
    assert shown(page)[1][0] == f"page {first:02d}"
    assert page.locator("#part").input_value() == str(first // 4)
  assert page.evaluate("document.querySelectorAll('script').length") == 2
  page.locator("#part").select_option("1")
  page.wait_for_function("() => current.page.name === 'page 04'")


def test_filters_hold_in_every_part(page_in, library):
  page = page_in(library)
  shown(page)
  assert parts(page) == [["1-4", "8"], ["5-8", "8"], ["9-11", "6"]]
  page.get_by_role("button", name="Show only clef").focus()
  page.keyboard.press("Enter")
  assert parts(page) == [["1-4", "4"], ["5-8", "4"], ["9-11", "0"]]
  page.keyboard.press("End")
  page.wait_for_function("() => state.page === 10")
  assert page.locator("#page-list .count").all_text_contents() == ["0"] * 3
  page.keyboard.press("a")
  page.locator("#score").fill("0.5")
  assert page.locator("#page-list .count").all_text_contents() == ["1"] * 3


def test_a_search_finds_pages_of_all_parts(page_in, library):
  page = page_in(library, write.page_anchor("page 05"))
  assert shown(page)[0] == "page 05"
  page.keyboard.press("g")
  page.keyboard.type("PAGE 1")
  assert shown(page)[1] == ["page 10"]
  assert page.locator("#page-list img").count() == 0  # its part is elsewhere
  page.keyboard.press("Enter")
  page.wait_for_function("() => state.page === 10")
  assert shown(page)[1] == ["page 10"]
  assert page.locator("#page-list .count").all_text_contents() == ["2"]
  page.locator("#find").fill("nothing")
  assert shown(page)[1] == []
  assert "No page" in page.locator("#find-notice").inner_text()
  page.keyboard.press("Escape")
  assert len(shown(page)[1]) == 3
  assert page.evaluate("document.activeElement.id") != "find"


def test_many_found_pages_are_cut(page_in, tmp_path, boxes, picture):
  pages = [ViewerPage("p", picture("p.jpg"), boxes([], []))] * 230
  index = tmp_path / "index.html"
  write.write(index, pages, [], title="T")
  page = page_in(index)
  assert len(shown(page)[1]) == 230 and not page.locator("#part").is_visible()
  page.locator("#find").fill("p")
  assert len(shown(page)[1]) == 200
  assert "first 200" in page.locator("#find-notice").inner_text()


def test_hostile_names_stay_text(page_in, library):
  page = page_in(library, write.page_anchor(_NASTY))
  assert shown(page)[0].startswith('="</script><img src=x onerror')
  assert page.locator("#page-list a").nth(1).get_attribute("title") == _NASTY
  assert page.locator("img").count() == 4  # the page, and three in the list
  page.keyboard.press("g")
  page.keyboard.type("onerror")
  assert len(shown(page)[1]) == 1


def test_a_part_that_is_missing_or_of_another_run_is_named(page_in, library):
  second, third = (library.parent / f"viewer/part-000{i}.js" for i in (2, 3))
  third.write_text(third.read_text().replace('(3, "', '(3, "x'))
  second.unlink()
  page = page_in(library)
  assert shown(page)[0] == "page 00"
  for key, text in (("End", "of another run"), ("PageUp", "cannot be loaded")):
    page.keyboard.press(key)
    page.wait_for_function(
      "(text) => element('notice').textContent.includes(text)", arg=text
    )
    assert "viewer/part-000" in page.locator("#notice").inner_text()
    assert page.locator("#page-name").inner_text() == "page 00"
  page.keyboard.press("Home")
  assert page.locator("#notice").is_hidden()
  _only_missing(page_in.faults)


def test_without_the_first_part_the_others_can_be_chosen(page_in, library):
  (library.parent / "viewer/part-0001.js").unlink()
  page = page_in(library)
  page.locator("#notice").filter(has_text="cannot be loaded").wait_for()
  assert parts(page) == [["1-4", "8"], ["5-8", "8"], ["9-11", "6"]]
  page.locator("#part").select_option("1")
  assert shown(page)[0] == "page 04"
  _only_missing(page_in.faults)


def _only_missing(faults):
  """The browser itself says what is missing; nothing else went wrong."""
  assert all("ERR_FILE_NOT_FOUND" in fault for fault in faults)
  faults.clear()
