"""The network as ONNX: image -> maps at stride 4; and its class head.

Batch norm is folded into the convolutions. This repeats `dwd_jax.models` node
by node, since converters of whole JAX programs fail on it (see docs/export.md);
tests compare the two. Maps are [B, c, h, w] inside of the graph, with B, h and
w free.
"""

from typing import Any

import numpy as np

from dwd_jax.core.errors import InputError
from dwd_jax.models import box_refinement, ink_windows, staff_positions
from dwd_jax.models.dwd import STRIDE, ModelConfig
from dwd_jax.models.refinenet import STRUCTURES, Structure
from dwd_jax.models.resnet import STAGES

# Supported by all runtimes of the last years.
_OPSET, _IR_VERSION = 17, 8
Shape = tuple[int | str, ...]
_EPSILON = 1e-5  # of the batch norms


def import_onnx() -> Any:
  """The optional package `onnx`; raises InputError if it is not installed."""
  try:
    import onnx
    import onnx.checker
    import onnx.helper
    import onnx.numpy_helper
  except ImportError:
    raise InputError(
      "--format=onnx: needs the package onnx; pip install 'dwd_jax[onnx]'"
    ) from None
  return onnx


class Graph:
  """A graph under construction; methods return the name of a new value."""

  def __init__(self, name: str):
    """Starts an empty graph."""
    self._onnx = import_onnx()
    self._name = name
    self._nodes: list[Any] = []
    self._constants: list[Any] = []
    self._inputs: list[Any] = []
    self._outputs: list[Any] = []

  def input(self, name: str, shape: Shape) -> str:
    """Declares a float32 input; a str in `shape` is a free size."""
    self._inputs.append(self._info(name, shape))
    return name

  def output(self, value: str, name: str, shape: Shape) -> None:
    """Declares a value as a float32 output."""
    self._add("Identity", value, output=name)
    self._outputs.append(self._info(name, shape))

  def conv(
    self, x: str, kernel: np.ndarray, bias: np.ndarray, stride: int = 1
  ) -> str:
    """Convolution padded by half its size.

    Args:
      x: [B, c, h, w].
      kernel: [size, size, c, C], as in Flax; size is odd.
      bias: [C].
    """
    weights = self._constant(np.ascontiguousarray(kernel.transpose(3, 2, 0, 1)))
    inputs = x, weights, self._constant(bias)
    return self._window("Conv", inputs, kernel.shape[0], stride)

  def conv_rows(
    self, x: str, kernel: np.ndarray, bias: np.ndarray, stride: int
  ) -> str:
    """Convolution of [B, c, h, w] along h, padded by half its size.

    Args:
      kernel: [size, c, C], size is odd.
      bias: [C].
    """
    size = kernel.shape[0]
    turned = np.ascontiguousarray(kernel.transpose(2, 1, 0)[..., None])
    inputs = x, self._constant(turned), self._constant(np.asarray(bias))
    return self._add(
      "Conv",
      *inputs,
      kernel_shape=[size, 1],
      pads=[size // 2, 0, size // 2, 0],
      strides=[stride, 1],
    )

  def max_pool(self, x: str, size: int, stride: int = 1) -> str:
    """Maxima of windows, padded by half the window."""
    return self._window("MaxPool", (x,), size, stride)

  def _window(self, kind: str, inputs, size: int, stride: int) -> str:
    pads, strides = [size // 2] * 4, [stride] * 2
    return self._add(
      kind, *inputs, kernel_shape=[size] * 2, pads=pads, strides=strides
    )

  def upsample(self, x: str, factor: int) -> str:
    """Bilinear upsampling of h and w, edges repeated."""
    scales = self._constant(np.array([1, 1, factor, factor], np.float32))
    return self._add(
      "Resize",
      x,
      "",
      scales,
      mode="linear",
      coordinate_transformation_mode="half_pixel",
    )

  def cells_apart(self, x: str, n: int) -> str:
    """[B, n * n * c, h, w] -> [B, c, n * h, n * w], see `models.dwd`."""
    return self._add("DepthToSpace", x, blocksize=n, mode="DCR")

  def relu(self, x: str) -> str:
    """Elementwise max(x, 0)."""
    return self._add("Relu", x)

  def add(self, x: str, y: str) -> str:
    """Sum of two values of the same shape."""
    return self._add("Add", x, y)

  def dense(self, x: str, kernel: np.ndarray, bias: np.ndarray) -> str:
    """`x @ kernel + bias` for x [P, c], kernel [c, C], bias [C]."""
    return self._add("Gemm", x, self._constant(kernel), self._constant(bias))

  def add_axis(self, x: str) -> str:
    """[B, h, w] -> [B, h, w, 1]."""
    return self._add("Unsqueeze", x, self._constant(np.array([3])))

  def flatten(self, x: str) -> str:
    """[B, ...] -> [B, n]."""
    return self._add("Flatten", x, axis=1)

  def transpose(self, x: str, order: tuple[int, ...]) -> str:
    """Permutes the axes."""
    return self._add("Transpose", x, perm=list(order))

  def split_last(self, x: str, sizes: tuple[int, ...]) -> str:
    """[B, h, w, n] -> [B, h, w, *sizes]."""
    return self._add("Reshape", x, self._constant(np.array([0, 0, 0, *sizes])))

  def finish(self, text: str) -> bytes:
    """Serialises the model; `text` is for people who open the file."""
    helper = self._onnx.helper
    graph = helper.make_graph(
      self._nodes, self._name, self._inputs, self._outputs, self._constants
    )
    model = helper.make_model(
      graph,
      producer_name="dwd_jax",
      doc_string=text,
      opset_imports=[helper.make_opsetid("", _OPSET)],
      ir_version=_IR_VERSION,
    )
    self._onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()

  def _info(self, name: str, shape: Shape) -> Any:
    return self._onnx.helper.make_tensor_value_info(
      name, self._onnx.TensorProto.FLOAT, list(shape)
    )

  def _constant(self, value: np.ndarray) -> str:
    name = f"constant_{len(self._constants)}"
    self._constants.append(self._onnx.numpy_helper.from_array(value, name))
    return name

  def _add(self, kind: str, *inputs: str, output: str = "", **options: Any):
    output = output or f"{kind}_{len(self._nodes)}"
    self._nodes.append(
      self._onnx.helper.make_node(kind, list(inputs), [output], **options)
    )
    return output


def network(variables: Any, cfg: ModelConfig, text: str) -> bytes:
  """Serialises the network without its class head.

  Args:
    variables: {"params": .., "batch_stats": ..} of `DWDNet`.
    text: for people who open the file.

  Returns:
    A model with the input image [B, H, W, c], H and W multiples of 32, and the
    outputs of `Predictions` under their names.
  """
  graph = Graph("network")
  image = graph.input("image", ("B", "H", "W", cfg.channels))
  x = graph.transpose(image, (0, 3, 1, 2))
  params, stats = variables["params"], variables["batch_stats"]
  levels = _backbone(
    _Part(graph, params["backbone"], stats["backbone"]), x, cfg
  )

  def decoder(name: str) -> str:
    part = _Part(graph, params[name], stats.get(name, {}))
    x = _refine(part, levels, STRUCTURES[cfg.refinenet])
    return x if STRUCTURES[cfg.refinenet].relu_first else graph.relu(x)

  if cfg.separate_decoders:
    energy, size, classes = (
      decoder(f"refinenet_{head}") for head in ("energy", "size", "class")
    )
  else:
    energy = size = classes = decoder("refinenet")

  def head(
    x: str, name: str, output: str, values: int, stride: int = STRIDE
  ) -> None:
    kernel, bias = params[name]["kernel"], params[name]["bias"]
    kernel = kernel.reshape(1, 1, kernel.shape[0], -1)
    y, hw = graph.conv(x, kernel, bias.reshape(-1)), ("h", "w")
    if stride < STRIDE:
      y, hw = graph.cells_apart(y, STRIDE // stride), ("rows", "columns")
    y = graph.transpose(y, (0, 2, 3, 1))
    y = graph.split_last(y, (cfg.num_groups, values))
    graph.output(y, output, ("B", *hw, cfg.num_groups, values))

  head(
    energy,
    "energy_head",
    "energy_logits",
    cfg.num_energy_levels,
    cfg.energy_stride,
  )
  head(size, "size_head", "log_sizes", 2)
  features = graph.transpose(classes, (0, 2, 3, 1))
  graph.output(features, "class_features", ("B", "h", "w", cfg.filters))
  if cfg.center_offsets:
    head(size, "offset_head", "offsets", 2)
  return graph.finish(text)


def class_head(variables: Any, cfg: ModelConfig, text: str) -> bytes:
  """Serialises the class head for pixels: features [P, F] -> logits [P, C]."""
  graph, params = Graph("class_head"), variables["params"]
  x = graph.input("features", ("P", cfg.filters))
  if cfg.class_hidden:
    hidden = params["class_hidden"]
    x = graph.relu(graph.dense(x, hidden["kernel"], hidden["bias"]))
  head = params["class_head"]
  x = graph.dense(x, head["kernel"], head["bias"])
  graph.output(x, "logits", ("P", cfg.num_classes))
  return graph.finish(text)


def refinement_head(variables: Any, cfg: ModelConfig, text: str) -> bytes:
  """Serialises the head that refines boxes, see `models.box_refinement`.

  `windows` [P, 16, 16], `features` [P, F] and `log_sides` [P, 2] -> `values`
  [P, 5], or [P, 10] with oriented boxes.
  """
  params = variables["params"][box_refinement.NAME]
  graph = Graph("refinement_head")
  side = ink_windows.SIDE
  x = graph.add_axis(graph.input("windows", ("P", side, side)))
  x = graph.transpose(x, (0, 3, 1, 2))
  for name in ("conv1", "conv2"):
    conv = params[name]
    x = graph.relu(graph.conv(x, conv["kernel"], conv["bias"], stride=2))
  x = graph.flatten(graph.transpose(x, (0, 2, 3, 1)))
  # The hidden layer, for what was concatenated one after the other.
  hidden, out = params["hidden"], params["out"]
  of_ink, of_features, of_sides = np.split(
    np.asarray(hidden["kernel"]), [-cfg.filters - 2, -2]
  )
  bias = hidden["bias"] - box_refinement.TYPICAL_LOG_SIDE * of_sides.sum(0)
  none = np.zeros_like(bias)
  x = graph.dense(x, of_ink, none)
  features = graph.input("features", ("P", cfg.filters))
  x = graph.add(x, graph.dense(features, of_features, none))
  sides = graph.input("log_sides", ("P", 2))
  x = graph.relu(graph.add(x, graph.dense(sides, of_sides, bias)))
  x = graph.dense(x, out["kernel"], out["bias"])
  graph.output(x, "values", ("P", len(out["bias"])))
  return graph.finish(text)


def position_head(variables: Any, cfg: ModelConfig, text: str) -> bytes:
  """Serialises the head of places on the staff, see `models.staff_positions`.

  Columns [P, rows, across] -> logits [P, 51] of the positions -25 .. 25.
  """
  del cfg
  params = variables["params"][staff_positions.NAME]
  graph = Graph("position_head")
  hw = staff_positions.COLUMN
  x = graph.input("columns", ("P", *hw))
  x = graph.transpose(graph.add_axis(x), (0, 2, 1, 3))  # [P, across, rows, 1]
  for name, stride in (("conv1", 2), ("conv2", 2), ("conv3", 1)):
    conv = params[name]
    x = graph.relu(graph.conv_rows(x, conv["kernel"], conv["bias"], stride))
  x = graph.flatten(graph.transpose(x, (0, 2, 3, 1)))
  hidden, out = params["hidden"], params["out"]
  x = graph.relu(graph.dense(x, hidden["kernel"], hidden["bias"]))
  x = graph.dense(x, out["kernel"], out["bias"])
  graph.output(x, "logits", ("P", len(out["bias"])))
  return graph.finish(text)


class _Part:
  """A submodule and its convolutions by name."""

  def __init__(self, graph: Graph, params: Any, stats: Any):
    self.graph, self.params, self._stats = graph, params, stats

  def child(self, name: str) -> "_Part":
    return _Part(self.graph, self.params[name], self._stats[name])

  def conv(self, x: str, name: str, norm: str, stride: int = 1) -> str:
    """A convolution with the batch norm `norm`, if there is one."""
    kernel = np.asarray(self.params[name]["kernel"], np.float64)
    bias = np.zeros(kernel.shape[-1])
    if "bias" in self.params[name]:
      bias += self.params[name]["bias"]
    if norm in self.params:
      own, running = self.params[norm], self._stats[norm]
      variance = np.asarray(running["var"], np.float64)
      gain = own["scale"] / np.sqrt(variance + _EPSILON)
      kernel = kernel * gain
      bias = (bias - running["mean"]) * gain + own["bias"]
    return self.graph.conv(
      x, kernel.astype(np.float32), bias.astype(np.float32), stride
    )


def _backbone(part: _Part, x: str, cfg: ModelConfig) -> list[str]:
  """See `models.resnet.ResNet`."""
  graph = part.graph
  x = graph.relu(part.conv(x, "stem", "stem_bn", 2))
  x = graph.max_pool(x, 3, 2)
  features = []
  blocks, bottleneck = STAGES[cfg.backbone_depth]
  for stage, count in enumerate(blocks):
    for block in range(count):
      stride = 2 if stage > 0 and block == 0 else 1
      child = part.child(f"stage{stage + 1}_block{block + 1}")
      x = _block(child, x, (1, stride, 1) if bottleneck else (stride, 1))
    features.append(x)
  return features


def _block(part: _Part, x: str, strides: tuple[int, ...]) -> str:
  """See `models.resnet.Block`."""
  graph, y = part.graph, x
  for i, stride in enumerate(strides):
    y = part.conv(y, f"conv{i + 1}", f"bn{i + 1}", stride)
    if i < len(strides) - 1:
      y = graph.relu(y)
  if "downsample" in part.params:
    x = part.conv(x, "downsample", "downsample_bn", max(strides))
  return graph.relu(graph.add(x, y))


def _refine(part: _Part, features: list[str], structure: Structure) -> str:
  """See `models.refinenet.RefineNet`."""
  graph, fused = part.graph, ""

  def conv(x: str, name: str) -> str:
    return part.conv(x, name, f"{name}_bn")

  def residual_unit(x: str, name: str) -> str:
    y = conv(graph.relu(x), f"{name}_conv1")
    return graph.add(x, conv(graph.relu(y), f"{name}_conv2"))

  def fusion_input(x: str, units: str, fuse: str) -> str:
    if structure.parallel:
      one, two = (
        conv(residual_unit(x, f"{units}{i}"), f"{fuse}{i}") for i in (1, 2)
      )
      return graph.add(one, two)
    for i in (1, 2) if units else ():
      x = residual_unit(x, f"{units}{i}")
    return conv(x, fuse) if fuse else x

  for level in reversed(range(len(features))):
    name = f"level{level + 1}"
    x = conv(features[level], f"{name}_adapt")
    if structure.relu_first:
      x = graph.relu(x)
    fine = f"{name}_fuse_fine" if fused or structure.parallel else ""
    x = fusion_input(x, f"{name}_in", fine)
    if fused:
      units = f"{name}_coarse" if structure.coarse_units else ""
      coarse = fusion_input(fused, units, f"{name}_fuse_coarse")
      x = graph.add(x, graph.upsample(coarse, 2))
    out = x = graph.relu(x)
    for i in (1, 2):
      x = conv(graph.max_pool(x, 5), f"{name}_pool_conv{i}")
      out = graph.add(out, x)
    for i in range(structure.last_units if level == 0 else 1):
      out = residual_unit(out, f"{name}_out{i + 1}" if i else f"{name}_out")
    fused = out
  return fused
