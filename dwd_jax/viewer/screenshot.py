"""Takes a picture of a viewer in a headless Chromium.

  python -m dwd_jax.viewer.screenshot INDEX.html --out=viewer.png --mode=compare
"""

import argparse
import contextlib
import pathlib
import shutil
import sys
from collections.abc import Iterator
from typing import Any

from dwd_jax.errors import InputError

# Nothing leaves the machine, and no graphics card is needed.
_FLAGS = (
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
)


@contextlib.contextmanager
def chromium() -> Iterator[Any]:
  """A headless Chromium as playwright's `Browser`; closed at the end.

  Raises:
    InputError: there is no Chromium, or playwright is not installed.
  """
  path = shutil.which("chromium") or shutil.which("chromium-browser")
  if path is None:
    raise InputError("no chromium on the PATH; install the browser Chromium")
  try:
    from playwright import sync_api
  except ImportError:
    raise InputError(
      "playwright is not installed; pip install playwright"
    ) from None
  with sync_api.sync_playwright() as playwright:
    browser = playwright.chromium.launch(
      executable_path=path, args=list(_FLAGS)
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
  mode: str = "class",
  dark: bool = False,
  zoom: float = 0.0,
) -> None:
  """Takes a picture of the first page of a viewer.

  Args:
    index: the viewer's index.html.
    out: PNG file to write.
    size: (width, height) of the window in px.
    mode: class, truth or compare.
    dark: the dark colours.
    zoom: px of the window per px of the page; 0 shows the whole page.

  Raises:
    InputError: there is no such file, or no browser.
  """
  if not index.is_file():
    raise InputError(f"{index}: no such file; give a viewer's index.html")
  with chromium() as browser:
    page = browser.new_page(
      viewport={"width": size[0], "height": size[1]},
      color_scheme="dark" if dark else "light",
    )
    page.goto(index.resolve().as_uri())
    page.evaluate("() => picture.decode().catch(() => {})")
    page.evaluate("(mode) => setMode(mode)", mode)
    if zoom:
      page.evaluate("(zoom) => zoomTo(zoom)", zoom)
    page.evaluate("() => new Promise(requestAnimationFrame)")
    page.screenshot(path=str(out))


def main(argv: list[str] | None = None) -> None:
  """Reads the flags and takes the picture."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("index", type=pathlib.Path, help="a viewer's index.html")
  parser.add_argument("--out", type=pathlib.Path, required=True)
  parser.add_argument("--size", default="1280x720", help="of the window, px")
  parser.add_argument(
    "--mode", default="class", choices=("class", "truth", "compare")
  )
  parser.add_argument("--dark", action="store_true")
  parser.add_argument("--zoom", type=float, default=0.0, help="0: whole page")
  args = parser.parse_args(argv)
  width, _, height = args.size.partition("x")
  if not (width.isdigit() and height.isdigit()):
    parser.error("--size is WIDTHxHEIGHT, such as 1280x720")
  try:
    take(
      args.index,
      args.out,
      size=(int(width), int(height)),
      mode=args.mode,
      dark=args.dark,
      zoom=args.zoom,
    )
  except InputError as e:
    print(e, file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
  main()
