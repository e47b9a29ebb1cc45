"""What README and docs name exists: links, modules, flags, keys, files."""

import functools
import pathlib
import re
from collections.abc import Iterator

import pytest

from dwd_jax.train.settings import default

REPO = pathlib.Path(__file__).resolve().parents[1]
PAGES = sorted(
  [
    *REPO.glob("*.md"),
    *REPO.glob("docs/*.md"),
    *REPO.glob("launch/*.md"),
    *REPO.glob("tfds_builders/*/README.md"),
  ]
)
# History may name what is gone.
PAGES.remove(REPO / "CHANGELOG.md")

_CODE = ("dwd_jax", "benchmarks", "launch", "configs", "tfds_builders")
_FOLDERS = "|".join([*_CODE, "docs", "tests"])
# Of ruff, pdoc, Beam, SLURM, TensorBoard; and of argparse.
_FOREIGN_FLAGS = {
  "--help",
  "--check",
  "--docformat",
  "--exclude-editable",
  "--hypothesis-profile",
  "--hypothesis-show-statistics",
  "--logdir",
  "--runner",
  "--dask_client_address",
  "--direct_running_mode",
  "--direct_num_workers",
  "--flink_master",
  "--spark_master_url",
  "--project",
  "--region",
  "--temp_location",
  "--sdk_container_image",
  "--environment_type",
  "--kill-on-bad-exit",
  "--requeue",
  "--mem",
}


def _name(path: pathlib.Path) -> str:
  return str(path.relative_to(REPO))


def _slug(heading: str) -> str:
  """The anchor that GitHub gives a heading."""
  text = re.sub(r"[^\w\- ]", "", heading.strip().lower())
  return text.replace(" ", "-")


def _anchors(path: pathlib.Path) -> set[str]:
  prose = re.sub(r"(?ms)^```.*?^```", "", path.read_text())
  return {_slug(h) for h in re.findall(r"(?m)^#+ (.*)$", prose)}


def _dead_links(page: pathlib.Path, text: str) -> Iterator[str]:
  for target in re.findall(r"\]\(([^)\s]+)\)", text):
    if target.startswith(("http://", "https://")):
      continue
    path, _, anchor = target.partition("#")
    file = (page.parent / path).resolve() if path else page
    if not file.exists() or (anchor and anchor not in _anchors(file)):
      yield target


def _unknown_modules(text: str) -> Iterator[str]:
  for name in re.findall(
    r"python -m ((?:dwd_jax|benchmarks|launch)[\w.]*)", text
  ):
    name = name.rstrip(".")
    if name == "benchmarks.NAME":
      continue
    path = REPO / name.replace(".", "/")
    files = [path.with_suffix(".py"), path / "__main__.py"]
    if not any(f.is_file() and "__main__" in f.read_text() for f in files):
      yield name


def _unknown_keys(text: str) -> Iterator[str]:
  """Keys after --config. or in backquotes that no config has."""
  config = default()
  sections = "|".join(config)
  pattern = rf"(?:--config\.|`)((?:{sections})(?:\.\w+|\[\w\])+)"
  for key in re.findall(pattern, text):
    # Options are the builder's; data.yaml and model.onnx are files.
    if key.startswith("data.options.") or key.endswith(
      (".json", ".onnx", ".yaml")
    ):
      continue
    node = config
    for part in re.findall(r"\w+", key):
      try:
        node = node[int(part)] if part.isdigit() else node[part]
      except (KeyError, IndexError, TypeError):
        yield key
        break


def _missing_files(text: str) -> Iterator[str]:
  for name in re.findall(rf"(?<![\w./-])((?:{_FOLDERS})/[\w./*-]+)", text):
    name = name.rstrip("./")
    if re.search(r"\b(NAME|X)\b", name):
      continue
    if not list(REPO.glob(name)):
      yield name


@functools.cache
def _sources() -> str:
  return "".join(
    path.read_text() for part in _CODE for path in (REPO / part).rglob("*.py")
  )


def _unknown_flags(text: str) -> Iterator[str]:
  sources = _sources()
  for flag in set(re.findall(r"(?<![\w-])--[a-z][\w-]*", text)):
    if flag in _FOREIGN_FLAGS | {"--config"}:
      continue
    # As argparse and absl define them.
    if f'"{flag}"' not in sources and f'"{flag[2:]}"' not in sources:
      yield flag


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_what_a_page_names_exists(page):
  text = page.read_text()
  assert not list(_dead_links(page, text)), "links to nothing"
  assert not list(_unknown_modules(text)), "no such program"
  assert not list(_unknown_keys(text)), "no such key"
  assert not list(_missing_files(text)), "no such file"
  assert not list(_unknown_flags(text)), "no such flag"


MISTAKES = [
  ("no such page", _dead_links, "[a](docs/gone.md)"),
  ("no such heading", _dead_links, "[a](docs/training.md#gone)"),
  ("no such module", _unknown_modules, "python -m dwd_jax.gone"),
  ("not a program", _unknown_modules, "python -m dwd_jax.core.boxes"),
  ("no such key", _unknown_keys, "--config.train.gone=1"),
  ("no such key in prose", _unknown_keys, "`data.gone`"),
  ("no such key of an entry", _unknown_keys, "'--config.eval.on[0].gone=1'"),
  ("no such entry", _unknown_keys, "`eval.on[7].name`"),
  ("no such config", _missing_files, "`configs/gone.py:runlocal`"),
  ("no such results", _missing_files, "benchmarks/results/2001*.json"),
  ("no such flag", _unknown_flags, "`--gone`"),
]


@pytest.mark.parametrize(
  ("check", "text"), [m[1:] for m in MISTAKES], ids=[m[0] for m in MISTAKES]
)
def test_a_mistake_is_seen(check, text):
  if check is _dead_links:
    assert list(check(REPO / "README.md", text))
  else:
    assert list(check(text))


def test_every_page_of_docs_is_in_the_index_and_begins_with_a_sentence():
  index = (REPO / "docs" / "README.md").read_text()
  for page in REPO.glob("docs/*.md"):
    title, _, first, *_ = page.read_text().split("\n")
    assert title.startswith("# "), page
    assert re.match("[A-Z]", first), page
    assert page.name == "README.md" or f"({page.name})" in index, page


def test_readme_stays_short_and_keeps_its_first_commands():
  lines = (REPO / "README.md").read_text().splitlines()
  assert len(lines) <= 250
  assert "pip install -e '.[test]' && pytest" in lines
  assert (
    "pip install -e . && python -m dwd_jax.main"
    " --config=configs/engraved.py --workdir=runs/engraved"
  ) in lines
