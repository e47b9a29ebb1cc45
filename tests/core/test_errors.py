"""An error is one line, whatever it quotes."""

import pytest

from dwd_jax.core.errors import InputError

QUOTED = {
  "line ends": ("a\nb\r\nc\u2028d\x85e", "a b c d e"),
  "terminal": ("\x1b[2Jred\x07\x9b1m", "?[2Jred??1m"),
  "direction of text": ("gpj.\u202eexe", "gpj.?exe"),
  "other languages": ("音\u3000楽 é.png", "音\u3000楽 é.png"),
}


def test_what_is_quoted_is_cut():
  line = str(InputError(f"a.xml: has {'x' * 10**6}; repair it"))
  assert len(line) < 2000
  assert line.startswith("a.xml: has x") and line.endswith("x; repair it")


@pytest.mark.parametrize("caption", QUOTED)
def test_what_is_quoted_controls_nothing(caption):
  text, shown = QUOTED[caption]
  assert str(InputError(f"{text}: damaged")) == f"{shown}: damaged"
