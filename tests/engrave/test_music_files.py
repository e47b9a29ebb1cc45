"""Excerpts of music files: what is cut, varied and refused."""

import dataclasses
import io
import random
import zipfile

import pytest
import verovio
from lxml import etree

from dwd_jax.engrave import engraver, music_files
from dwd_jax.engrave.rarities import RATES, Rarities

_PLAIN = {name: 0.0 for name in RATES if name.startswith("file_")}
_CONTAINER = (
  '<container><rootfiles><rootfile full-path="{}"/></rootfiles></container>'
)


def _note(octave):
  return (
    f"<note><pitch><step>C</step><octave>{octave}</octave></pitch>"
    "<duration>4</duration><type>whole</type>"
    "<lyric><text>la</text></lyric></note>"
  )


def _score(measures=12):
  """A voice above a piano; the key changes in measure 3, the clef in 4."""
  parts = []
  for name in ("P1", "P2"):
    out = []
    for number in range(1, measures + 1):
      signs = ""
      if number == 1:
        staves = "<staves>2</staves>" if name == "P2" else ""
        signs = (
          "<divisions>1</divisions><key><fifths>0</fifths></key>"
          f"<time><beats>4</beats><beat-type>4</beat-type></time>{staves}"
          "<clef><sign>G</sign><line>2</line></clef>"
        )
      elif number == 3:
        signs = "<key><fifths>2</fifths></key>"
      elif number == 4 and name == "P2":
        signs = '<clef number="2"><sign>F</sign><line>4</line></clef>'
      signs = f"<attributes>{signs}</attributes>" if signs else ""
      out.append(f'<measure number="{number}">{signs}{_note(4)}</measure>')
    parts.append(f'<part id="{name}">{"".join(out)}</part>')
  names = "".join(
    f'<score-part id="{name}"><part-name>{name}</part-name></score-part>'
    for name in ("P1", "P2")
  )
  return (
    f'<score-partwise version="3.1"><part-list>{names}</part-list>'
    f"{''.join(parts)}</score-partwise>"
  ).encode()


def _excerpt(path, seed=0, notes=1000, **rates):
  weights = Rarities({**_PLAIN, **rates})
  return music_files.excerpt(path, random.Random(seed), weights, notes)


def _file(tmp_path, data=None, name="a.musicxml"):
  path = tmp_path / name
  path.write_bytes(_score() if data is None else data)
  return path


def _zip(members):
  file = io.BytesIO()
  with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
    for name, data in members.items():
      # Of one time: the bytes are part of a test's name.
      archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
  return file.getvalue()


def test_an_excerpt_from_within_keeps_the_signs_in_force(tmp_path):
  path = _file(tmp_path)
  for seed in range(20):
    found = _excerpt(path, seed, notes=8, file_from_within=1.0)
    root = etree.fromstring(found.data)
    first = root.find("part[@id='P2']/measure")
    number = int(first.get("number"))
    assert [a.tag for a in first].count("attributes") == 1
    tags = [sign.tag for sign in first.find("attributes")]
    clefs = ["clef", "clef"] if number >= 4 else ["clef"]
    assert tags == ["divisions", "key", "time", "staves", *clefs]
    sharps = first.findtext("attributes/key/fifths")
    assert sharps == ("2" if number >= 3 else "0")
    assert 3 <= len(root.findall("part[@id='P2']/measure")) <= 5
  assert number > 1


def test_other_clefs_keep_notes_near_the_staff(tmp_path):
  root = etree.fromstring(_excerpt(_file(tmp_path), file_other_clef=1.0).data)
  voice, piano = root.findall("part")
  assert voice.findtext(".//clef/sign") in ("C", "F")
  assert voice.findtext(".//octave") in ("3", "2")
  assert piano.findtext(".//clef/sign") == "G"  # it has two staves


def test_solo_staves_become_smaller_than_the_piano(tmp_path):
  root = etree.fromstring(_excerpt(_file(tmp_path), file_reduced_solo=1.0).data)
  voice, piano = root.findall("part")
  assert 58 <= float(voice.findtext(".//staff-size", "")) <= 78
  assert piano.find(".//staff-size") is None


def test_parts_lyrics_and_keys_vary(tmp_path):
  found = _excerpt(
    _file(tmp_path),
    file_fewer_parts=1.0,
    file_without_lyrics=1.0,
    file_transposed=1.0,
  )
  root = etree.fromstring(found.data)
  assert len(root.findall("part")) == len(root.findall(".//score-part")) == 1
  assert root.find(".//lyric") is None
  assert found.options["transpose"].lstrip("-") in music_files._INTERVALS
  assert "transpose" not in _excerpt(_file(tmp_path)).options


def test_compressed_files_are_read_wherever_the_score_lies(tmp_path):
  for inside in ("score.xml", "../../up.xml", "/etc/score.xml"):
    members = {
      "META-INF/container.xml": _CONTAINER.format(inside),
      inside: _score(),
    }
    found = _excerpt(_file(tmp_path, _zip(members), "a.mxl"))
    assert etree.fromstring(found.data).tag == "score-partwise"
  assert [path.name for path in tmp_path.iterdir()] == ["a.mxl"]


def test_measures_of_mei_and_kern_are_selected(tmp_path):
  kern = "**kern\n" + "".join(f"={n}\n4c\n4d\n" for n in range(1, 40)) + "*-\n"
  found = _excerpt(_file(tmp_path, kern.encode(), "a.krn"), notes=3)
  assert found.measures.startswith("1-") and found.measures != "1-39"
  mei = '<mei xmlns="http://www.music-encoding.org/ns/mei">{}</mei>'
  data = mei.format("<measure><note/></measure>" * 9).encode()
  found = _excerpt(_file(tmp_path, data, "a.xml"), notes=4)
  assert found.options["inputFrom"] == "mei" and found.measures == "1-5"


def test_pages_do_not_depend_on_files_before_them(tmp_path):
  """Verovio keeps the format and the excerpt, and crashes on other data."""
  kern = "**kern\n*clefG2\n=1\n4c\n4d\n=2\n4e\n==\n*-\n"
  file = _file(tmp_path, kern.encode(), "a.krn")
  task = engraver.EngraveTask(0, ("Leipzig",), width=400, height=400)
  verovio.enableLog(verovio.LOG_OFF)
  toolkit = verovio.toolkit()
  before = engraver.engrave(task, toolkit)
  always = {"file_transposed": 1.0, "bare_strokes": 0.0}
  other = dataclasses.replace(task, path=str(file), weights=always)
  assert engraver.engrave(other, toolkit)[0].counts["noteheadBlack"] == 3
  assert engraver.engrave(task, toolkit) == before


_BOMB = '<!DOCTYPE s [<!ENTITY a "aaaa">]><score-partwise>&a;</score-partwise>'


@pytest.mark.parametrize(
  ("caption", "data", "message"),
  [
    ("entities", _BOMB.encode(), "defines XML entities"),
    ("other XML", b"<html/>", "<html> is not <score-partwise>"),
    ("no XML", b"hello", "damaged XML"),
    ("half an archive", _zip({"a.xml": _score()})[:90], "damaged archive"),
    ("no score in it", _zip({"a.txt": "x"}), "holds no score"),
    (
      "a member that is not there",
      _zip({"META-INF/container.xml": _CONTAINER.format("/etc/passwd")}),
      "damaged archive",
    ),
    ("entities in it", _zip({"a.xml": _BOMB}), "defines XML entities"),
    ("an empty list of parts", b"<score-partwise/>", "no measures"),
  ],
)
def test_bad_files(caption, data, message, tmp_path):
  with pytest.raises(ValueError, match=message):
    _excerpt(_file(tmp_path, data))


def test_what_is_too_large_is_not_read(tmp_path, monkeypatch):
  monkeypatch.setattr(music_files, "_MOST_BYTES", 4000)
  with pytest.raises(ValueError, match="more than"):
    _excerpt(_file(tmp_path, b"<a>" + b" " * 5000 + b"</a>"))
  bomb = _zip({"a.xml": b"<a>" + b" " * 9000 + b"</a>"})
  assert len(bomb) < 4000
  with pytest.raises(ValueError, match=r"a\.xml: more than"):
    _excerpt(_file(tmp_path, bomb))
