"""ImageNet weights give the same features on ink as they do in PyTorch."""

import jax
import numpy as np
import pytest
import resnet_helpers
import safetensors.numpy

from dwd_jax.core.errors import InputError
from dwd_jax.models.resnet import STAGES, ResNet
from dwd_jax.train.pretraining import resnet_weights

WIDTH = 8


def _shapes(depth, channels, width=WIDTH):
  net = ResNet(depth, width)
  image = np.zeros((1, 64, 64, channels), np.float32)
  return net, jax.eval_shape(lambda: net.init(jax.random.key(0), image, False))


def _state(depth, seed=0):
  return resnet_helpers.resnet(*STAGES[depth], WIDTH, seed)


def _torch_features(state, depth, rgb, border):
  """Features of the network that torchvision would make of these weights.

  Args:
    state: arrays by torchvision's names.
    depth: of the network.
    rgb: [B, H, W, 3], 0..1.
    border: "zeros" as torchvision's, "white" or "black".
  """
  torch = pytest.importorskip("torch")
  functional = torch.nn.functional
  values = {name: torch.tensor(x) for name, x in state.items()}

  def conv(x, name, stride, pad):
    return functional.conv2d(x, values[f"{name}.weight"], None, stride, pad)

  def norm(x, name):
    keys = ("running_mean", "running_var", "weight", "bias")
    return functional.batch_norm(x, *(values[f"{name}.{k}"] for k in keys))

  mean, std = resnet_weights.MEAN, resnet_weights.STD
  x = torch.tensor(((rgb - mean) / std).astype(np.float32)).permute(0, 3, 1, 2)
  if border != "zeros":
    tone = 1 if border == "white" else 0
    padded = torch.tensor(((tone - mean) / std).astype(np.float32))
    height, width = x.shape[2] + 6, x.shape[3] + 6
    padded = padded[None, :, None, None].repeat(len(x), 1, height, width)
    padded[:, :, 3:-3, 3:-3] = x
    x = conv(padded, "conv1", 2, 0)
  else:
    x = conv(x, "conv1", 2, 3)
  x = functional.max_pool2d(functional.relu(norm(x, "bn1")), 3, 2, 1)
  counts, bottleneck = STAGES[depth]
  features = []
  for stage, count in enumerate(counts):
    for block in range(count):
      name = f"layer{stage + 1}.{block}"
      stride = 2 if stage and not block else 1
      sizes = (1, 3, 1) if bottleneck else (3, 3)
      strided = 2 if bottleneck else 1
      y = x
      for i, size in enumerate(sizes, 1):
        step = stride if i == strided else 1
        y = norm(conv(y, f"{name}.conv{i}", step, size // 2), f"{name}.bn{i}")
        y = functional.relu(y) if i < len(sizes) else y
      if f"{name}.downsample.0.weight" in values:
        x = norm(conv(x, f"{name}.downsample.0", stride, 0), _down(name))
      x = functional.relu(x + y)
    features.append(x.permute(0, 2, 3, 1).numpy())
  return features


def _down(name):
  return f"{name}.downsample.1"


def _page(hw, channels):
  """Blocks with grey tones; colours differ if there are three channels."""
  rng = np.random.default_rng(0)
  ink = rng.random((1, hw[0] // 8, hw[1] // 8, channels)) > 0.6
  tones = rng.random((1, *hw, channels)) * 0.3
  return (ink.repeat(8, 1).repeat(8, 2) * (0.7 + tones)).astype(np.float32)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("depth", [18, 50])
def test_features_equal_those_of_pytorch(tmp_path, depth, channels):
  state = _state(depth)
  safetensors.numpy.save_file(state, tmp_path / "x.safetensors")
  given = resnet_weights.read(tmp_path / "x.safetensors")
  net, shapes = _shapes(depth, channels)
  variables = resnet_weights.backbone_variables(given, shapes, depth, "x")
  image = _page((96, 128), channels)
  found = net.apply(variables, image, False)
  # One channel is ink on white; three are colours, and black around them.
  rgb = image if channels == 3 else 1 - np.repeat(image, 3, -1)
  border = "black" if channels == 3 else "white"
  for ours, theirs in zip(
    found, _torch_features(state, depth, rgb, border), strict=True
  ):
    assert theirs.std() > 0.1
    # Sums of large terms of both signs: the error is that of the largest.
    error = 2e-5 * np.abs(theirs).max()
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=error)


def test_only_the_border_differs_from_torchvisions_padding():
  state = _state(18)
  net, shapes = _shapes(18, 1)
  variables = resnet_weights.backbone_variables(state, shapes, 18, "x")
  ink = _page((128, 128), 1)
  ours = np.asarray(net.apply(variables, ink, False)[0])
  rgb = 1 - np.broadcast_to(ink, (1, 128, 128, 3))
  theirs = _torch_features(state, 18, rgb, "zeros")[0]
  inner = np.s_[:, 6:-6, 6:-6]  # a pixel sees 23 px to every side
  np.testing.assert_allclose(ours[inner], theirs[inner], rtol=2e-4, atol=2e-4)
  assert np.abs(ours - theirs).max() > 0.05


def test_paper_in_training_is_what_it_is_in_torchvision():
  """Batch norm takes the constant away, however it is normalised."""
  state = _state(18)
  _, shapes = _shapes(18, 1)
  variables = resnet_weights.backbone_variables(state, shapes, 18, "x")
  mean = variables["batch_stats"]["stem_bn"]["mean"]
  weight = state["conv1.weight"].astype(np.float64)
  white = (1 - resnet_weights.MEAN) / resnet_weights.STD
  constant = np.einsum("ocyx,c->o", weight, white)
  wanted = state["bn1.running_mean"] - constant
  np.testing.assert_allclose(mean, wanted, rtol=1e-5)


def test_a_network_for_grey_images_is_taken_as_it_is():
  """Weights with one input channel are of another training than ImageNet's."""
  state = _state(18)
  state["conv1.weight"] = state["conv1.weight"][:, :1]
  _, shapes = _shapes(18, 1)
  made = resnet_weights.backbone_variables(state, shapes, 18, "x")
  np.testing.assert_array_equal(
    made["params"]["stem"]["kernel"],
    state["conv1.weight"].transpose(2, 3, 1, 0),
  )
  np.testing.assert_array_equal(
    made["batch_stats"]["stem_bn"]["mean"], state["bn1.running_mean"]
  )


@pytest.mark.parametrize("depth", STAGES)
def test_every_depth_is_recognised(depth):
  state = _state(depth)
  assert resnet_weights.depth_of(state) == depth
  _, shapes = _shapes(depth, 1)
  made = resnet_weights.backbone_variables(state, shapes, depth, "x")
  assert jax.tree.map(np.shape, made) == jax.tree.map(lambda s: s.shape, shapes)
  used = {
    resnet_weights.torch_name("/".join(p.key for p in path[1:]))
    for path, _ in jax.tree_util.tree_leaves_with_path(made)
  }
  left = {n for n in state if not n.endswith("num_batches_tracked")} - used
  assert left == {"fc.weight", "fc.bias"}


def _without(name):
  return lambda state: state.pop(name)


def _poisoned(state):
  state["layer2.0.bn1.bias"][0] = np.nan


def _wide(state):
  state.update(resnet_helpers.resnet(*STAGES[18], 16))


# Caption: what is done to a ResNet-18, depth of our backbone, the line.
WRONG = {
  "another depth": (lambda _: None, 50, "a ResNet-18, but .* is 50; .* to 18"),
  "no ResNet": (dict.clear, 18, "no ResNet of torchvision, but"),
  "an array is missing": (
    _without("layer1.0.bn2.running_var"),
    18,
    r"no layer1\.0\.bn2\.running_var; name a whole ResNet-18",
  ),
  "another width": (_wide, 18, "layer1.* would be .* model.backbone_width=64"),
  "not finite": (_poisoned, 18, r"layer2\.0\.bn1\.bias is not finite"),
}


@pytest.mark.parametrize("caption", WRONG)
def test_other_networks_are_refused(caption):
  change, depth, line = WRONG[caption]
  state = _state(18)
  change(state)
  _, shapes = _shapes(depth, 1)
  with pytest.raises(InputError, match=rf"^x\.pth: {line}"):
    resnet_weights.backbone_variables(state, shapes, depth, "x.pth")
