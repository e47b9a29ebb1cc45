"""`--mode=eval` with `eval.from_saved`: all results of a run, measured anew."""

import pathlib
from typing import Any

import ml_collections

from dwd_jax.cluster import processes
from dwd_jax.evaluate import other_sets, reevaluate
from dwd_jax.train import run_evaluation
from dwd_jax.train import settings as config_lib


def reevaluate_all(
  config: ml_collections.ConfigDict, workdir: pathlib.Path
) -> dict[str, dict[str, Any]]:
  """Measures what W/eval holds of the config's splits and other sets.

  No data set is opened, no network built, no checkpoint read.

  Args:
    config: overrides applied.
    workdir: of a run that was evaluated.

  Returns:
    {name: content of its summary}; a line of each is printed. With several
    processes the first does it all, the others have nothing.

  Raises:
    InputError: see `reevaluate`, or a bad config.
  """
  config_lib.validate(config)
  results: dict[str, dict[str, Any]] = {}
  if not processes.is_first():
    return results
  data: Any = config.data
  judged: Any = config.eval
  own = [split for split in (data.eval_split, data.test_split) if split]
  for name in dict.fromkeys([*own, *other_sets.of_config(config)]):
    results[name] = reevaluate.reevaluate(
      workdir / "eval",
      name,
      protocol=judged.protocol,
      min_score=float(judged.min_score),
      viewer_pages=int(judged.viewer_pages),
    )
    print(run_evaluation.summary(results[name], workdir, name), flush=True)
  return results
