"""All programs under one command: dwd VERB ...

`dwd detect ...` and `python -m dwd_jax detect ...` run
`python -m dwd_jax.detect ...`; the others likewise.
"""

import difflib
import runpy
import sys

from dwd_jax.core import cli

# Verb, module, purpose. A verb is the last part of its module's name.
PROGRAMS = {
  "detect": ("dwd_jax.detect", "find symbols on pages of music"),
  "main": ("dwd_jax.main", "train and evaluate"),
  "build": ("dwd_jax.build", "build the records of a data set"),
  "check": ("dwd_jax.check", "check a data set before training on it"),
  "compare": ("dwd_jax.compare", "compare two detectors on the same pages"),
  "engrave": ("dwd_jax.engrave", "generate labelled pages"),
  "export": ("dwd_jax.export", "write a trained detector for other programs"),
  "gallery": ("dwd_jax.show.gallery", "draw what each augmentation does"),
  "settings": ("dwd_jax.train.settings", "print every key of a config"),
  "vocabulary": (
    "dwd_jax.core.vocabulary",
    "print the classes that two data sets have in common",
  ),
}


def main() -> None:
  """Runs the program that the first argument names, without other imports."""
  cli.start(_run)


def _run(argv: list[str]) -> None:
  if not argv:
    cli.fail("no program is named; dwd --help lists them")
  verb = argv[0]
  if verb in ("-h", "--help", "--helpfull", "help"):
    print("usage: dwd VERB ...; dwd VERB --help says more\n")
    for name, (_, purpose) in PROGRAMS.items():
      print(f"  {name:11} {purpose}")
    return
  if verb not in PROGRAMS:
    cli.fail(f"{verb!r} is no program{_hint(verb)}; dwd --help lists them")
  del sys.argv[1]
  cli.as_verb = True
  runpy.run_module(PROGRAMS[verb][0], run_name="__main__", alter_sys=True)


def _hint(word: str) -> str:
  """The verb that is spelt like the word, or does what the word says."""
  word = word.lower()
  near = difflib.get_close_matches(word, PROGRAMS, n=1) or [
    verb for verb, (_, does) in PROGRAMS.items() if word in does.split()
  ]
  return f" (did you mean dwd {near[0]}?)" if near else ""


if __name__ == "__main__":
  main()
