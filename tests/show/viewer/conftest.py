import box_helpers
import numpy as np
import pytest

from dwd_jax.show.viewer import write

HW = (300, 200)


@pytest.fixture
def page_in(browser):
  """Opens an index.html; fails on errors of its scripts and on requests."""
  contexts, faults = [], []

  def check_request(request):
    if not request.url.startswith(("file:", "data:", "blob:")):
      faults.append(f"request: {request.url}")

  def open_page(index, anchor="", *, size=(1280, 720), **options):
    context = browser.new_context(
      viewport={"width": size[0], "height": size[1]}, **options
    )
    contexts.append(context)
    page = context.new_page()
    page.set_default_timeout(10_000)
    page.on("pageerror", lambda error: faults.append(f"error: {error}"))
    # Warnings of the browser, too: what the policy refuses is reported there.
    page.on("console", lambda message: faults.append(message.text))
    page.on("request", check_request)
    page.goto(index.as_uri() + anchor)
    page.wait_for_selector("html[data-ready-ms]", state="attached")
    return page

  open_page.faults = faults
  yield open_page
  for context in contexts:
    context.close()
  assert not faults, faults


@pytest.fixture
def boxes():
  """Makes `PageBoxes` of a page of 300 x 200 px."""

  def make(rows, scores=None, name="page"):
    return box_helpers.page(rows, scores, HW, f"{name}.png")

  return make


@pytest.fixture
def picture(tmp_path):
  """Stores pictures of a page with one black square; returns the path."""

  def store(name):
    ink = np.zeros(HW, np.uint8)
    ink[20:40, 20:40] = 255
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(write.page_picture(255 - ink, 2000))
    return name

  return store
