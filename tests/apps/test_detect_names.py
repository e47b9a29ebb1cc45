"""The program `detect` with the class names of another list."""

import json

import detect_helpers as helpers
import pytest

import dwd_jax
from dwd_jax import detect
from dwd_jax.checkpoints import weights


def _weights(path, class_names):
  weights.write(path, helpers.tiny(class_names=class_names))
  return path


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
  """Finds `keySharp`, for which SMuFL has another name."""
  path = tmp_path_factory.mktemp("weights") / "sharps.safetensors"
  return _weights(path, ("slur", "keySharp", "stem"))


@pytest.fixture(scope="module")
def slurs(tmp_path_factory):
  """Finds `slur`, for which SMuFL has no name."""
  path = tmp_path_factory.mktemp("weights") / "slurs.safetensors"
  return _weights(path, ("keySharp", "slur", "stem"))


def test_all_files_have_the_other_names(run, tmp_path):
  page = helpers.save(tmp_path / "in/a.png", helpers.ink())

  def read(folder, file):
    return json.loads((tmp_path / folder / file).read_text())

  assert run(page, f"--out={tmp_path / 'own'}", "--min-score=0")[0] == 0
  args = (page, f"--out={tmp_path / 'new'}", "--min-score=0")
  assert run(*args, "--names=smufl", "--shard=0/1")[0] == 0
  assert run(*args, "--names=smufl", "--merge")[::2] == (0, "")
  own, new = (read(folder, "a.json") for folder in ("own", "new"))
  assert {symbol["name"] for symbol in own["detections"]} == {"keySharp"}
  renamed = [s | {"name": "accidentalSharp"} for s in own["detections"]]
  assert (new["detections"], new["left_out"]) == (renamed, {})
  assert "left_out" not in own
  names = [c["name"] for c in read("new", "coco_images.json")["categories"]]
  for symbol in read("new", "predictions.json"):
    assert names[symbol["category_id"] - 1] == "accidentalSharp"
  for file in ("detections.csv", "mung/a.xml"):
    text = (tmp_path / "new" / file).read_text()
    assert "accidentalSharp" in text and "keySharp" not in text
  assert read("new", "detect.json")["settings"]["names"] == "smufl"
  code, _, complained = run(*args)
  assert code == 2 and "(names was smufl, is now None)" in complained


def test_what_has_no_name_is_told_of(slurs, tmp_path, capsys):
  page = helpers.save(tmp_path / "a.png", helpers.ink())
  out = tmp_path / "out"
  flags = (f"--checkpoint={slurs}", "--compilation-cache=", "--names=smufl")
  args = [*flags, str(page), f"--out={out}", "--min-score=0"]
  for _ in range(2):  # a finished page tells it, too
    assert detect.main(args) == 0
    content = json.loads((out / "a.json").read_text())
    lost = content["left_out"]["slur"]
    assert lost > 0 == content["num_detections"]
    line = (
      f"{lost} symbols left out, as smufl has no name for them: {lost} slur"
    )
    assert capsys.readouterr().err == f"dwd_jax: {line}\n"


def test_from_python(slurs):
  page = 255 - helpers.ink()
  with pytest.warns(
    UserWarning, match=r"^page: \d+ symbols left out, as smufl"
  ):
    found = dwd_jax.detect(page, checkpoint=slurs, min_score=0, names="smufl")
  assert found.left_out["slur"] > 0 == len(found)
  assert "without a name left out" in repr(found)
