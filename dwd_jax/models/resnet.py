"""ResNet feature extractors (He et al. 2016) for strides 4, 8, 16 and 32.

Convolutions are padded as in torchvision, so that its weights keep their
alignment. The stride of a bottleneck sits on its 3 x 3 convolution (v1.5).
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float

from dwd_jax.core.structs import Array
from dwd_jax.models import layers

Depth = Literal[10, 18, 34, 50, 101, 152]
STAGES: dict[int, Any] = {  # depth: (blocks of each stage, bottleneck?)
  10: ((1, 1, 1, 1), False),  # for tests; torchvision has no weights
  18: ((2, 2, 2, 2), False),
  34: ((3, 4, 6, 3), False),
  50: ((3, 4, 6, 3), True),
  101: ((3, 4, 23, 3), True),
  152: ((3, 8, 36, 3), True),
}


def _conv(features: int, size: int, stride: int, dtype, name: str) -> nn.Conv:
  """Convolution without bias, padded by half its size on every side."""
  pad = (size - 1) // 2
  return nn.Conv(
    features,
    (size, size),
    (stride, stride),
    padding=((pad, pad), (pad, pad)),
    use_bias=False,
    dtype=dtype,
    kernel_init=nn.initializers.he_normal(),
    conv_general_dilated=layers.conv_general_dilated,
    name=name,
  )


def make_norm(train: bool, momentum: float, dtype) -> Callable[..., nn.Module]:
  """Batch norm: statistics of the batch in training, running ones otherwise."""
  return partial(
    nn.BatchNorm,
    use_running_average=not train,
    momentum=momentum,
    epsilon=1e-5,
    dtype=dtype,
  )


class Block(nn.Module):
  """Residual block, basic (two 3 x 3) or bottleneck (1 x 1, 3 x 3, 1 x 1)."""

  features: int
  stride: int
  bottleneck: bool
  norm: Callable[..., nn.Module]
  dtype: Any

  @nn.compact
  def __call__(self, x: Float[Array, "B h w c"]) -> Float[Array, "B H W C"]:
    """Returns features at `stride` times the input's stride."""
    out = self.features * (4 if self.bottleneck else 1)
    sizes = (1, 3, 1) if self.bottleneck else (3, 3)
    strides = (1, self.stride, 1) if self.bottleneck else (self.stride, 1)
    y = x
    for i, (size, stride) in enumerate(zip(sizes, strides, strict=True)):
      last = i == len(sizes) - 1
      width = out if last else self.features
      y = _conv(width, size, stride, self.dtype, f"conv{i + 1}")(y)
      y = self.norm(name=f"bn{i + 1}")(y)
      y = y if last else nn.relu(y)
    if x.shape != y.shape:
      x = _conv(out, 1, self.stride, self.dtype, "downsample")(x)
      x = self.norm(name="downsample_bn")(x)
    return nn.relu(x + y)


class ResNet(nn.Module):
  """Features of an image at strides 4, 8, 16 and 32.

  Attributes:
    depth: 10, 18, 34, 50, 101 or 152.
    width: channels of the first stage (64 in the paper).
    dtype: type of the computation; parameters stay float32.
    bn_momentum: share of the old running average kept at each step.
    remat: of each block only the input is kept for the backward pass.

  Reference: He et al. 2016. Differs from the original DWD: batch norm uses the
  statistics of the (global) batch in training and running averages otherwise;
  the original normalised by the single image at inference, too.
  """

  depth: int
  width: int = 64
  dtype: Any = jnp.float32
  bn_momentum: float = 0.99
  remat: bool = False

  @nn.compact
  def __call__(
    self, image: Float[Array, "B H W c"], train: bool
  ) -> tuple[Array, ...]:
    """Returns four arrays [B, H / s, W / s, C], s = 4, 8, 16, 32."""
    norm = make_norm(train, self.bn_momentum, self.dtype)
    blocks, bottleneck = STAGES[self.depth]
    x = image.astype(self.dtype)
    x = _conv(self.width, 7, 2, self.dtype, "stem")(x)  # H/2
    x = nn.relu(norm(name="stem_bn")(x))
    x = layers.max_pool_3x3_stride2(x)  # H/4
    features = []
    make_block = nn.remat(Block) if self.remat else Block
    for stage, count in enumerate(blocks):
      for block in range(count):
        stride = 2 if stage > 0 and block == 0 else 1
        x = make_block(
          self.width * 2**stage,
          stride,
          bottleneck,
          norm,
          self.dtype,
          name=f"stage{stage + 1}_block{block + 1}",
        )(x)
      features.append(x)
    return tuple(features)
