"""The house: who may import whom, and how large a room may be."""

import ast
import pathlib

import pytest

# A module imports only from lower layers. Packages named here as a whole are
# one layer; what happens inside them only has to be free of cycles.
LAYERS = {
  "dwd_jax": 0,
  "dwd_jax.errors": 0,
  "dwd_jax.structs": 0,
  "dwd_jax.files": 0,
  "dwd_jax.boxes": 1,
  "dwd_jax.data.images": 1,
  "dwd_jax.data.transforms": 2,
  "dwd_jax.decode": 3,
  "dwd_jax.energy_groups": 2,
  "dwd_jax.engrave": 1,
  "dwd_jax.metrics": 2,
  "dwd_jax.models": 2,
  "dwd_jax.stages": 1,
  "dwd_jax.targets": 2,
  "dwd_jax.visualize": 2,
  "dwd_jax.losses": 3,
  "dwd_jax.optim": 2,
  "dwd_jax.data": 2,
  "dwd_jax.data.sources": 2,
  "dwd_jax.data.sampling": 3,
  "dwd_jax.data.prepare": 3,
  "dwd_jax.data.pipeline": 4,
  "dwd_jax.config": 4,
  "dwd_jax.train": 0,
  "dwd_jax.train.state": 4,
  "dwd_jax.train.logs": 1,
  "dwd_jax.train.step": 5,
  "dwd_jax.train.checkpoint": 5,
  "dwd_jax.train.setup": 6,
  "dwd_jax.predict": 5,
  "dwd_jax.evaluate": 6,
  "dwd_jax.train.loop": 7,
  "dwd_jax.main": 8,
}
WHOLE_PACKAGES = (
  "dwd_jax.decode",
  "dwd_jax.engrave",
  "dwd_jax.metrics",
  "dwd_jax.models",
)
MAX_FILE_LINES = 300
MAX_FUNCTION_LINES = 60  # without the docstring


def _modules(repo_dir) -> dict[str, pathlib.Path]:
  modules = {}
  for path in sorted((repo_dir / "dwd_jax").rglob("*.py")):
    name = ".".join(path.relative_to(repo_dir).with_suffix("").parts)
    modules[name.removesuffix(".__init__")] = path
  return modules


def _imports(path: pathlib.Path, modules) -> set[str]:
  """Modules of the project that a file imports, wherever it does."""
  found = set()
  for node in ast.walk(ast.parse(path.read_text(encoding="utf8"))):
    if isinstance(node, ast.Import):
      names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom) and node.module:
      assert node.level == 0, f"{path}: relative import"
      names = [f"{node.module}.{alias.name}" for alias in node.names]
    else:
      continue
    for name in names:
      while name and name not in modules:
        name = name.rpartition(".")[0]
      if name:
        found.add(name)
  return found


def _room(module: str) -> str:
  """The entry of the table that a module belongs to."""
  for package in WHOLE_PACKAGES:
    if module == package or module.startswith(package + "."):
      return package
  return module


def test_every_module_is_in_the_table(repo_dir):
  rooms = {_room(module) for module in _modules(repo_dir)}
  assert rooms - set(LAYERS) == set(), "enter new modules in LAYERS"
  assert set(LAYERS) - rooms == set(), "these are gone: remove them"


def test_imports_go_down(repo_dir):
  modules = _modules(repo_dir)
  wrong = []
  for module, path in modules.items():
    for other in _imports(path, modules):
      mine, theirs = _room(module), _room(other)
      if mine != theirs and LAYERS[theirs] >= LAYERS[mine]:
        wrong.append(f"{module} imports {other}")
  assert wrong == []


@pytest.mark.parametrize("package", WHOLE_PACKAGES)
def test_no_cycles_inside_a_package(repo_dir, package):
  modules = _modules(repo_dir)
  inside = {m for m in modules if _room(m) == package and m != package}
  imports = {m: _imports(modules[m], modules) & inside for m in inside}
  # Take away modules whose imports are all gone, until none is left.
  while imports:
    free = {m for m, needs in imports.items() if not needs & imports.keys()}
    assert free, f"cycle among {sorted(imports)}"
    imports = {m: needs for m, needs in imports.items() if m not in free}


def _code_files(repo_dir):
  for folder in ("dwd_jax", "configs", "tfds_builders", "benchmarks"):
    yield from sorted((repo_dir / folder).rglob("*.py"))


def test_rooms_are_small(repo_dir):
  large = []
  for path in _code_files(repo_dir):
    text = path.read_text(encoding="utf8")
    name = path.relative_to(repo_dir)
    if text.count("\n") > MAX_FILE_LINES:
      large.append(f"{name}: {text.count(chr(10))} lines")
    for node in ast.walk(ast.parse(text)):
      if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        docstring = ast.get_docstring(node, clean=False) or ""
        lines = (node.end_lineno or node.lineno) - node.lineno + 1
        lines -= docstring.count("\n")
        if lines > MAX_FUNCTION_LINES:
          large.append(f"{name}: {node.name} has {lines} lines")
  assert large == []


def test_no_config_reads_the_environment(repo_dir):
  for path in sorted((repo_dir / "configs").glob("*.py")):
    assert "environ" not in path.read_text(encoding="utf8"), path
