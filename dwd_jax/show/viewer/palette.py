"""Class colours that stay distinct, for colour-blind people too."""

import functools

import numpy as np
from jaxtyping import Float

# A false positive on a true box of another class: Okabe and Ito's orange.
WRONG_CLASS_RGB = (230, 159, 0)

_FIRST_RGB = (0, 114, 178)  # blue
# Lines are drawn on white paper beside black ink.
_MIN_CONTRAST = 2.4  # with white, as WCAG defines it
_MIN_LUMINANCE = 0.07  # 0..1; darker lines would be taken for ink
# Weight of distances in normal vision: other visions lose 2 % of the distance,
# normal vision gains a third.
_NORMAL_SHARE = 0.6

# Linear RGB -> linear RGB as seen with normal vision, protanopia, deuteranopia
# and tritanopia: Machado, Oliveira and Fernandes (2009), severity 1.0.
_VISIONS = np.array([
  np.eye(3),
  [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
   [-0.003882, -0.048116, 1.051998]],
  [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
   [-0.011820, 0.042940, 0.968881]],
  [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
   [0.004733, 0.691367, 0.303900]],
])  # fmt: skip

# Linear RGB -> cone responses -> OKLab (Ottosson 2020).
_TO_CONES = np.array(
  [
    [0.4122214708, 0.5363325363, 0.0514459929],
    [0.2119034982, 0.6806995451, 0.1073969566],
    [0.0883024619, 0.2817188376, 0.6299787005],
  ]
)
_TO_LAB = np.array(
  [
    [0.2104542553, 0.7936177850, -0.0040720468],
    [1.9779984951, -2.4285922050, 0.4505937099],
    [0.0259040371, 0.7827717662, -0.8086757660],
  ]
)


@functools.cache
def class_colours(count: int) -> tuple[str, ...]:
  """Colours as "#rrggbb"; colour i does not depend on `count`.

  Each colour is the one farthest from all before it, from white and from black,
  in the worst of four kinds of colour vision (with some weight on the normal
  one). So the first colours differ most; beyond some hundreds they repeat.
  """
  rgb = _candidates()
  seen = _seen(rgb)  # [V, n, 3]
  first = int(np.abs(rgb - _FIRST_RGB).sum(axis=1).argmin())
  ink_and_paper = _seen(np.array([[0, 0, 0], [255, 255, 255]]))
  nearest = _apart(_gaps(seen, ink_and_paper)).min(axis=1)
  chosen = []
  following = first
  for _ in range(min(count, len(rgb))):
    chosen.append(following)
    here = _gaps(seen, seen[:, following : following + 1])
    nearest = np.minimum(nearest, _apart(here)[:, 0])
    following = int(nearest.argmax())
  colours = ["#{:02x}{:02x}{:02x}".format(*rgb[i]) for i in chosen]
  return tuple(colours[i % len(colours)] for i in range(count))


def _candidates() -> np.ndarray:
  """A grid of colours visible on white paper, [n, 3] in 0..255."""
  steps = np.arange(0, 256, 15)
  rgb = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(-1, 3)
  luminance = _linear(rgb) @ (0.2126, 0.7152, 0.0722)
  seen = 1.05 / (luminance + 0.05) >= _MIN_CONTRAST
  # Grey lines, too, would be taken for ink.
  colourful = rgb.max(axis=1) - rgb.min(axis=1) >= 75
  return rgb[seen & colourful & (luminance >= _MIN_LUMINANCE)]


def _linear(rgb: np.ndarray) -> Float[np.ndarray, "*n 3"]:
  share = rgb / 255.0
  return np.where(
    share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4
  )


def _seen(rgb: np.ndarray) -> Float[np.ndarray, "V n 3"]:
  """OKLab coordinates as each kind of vision sees the colours."""
  seen = np.einsum("vij,nj->vni", _VISIONS, _linear(rgb))
  cones = np.cbrt(np.clip(seen, 0, 1) @ _TO_CONES.T)
  return cones @ _TO_LAB.T


def _gaps(
  a: Float[np.ndarray, "V n 3"], b: Float[np.ndarray, "V m 3"]
) -> Float[np.ndarray, "V n m"]:
  return np.linalg.norm(a[:, :, None] - b[:, None], axis=-1)


def _apart(gaps: Float[np.ndarray, "V n m"]) -> Float[np.ndarray, "n m"]:
  """How distinct two colours are; the first vision is the normal one."""
  return np.minimum(gaps.min(axis=0), _NORMAL_SHARE * gaps[0])
