"""The viewer compares with the truth as `metrics.matching` does."""

import dataclasses

import numpy as np
import pytest

from dwd_jax.metrics.matching import match
from dwd_jax.show.viewer import write
from dwd_jax.show.viewer.write import ViewerPage


def python_counts(matches):
  wrong = ~matches.hit & (matches.confused_with >= 0)
  return {
    "hit": int(matches.hit.sum()),
    "wrongClass": int(wrong.sum()),
    "falsePositive": int((~matches.hit & ~wrong).sum()),
    "missed": int((~matches.found).sum()),
    "found": int(matches.found.sum()),
  }


def shown_counts(page):
  rows = page.locator("#legend-list label").evaluate_all(
    "(rows) => rows.map((r) => [r.dataset.outcome, r.lastChild.innerText])"
  )
  return {outcome: int(count) for outcome, count in rows}


def random_pages(boxes, picture, seed):
  """Crowded boxes with ties of score and of overlap, and none at all."""
  rng = np.random.default_rng(seed)
  pages = []
  for i, (n, m) in enumerate([(300, 200), (80, 120), (0, 10), (10, 0)]):
    name = f"page {i}"
    top_left = rng.integers(0, 120, (m, 2))
    truth = np.concatenate(
      [top_left, top_left + rng.integers(1, 60, (m, 2))], axis=1
    )
    truth[: m // 3] = truth[m // 3 : 2 * (m // 3)]  # equal overlaps
    near = np.zeros((n, 4))
    if m:
      moved = rng.integers(-4, 5, (n, 4)) / 2 * (rng.random((n, 1)) < 0.8)
      near = truth[rng.integers(0, m, n)] + moved
    else:
      near[:, 2:] = 10
    labels = [rng.integers(0, 3, (count, 1)) for count in (n, m)]
    scores = rng.integers(0, 21, n) / 20
    pages.append(
      ViewerPage(
        name,
        picture(f"{i}.jpg"),
        boxes(np.concatenate([labels[0], near], axis=1), scores, name=name),
        boxes(np.concatenate([labels[1], truth], axis=1), name=name),
      )
    )
  # Equal overlaps with a box above that comes later.
  found = boxes([(0, 10, 10, 30, 30)], [1.0], name="tie")
  truth = boxes([(0, 12, 10, 32, 30), (0, 8, 10, 28, 30)], name="tie")
  return [*pages, ViewerPage("tie", picture("tie.jpg"), found, truth)]


@pytest.mark.parametrize("min_iou", [0.5, 0.3, 0.85, 1.0])
def test_counts_are_those_of_python(page_in, tmp_path, boxes, picture, min_iou):
  pages = random_pages(boxes, picture, seed=int(100 * min_iou))
  index = tmp_path / "index.html"
  write.write(index, pages, ["a", "b", "c"], title="T", min_iou=min_iou)
  page = page_in(index)
  page.keyboard.press("c")
  seen = []
  for i, viewed in enumerate(pages):
    page.evaluate("showPage", i)
    # 0.7 as float32 is below 0.7: the threshold must be rounded alike.
    for min_score in (0.0, 0.35, 0.7, 0.95, 1.0):
      page.locator("#score-number").fill(str(min_score))
      found = viewed.found.at_least(min_score)
      matches = match(viewed.truth, found, min_iou)
      counts = python_counts(matches)
      assert shown_counts(page) == counts, (i, min_score)
      seen.append(list(counts.values()))
      # Not by chance: the same boxes, in the order of the scores.
      confused, taken = page.evaluate(
        "[[...shown.matches.confusedWith], [...shown.matches.found]]"
      )
      order = np.argsort(-found.scores, kind="stable")
      assert confused == matches.confused_with[order].tolist()
      assert taken == matches.found.astype(int).tolist()
  # The comparison is worth something: every outcome occurs.
  assert np.sum(seen, axis=0).min() > 0


def slanted_pages(boxes, picture, seed):
  """Crowded thin rectangles of any angle; corners run either way around."""
  rng = np.random.default_rng(seed)
  pages = []
  for i, (n, m) in enumerate([(200, 100), (60, 90), (0, 10), (10, 0)]):
    center = rng.uniform(20, 130, (m, 2))
    half = rng.uniform((4, 1), (40, 8), (m, 2))
    angle = rng.choice([0, np.pi / 4, -0.3, 1.2], m) + rng.normal(0, 0.05, m)
    angle[: m // 4] = 0  # exactly upright
    near = rng.integers(0, m, n) if m else np.zeros(n, int)
    true = [center, half, angle]
    found = [np.ones((n, 2)) * 50, np.ones((n, 2)) * 5, np.zeros(n)]
    if m:
      spread = rng.choice([0.3, 2.0, 8.0], n)[:, None]
      found = [
        center[near] + spread * rng.normal(0, 1, (n, 2)),
        half[near] * rng.uniform(0.8, 1.25, (n, 2)),
        angle[near] + rng.choice([0, 0.02, 1.5], n),
      ]
    sides = []
    for middle, reach, turn in (found, true):
      along = np.stack([np.sin(turn), np.cos(turn)], 1) * reach[:, :1]
      across = np.stack([np.cos(turn), -np.sin(turn)], 1) * reach[:, 1:]
      ways = (-along - across, along - across, along + across, across - along)
      corners = middle[:, None] + np.stack(ways, 1)
      corners[::2] = corners[::2, ::-1]
      corners = corners.astype(np.float32)
      labels = rng.integers(0, 3, (len(middle), 1))
      rows = np.hstack([labels, corners.min(1), corners.max(1)])
      scores = rng.integers(0, 21, n) / 20 if not sides else None
      side = boxes(rows, scores, name=f"slant {i}")
      sides.append(dataclasses.replace(side, oriented_yx=corners))
    pages.append(ViewerPage(f"page {i}", picture(f"{i}.jpg"), *sides))
  return pages


@pytest.mark.parametrize("min_iou", [0.5, 0.2, 0.8])
def test_oriented_boxes_match_as_in_python(
  page_in, tmp_path, boxes, picture, min_iou
):
  pages = slanted_pages(boxes, picture, seed=int(10 * min_iou))
  one_side = pages[0]._replace(name="one", found=pages[0].found.upright())
  pages.append(one_side)
  index = tmp_path / "index.html"
  write.write(index, pages, ["a", "b", "c"], title="T", min_iou=min_iou)
  page = page_in(index)
  page.keyboard.press("c")
  seen, upright = [], []
  for i, viewed in enumerate(pages):
    page.evaluate("showPage", i)
    for min_score in (0.0, 0.7):
      page.locator("#score-number").fill(str(min_score))
      found = viewed.found.at_least(min_score)
      matches = match(viewed.truth, found, min_iou)
      counts = python_counts(matches)
      assert shown_counts(page) == counts, (i, min_score)
      confused, taken = page.evaluate(
        "[[...shown.matches.confusedWith], [...shown.matches.found]]"
      )
      order = np.argsort(-found.scores, kind="stable")
      assert confused == matches.confused_with[order].tolist()
      assert taken == matches.found.astype(int).tolist()
      seen.append(list(counts.values()))
      bare = match(viewed.truth.upright(), found.upright(), min_iou)
      upright.append(list(python_counts(bare).values()))
    said = page.locator("#compared").inner_text()
    assert ("of the oriented boxes" in said) == (viewed is not one_side)
    assert ("upright" in said) == (viewed is one_side)
  assert np.sum(seen, axis=0).min() > 0
  # The last page is compared upright, others would be otherwise.
  assert seen[-2:] == upright[-2:] and seen[:4] != upright[:4]


def test_a_beam_beside_another_is_no_hit(page_in, tmp_path, boxes, picture):
  rows = [(0, 20, 20, 80, 90)]
  beam = np.array([[[20, 20], [76, 90], [80, 90], [24, 20]]], np.float32)
  truth = dataclasses.replace(boxes(rows), oriented_yx=beam)
  beside = dataclasses.replace(
    boxes(rows, [0.9]), oriented_yx=beam + np.float32([6, 0])
  )
  index = tmp_path / "index.html"
  pages = [
    ViewerPage("a", picture("a.jpg"), beside, truth),
    ViewerPage("b", picture("a.jpg"), beside.upright(), truth.upright()),
  ]
  write.write(index, pages, ["beam"], title="T")
  page = page_in(index)
  page.keyboard.press("c")
  counts = shown_counts(page)
  assert (counts["hit"], counts["falsePositive"], counts["missed"]) == (0, 1, 1)
  assert page.locator("#compared").is_visible()
  page.evaluate("showPage", 1)
  assert shown_counts(page)["hit"] == 1
  assert page.locator("#compared").is_hidden()


def one_of_each(boxes, picture):
  found = boxes(
    [(0, 10, 10, 40, 40), (1, 100, 10, 130, 40), (1, 200, 10, 230, 40)],
    [0.9, 0.8, 0.7],
  )
  truth = boxes(
    [(0, 10, 10, 40, 40), (0, 100, 10, 130, 40), (1, 200, 150, 230, 180)]
  )
  return ViewerPage("p", picture("p.jpg"), found, truth)


def test_outcomes_can_be_chosen(page_in, tmp_path, boxes, picture):
  index = tmp_path / "index.html"
  write.write(
    index, [one_of_each(boxes, picture)], ["alpha", "beta"], title="T"
  )
  page = page_in(index)
  assert page.locator("#legend").is_hidden()
  page.get_by_role("radio", name="Compare").check()
  assert shown_counts(page) == {
    "hit": 1, "wrongClass": 1, "falsePositive": 1, "missed": 2, "found": 1
  }  # fmt: skip
  assert "5 boxes shown" in page.locator("#shown-count").inner_text()
  assert page.locator("#precision").inner_text() == "0.333"
  assert page.locator("#recall").inner_text() == "0.333"
  page.get_by_role("checkbox", name="Missed").uncheck()
  page.get_by_role("checkbox", name="Hit").uncheck()
  assert "2 boxes shown" in page.locator("#shown-count").inner_text()
  names = page.locator("#class-list .name").all_inner_texts()
  counts = page.locator("#class-list .count").all_inner_texts()
  assert dict(zip(names, counts, strict=True)) == {
    "alpha": "1/2",
    "beta": "0/1",
  }


def test_a_class_filter_does_not_change_what_matches(
  page_in, tmp_path, boxes, picture
):
  index = tmp_path / "index.html"
  write.write(
    index, [one_of_each(boxes, picture)], ["alpha", "beta"], title="T"
  )
  page = page_in(index)
  page.keyboard.press("c")
  page.get_by_role("checkbox", name="alpha").uncheck()
  assert shown_counts(page) == {
    "hit": 0, "wrongClass": 1, "falsePositive": 1, "missed": 1, "found": 0
  }  # fmt: skip


def test_a_wrong_class_is_explained(page_in, tmp_path, boxes, picture):
  index = tmp_path / "index.html"
  write.write(
    index, [one_of_each(boxes, picture)], ["alpha", "beta"], title="T"
  )
  page = page_in(index)
  page.keyboard.press("c")
  told = []
  for _ in range(5):
    page.keyboard.press("n")
    told.append(page.locator("#tip").inner_text().split("\n")[:2])
  assert sorted(told) == sorted(
    [
      ["alpha", "Hit"],
      ["alpha", "Missed"],
      ["beta", "Wrong class, truth: alpha"],
      ["beta", "False positive"],
      ["beta", "Missed"],
    ]
  )


def test_a_page_without_truth_is_shown_by_class(
  page_in, tmp_path, boxes, picture
):
  both = one_of_each(boxes, picture)
  pages = [both, both._replace(name="q", truth=None)]
  index = tmp_path / "index.html"
  write.write(index, pages, ["alpha", "beta"], title="T")
  page = page_in(index)
  page.keyboard.press("t")
  truth = page.get_by_role("radio", name="Truth")
  assert truth.is_checked()
  assert "3 boxes shown" in page.locator("#shown-count").inner_text()
  page.evaluate("showPage(1)")
  assert truth.is_disabled()
  assert page.get_by_role("radio", name="By class").is_checked()
  page.evaluate("showPage(0)")
  assert truth.is_checked()
