"""An ONNX graph, made node by node: the few kinds that the network needs.

Maps are [B, c, h, w] inside of the graph, with B, h and w free. By hand, since
converters of whole JAX programs fail on this network (see docs/export.md).
"""

from typing import Any

import numpy as np

from dwd_jax.core.errors import InputError

# Old enough for every runtime of the last years, new enough for all it needs.
_OPSET, _IR_VERSION = 17, 8
Shape = tuple[int | str, ...]


def import_onnx() -> Any:
  """The package `onnx`, which is optional.

  Raises:
    InputError: it is not installed.
  """
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
    """An empty graph."""
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
      kernel: [size, size, c, C], as Flax has it; size is odd.
      bias: [C].
      stride: of rows and columns.
    """
    size = kernel.shape[0]
    weights = self._constant(np.ascontiguousarray(kernel.transpose(3, 2, 0, 1)))
    return self._add(
      "Conv",
      x,
      weights,
      self._constant(bias),
      kernel_shape=[size, size],
      pads=[size // 2] * 4,
      strides=[stride, stride],
    )

  def max_pool(self, x: str, size: int, stride: int = 1) -> str:
    """Maxima of windows, padded by half their size."""
    return self._add(
      "MaxPool",
      x,
      kernel_shape=[size, size],
      pads=[size // 2] * 4,
      strides=[stride, stride],
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

  def relu(self, x: str) -> str:
    """Negative values become 0."""
    return self._add("Relu", x)

  def add(self, x: str, y: str) -> str:
    """Sum of two values of one shape."""
    return self._add("Add", x, y)

  def dense(self, x: str, kernel: np.ndarray, bias: np.ndarray) -> str:
    """`x @ kernel + bias` for x [P, c], kernel [c, C], bias [C]."""
    return self._add("Gemm", x, self._constant(kernel), self._constant(bias))

  def transpose(self, x: str, order: tuple[int, ...]) -> str:
    """Another order of the axes."""
    return self._add("Transpose", x, perm=list(order))

  def split_last(self, x: str, sizes: tuple[int, ...]) -> str:
    """[B, h, w, n] -> [B, h, w, *sizes]."""
    return self._add("Reshape", x, self._constant(np.array([0, 0, 0, *sizes])))

  def finish(self, text: str) -> bytes:
    """The whole model as the bytes of a file.

    Args:
      text: for people who open the file.
    """
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
