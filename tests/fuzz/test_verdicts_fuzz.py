"""Whatever a stranger sends to the coordinator: a verdict, never success."""

import fuzz_helpers as helpers
from hypothesis import example, given
from hypothesis import strategies as st

from dwd_jax.cluster import distributed


def _check(text: str) -> None:
  verdict = distributed.read_verdict(text)
  if verdict is None:
    assert text.strip() == "null"
    return
  process, why, code = verdict
  assert isinstance(process, int) and len(why) <= 1000 and 1 <= code <= 255


@helpers.cases()
@given(data=helpers.damaged_json([1, "lost", 75]))
def test_odd_values(data):
  _check(data.decode("utf8", "replace"))


@helpers.cases()
@given(text=st.text())
@example(text="null")
@example(text="[0, 0, true]")
@example(text='[1, "lost", 0]')
def test_any_text(text):
  _check(text)
