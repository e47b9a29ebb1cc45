"""The report in a real browser: it sorts, it finds, and it asks for nothing."""

import eval_helpers
import pytest


@pytest.fixture(scope="module")
def opened(browser, tmp_path_factory):
  """The page, and what it has asked for or complained of."""
  out_dir = tmp_path_factory.mktemp("eval")
  eval_helpers.evaluate(out_dir)
  said = []
  page = browser.new_page(viewport={"width": 1280, "height": 800})
  page.on("request", lambda request: said.append(request.url))
  page.on("console", lambda message: said.append(message.text))
  page.on("pageerror", lambda error: said.append(str(error)))
  page.goto((out_dir / "val" / "report.html").as_uri())
  yield page, said
  page.close()


def _column(page, i):
  cells = page.locator(f"#class-table tbody tr > :nth-child({i + 1})")
  return cells.all_text_contents()


def test_a_click_sorts_and_another_turns_it_around(opened):
  page, _ = opened
  button = page.locator("#class-table thead button", has_text="recall")
  heading = page.locator("#class-table thead th", has_text="recall")
  for order in ("descending", "ascending", "descending"):
    button.click()
    assert heading.get_attribute("aria-sort") == order
    shown = [-1.0 if v == "–" else float(v) for v in _column(page, 4)]  # noqa: RUF001
    assert len(set(shown)) > 1
    assert shown == sorted(shown, reverse=order == "descending")
  page.locator("#class-table thead button", has_text="class").focus()
  page.keyboard.press("Enter")
  names = _column(page, 0)
  assert names == sorted(names, key=str.lower)


def test_the_field_finds_classes(opened):
  page, _ = opened
  page.fill('input[data-table="class-table"]', "NOTE")
  rows = page.locator("#class-table tbody tr:visible")
  assert rows.count() == 1
  assert "notehead" in rows.first.text_content()
  page.fill('input[data-table="class-table"]', "")
  assert rows.count() == len(_column(page, 0)) >= 3


def test_a_worst_page_leads_into_the_viewer(opened):
  page, _ = opened
  link = page.locator("#pages a").first
  name = link.text_content()
  address = page.url
  link.click()
  page.wait_for_url("**/index.html#page=*")
  assert page.evaluate("decodeURIComponent(location.hash)") == f"#page={name}"
  page.goto(address)


def test_it_fits_the_window_and_asks_for_nothing(opened):
  page, said = opened
  page.set_viewport_size({"width": 400, "height": 800})
  wide = "document.documentElement.scrollWidth > innerWidth"
  assert not page.evaluate(wide)
  assert all(entry.startswith(("file:", "data:")) for entry in said), said
