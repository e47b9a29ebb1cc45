"""The report of an evaluation: its numbers, its links, hostile names."""

import html.parser
import re
import urllib.parse

import eval_helpers
import numpy as np
import pytest
from eval_helpers import HOSTILE

from dwd_jax.evaluate import output_files
from dwd_jax.metrics import json_results


class Page(html.parser.HTMLParser):
  """Tags, links and table rows of a page.

  Attributes:
    tags: how often each occurs.
    links: addresses of all links.
    rows: texts of the cells, for every row of a table.
  """

  def __init__(self, text):
    super().__init__()
    self.tags, self.links, self.rows, self._open = {}, [], [], False
    self.attributes = set()
    self.feed(text)

  def handle_starttag(self, tag, attrs):
    self.tags[tag] = self.tags.get(tag, 0) + 1
    self.attributes |= {name for name, _ in attrs}
    if tag == "a":
      self.links.append(dict(attrs)["href"])
    if tag == "tr":
      self.rows.append([])
    if tag in ("td", "th"):
      self.rows[-1].append("")
      self._open = True

  def handle_endtag(self, tag):
    if tag in ("td", "th"):
      self._open = False

  def handle_data(self, data):
    if self._open:
      self.rows[-1][-1] += data


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  """Of an evaluation; nobody may change it."""
  out_dir = tmp_path_factory.mktemp("eval")
  eval_helpers.evaluate(out_dir)
  return out_dir


def _summary_and_report(folder):
  return (
    eval_helpers.read(folder / "val.json"),
    eval_helpers.read(folder / "val" / "report.json"),
  )


def test_the_numbers_are_those_of_the_summary(folder):
  summary, report = _summary_and_report(folder)
  point = report["point"]
  assert point["from"] == "calibration"
  for key in ("threshold", "precision", "recall", "f1"):
    assert point[key] == summary[key]
  assert point["num_objects"] == summary["num_objects"] == 48
  assert report["saved"] == {
    "min_score": summary["min_score"],
    "num_detections": summary["num_detections"],
  }
  by_name = {row["name"]: row for row in report["classes"]}
  assert len(by_name) >= 3
  for name, scores in summary["per_class"].items():
    if name not in by_name:  # neither objects nor detections at the threshold
      assert not scores["num_objects"]
      continue
    row = by_name[name]
    assert row["AP"] == scores["AP"]
    assert row["AP_by_iou"][0] == scores["AP_50"]
    assert row["num_objects"] == scores["num_objects"]
  for i, iou in enumerate(summary["AP_by_iou"]):
    column = [r["AP_by_iou"][i] for r in report["classes"]]
    known = [ap for ap in column if ap is not None]
    assert np.mean(known) == pytest.approx(summary["AP_by_iou"][iou])
  assert report["errors"]["AP_50"] == pytest.approx(summary["mAP_50"])


def test_the_parts_of_the_report_agree(folder):
  _, report = _summary_and_report(folder)
  point, pages = report["point"], report["pages"]
  for key in ("num_objects", "num_detections", "num_right"):
    assert sum(page[key] for page in pages) == point[key]
    assert sum(row[key] for row in report["classes"]) == point[key]
  kinds = report["errors"]["kinds"]
  wrong = sum(v["count"] for k, v in kinds.items() if k != "missed")
  assert wrong == point["num_detections"] - point["num_right"]
  assert all(kind["count"] for kind in kinds.values())
  assert sum(kind["share"] for kind in kinds.values()) == pytest.approx(1)
  for kind, entry in kinds.items():
    by_class = [row["counts"][kind] for row in report["errors"]["by_class"]]
    assert sum(by_class) == entry["count"]
  cells = report["confusion"]
  right = sum(n for true, found, n in cells if true == found)
  assert right == point["num_right"]
  assert sum(n for true, _, n in cells if true is not None) == 48
  for unit, shown in (("px", pages), ("staff_spaces", pages[:-1])):
    sizes = report["sizes"][unit]
    assert sum(sizes["num_objects"]) == sum(p["num_objects"] for p in shown)
    found = [
      recall * n
      for recall, n in zip(sizes["recall"], sizes["num_objects"], strict=True)
      if n
    ]
    right = sum(page["num_right"] for page in shown)
    assert sum(found) == pytest.approx(right, abs=1e-3)
  # Measured on each page; the last has no staves.
  spaces = [page["staff_space_px"] for page in pages]
  assert spaces[:-1] == [pytest.approx(9, abs=0.2)] * 3
  assert spaces[-1] is None
  curve = report["curves"][0]
  assert curve["name"] == "all classes"
  assert curve["num_objects"] == 48
  counts = report["reliability"]["final"]["count"]
  assert sum(counts) == sum(report["reliability"]["raw"]["count"]) == 64


def test_errors_of_oriented_boxes_stand_beside_the_upright_ones(
  folder, tmp_path
):
  eval_helpers.evaluate(
    tmp_path, eval_helpers.pages(oriented=True), viewer_pages=0
  )
  summary, report = _summary_and_report(tmp_path)
  _, without = _summary_and_report(folder)
  # The same boxes: what is judged upright does not change.
  assert report["errors"] == without["errors"]
  rotated, point = report["rotated"], report["point"]
  assert rotated["errors"]["AP_50"] == pytest.approx(
    summary["rotated"]["mAP_50"]
  )
  assert rotated["point"]["num_objects"] == point["num_objects"]
  kinds = rotated["errors"]["kinds"]
  wrong = sum(v["count"] for k, v in kinds.items() if k != "missed")
  right = rotated["point"]["num_right"]
  assert right + wrong == rotated["point"]["num_detections"]
  assert rotated["point"]["recall"] == right / point["num_objects"]
  assert kinds != report["errors"]["kinds"]
  by_class = rotated["errors"]["by_class"]
  for kind, entry in kinds.items():
    assert sum(row["counts"][kind] for row in by_class) == entry["count"]
  rows = Page((tmp_path / "val" / "report.html").read_text()).rows
  first = [row[:2] for row in rows if row and row[0] == "badly placed"]
  counts = [
    r["errors"]["kinds"]["location"]["count"] for r in (report, rotated)
  ]
  assert first == [["badly placed", str(count)] for count in counts]
  assert "rotated" not in without
  assert "riented" not in (folder / "val" / "report.html").read_text()


def test_curves_show_the_frequent_and_the_worst_by_the_rule(folder):
  _, report = _summary_and_report(folder)
  objects = {r["name"]: r["num_objects"] for r in report["classes"]}
  frequent = [c for c in report["curves"] if c["sort"] == "frequent"]
  assert [c["name"] for c in frequent] == sorted(
    (name for name in objects if objects[name]), key=lambda n: -objects[n]
  )
  worst = [c for c in report["curves"] if c["sort"] == "worst"]
  assert worst
  assert all(c["num_objects"] >= json_results.MIN_OBJECTS for c in worst)
  assert [c["AP_50"] for c in worst] == sorted(c["AP_50"] for c in worst)


def test_the_page_shows_them(folder):
  summary, report = _summary_and_report(folder)
  text = (folder / "val" / "report.html").read_text()
  page = Page(text)
  for key in ("mAP", "mAP_50", "precision", "recall", "f1"):
    assert f"<b>{summary[key]:.3f}</b>" in text
  for row in report["classes"]:
    shown = next(r for r in page.rows if r[0] == row["name"])
    assert shown[1:3] == [str(row["num_objects"]), str(row["num_detections"])]
    assert shown[5] == ("–" if row["AP"] is None else f"{row['AP']:.3f}")  # noqa: RUF001
  kinds = {r[0]: r[1] for r in page.rows if len(r) == 5}
  for kind, name in (("missed", "missed"), ("class", "wrong class")):
    assert kinds[name] == str(report["errors"]["kinds"][kind]["count"])
  assert page.tags["svg"] == 8  # 4 curves, 2 sizes, 2 of the scores


def test_nothing_comes_from_outside_and_names_stay_text(tmp_path):
  names = [f"{i}{HOSTILE}.png" for i in range(3)] + ["plain.png"]
  known = eval_helpers.pages(names=names)
  eval_helpers.evaluate(tmp_path, known, dataset=HOSTILE)
  text = (tmp_path / "val" / "report.html").read_text()
  page = Page(text)
  assert HOSTILE not in text
  assert HOSTILE in {row[0] for row in page.rows}  # a class
  assert set(names) < {row[0] for row in page.rows}
  assert page.tags["script"] == 1
  assert "b" in page.tags  # the numbers, not the name
  assert not {"onload", "onclick", "src"} & page.attributes
  assert not re.search(r"https?:|//[a-z]|@import|url\(", text)
  assert "default-src 'none'" in text


def test_names_that_are_no_unicode_are_shown_and_linked(tmp_path):
  known = eval_helpers.pages(names=["a\udcff.png", "b.png", "c.png", "d.png"])
  eval_helpers.evaluate(tmp_path, known)
  page = Page((tmp_path / "val" / "report.html").read_text())
  assert "a?.png" in {row[0] for row in page.rows}
  assert "index.html#page=a%3F.png" in page.links


def test_the_worst_pages_lead_into_the_viewer(folder, tmp_path):
  _, report = _summary_and_report(folder)
  page = Page((folder / "val" / "report.html").read_text())
  worst = [report["pages"][i] for i in report["worst_pages"]]
  f1 = [(p["f1"], -p["num_errors"]) for p in worst]
  assert f1 == sorted(f1)
  links = [link for link in page.links if link.startswith("index.html#page=")]
  names = [urllib.parse.unquote(link.split("=")[1]) for link in links]
  assert names == [p["name"] for p in worst]
  assert "index.html#page=page%200.png" in links
  assert (folder / "val" / "index.html").is_file()
  # Only the first pages are in a smaller viewer, none in no viewer.
  for wanted, expected in ((2, {"page 0.png", "page 1.png"}), (0, set())):
    out_dir = tmp_path / str(wanted)
    eval_helpers.evaluate(out_dir, viewer_pages=wanted)
    page = Page((out_dir / "val" / "report.html").read_text())
    found = {
      urllib.parse.unquote(link.split("=")[1])
      for link in page.links
      if "=" in link
    }
    assert found == expected
    assert (out_dir / "val" / "index.html").exists() == bool(wanted)
    pictures = list(out_dir.glob("val/pages/*.jpg"))
    assert len(pictures) == len(expected)


# Caption: options of an evaluation, what the page says.
ODD = {
  "no pages": ({"known": [], "calibration": None}, "There are no pages"),
  "raw scores": ({"calibration": None}, "best F1 on these very pages"),
  "legacy": ({"calibration": None, "protocol": "legacy"}, "<dd>legacy</dd>"),
  "a least score above the threshold": (
    {"min_score": 0.6},
    "the least score; that of the calibration, 0.200, is lower",
  ),
  "pages that are not normalised": ({"normalise": "off"}, "In pixels"),
}


@pytest.mark.parametrize("caption", ODD)
def test_odd_evaluations_have_a_report(caption, tmp_path):
  options, said = ODD[caption]
  eval_helpers.evaluate(tmp_path, **options)
  text = (tmp_path / "val" / "report.html").read_text()
  assert said in text
  assert "nan" not in Page(text).rows.__repr__()
  report = eval_helpers.read(tmp_path / "val" / "report.json")
  unknown = report["sizes"]["staff_spaces"] is None
  assert unknown == (caption in ("no pages", "pages that are not normalised"))


def test_pictures_of_any_kind_are_images(tmp_path):
  eval_helpers.evaluate(tmp_path, dataset="boxes", normalise="off")
  text = (tmp_path / "val" / "report.html").read_text()
  shown = re.sub(r"<(style|script).*?</\1>|<[^>]*>", "", text, flags=re.DOTALL)
  # Names of the files, which these pages have, aside.
  assert not re.search(r"\b[Pp]ages?\b(?! \d)", shown)
  assert "4 images with 48 objects" in shown and "Worst images" in shown


# Caption: name of a page, file of its picture.
PICTURES = {
  "plain": ("a-1.png", r"pages/a-1\.jpg"),
  "another ending": ("a-1.jpg", r"pages/a-1-[0-9a-f]{8}\.jpg"),
  "a space": ("a 1.png", r"pages/a_1-[0-9a-f]{8}\.jpg"),
  "a way out": ("../../a.png", r"pages/a-[0-9a-f]{8}\.jpg"),
  "nothing": ("", r"pages/-[0-9a-f]{8}\.jpg"),
  "long": ("x" * 300 + ".png", r"pages/x{100}-[0-9a-f]{8}\.jpg"),
  "no Unicode": ("\udcff.png", r"pages/_-[0-9a-f]{8}\.jpg"),
}


@pytest.mark.parametrize("caption", PICTURES)
def test_pictures_have_names_that_are_fit_for_files(caption):
  name, expected = PICTURES[caption]
  assert re.fullmatch(expected, output_files.picture_name(name))


def test_each_process_writes_the_pictures_of_its_pages(tmp_path):
  known = eval_helpers.pages(names=[f"{i}.png" for i in range(4)])
  second = output_files.Pictures(tmp_path, 3, first=2)
  for page in known[2:]:
    second(page)
  # The last is beyond the limit, counted from the split's first page.
  assert [p.name for p in (tmp_path / "pages").iterdir()] == ["2.jpg"]
