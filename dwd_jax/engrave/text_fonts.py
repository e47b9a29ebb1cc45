"""Finds the fonts that texts can be set in, and reads their characters.

Besides the Liberation Serif of verovio's wheel: the fonts that fontconfig
lists, those of matplotlib, and those of a folder. So texts look different on
another machine, unlike music.
"""

import base64
import functools
import importlib.util
import io
import logging
import os
import pathlib
import re
import shutil
import subprocess
import zlib
from collections.abc import Sequence
from typing import NamedTuple

import verovio
from fontTools.ttLib import TTFont

# Fonts of matplotlib are older than their format.
logging.getLogger("fontTools.ttLib.tables._h_e_a_d").setLevel(logging.ERROR)

_SUFFIXES = {".ttf", ".otf"}
_MOST_FONTS = 300  # those of the folders first
_MOST_BYTES = 16 << 20
_TIMEOUT_S = 20
_CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_ACCENTS = {*"àâäåæçèéêíñóôöøùûüßÄÅÉÖÜ"}
_PUNCTUATION = {"period": ".", "comma": ",", "hyphen": "-", "parenleft": "("}
# Names of glyphs; fonts of mathematical symbols have others at these places.
_NAMED = {"A": "A", "a": "a", "V": "V", "three": "3"}
_NO_TEXT = re.compile("emoji|symbol|math|LastResort", re.IGNORECASE)
# Families whose files do not say so.
_TEX = {
  "cmr10": ("Computer Modern", False, False),
  "cmb10": ("Computer Modern", True, False),
  "cmti10": ("Computer Modern", False, True),
}
_VEROVIO = pathlib.Path(str(verovio.__file__)).parent / "data/Liberation.css"
_SOURCE = re.compile(r"base64,([A-Za-z0-9+/=]+)")
LIBERATION = "Liberation Serif"


class TextFont(NamedTuple):
  """A font file.

  Attributes:
    file: its path; "0" to "3" for the faces of verovio's wheel.
    family: fonts of one family differ in weight and slope only.
    has_text: has punctuation, too, not only letters and digits.
    has_accents: has the letters of western Europe, too.
  """

  file: str
  family: str
  bold: bool
  italic: bool
  has_text: bool = True
  has_accents: bool = True


BUILT_IN = tuple(
  TextFont(str(i), LIBERATION, bool(i % 2), i > 1) for i in range(4)
)


def find(folders: Sequence[str | os.PathLike] = ()) -> list[TextFont]:
  """The fonts of this machine that have letters and digits.

  Args:
    folders: further fonts, in them and below.

  Returns:
    Those of verovio's wheel, then others by the names of their files, of which
    each counts once.
  """
  paths: dict[str, pathlib.Path] = {}
  named = [p for f in folders for p in sorted(pathlib.Path(f).rglob("*"))]
  for path in (*named, *_of_matplotlib(), *_of_fontconfig()):
    if path.suffix.lower() in _SUFFIXES:
      paths.setdefault(path.name, path)
  kept = sorted([*paths][:_MOST_FONTS])
  found = [_describe(paths[name]) for name in kept]
  return [*BUILT_IN, *(font for font in found if font is not None)]


def _of_matplotlib() -> list[pathlib.Path]:
  """Found without an import, which takes longer than all the rest."""
  spec = importlib.util.find_spec("matplotlib")
  if spec is None or spec.origin is None:
    return []
  return sorted(pathlib.Path(spec.origin).parent.glob("mpl-data/fonts/ttf/*"))


def _of_fontconfig() -> list[pathlib.Path]:
  command = shutil.which("fc-list")
  if command is None:
    return []
  try:
    listed = subprocess.run(
      [command, "--format", "%{file}\n"],
      capture_output=True,
      text=True,
      timeout=_TIMEOUT_S,
      check=True,
    ).stdout
  except (OSError, ValueError, subprocess.SubprocessError):
    return []
  return [pathlib.Path(line) for line in sorted(set(listed.splitlines()))]


def _describe(path: pathlib.Path) -> TextFont | None:
  """What a file says of itself; None if it cannot set texts."""
  if _NO_TEXT.search(path.stem):
    return None
  try:
    if path.stat().st_size > _MOST_BYTES:
      return None
    with path.open("rb") as file, TTFont(file, lazy=True) as font:
      known = font.getBestCmap() or {}
      drawn = "glyf" in font or "CFF " in font
      missing = any(ord(char) not in known for char in _CHARACTERS)
      if not drawn or missing or not _are_named(known, _NAMED):
        return None
      family = str(font["name"].getDebugName(1) or path.stem)  # pyright: ignore
      style = font["head"].macStyle  # pyright: ignore
  except Exception:  # whatever fontTools meets in a broken file
    return None
  family, bold, italic = _TEX.get(
    path.stem, (family, bool(style & 1), bool(style & 2))
  )
  has_accents = not _is_tex(path.name) and {*map(chr, known)} >= _ACCENTS
  has_text = has_accents or _are_named(known, _PUNCTUATION)
  return TextFont(str(path), family, bold, italic, has_text, has_accents)


def _is_tex(name: str) -> bool:
  """Whether a file has another encoding than it says, but for ASCII."""
  return bool(re.fullmatch(r"cm[a-z]+\d+\.ttf", name))


def _are_named(known: dict[int, str], names: dict[str, str]) -> bool:
  """Whether glyphs are called as their characters are, with any ending."""
  return all(
    known.get(ord(char), "").startswith(name) for name, char in names.items()
  )


def file_names(fonts: Sequence[tuple]) -> list[str]:
  """Names of the files of `TextFont`s, without those of verovio's wheel."""
  return [pathlib.Path(f[0]).name for f in fonts if not f[0].isdecimal()]


def families(fonts: Sequence[TextFont]) -> list[tuple[TextFont, ...]]:
  """The fonts of each family, in the order of their first ones."""
  found: dict[str, list[TextFont]] = {}
  for font in fonts:
    found.setdefault(font.family, []).append(font)
  return [tuple(family) for family in found.values()]


class LoadedFont:
  """An open font.

  Attributes:
    number: tells it from others.
    units: font units per em.
    names: names of glyphs by code point, without spaces.
    glyphs: what draws them.
  """

  def __init__(self, number: int, source: str | io.BytesIO):
    font = TTFont(source, lazy=True)
    self.number = number
    self.units: int = font["head"].unitsPerEm  # pyright: ignore
    self.names: dict[int, str] = font.getBestCmap() or {}
    self.glyphs = font.getGlyphSet()
    space = self.names.get(ord(" "), "")
    self._space = 0.28
    if space.startswith("space"):
      self._space = self.glyphs[space].width / self.units
    if isinstance(source, str) and _is_tex(pathlib.Path(source).name):
      kept = (*_CHARACTERS, *".,;:!?()'/+-=")
      self.names = {c: n for c, n in self.names.items() if chr(c) in kept}

  def has(self, char: str) -> bool:
    """Whether the font can set a character."""
    return char.isspace() or ord(char) in self.names

  def advance(self, char: str) -> float:
    """Width of a character at size 1, or of the missing glyph."""
    if char.isspace():
      return self._space
    name = self.names.get(ord(char), ".notdef")
    return self.glyphs[name].width / self.units


@functools.lru_cache(maxsize=1)
def _built_in() -> list[str]:
  return _SOURCE.findall(_VEROVIO.read_text())


@functools.lru_cache(maxsize=64)
def load(file: str) -> LoadedFont:
  """Opens a `TextFont.file`."""
  if file.isdecimal():
    source = io.BytesIO(base64.b64decode(_built_in()[int(file)]))
    return LoadedFont(int(file), source)
  return LoadedFont(zlib.crc32(file.encode()), file)
