"""What a training crop gets besides its page: synthetic symbols."""

import pathlib

import numpy as np
from absl import logging

from dwd_jax.data import pasting, symbols, synthetic
from dwd_jax.data.sources import PageSource
from dwd_jax.data.synthetic import Scene, SyntheticConfig


class SyntheticSymbols:
  """Adds symbols to crops, as `config.data.synthetic` says."""

  def __init__(
    self,
    found: symbols.SymbolSet,
    cfg: SyntheticConfig,
    min_visible: float,
  ):
    """Args: `found` to draw from; `min_visible` as in config.data."""
    self._cfg = cfg
    self._min_visible = min_visible
    self._cutter = synthetic.SymbolCutter(found, cfg.draw, min_visible)
    if missing := self._cutter.missing():
      logging.warning(
        "data.synthetic: no symbols of %d classes (%s ...): never drawn",
        len(missing),
        missing[0],
      )

  def __call__(
    self, scene: Scene, rng: np.random.Generator, scale: float
  ) -> Scene:
    """A scene, or with probability `prob` one with symbols.

    Args:
      scene: in pixels of the page.
      rng: source of randomness.
      scale: pixels of the crop for one of the page.
    """
    cfg, hw = self._cfg, scene.ink.shape
    if rng.random() >= cfg.prob:
      return scene
    margin = max(1, round(synthetic.MARGIN / scale))
    if cfg.layout == "full":
      return synthetic.full(self._cutter, rng, hw, margin, cfg.per_row)
    if cfg.layout == "up":
      return synthetic.up(
        self._cutter, rng, scene, margin, cfg.per_row, self._min_visible
      )
    return pasting.paste(self._cutter, rng, scene, margin, cfg.per_row)


def open_synthetic(source: PageSource, data_cfg) -> SyntheticSymbols | None:
  """The synthetic symbols of a training; None without any.

  Args:
    source: training pages.
    data_cfg: `config.data`.

  Raises:
    InputError: settings or records that make no sense.
  """
  cfg = SyntheticConfig(**data_cfg.synthetic)
  if cfg.layout == "no":
    return None
  if cfg.path:
    found: symbols.SymbolSet = symbols.open_records(
      pathlib.Path(cfg.path).expanduser(),
      source.class_names,
      leave_out=tuple(data_cfg.leave_out),
      common_with=data_cfg.common_with,
    )
  else:
    found = symbols.SymbolsOfPages(source)
  return SyntheticSymbols(found, cfg, float(data_cfg.min_visible))
