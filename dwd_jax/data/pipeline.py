"""Batches of random crops for training, whole pages for evaluation (grain).

The n-th training batch depends on the seed and n only, not on the number of
worker processes or on interruptions of the run.
"""

import dataclasses
import functools
import signal
from collections.abc import Callable, Iterator
from typing import Any

import grain
import jax
import numpy as np
from absl import flags, logging

from dwd_jax.core.errors import InputError
from dwd_jax.core.structs import Batch, PageBoxes, PageImage
from dwd_jax.data.crops import MixedCrops, TrainCrops
from dwd_jax.data.sources import PageSource
from dwd_jax.data.synthetic import SyntheticSymbols

_ENDLESS = 1 << 40  # samples; grain datasets need a length
_MAX_DEATHS = 3  # of worker processes in a row


@dataclasses.dataclass(frozen=True)
class _Sealed:
  """Arrays of a batch, hidden from grain.

  Workers then send them through a pipe. Grain sends arrays by shared memory, of
  which containers have 64 MiB by default, and which is reported as leaked when
  a run ends with batches on their way.
  """

  arrays: dict[str, np.ndarray]


class TrainLoader(grain.DatasetIterator):
  """Endless batches of NumPy arrays; the state is the number of the next one.

  `close()` ends the worker processes.
  """

  def __init__(
    self,
    dataset: grain.MapDataset,
    workers: int,
    make: Callable[..., Any] = Batch,
  ):
    """Iterates over a dataset.

    Args:
      dataset: element n is the sealed batch n.
      workers: processes that read; 0 = threads.
      make: makes a batch of arrays, given by name.
    """
    super().__init__()
    self._dataset = dataset
    self._workers = workers
    self._make = make
    self._step = 0
    self._inner: grain.DatasetIterator | None = None

  def __next__(self) -> Any:
    """The next batch."""
    arrays = self._arrays()
    self._step += 1
    # Bytes; the device converts them to floats: a quarter of the traffic.
    image = arrays["image"]
    image = image[..., None] if image.ndim == 3 else image
    return self._make(**arrays | {"image": image})

  def _arrays(self) -> dict[str, np.ndarray]:
    """The next arrays; restarts worker processes that die."""
    reason = None
    for _ in range(_MAX_DEATHS):
      inner = self._inner or self._start()
      self._inner = inner
      try:
        return next(inner).arrays
      except RuntimeError as e:
        if not self._workers:
          raise
        reason = e  # grain has no type for a death
        logging.warning("Batch %d: %s Starting anew.", self._step, e)
        self.close()
    raise InputError(
      f"data.workers: worker processes died {_MAX_DEATHS} times at batch"
      f" {self._step}, maybe for want of memory; use fewer of them"
    ) from reason

  def _start(self) -> grain.DatasetIterator:
    # The state of grain's own iterator depends on the number of workers.
    rest = self._dataset[self._step :]
    threads = grain.ReadOptions(num_threads=2, prefetch_buffer_size=4)
    batches = rest.to_iter_dataset(threads)
    if self._workers:
      if not flags.FLAGS.is_parsed():  # grain asks absl for its own flags
        flags.FLAGS.mark_as_parsed()
      batches = batches.mp_prefetch(
        grain.MultiprocessingOptions(
          num_workers=self._workers, per_worker_buffer_size=2
        ),
        worker_init_fn=_leave_ctrl_c_to_the_program,
      )
    return iter(batches)

  def get_state(self) -> dict[str, Any]:
    """{"step": number of the next batch}."""
    return {"step": self._step}

  def set_state(self, state: dict[str, Any]) -> None:
    """Continues at the batch that `state` names."""
    self.close()
    self._step = int(state["step"])

  def close(self) -> None:
    """Ends threads and worker processes."""
    inner = getattr(self, "_inner", None)
    if inner is not None:
      inner.close()
      self._inner = None


def train_loader(
  source: PageSource,
  data_cfg,
  *,
  batch_size: int,
  seed: int,
  synthetic: SyntheticSymbols | None = None,
  oriented: bool = False,
  positions: bool = False,
  with_masks: bool = False,
  mixed: PageSource | None = None,
  process_index: int | None = None,
  process_count: int | None = None,
) -> TrainLoader:
  """Endless batches of random crops.

  Args:
    source: pages of the training split.
    data_cfg: `config.data`.
    batch_size: crops of a step over all processes.
    seed: 0..2**32 - 1.
    synthetic: adds symbols to the crops, see `synthetic.open_synthetic`.
    oriented: batches have oriented boxes, too: `model.oriented`.
    positions: batches have places on the staff: `model.staff_positions`.
    with_masks: batches have energies on masks: `targets.energy_disc` is mask.
    mixed: further pages, for `data.mix.prob` of the crops.
    process_index: see `loader`.
    process_count: see `loader`.

  Returns:
    Iterator of `Batch` with batch_size / process_count crops.

  Raises:
    InputError: no pages, or the records lack what is asked for.
  """
  crops_of = functools.partial(
    TrainCrops,
    data_cfg=data_cfg,
    synthetic=synthetic,
    oriented=oriented,
    positions=positions,
    with_masks=with_masks,
  )
  crops = crops_of(source)
  if mixed is not None:
    crops = MixedCrops(crops, crops_of(mixed), float(data_cfg.mix.prob))
  return loader(
    shuffled_pages(source, seed).random_map(crops),
    int(data_cfg.workers),
    batch_size=batch_size,
    process_index=process_index,
    process_count=process_count,
  )


def shuffled_pages(source: PageSource, seed: int) -> grain.MapDataset:
  """Endless page numbers, in a new order every epoch.

  Raises:
    InputError: no pages.
  """
  _check_seed(seed)
  if not len(source):
    raise InputError(f"{source.name}: split {source.split!r} is empty")
  pages = grain.MapDataset.range(len(source)).seed(seed).shuffle()
  return pages.repeat(_ENDLESS // len(source))


def endless(seed: int) -> grain.MapDataset:
  """The numbers 0, 1, ..., for crops that do not follow epochs of pages."""
  _check_seed(seed)
  return grain.MapDataset.range(_ENDLESS).seed(seed)


def _check_seed(seed: int) -> None:
  if not 0 <= seed < 1 << 32:
    raise InputError(f"seed: {seed} is not within 0..2**32 - 1")


def _leave_ctrl_c_to_the_program(index: int, count: int) -> None:
  """A terminal interrupts workers too, and each would print a traceback."""
  del index, count
  signal.signal(signal.SIGINT, signal.SIG_IGN)


def loader(
  crops: grain.MapDataset,
  workers: int,
  *,
  batch_size: int,
  make: Callable[..., Any] = Batch,
  process_index: int | None = None,
  process_count: int | None = None,
) -> TrainLoader:
  """Batches of crops; this process gets its share of each.

  Args:
    crops: endless dicts of arrays, one of them "image" uint8 [h, w] or
      [h, w, 3].
    workers: processes that read; 0 = threads.
    batch_size: crops of a step over all processes.
    make: makes a batch of arrays, given by name.
    process_index: share of this process; None = JAX's.
    process_count: None = JAX's.

  Raises:
    InputError: the processes cannot share the batch.
  """
  index = jax.process_index() if process_index is None else process_index
  count = jax.process_count() if process_count is None else process_count
  if batch_size < 1 or batch_size % count:
    raise InputError(
      f"train.batch_size: {batch_size} is no positive multiple of the {count}"
      " processes; change it"
    )
  share = crops[index::count].batch(batch_size // count).map(_Sealed)
  return TrainLoader(share, workers, make)


@dataclasses.dataclass(frozen=True)
class EvalPage:
  """A whole page with the scale to predict it at, and its truth."""

  image: PageImage
  truth: PageBoxes


def num_eval_pages(source: PageSource, data_cfg) -> int:
  """Number of pages to evaluate: the first `max_pages`, 0 = all."""
  return min(len(source), data_cfg.max_pages or len(source))


def read_eval_pages(
  source: PageSource, data_cfg, part: range | None = None
) -> Iterator[EvalPage]:
  """Whole pages in the order of the records, with one page of read-ahead.

  `part` has the numbers of the pages; None = those of `num_eval_pages`.
  """
  if part is None:
    part = range(num_eval_pages(source, data_cfg))
  if not part:
    return iter(())
  pages = grain.MapDataset.range(part.start, part.stop).map(
    lambda i: _eval_page(source, int(i), float(data_cfg.eval_scale))
  )
  options = grain.ReadOptions(num_threads=1, prefetch_buffer_size=1)
  return iter(pages.to_iter_dataset(options))


def _eval_page(source: PageSource, i: int, scale: float) -> EvalPage:
  record = source[i]
  height, width = record.image.shape[:2]
  return EvalPage(
    image=PageImage(
      record.filename, record.image, scale, polarity=source.polarity
    ),
    truth=PageBoxes(
      filename=record.filename,
      image_hw=(height, width),
      boxes_yxyx=record.boxes_yxyx,
      labels=record.labels,
      oriented_yx=record.oriented_yx,
      positions=record.positions,
    ),
  )
