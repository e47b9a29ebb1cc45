import numpy as np
import pytest

from benchmarks import screenshot
from dwd_jax.core.errors import InputError
from dwd_jax.core.structs import PageBoxes
from dwd_jax.show.viewer import write

HW = (300, 200)


@pytest.fixture(scope="module")
def needs_chromium():
  try:
    screenshot.chromium_path()
  except InputError as e:
    pytest.skip(str(e))


# Not of the whole session: while playwright's loop lives, nothing else in the
# process can use asyncio.
@pytest.fixture(scope="module")
def browser(needs_chromium):
  """A headless Chromium; skips where there is none."""
  with screenshot.chromium() as running:
    yield running


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
    """`rows`: (label, ymin, xmin, ymax, xmax)."""
    table = np.array(rows, np.float32).reshape(-1, 5)
    return PageBoxes(
      filename=f"{name}.png",
      image_hw=HW,
      boxes_yxyx=table[:, 1:],
      labels=table[:, 0].astype(np.int32),
      scores=None if scores is None else np.array(scores, np.float32),
    )

  return make


@pytest.fixture
def picture(tmp_path):
  """Stores pictures of a page with one black square; returns the path."""

  def store(name):
    ink = np.zeros(HW, np.uint8)
    ink[20:40, 20:40] = 255
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(write.page_picture(ink, 2000))
    return name

  return store
