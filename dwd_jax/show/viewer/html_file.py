"""The viewer's HTML around its data: template, style, scripts, policy."""

import base64
import hashlib
import html
import importlib.resources
import json
import re
from collections.abc import Mapping
from typing import Any

from dwd_jax.core import words

_SCRIPTS = (
  "data.js", "rectangles.js", "matching.js", "grid.js", "items.js", "view.js",
  "drawing.js", "panels.js", "page_list.js", "input.js", "main.js",
)  # fmt: skip


def around_data(
  title: str, in_parts: bool, said: words.Words
) -> tuple[str, str]:
  """What comes before the data in index.html, and what after.

  Args:
    title: of the page.
    in_parts: whether the scripts load the boxes from files beside index.html.
    said: what pages and what is on them are called.
  """
  style = _asset("viewer.css")
  script = "\n".join(map(_asset, _SCRIPTS))
  names = said._asdict()
  # Scripts that ours adds may run, too; none that the HTML names.
  more = " 'strict-dynamic'" if in_parts else ""
  policy = "; ".join(
    [
      "default-src 'none'",
      # As a file, and from a server.
      "img-src data: 'self' file:",
      f"style-src {_hash(style)}",
      f"script-src {_hash(script)}{more}",
      "base-uri 'none'",
      "form-action 'none'",
    ]
  )
  parts = {
    "POLICY": html.escape(policy),
    "TITLE": html.escape(title),
    "STYLE": style,
    "SCRIPT": script,
    **names,
    **{name.capitalize(): word.capitalize() for name, word in names.items()},
  }
  before, after = _asset("page.html").split("{{DATA}}")
  return _replace(before, parts), _replace(after, parts)


def to_json(data: Any) -> str:
  """JSON that is safe inside a <script> element, whatever the strings hold."""
  text = json.dumps(data, separators=(",", ":"), allow_nan=False)
  for sign in "<>&":
    text = text.replace(sign, f"\\u{ord(sign):04x}")
  return text


def _replace(template: str, parts: Mapping[str, str]) -> str:
  """Fills in each {{Name}} once; what a part holds is not filled in."""
  return re.sub(r"\{\{([A-Za-z]+)\}\}", lambda m: parts[m[1]], template)


def _asset(name: str) -> str:
  folder = importlib.resources.files("dwd_jax.show.viewer") / "assets"
  return (folder / name).read_text(encoding="utf8").strip()


def _hash(text: str) -> str:
  digest = hashlib.sha256(text.encode()).digest()
  return f"'sha256-{base64.b64encode(digest).decode()}'"
