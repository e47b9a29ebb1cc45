"""All programs under one command: dwd PROGRAM ...

`dwd detect ...` and `python -m dwd_jax detect ...` run
`python -m dwd_jax.detect ...`; the others likewise.
"""

import runpy
import sys

PROGRAMS = {
  "detect": "find symbols on pages of music",
  "main": "train and evaluate",
  "build": "build the records of a data set",
  "check": "check a data set before training on it",
  "engrave": "generate labelled pages",
  "export": "write a trained detector for other programs",
}


def main() -> None:
  """Runs the program that the first argument names, without other imports."""
  name = sys.argv[1] if len(sys.argv) > 1 else ""
  if name not in PROGRAMS:
    if name not in ("-h", "--help"):
      wrong = f"{name!r} is no program" if name else "no program is named"
      print(f"dwd_jax: {wrong}; dwd --help lists them", file=sys.stderr)
      sys.exit(2)
    print("usage: dwd PROGRAM ...; dwd PROGRAM --help says more\n")
    for program, purpose in PROGRAMS.items():
      print(f"  {program:8} {purpose}")
    return
  del sys.argv[1]
  runpy.run_module(f"dwd_jax.{name}", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
  main()
