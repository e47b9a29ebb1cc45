"""Pages of HTML from templates: one file each, and nothing from outside.

A report keeps its template beside the Python that prepares its data, extends
`base.html.j2` and takes tables and figures from `macros.html.j2`. Every value
is escaped unless it is `Markup`, so that names may hold anything.
"""

import base64
import functools
import hashlib
import importlib.resources
from typing import Any

import jinja2
from markupsafe import Markup

_PACKAGE = "dwd_jax.show.html"


def render(package: str, template: str, **values: Any) -> str:
  """Fills in a template.

  Args:
    package: whose folder holds the template.
    template: its file name.
    **values: what it uses; a name that is not there raises.

  Returns:
    The page, for `files.write_atomic`: names of files that are not UTF-8 have
    halves of surrogate pairs.
  """
  return _environment(package).get_template(template).render(values)


def number(value: float | None) -> str:
  """Three digits; a dash for what is unknown."""
  return "–" if value is None else f"{value:.3f}"  # noqa: RUF001 (a dash)


@functools.cache
def _environment(package: str) -> jinja2.Environment:
  folders = [jinja2.PackageLoader(name, "") for name in (package, _PACKAGE)]
  made = jinja2.Environment(
    loader=jinja2.ChoiceLoader(folders),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
  )
  made.filters |= {"number": number, "thousands": "{:,}".format}
  script = _read("script.js")
  digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
  made.globals |= {
    "style": Markup(_read("style.css")),
    "script": Markup(script),
    "script_hash": Markup(f"'sha256-{digest}'"),
  }
  return made


def _read(name: str) -> str:
  folder = importlib.resources.files(_PACKAGE)
  return (folder / name).read_text(encoding="utf8").strip()
