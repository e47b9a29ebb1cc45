"""Takes a screenshot of a viewer in a headless Chromium.

python -m benchmarks.screenshot INDEX.html --out=viewer.png
"""

import argparse
import contextlib
import importlib.util
import os
import pathlib
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from dwd_jax.core import files
from dwd_jax.core.errors import InputError
from dwd_jax.show.viewer.write import page_anchor

# Nothing leaves the machine, and no graphics card is needed.
_FLAGS = (
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
)


def chromium_path() -> str:
  """Path of the program Chromium.

  Raises:
    InputError: Chromium or playwright, which drives it, is not installed.
  """
  path = shutil.which("chromium") or shutil.which("chromium-browser")
  if path is None:
    raise InputError("no chromium on the PATH; install the browser Chromium")
  if importlib.util.find_spec("playwright") is None:
    raise InputError("playwright is not installed; pip install playwright")
  return path


@contextlib.contextmanager
def chromium() -> Iterator[Any]:
  """A headless Chromium as playwright's `Browser`."""
  path = chromium_path()
  from playwright import sync_api  # an extra, for tests

  with sync_api.sync_playwright() as playwright:
    # Chromium refuses to start with a sandbox as root.
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    browser = playwright.chromium.launch(
      executable_path=path, args=list(_FLAGS), chromium_sandbox=not root
    )
    try:
      yield browser
    finally:
      browser.close()


def take(
  index: pathlib.Path,
  out: pathlib.Path,
  *,
  size: tuple[int, int] = (1280, 720),
  page_name: str = "",
  keys: Sequence[str] = (),
  dark: bool = False,
) -> None:
  """Takes a screenshot of a viewer.

  Args:
    size: (width, height) of the window in px.
    page_name: page to show; "" = the first.
    keys: to press in turn, by playwright's names ("c", "Tab").

  Raises:
    InputError: `index` or the browser is missing.
  """
  if not index.is_file():
    raise InputError(f"{index}: no such file; give a viewer's index.html")
  anchor = page_anchor(page_name) if page_name else ""
  with chromium() as browser:
    page = browser.new_page(
      viewport={"width": size[0], "height": size[1]},
      color_scheme="dark" if dark else "light",
    )
    page.goto(index.resolve().as_uri() + anchor)
    page.wait_for_selector("html[data-ready-ms]", state="attached")
    for key in keys:
      page.keyboard.press(key)
    page.evaluate("() => picture.decode().catch(() => {})")
    page.evaluate(
      "() => new Promise((r) => requestAnimationFrame(() => setTimeout(r)))"
    )
    jpeg = out.suffix == ".jpg"
    kind = {"type": "jpeg", "quality": 85} if jpeg else {"type": "png"}
    files.write_atomic(out, page.screenshot(**kind))


def main(argv: list[str]) -> None:
  """Reads the flags and takes the screenshot."""
  parser = argparse.ArgumentParser(
    prog="python -m benchmarks.screenshot",
    description="Take a picture of a viewer in a headless Chromium.",
  )
  add = parser.add_argument
  add("index", type=pathlib.Path, help="a viewer's index.html")
  add("--out", type=pathlib.Path, required=True, help=".png or .jpg to write")
  add("--size", default="1280x720", help="of the window, px")
  add("--page", default="", help="name of the page to show; default: the first")
  add("--keys", default="", help="to press, with commas between, such as c,0,n")
  add("--dark", action="store_true", help="the dark colours")
  args = parser.parse_args(argv)
  size = re.fullmatch(r"(\d{2,4})x(\d{2,4})", args.size)
  if size is None:
    parser.error("--size is WIDTHxHEIGHT, such as 1280x720")
  try:
    take(
      args.index,
      args.out,
      size=(int(size[1]), int(size[2])),
      page_name=args.page,
      keys=[key for key in args.keys.split(",") if key],
      dark=args.dark,
    )
  except InputError as e:
    print(e, file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
  main(sys.argv[1:])
