"""Runs LilyPond on MusicXML, bounded: time, memory, files, no foreign Scheme.

`pip install lilypond` has both programs, `musicxml2ly` and `lilypond`. LilyPond
evaluates Scheme in its input, so what musicxml2ly wrote is refused if it has
calls other than the few that musicxml2ly makes.
"""

import dataclasses
import importlib
import math
import os
import pathlib
import re
import resource
import shutil
import signal
import subprocess
import tempfile
from typing import Any

from benchmarks import lilypond_svg
from dwd_jax.core.errors import InputError

_PATIENCE = 30  # seconds of waiting for each of processor time
_LONGEST = 200  # characters of a reason
_MEMORY = 4 << 30  # bytes
_FILE = 64 << 20
# In LilyPond's own syntax: a string, a comment, or the beginning of Scheme.
_TOKEN = re.compile(
  r'"(?:\\.|[^"\\])*"|%\{.*?%\}|%[^\n]*|[#$]@?(?P<scheme>.)'
  r"|\\(?P<reads>include|image|eps-?file|verbatim-?file)\b",
  re.DOTALL,
)
# Inside of Scheme: a call, the end of a list, a string, a name or a number.
_SCHEME = re.compile(
  r'\(\s*(?P<call>[\w:.-]*)|(?P<end>\))|"(?:\\.|[^"\\])*"|[\w:.+-]+|\s+',
  re.DOTALL,
)
_PLAIN = re.compile(r"""[\w"'#.+-]""")  # a value: a number, a name, ##t
_CALLS = {"make-dynamic-script", "rgb-color", "cons"}
_DYNAMIC = re.compile(
  r'^ *(\S[^\n=]*?) *= *#\(make-dynamic-script "', re.MULTILINE
)

# Every grob says what it is: output-attributes are written to the SVG. They
# are computed late, when layout is done. Glyphs are kept once they are found:
# LilyPond searches a file of 300 KB for each one it draws, which takes longer
# than all else.
_PRELUDE = r"""
\version "2.25.12"
#(set-global-staff-size %(staff_size)s)
#(set-default-paper-size '(cons (* %(width).6f pt) (* %(height).6f pt)))
#(ly:font-config-add-directory "%(fonts)s")
\paper {
  property-defaults.fonts.serif = "%(face)s"
  property-defaults.fonts.sans = "%(face)s"
  property-defaults.fonts.typewriter = "%(face)s"
}
#(define (label-number value)
  (if (number? value) (number->string (exact->inexact value)) ""))
#(define (label-address grob)
  (if (ly:grob? grob) (number->string (object-address grob) 16) ""))
#(define (label-of grob)
  (let* ((name (grob::name grob))
         (when (and (memq name '(NoteHead Rest MultiMeasureRest Flag))
                    (false-if-exception (grob::when grob))))
         (stem (case name
           ((Stem) grob)
           ((Flag) (ly:grob-parent grob X))
           ((NoteHead) (ly:grob-object grob 'stem #f))
           (else #f))))
   `((class . ,(symbol->string name))
     (data-stem . ,(label-address stem))
     (data-dir . ,(label-number (ly:grob-property grob 'direction #f)))
     (data-grow . ,(label-number (ly:grob-property grob 'grow-direction #f)))
     (data-pos . ,(label-number (ly:grob-property grob 'staff-position #f)))
     (data-grace . ,(if (and (ly:moment? when)
                             (not (zero? (ly:moment-grace when)))) "1" ""))
     (data-onset . ,(if (ly:moment? when)
                     (label-number (* 4 (ly:moment-main when))) "")))))
#(define (label-all context)
  (make-engraver
   (acknowledgers
    ((grob-interface engraver grob source)
     (ly:grob-set-property! grob 'output-attributes label-of)))))
\layout {
  \context { \Score \consists #label-all \omit StaffEllipsis }
}
#(let* ((output (resolve-module '(lily output-svg)))
        (search (module-ref output 'cache-font))
        (known (make-hash-table)))
   (module-set! output 'cache-font
    (lambda (font size glyph)
     (if (list? glyph)
         (search font size glyph)
         (let ((key (list font size glyph)))
           (or (hash-ref known key)
               (let ((drawn (search font size glyph)))
                 (hash-set! known key drawn)
                 drawn)))))))
"""


@dataclasses.dataclass(frozen=True)
class Layout:
  """How a score is set.

  Attributes:
    width: of a page, staff spaces.
    height: of a page, staff spaces.
    staff_size: in points; decides which design of Emmentaler is used.
    face: of the texts, a key of `lilypond_svg.FACES`.
    part: option that sets only the first or last measures, such as
      -dfirst=R1*30; "" = all.
  """

  width: float
  height: float
  staff_size: float = 20.0
  face: str = "STIXGeneral"
  part: str = ""

  def prelude(self) -> str:
    """Input of LilyPond that goes before a score."""
    point = self.staff_size / 4
    return _PRELUDE % {
      "staff_size": f"{self.staff_size:g}",
      "width": self.width * point,
      "height": self.height * point,
      "fonts": lilypond_svg.TEXT_FONTS,
      "face": self.face,
    }


def find(path: str = "") -> pathlib.Path:
  """The folder of `lilypond` and `musicxml2ly`.

  Args:
    path: the program or its folder; "" = that of the package `lilypond`, or
      what the shell finds.

  Raises:
    InputError: there is none.
  """
  if path:
    folder = pathlib.Path(path).absolute()
    folder = folder if folder.is_dir() else folder.parent
  else:
    try:
      package: Any = importlib.import_module("lilypond")
      folder = pathlib.Path(package.executable()).parent
    except ImportError:
      folder = pathlib.Path(shutil.which("lilypond") or "/").parent
  for name in ("lilypond", "musicxml2ly"):
    if not (folder / name).is_file():
      raise InputError(
        f"{folder / name}: no such program; pip install lilypond, or name its"
        " folder by --lilypond"
      )
  return folder


def font_folder(programs: pathlib.Path) -> pathlib.Path:
  """The folder of Emmentaler as SVG.

  Raises:
    InputError: LilyPond has none there.
  """
  found = sorted(programs.parent.glob("share/lilypond/*/fonts/svg"))
  if not found:
    raise InputError(
      f"{programs}: no share/lilypond/*/fonts/svg beside it; use the programs"
      " of pip install lilypond"
    )
  return found[-1]


def engrave(
  score: pathlib.Path,
  layout: Layout,
  programs: pathlib.Path,
  cpu_s: float = 120.0,
) -> list[bytes]:
  """Engraves MusicXML.

  Args:
    cpu_s: processor seconds that a program may take.

  Returns:
    SVG of each page.

  Raises:
    ValueError: it fails, takes too long, or has Scheme; the reason in a line.
  """
  with tempfile.TemporaryDirectory(prefix="lilypond-") as name:
    folder = pathlib.Path(name)
    # The names of scores are not arguments of programs.
    source = folder / f"score{score.suffix.lower()}"
    shutil.copyfile(score, source)
    command = ["musicxml2ly", "--npl", "-o", "score.ly", source.name]
    _run(command, folder, programs, cpu_s)
    converted = folder / "score.ly"
    if not converted.is_file():
      raise ValueError("musicxml2ly wrote nothing")
    text = converted.read_text(encoding="utf8", errors="replace")
    check_input(text)
    converted.write_text(_with_plain_names(text), encoding="utf8")
    (folder / "prelude.ly").write_text(layout.prelude(), encoding="utf8")
    more = [layout.part] if layout.part else []
    command = ["lilypond", "--svg", "--loglevel=ERROR"]
    command += ["-dno-point-and-click", "-dinclude-settings=prelude.ly", *more]
    _run([*command, "-o", "page", converted.name], folder, programs, cpu_s)
    pages = sorted(folder.glob("page*.svg"), key=_number)
    if not pages:
      raise ValueError("LilyPond drew no page")
    return [path.read_bytes() for path in pages]


def check_input(text: str) -> None:
  """Refuses input with Scheme, or with other files, of unknown origin.

  Raises:
    ValueError: it has some.
  """
  for token in _TOKEN.finditer(text):
    if token["reads"]:
      raise ValueError(f"has {token.group()}, which reads files")
    start = token["scheme"] or ""
    if start == "(":
      _check_scheme(text, token.start("scheme"))
    elif start and not (_PLAIN.match(start) or start.isspace()):
      raise ValueError(f"has Scheme that begins with {start!r}")


def _check_scheme(text: str, at: int) -> None:
  """Raises ValueError unless all calls of an expression are known ones."""
  depth = 0
  while True:
    token = _SCHEME.match(text, at)
    call = token["call"] if token else None
    if token is None or not (call is None or call in _CALLS):
      raise ValueError(f"has Scheme: {text[at : at + 40]!r}")
    depth += (call is not None) - (token["end"] is not None)
    at = token.end()
    if not depth:
      return


def _with_plain_names(text: str) -> str:
  r"""Renames dynamics that musicxml2ly calls by their words, as `\con anima`.

  LilyPond's names are letters, right after the backslash.
  """
  names = {m.group(1) for m in _DYNAMIC.finditer(text)}
  for number, name in enumerate(sorted(names, key=len, reverse=True)):
    words = r"\s+".join(map(re.escape, name.split()))
    plain = "dynamic" + "ABCDEFGHIJ"[number % 10] * (number // 10 + 1)
    defined = rf"^ *{words} *= *#\("
    text = re.sub(defined, f"{plain} = #(", text, flags=re.MULTILINE)
    # Signs alone have meanings of their own, but not after a direction.
    before = "" if re.search("[a-zA-Z]", name) else "(?<=[-_^])"
    used = rf"{before}\\\s*{words}(?![a-zA-Z])"
    text = re.sub(used, rf"\\{plain} ", text)
  return text


def _number(path: pathlib.Path) -> int:
  digits = path.stem.rpartition("-")[2]
  return int(digits) if digits.isdecimal() else 0


def _limit(process: subprocess.Popen[bytes], seconds: float) -> None:
  """Limits a program that has just begun; it could do without no harm yet."""
  cpu = math.ceil(seconds)
  for what, most in (
    (resource.RLIMIT_CPU, cpu),
    (resource.RLIMIT_AS, _MEMORY),
    (resource.RLIMIT_FSIZE, _FILE),
    (resource.RLIMIT_CORE, 0),
  ):
    resource.prlimit(process.pid, what, (most, most))


def _run(
  command: list[str],
  folder: pathlib.Path,
  programs: pathlib.Path,
  cpu_s: float,
) -> None:
  """Runs a program of LilyPond in a folder; its children end with it.

  Processor time is limited, so that the same scores fail on a busy machine;
  waiting, to many times as much.
  """
  program, *arguments = command
  environment = {
    "PATH": f"{programs}{os.pathsep}{os.environ.get('PATH', '')}",
    "HOME": str(folder),  # caches go there
    "LANG": "C.UTF-8",
  }
  process = subprocess.Popen(
    [programs / program, *arguments],
    cwd=folder,
    env=environment,
    stdin=subprocess.DEVNULL,
    stdout=subprocess.DEVNULL,
    stderr=subprocess.PIPE,
    start_new_session=True,
  )
  try:
    _limit(process, cpu_s)
    _, log = process.communicate(timeout=_PATIENCE * cpu_s)
  except subprocess.TimeoutExpired:
    raise ValueError(f"{program} does not end") from None
  finally:
    if process.poll() is None:
      os.killpg(process.pid, signal.SIGKILL)
      process.communicate()
  if process.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
    raise ValueError(f"{program} takes more than {cpu_s:g} s")
  if process.returncode:
    said = log.decode(errors="replace").strip().splitlines() or [""]
    errors = [line for line in said if "error" in line.lower()] or said
    reason = f"{program} ends with {process.returncode}: {errors[-1]}"
    raise ValueError(reason[:_LONGEST])
