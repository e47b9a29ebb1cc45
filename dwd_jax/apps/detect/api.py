"""Detection from Python: `dwd_jax.detect(image)`."""

import functools
import pathlib
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt8

from dwd_jax.apps.detect import inputs
from dwd_jax.core import vocabulary
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
  names: str = "",
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
    names: the vocabulary of the class names: deepscores_v1, deepscores_v2,
      muscima_v2 or smufl; "" = the detector's own names. A warning says what
      has no such name and is left out.

  Returns:
    The symbols in pixels of the page, best score first.

  Raises:
    InputError: an unreadable image or several pages; missing weights; a
      vocabulary that is unknown, or into which the detector's classes cannot
      be translated.
  """
  detector = _detector(str(checkpoint), min_score, tuple(classes), names)
  if isinstance(image, str | pathlib.Path):
    (found,) = _of_path(detector, pathlib.Path(image), most=1)
  else:
    found = detector("page", _ink(image, detector))
  if names:
    _warn_of_left_out(found, names)
  return found


def pages(
  path: str | pathlib.Path,
  *,
  checkpoint: str | pathlib.Path = "",
  min_score: float | None = None,
  classes: Sequence[str] = (),
  names: str = "",
) -> Iterator[PageDetections]:
  """Yields the symbols of each page of a PDF, TIFF or folder.

  The arguments are those of `detect`. An unreadable page raises InputError.
  """
  detector = _detector(str(checkpoint), min_score, tuple(classes), names)
  for found in _of_path(detector, pathlib.Path(path)):
    if names:
      _warn_of_left_out(found, names)
    yield found


@functools.lru_cache(maxsize=2)
def _detector(checkpoint, min_score, classes, names) -> Detector:
  return Detector(
    packaged.weights_of(checkpoint),
    min_score=min_score,
    classes=classes,
    names=names,
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
        source,
        detector.weights.staff_space_px,
        polarity=detector.polarity,
        channels=detector.channels,
      )
      yield page.dpi, detector.lay(detector.page_image(source.name, page.ink))

  for dpi, found in detector.stream(page_images()):
    if isinstance(found, InputError):
      raise found.__cause__ or found
    assert found is not None
    yield found.at_resolution(dpi)


def _warn_of_left_out(found: PageDetections, names: str) -> None:
  if found.left_out:
    line = vocabulary.describe_left_out(found.left_out, names)
    warnings.warn(f"{found.page}: {line}", stacklevel=3)


def _ink(image: Any, detector: Detector) -> UInt8[np.ndarray, "H W *c"]:
  """Converts an array or a PIL image to what the network sees."""
  channels = detector.channels
  try:
    if hasattr(image, "getexif"):
      tones = grey.of_pillow(image, channels)
    else:
      tones = grey.to_tones(np.asarray(image), channels)
    return grey.to_ink(tones, detector.polarity)
  except ValueError as e:
    raise InputError(f"image: {e}") from None
