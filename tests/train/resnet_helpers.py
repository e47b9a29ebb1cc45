"""A ResNet of torchvision, made up."""

import numpy as np


def resnet(
  depth_blocks, bottleneck: bool, width: int, seed: int = 0, classes: int = 10
) -> dict[str, np.ndarray]:
  """A state dict with torchvision's names and random values."""
  rng = np.random.default_rng(seed)
  found: dict[str, np.ndarray] = {}

  def conv(name, outputs, inputs, size):
    spread = (2 / (inputs * size * size)) ** 0.5
    shape = (outputs, inputs, size, size)
    found[f"{name}.weight"] = rng.normal(0, spread, shape).astype(np.float32)

  def norm(name, channels):
    for key, low, high in (
      ("weight", 0.5, 1.5),
      ("bias", -0.2, 0.2),
      ("running_mean", -0.2, 0.2),
      ("running_var", 0.5, 1.5),
    ):
      value = rng.uniform(low, high, channels).astype(np.float32)
      found[f"{name}.{key}"] = value
    found[f"{name}.num_batches_tracked"] = np.array(7, np.int64)

  conv("conv1", width, 3, 7)
  norm("bn1", width)
  inputs = width
  for stage, count in enumerate(depth_blocks):
    inner = width * 2**stage
    outputs = inner * (4 if bottleneck else 1)
    for block in range(count):
      name = f"layer{stage + 1}.{block}"
      sizes = (1, 3, 1) if bottleneck else (3, 3)
      channels = inputs
      for i, size in enumerate(sizes, 1):
        made = outputs if i == len(sizes) else inner
        conv(f"{name}.conv{i}", made, channels, size)
        norm(f"{name}.bn{i}", made)
        channels = made
      if block == 0 and (stage > 0 or inputs != outputs):
        conv(f"{name}.downsample.0", outputs, inputs, 1)
        norm(f"{name}.downsample.1", outputs)
      inputs = outputs
  found["fc.weight"] = rng.normal(size=(classes, inputs)).astype(np.float32)
  found["fc.bias"] = np.zeros(classes, np.float32)
  return found
