"""The order of the modules, and how long files and functions may be.

A module imports only from layers with a lower number. The whole numbers are the
layers of the design: 0 data, 1 and 2 pure functions on arrays and sources of
data, 3 training, 4 evaluation, 5 loop, 6 programs; the fractions order the
modules of a layer. A new module must be entered here.
"""

import ast
import pathlib

import pytest

LAYERS = """
0.0  dwd_jax dwd_jax.data dwd_jax.decode dwd_jax.metrics dwd_jax.models
0.0  dwd_jax.train configs tfds_builders benchmarks launch
0.0  dwd_jax.errors dwd_jax.structs dwd_jax.huge_pages
0.05 configs.default_data
0.1  dwd_jax.boxes dwd_jax.files dwd_jax.threads configs.default configs.recipes
0.1  dwd_jax.processes dwd_jax.watchdog
0.2  dwd_jax.distributed dwd_jax.programs
0.25 configs.detector
0.2  configs.deepscores configs.engraved configs.muscima_pp configs.smoke
0.3  configs.deepscores_v2
0.2  configs.boxes

1.0  dwd_jax.targets dwd_jax.stages dwd_jax.energy_groups
1.0  dwd_jax.staff_space
1.1  dwd_jax.visualize dwd_jax.other_sets
1.1  dwd_jax.losses dwd_jax.optim
1.15 dwd_jax.box_losses

1.0  dwd_jax.pages dwd_jax.pages.tiling dwd_jax.pages.fusion
1.1  dwd_jax.pages.config dwd_jax.pages.assemble
1.2  dwd_jax.pages.normalise

1.0  dwd_jax.decode.config dwd_jax.decode.bits
1.05 dwd_jax.decode.foreground
1.0  dwd_jax.decode.suppression
1.1  dwd_jax.decode.segments dwd_jax.decode.levels
1.2  dwd_jax.decode.basins dwd_jax.decode.components dwd_jax.decode.objects
1.3  dwd_jax.decode.measure dwd_jax.decode.votes
2.0  dwd_jax.decode.watershed dwd_jax.decode.inside
2.1  dwd_jax.closure

1.0  dwd_jax.models.pooling dwd_jax.models.compiling
1.0  dwd_jax.models.pointwise
1.1  dwd_jax.models.refinenet dwd_jax.models.resnet
2.0  dwd_jax.models.dwd
2.05 dwd_jax.models.at_pixels

1.0  dwd_jax.data.images dwd_jax.data.transforms dwd_jax.data.vocabulary
1.1  tfds_builders.checks dwd_jax.data.tiles dwd_jax.data.box_index
1.1  dwd_jax.data.masks
1.15 tfds_builders.page_lists
1.15 tfds_builders.json_files tfds_builders.pixel_labels
1.2  tfds_builders.examples
1.15 tfds_builders.deepscores.deepscores_names
1.2  tfds_builders.deepscores.deepscores_parsing
1.16 tfds_builders.deepscores_v2.deepscores_v2_index
1.2  tfds_builders.deepscores_v2.deepscores_v2_parsing
1.15 tfds_builders.deepscores_v2
1.15 tfds_builders.muscima_pp
1.16 tfds_builders.muscima_pp.muscima_pp_annotations
1.16 tfds_builders.muscima_pp.muscima_pp_splits
1.17 tfds_builders.muscima_pp.muscima_pp_original
1.17 tfds_builders.muscima_pp.muscima_pp_release
1.2  tfds_builders.muscima_pp.muscima_pp_parsing
1.2  tfds_builders.deepscores
1.2  tfds_builders.symbols tfds_builders.symbols.symbols_crops
1.25 tfds_builders.symbols.symbols_folder
1.25 tfds_builders.symbols.symbols_records
1.27 tfds_builders.symbols.symbols_parsing
1.2  tfds_builders.boxes tfds_builders.boxes.boxes_pages
1.21 tfds_builders.boxes.boxes_classes tfds_builders.boxes.boxes_splits
1.22 tfds_builders.boxes.boxes_coco tfds_builders.boxes.boxes_voc
1.22 tfds_builders.boxes.boxes_dota tfds_builders.boxes.boxes_yolo
1.23 tfds_builders.boxes.boxes_parsing
1.3  tfds_builders.base
1.4  tfds_builders.deepscores.deepscores_dataset_builder
1.4  tfds_builders.deepscores_v2.deepscores_v2_dataset_builder
1.4  tfds_builders.muscima_pp.muscima_pp_dataset_builder
1.4  tfds_builders.symbols.symbols_dataset_builder
1.4  tfds_builders.boxes.boxes_dataset_builder
1.9  dwd_jax.data.builders
2.0  dwd_jax.data.sources
2.05 dwd_jax.data.staff_spaces
2.1  dwd_jax.data.sampling dwd_jax.data.symbols
2.12 dwd_jax.data.synthetic
2.1  dwd_jax.data.eval_pages
2.13 dwd_jax.data.pasting dwd_jax.data.degraded
2.14 dwd_jax.data.augment
2.15 dwd_jax.data.train_crops
2.2  dwd_jax.data.pipeline

1.0  dwd_jax.data.checking dwd_jax.data.checking.findings
1.0  dwd_jax.data.checking.fit dwd_jax.data.checking.fingerprints
1.1  dwd_jax.data.checking.measures
1.2  dwd_jax.data.checking.statistics dwd_jax.data.checking.leaks
1.2  dwd_jax.data.checking.misfits dwd_jax.data.checking.pictures
1.3  dwd_jax.data.checking.rules
1.4  dwd_jax.data.checking.builders
2.1  dwd_jax.data.checking.page_sets
2.2  dwd_jax.data.checking.collect
2.3  dwd_jax.data.checking.checked
2.4  dwd_jax.data.checking.page_html dwd_jax.data.checking.text
2.5  dwd_jax.data.checking.report
2.6  dwd_jax.data.checking.run

1.0  dwd_jax.degrade.warps dwd_jax.degrade.fields
1.1  dwd_jax.degrade.camera
1.1  dwd_jax.degrade.moved_boxes dwd_jax.degrade.bends dwd_jax.degrade.ink
1.1  dwd_jax.degrade.paper dwd_jax.degrade.light dwd_jax.degrade.colour
1.2  dwd_jax.degrade.looks
1.3  dwd_jax.degrade.plan
1.4  dwd_jax.degrade

1.0  dwd_jax.engrave.outlines dwd_jax.engrave.raster dwd_jax.engrave.splits
1.0  dwd_jax.engrave.weights dwd_jax.engrave.vocabulary
1.1  dwd_jax.engrave.text dwd_jax.engrave.layout dwd_jax.engrave.mei_rhythm
1.1  dwd_jax.engrave.pens
1.2  dwd_jax.engrave.svg_text dwd_jax.engrave.mei_layer
1.3  dwd_jax.engrave.mei_marks dwd_jax.engrave.mei_ensembles
1.4  dwd_jax.engrave.mei_score dwd_jax.engrave.verovio_svg
1.5  dwd_jax.engrave.clefs
1.5  dwd_jax.engrave.strokes
1.6  dwd_jax.engrave.labels
1.65 dwd_jax.engrave.pixel_labels dwd_jax.engrave.handwriting
1.65 dwd_jax.engrave.worn
1.7  dwd_jax.engrave.engraver
1.8  dwd_jax.engrave.worker
1.9  dwd_jax.engrave.pool
2.0  dwd_jax.engrave.dataset
2.1  dwd_jax.engrave
2.1  dwd_jax.data.records
2.2  dwd_jax.data.prepare

1.0  dwd_jax.pretraining dwd_jax.pretraining.torch_pickle
1.0  dwd_jax.pretraining.matching
1.1  dwd_jax.pretraining.torch_files
1.2  dwd_jax.pretraining.resnet_weights
2.1  dwd_jax.data.pixel_classes dwd_jax.pretraining.config
2.1  dwd_jax.pretraining.networks
2.3  dwd_jax.pretraining.symbol_crops dwd_jax.pretraining.pixel_crops

1.0  dwd_jax.metrics.pages dwd_jax.metrics.matching
1.1  dwd_jax.metrics.coco dwd_jax.metrics.voc dwd_jax.metrics.report
1.1  dwd_jax.metrics.reliability dwd_jax.metrics.outcomes
1.0  dwd_jax.metrics.precision_recall
1.2  dwd_jax.metrics.score_map dwd_jax.metrics.errors dwd_jax.metrics.confusion
1.2  dwd_jax.metrics.sizes dwd_jax.metrics.by_page
2.0  dwd_jax.metrics.protocols

3.0  dwd_jax.train.curves
3.0  dwd_jax.config dwd_jax.train.sharding dwd_jax.train.logs
3.0  dwd_jax.train.preemption dwd_jax.train.progress
3.0  dwd_jax.train.checksums dwd_jax.train.card
3.1  dwd_jax.train.finished
3.1  dwd_jax.train.state
3.2  dwd_jax.train.update dwd_jax.train.checkpoint
3.3  dwd_jax.train.step dwd_jax.train.task dwd_jax.train.resume
3.4  dwd_jax.train.stepping dwd_jax.train.pictures
3.4  dwd_jax.pretraining.steps
4.0  dwd_jax.predict dwd_jax.transfer
4.0  dwd_jax.calibration
4.1  dwd_jax.weights
4.2  dwd_jax.train.as_weights
1.0  dwd_jax.detecting dwd_jax.pretrained
1.1  dwd_jax.detecting.pdf dwd_jax.detecting.mung_files
1.2  dwd_jax.detecting.inputs dwd_jax.detecting.detections
4.2  dwd_jax.detecting.detector
4.3  dwd_jax.detecting.packaged dwd_jax.detecting.outputs
4.4  dwd_jax.detecting.api dwd_jax.detecting.run
4.0  dwd_jax.evaluating dwd_jax.evaluating.progress
4.0  dwd_jax.evaluating.diagrams dwd_jax.evaluating.summary
4.0  dwd_jax.evaluating.charts dwd_jax.evaluating.tables
4.0  dwd_jax.viewer dwd_jax.viewer.palette dwd_jax.viewer.pictures
4.0  dwd_jax.viewer.payload
4.05 dwd_jax.viewer.write
4.1  dwd_jax.evaluating.report_data dwd_jax.evaluating.page_pictures
4.1  dwd_jax.evaluating.report_sections dwd_jax.evaluating.report_errors
4.12 dwd_jax.evaluating.scores dwd_jax.evaluating.report_page
4.13 dwd_jax.evaluating.files
4.14 dwd_jax.evaluating.saved
4.2  dwd_jax.evaluate dwd_jax.reevaluate
3.0  dwd_jax.train.run_folders
5.0  dwd_jax.train.setup dwd_jax.train.shares
5.1  dwd_jax.train.evaluation
5.2  dwd_jax.train.calibrating dwd_jax.train.detection
5.2  dwd_jax.train.reevaluation
5.2  dwd_jax.train.loop
5.1  dwd_jax.pretraining.tasks
5.3  dwd_jax.pretraining.start

1.0  dwd_jax.exporting dwd_jax.exporting.alone
1.0  dwd_jax.exporting.alone.detector_pages dwd_jax.exporting.onnx_graph
1.0  dwd_jax.exporting.alone.numpy_basins
1.1  dwd_jax.exporting.alone.numpy_decode dwd_jax.exporting.alone.detector
2.1  dwd_jax.exporting.onnx_network
4.2  dwd_jax.exporting.card
4.3  dwd_jax.exporting.stablehlo
4.4  dwd_jax.exporting.run

6.0  dwd_jax.export
6.0  dwd_jax.detect dwd_jax.main dwd_jax.engrave.__main__ dwd_jax.data.build
6.0  dwd_jax.viewer.screenshot
6.0  benchmarks.common benchmarks.staff_space_pages
6.1  dwd_jax.data.check dwd_jax.data.gallery
6.1  benchmarks.pretraining benchmarks.survival
6.1  benchmarks.data benchmarks.closure benchmarks.tiles benchmarks.device
6.1  benchmarks.train_scene benchmarks.staff_space benchmarks.detect
6.1  benchmarks.model_card
6.1  benchmarks.viewer
6.2  benchmarks.degrade benchmarks.ablation
6.1  benchmarks.decode_scenes benchmarks.numpy_decode
6.1  benchmarks.export
6.1  benchmarks.predict_scene benchmarks.torch_network
6.2  benchmarks.decode benchmarks.torch_predict benchmarks.torch_train
6.2  benchmarks.losses benchmarks.memory benchmarks.scaling benchmarks.input
6.2  benchmarks.decode_options
6.3  benchmarks.predict benchmarks.train_peer
6.4  benchmarks.train_step

6.0  launch.command_line launch.devices
6.1  launch.local launch.slurm launch.jobset
6.0  launch.search_space launch.budget
6.1  launch.plan
6.2  launch.results launch.sweep_flags launch.sweep_slurm
6.3  launch.trial_pool launch.sweep_report
6.4  launch.sweep
"""

PACKAGES = ("dwd_jax", "configs", "tfds_builders", "benchmarks", "launch")
MAX_FILE_LINES = 300
MAX_FUNCTION_LINES = 60


def _layers() -> dict[str, float]:
  """Module -> layer."""
  found = {}
  for line in filter(None, LAYERS.splitlines()):
    layer, *modules = line.split()
    for module in modules:
      assert module not in found, f"{module} is entered twice"
      found[module] = float(layer)
  return found


def _modules(repo_dir) -> dict[str, pathlib.Path]:
  found = {}
  for package in PACKAGES:
    for path in sorted((repo_dir / package).rglob("*.py")):
      parts = path.relative_to(repo_dir).with_suffix("").parts
      name = ".".join(p for p in parts if p != "__init__")
      found[name] = path
  return found


def _imports(path: pathlib.Path, modules) -> set[str]:
  """Modules of ours that a file imports, anywhere in it."""
  found = set()
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Import):
      found |= {alias.name for alias in node.names}
    elif isinstance(node, ast.ImportFrom):
      assert not node.level, f"{path}: relative import"
      for alias in node.names:
        name = f"{node.module}.{alias.name}"
        found.add(name if name in modules else str(node.module))
  return {name for name in found if name.split(".")[0] in PACKAGES}


def test_every_module_has_a_layer(repo_dir):
  modules, layers = set(_modules(repo_dir)), set(_layers())
  assert not modules - layers, "enter these into LAYERS"
  assert not layers - modules, "these are gone"


def test_modules_import_only_from_lower_layers(repo_dir):
  modules, layers = _modules(repo_dir), _layers()
  wrong = []
  for module, path in modules.items():
    for used in _imports(path, modules):
      if layers[used] >= layers[module]:
        wrong.append(f"{module} imports {used}")
  assert not wrong, wrong


def test_the_check_sees_imports_inside_functions(tmp_path):
  path = tmp_path / "module.py"
  path.write_text(
    "import dwd_jax.boxes\n"
    "import numpy\n"
    "def f():\n"
    "  from dwd_jax.train import loop\n"
    "  from dwd_jax.structs import Batch\n"
  )
  known = {"dwd_jax.train.loop": path, "dwd_jax.structs": path}
  assert _imports(path, known) == {
    "dwd_jax.boxes",
    "dwd_jax.train.loop",
    "dwd_jax.structs",
  }


def _functions(path):
  """Names and lines of functions, without their docstrings."""
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.FunctionDef):
      assert node.end_lineno
      lines = node.end_lineno - node.lineno + 1
      if ast.get_docstring(node, clean=False):
        text = node.body[0]
        assert text.end_lineno
        lines -= text.end_lineno - text.lineno + 1
      yield node.name, lines


def test_files_and_functions_stay_short(repo_dir):
  long = []
  for path in [*_modules(repo_dir).values(), repo_dir / "setup.py"]:
    lines = len(path.read_text().splitlines())
    if lines > MAX_FILE_LINES:
      long.append(f"{path.relative_to(repo_dir)}: {lines} lines")
    long += [
      f"{path.relative_to(repo_dir)}: {name} has {count} lines"
      for name, count in _functions(path)
      if count > MAX_FUNCTION_LINES
    ]
  assert not long, long


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_have_their_init(repo_dir, package):
  # setuptools leaves out folders without one.
  for path in (repo_dir / package).rglob("*.py"):
    assert (path.parent / "__init__.py").is_file(), path
