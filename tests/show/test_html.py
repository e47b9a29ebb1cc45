"""Pages from templates, and the charts in them, whatever names hold."""

import base64
import hashlib
import re

import jinja2
import pytest

from dwd_jax.core import files
from dwd_jax.show.html import charts, templates

HOSTILE = '</title><svg onload="x()">&\'é'
PAGE = """{% extends "base.html.j2" %}
{% import "macros.html.j2" as t %}
{% block title %}{{ name }}{% endblock %}
{% block sources %}script-src {{ script_hash }}{% endblock %}
{% block scripts %}<script>{{ script }}</script>{% endblock %}
{% block content %}
{% call t.table(["name", name], sortable=true) %}
<tr>{{ t.name(name, link=name) }}{{ t.share(0.25, "heat") }}</tr>
{% endcall %}
{{ t.figure(name, chart, [(1, name)]) }}
{% endblock %}
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
  """A package with the template page.html.j2."""
  (tmp_path / "some_report").mkdir()
  (tmp_path / "some_report/__init__.py").touch()
  (tmp_path / "some_report/page.html.j2").write_text(PAGE)
  monkeypatch.syspath_prepend(tmp_path)
  yield "some_report"
  templates._environment.cache_clear()


def test_names_stay_text_wherever_they_stand(package):
  chart = charts.lines("x", [charts.Line(HOSTILE, [0, 1], [0, 1])], "a", "b")
  text = templates.render(package, "page.html.j2", name=HOSTILE, chart=chart)
  assert HOSTILE not in text and "<svg onload" not in text
  escaped = str(templates.Markup.escape(HOSTILE))
  # The title, two cells, a link, the figure's heading and its key.
  assert text.count(escaped) == 6
  assert text.count("<svg ") == 1 and "</svg>" in text
  assert 'style="--v:0.250" data-v="0.25">0.250</td>' in text


def test_half_a_surrogate_pair_is_written_as_a_question_mark(package, tmp_path):
  text = templates.render(package, "page.html.j2", name="a\udcff", chart="")
  files.write_atomic(tmp_path / "index.html", text)
  written = (tmp_path / "index.html").read_text(encoding="utf8")
  assert "<title>a?</title>" in written


def test_a_name_that_is_not_given_raises(package):
  with pytest.raises(jinja2.UndefinedError, match="chart"):
    templates.render(package, "page.html.j2", name="a")


def test_only_the_script_of_the_kit_may_run(package):
  text = templates.render(package, "page.html.j2", name="a", chart="")
  script = re.search("<script>(.*)</script>", text, re.DOTALL)[1]
  digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
  (policy,) = re.findall('Content-Security-Policy" content="(.*)"', text)
  assert f"script-src 'sha256-{digest}'" in policy
  assert policy.startswith("default-src 'none';")


def _curve(name=HOSTILE):
  line = charts.Line(name, [0.0, None, 0.5], [1.0, 0.9, 0.4], (0.5, 0.4))
  return charts.lines("a curve", [line], "recall", "precision", first=3)


# Caption: a chart, its tooltips.
CHARTS = {
  "lines": (_curve, [HOSTILE, f"{HOSTILE}, at the threshold"]),
  "a line without points": (
    lambda: charts.lines("x", [charts.Line("y", [None], [0.5])], "a", "b"),
    [],
  ),
  "bars": (
    lambda: charts.bars(
      "x", ["< 4", "4 +"], [("r", [0.5, None]), ("s", [0.25, 1.0])], "size"
    ),
    ["r, < 4: 0.500", "s, < 4: 0.250", "s, 4 +: 1.000"],
  ),
  "reliability": (
    lambda: charts.reliability("score", [None, 0.5], [None, 0.7], 0.6, 2),
    ["mean score 0.700: 0.500 right"],
  ),
  "no scores": (
    lambda: charts.reliability("score", [None], [None], 1.5, 2),
    [],
  ),
}


@pytest.mark.parametrize("caption", CHARTS)
def test_charts_are_the_same_each_time_and_need_nothing(caption):
  draw, tips = CHARTS[caption]
  chart = draw()
  assert chart == draw()
  found = re.findall("<title>(.*?)</title>", chart)
  assert [templates.Markup(tip).unescape() for tip in found] == tips
  assert not re.search(r"https?:|url\(|<style|<metadata|#0000f", chart)
  # Ids are those of markers only, which several charts of a page may share.
  assert set(re.findall(' id="(.)', chart)) <= {"m"}


def test_the_colours_of_a_chart_are_those_of_the_page():
  assert "stroke: var(--c3)" in _curve()
  assert "fill: var(--c9)" in _curve()  # the ring shows the paper
  declared = set(re.findall(r"(--c\d):", templates._read("style.css")))
  assert set(re.findall(r"var\((--c\d)\)", _curve())) <= declared


def test_names_of_sizes():
  assert charts.size_names([0, 4, 8.5, None]) == ["< 4", "4–8.5", "8.5 +"]  # noqa: RUF001
