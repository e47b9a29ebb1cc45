"""`python -m dwd_jax.engrave`."""

import pytest

from dwd_jax.engrave.__main__ import main


def test_writes_pages_and_says_so(tmp_path, capsys):
  out = tmp_path / "pages"
  code = main(
    [
      f"--out={out}",
      "--pages=3",
      "--seed=1",
      "--font=Leland",
      "--workers=1",
      "--width=600",
      "--height=600",
      "--splits=train=1,test=1",
      "--weights=grace=0.5,solo=0",
    ]
  )
  printed = capsys.readouterr()
  assert code == 0
  assert "3 pages of" in printed.out and str(out) in printed.out
  names = (out / "train_val_test/train.txt").read_text()
  assert "leland" in names and "bravura" not in names


@pytest.mark.parametrize(
  ("caption", "flags", "message"),
  [
    ("not a number", ["--weights=grace"], "--weights: 'grace'"),
    ("unknown weight", ["--weights=grase=1"], "did you mean 'grace'"),
    ("unknown font", ["--font=Arial"], "font Arial is unknown"),
    (
      "unknown vocabulary",
      ["--vocabulary=klingon"],
      "use deepscores_v1, deepscores_v2, printed or muscima_v2",
    ),
    ("no pages", ["--pages=-4"], "pages=-4"),
  ],
)
def test_bad_flags_are_one_line(caption, flags, message, tmp_path, capsys):
  out = tmp_path / "out"
  assert main([f"--out={out}", "--pages=2", *flags]) == 2, caption
  error = capsys.readouterr().err
  assert error.startswith("dwd_jax: ") and message in error
  assert error.count("\n") == 1
  assert not list(tmp_path.iterdir())
