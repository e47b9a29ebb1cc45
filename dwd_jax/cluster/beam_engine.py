"""Work on many machines by Apache Beam, on the engine that its options name.

Pipelines are a line of `Create` and one transform, whose workers write files to
a shared folder: that runs on every engine. Dask's runner drops what a `DoFn`
yields at the end of a bundle (so batching and combining lose elements) and runs
only the last branch of a pipeline.
"""

from collections.abc import Sequence
from typing import Any

from dwd_jax.core.errors import InputError

_DASK = "apache_beam.runners.dask.dask_runner.DaskRunner"
_DASK_PARTITIONS = 4096  # at most, as its scheduler takes 1 ms for each


def options(args: Sequence[str]) -> Any:
  """The `PipelineOptions` that arguments such as "--runner=..." give.

  Raises:
    InputError: Beam is not installed, has no such runner, or none is named.
  """
  if args and not args[0].startswith("--"):
    raise InputError(
      f"{args[0]}: follows --, and is no option of Apache Beam; a file whose"
      " name begins with - is ./-NAME"
    )
  try:
    from apache_beam.options import (  # pyright: ignore[reportMissingImports]
      pipeline_options,
    )
  except ModuleNotFoundError:
    raise InputError(
      "Apache Beam is not installed; pip install 'dwd_jax[beam]', or leave out"
      " -- and what follows it"
    ) from None
  from apache_beam.runners import runner  # pyright: ignore

  made = pipeline_options.PipelineOptions(list(args))
  standard = made.view_as(pipeline_options.StandardOptions)
  named = standard.runner
  if not named:
    raise InputError("--: no engine; name it after --, as --runner=DaskRunner")
  # Beam has no short name for that one.
  standard.runner = _DASK if named == "DaskRunner" else named
  try:
    runner.create_runner(standard.runner)
  except (ValueError, ImportError) as e:
    reason = " ".join(str(e).split())
    raise InputError(f"--runner={named}: {reason}; correct it") from None
  return made


def run(elements: Sequence[Any], transform: Any, options: Any) -> None:
  """Runs a transform on elements; returns when all is done.

  Args:
    elements: what pickle can send to the workers.
    transform: a `PTransform`.
    options: from the function of that name.

  Raises:
    InputError: the engine cannot be reached.
    Exception: what a worker has raised, or what Beam makes of it.
  """
  import apache_beam as beam  # pyright: ignore[reportMissingImports]
  from apache_beam.options import pipeline_options  # pyright: ignore

  named = options.view_as(pipeline_options.StandardOptions).runner
  if named == _DASK:
    _divide(options, len(elements))
  pipeline = beam.Pipeline(options=options)
  _ = pipeline | beam.Create(elements) | transform
  try:
    result: Any = pipeline.run()
  except OSError as e:
    if e.errno is not None:
      raise
    raise InputError(f"--runner={named}: {e}; correct its address") from None
  try:
    result.wait_until_finish()
  finally:
    if named == _DASK:  # else it looks for its cluster ever after
      result.client.close()


def _divide(options: Any, elements: int) -> None:
  """Sets the number of Dask's partitions unless it is given."""
  from apache_beam.runners.dask import dask_runner  # pyright: ignore

  dask = options.view_as(dask_runner.DaskOptions)
  if not (dask.npartitions or dask.partition_size):
    dask.npartitions = min(elements, _DASK_PARTITIONS)
