"""The LaTeX table of classes, by hand; names that would be commands."""

import pytest

from dwd_jax.evaluate.latex_table import class_table, escape


def _summary(**classes):
  keys = ("AP", "AP_50", "num_objects")
  per_class = {n: dict(zip(keys, v, strict=True)) for n, v in classes.items()}
  facts = {"dataset": "my_set", "split": "test", "protocol": "coco"}
  return facts | {"per_class": per_class}


A = _summary(rare=(0.5, 1.0, 1), absent=(None, None, 0), stem=(0.1, 0.2, 9))
B = _summary(rare=(0.0, 0.25, 1), absent=(None, None, 0), stem=(0.2, 0.4, 9))


def test_the_table_of_one_evaluation():
  assert class_table({"test": A}).splitlines() == [
    r"% my\_set, test, coco; \usepackage{booktabs}",
    r"\begin{tabular}{lrrr}",
    r"\toprule",
    r"Class & Objects & AP & AP$_{50}$ \\",
    r"\midrule",
    r"stem & 9 & 0.100 & 0.200 \\",
    r"rare & 1 & 0.500 & 1.000 \\",
    r"\midrule",
    r"Mean &  & 0.300 & 0.600 \\",
    r"Weighted mean & 10 & 0.140 & 0.280 \\",
    r"\bottomrule",
    r"\end{tabular}",
  ]


def test_several_stand_side_by_side():
  lines = class_table({"a_1": A, "b": B}).splitlines()
  assert lines[1] == r"\begin{tabular}{lrrrrr}"
  assert lines[3:6] == [
    r" &  & \multicolumn{2}{c}{a\_1} & \multicolumn{2}{c}{b} \\",
    r"\cmidrule(lr){3-4}\cmidrule(lr){5-6}",
    r"Class & Objects & AP & AP$_{50}$ & AP & AP$_{50}$ \\",
  ]
  assert r"stem & 9 & 0.100 & 0.200 & 0.200 & 0.400 \\" in lines
  assert r"Mean &  & 0.300 & 0.600 & 0.100 & 0.325 \\" in lines


def test_a_long_table_breaks_across_pages():
  many = _summary(**{f"c{i}": (0.5, 0.5, 1) for i in range(50)})
  lines = class_table({"test": many}).splitlines()
  assert lines[0].endswith(r"\usepackage{booktabs,longtable}")
  assert r"\endhead" in lines
  assert class_table({"x": _summary(absent=(None, None, 0))})  # nothing to show


@pytest.mark.parametrize(
  ("name", "expected"),
  [
    ("letter_a", r"letter\_a"),
    ("50% & $x$ #1 {y}", r"50\% \& \$x\$ \#1 \{y\}"),
    (r"\input{x}", r"\textbackslash{}input\{x\}"),
    ("~^", r"\textasciitilde{}\textasciicircum{}"),
    ("<>|", r"\textless{}\textgreater{}\textbar{}"),
    ("[1]*", "{[}1{]}{*}"),
    ("a\nb\x00c\ud800", "a b c"),
    ('trill_"wobble"', r'trill\_"wobble"'),
  ],
)
def test_names_are_text(name, expected):
  assert escape(name) == expected
  row = class_table({"x": _summary(**{name: (0.5, 0.5, 3)})}).splitlines()[5]
  assert row == rf"{expected} & 3 & 0.500 & 0.500 \\"
