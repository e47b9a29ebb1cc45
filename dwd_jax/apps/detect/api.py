"""Detection from Python: `dwd_jax.detect(image)`."""

import functools
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt8

from dwd_jax.apps.detect import inputs
from dwd_jax.core.errors import InputError
from dwd_jax.imaging import grey
from dwd_jax.predict import packaged
from dwd_jax.predict.detector import Detector
from dwd_jax.predict.page_detections import PageDetections


def detect(
  image: Any,
  *,
  checkpoint: str | pathlib.Path = "",
  min_score: float | None = None,
  classes: Sequence[str] = (),
) -> PageDetections:
  """Finds the symbols of one page.

  The first call compiles the network for the page's size; the detector is kept
  for the next call.

  Args:
    image: path of an image or of a one-page PDF; an array [H, W] or
      [H, W, 1..4] (grey, grey and alpha, RGB, RGBA; bool, integers or floats,
      whose range is told by `dwd_jax.imaging.grey.white_of`); or a PIL image.
      Music may be dark on light or light on dark.
    checkpoint: workdir of a run, WORKDIR/checkpoints/STEP, or a file of
      weights; "" = the packaged detector of printed music.
    min_score: 0..1; None = the threshold stored with the weights.
    classes: names of the classes to keep; none = all.

  Returns:
    The symbols in pixels of the page, best score first.

  Raises:
    InputError: an unreadable image or several pages; missing weights.
  """
  detector = _detector(str(checkpoint), min_score, tuple(classes))
  if not isinstance(image, str | pathlib.Path):
    return detector("page", _ink(image, detector.polarity))
  found = list(_of_path(detector, pathlib.Path(image), most=1))
  return found[0]


def pages(
  path: str | pathlib.Path,
  *,
  checkpoint: str | pathlib.Path = "",
  min_score: float | None = None,
  classes: Sequence[str] = (),
) -> Iterator[PageDetections]:
  """Yields the symbols of each page of a PDF, TIFF or folder.

  The arguments are those of `detect`. An unreadable page raises InputError.
  """
  detector = _detector(str(checkpoint), min_score, tuple(classes))
  yield from _of_path(detector, pathlib.Path(path))


@functools.lru_cache(maxsize=2)
def _detector(checkpoint, min_score, classes) -> Detector:
  return Detector(
    packaged.weights_of(checkpoint), min_score=min_score, classes=classes
  )


def _of_path(
  detector: Detector, path: pathlib.Path, most: int = 0
) -> Iterator[PageDetections]:
  sources, failures = inputs.find([path])
  if failures:
    raise InputError(failures[0].reason)
  if most and len(sources) > most:
    raise InputError(
      f"{path}: has {len(sources)} pages; use dwd_jax.detect.pages"
    )

  def page_images():
    for source in sources:
      page = inputs.read(
        source, detector.weights.staff_space_px, polarity=detector.polarity
      )
      yield page.dpi, detector.lay(detector.page_image(source.name, page.ink))

  for dpi, found in detector.stream(page_images()):
    if isinstance(found, InputError):
      raise found.__cause__ or found
    assert found is not None
    yield found.at_resolution(dpi)


def _ink(image: Any, polarity: str) -> UInt8[np.ndarray, "H W"]:
  """Converts an array or a PIL image to ink on paper."""
  try:
    if hasattr(image, "getexif"):
      return grey.to_ink(grey.of_pillow(image), polarity)
    return grey.to_ink(grey.to_grey(np.asarray(image)), polarity)
  except ValueError as e:
    raise InputError(f"image: {e}") from None
