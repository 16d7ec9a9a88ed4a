"""`rsft evaluate` and `rsft threshold` on pictures, embeddings, templates and attributes."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from rsft.cli.main import app
from rsft.data.features import Features, load_features
from rsft.errors import InputError
from rsft.face.evaluate import evaluate_folders
from rsft.face.evaluation.protocol import read_protocol
from rsft.face.evaluation.templates import read_templates, template_embeddings
from rsft.face.networks.load import load_model
from rsft.face.threshold import set_thresholds

PEOPLE, PICTURES = 12, 6


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write pictures in `faces/`, and random embeddings of them in `embedded/` that claim to be by the dlib network."""
    root = tmp_path_factory.mktemp("stored")
    generator = np.random.default_rng(0)
    ids = [f"p{person:02d}/{number}.png" for person in range(PEOPLE) for number in range(PICTURES)]
    for item in ids:
        (root / "faces" / item).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((2, 2, 3), np.uint8)).save(root / "faces" / item)
    centres = np.repeat(generator.normal(size=(PEOPLE, 16)), PICTURES, axis=0)
    embeddings = (centres + generator.normal(size=centres.shape)).astype(np.float32)
    (root / "embedded").mkdir()
    Features(ids, embeddings, embeddings[:, :1], None, [], load_model("dlib").fingerprint).save(root / "embedded")
    rows = [f"{item},{'even' if int(item[1:3]) % 2 == 0 else 'odd'}" for item in ids]
    (root / "attributes.csv").write_text("\n".join(["path,half", *rows]))
    halves = [f"{item[:3]}-{int(item[4]) // 3},{item}" for item in ids]
    (root / "templates.csv").write_text("\n".join(["template,path", *halves]))
    return root


def printed(*arguments: str | Path) -> str:
    """Run a command that must succeed, and return its standard output."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.exception
    return result.stdout


def test_the_evaluate_command_reports_all_figures_and_names_nobody(stored: Path, tmp_path: Path) -> None:
    line: list[str | Path] = ["evaluate", "--eval", stored / "faces", "--embeddings", stored / "embedded"]
    line += ["--identification", "--groups", "half", "--attributes", stored / "attributes.csv"]
    found = json.loads(printed(*line, "--det", tmp_path / "det.svg", "--json"))
    contract = {"accuracy", "tar_at_fmr", "eer", "pairs_genuine", "pairs_impostor"}
    assert contract | {"identification", "groups", "det", "folds", "quarantined"} <= set(found)
    assert found["pairs_genuine"] == PEOPLE * 15
    assert found["groups"]["groups"]["odd"]["pairs_genuine"] == PEOPLE / 2 * 15
    assert found["identification"]["probes_mated"] == PEOPLE / 2 * (PICTURES - 1)
    figure = (tmp_path / "det.svg").read_text()
    assert figure.startswith("<svg")
    assert "FNMR" in figure
    text = printed(*line)
    for words in ("EER", "FNIR at FPIR", "smallest / largest", "36 non-mated probes"):
        assert words in text
    assert "p00" not in text
    assert "p00" not in json.dumps(found)


def test_templates_are_means_of_unit_embeddings(stored: Path) -> None:
    templates = read_templates(stored / "templates.csv", stored / "faces")
    features = load_features(stored / "embedded")
    means, row = template_embeddings(templates, features)
    assert row.tolist() == list(range(2 * PEOPLE))
    unit = features.embeddings / np.linalg.norm(features.embeddings, axis=1, keepdims=True)
    np.testing.assert_allclose(means[1], unit[3:6].mean(0), rtol=1e-5)
    np.testing.assert_allclose(means[23], unit[69:72].mean(0), rtol=1e-5)
    kept, row = template_embeddings(templates, features.subset(np.arange(4, len(features))))
    assert len(kept) == 2 * PEOPLE - 1
    assert row[:3].tolist() == [-1, 0, 1]
    np.testing.assert_allclose(kept[0], unit[4:6].mean(0), rtol=1e-5)


def test_templates_have_a_lower_eer_than_pictures(stored: Path) -> None:
    inputs: dict[str, Any] = {"evaluation": stored / "faces", "embeddings": stored / "embedded"}
    pictures = evaluate_folders(**inputs)["target"]
    templates = evaluate_folders(**inputs, templates=stored / "templates.csv", identification=True)["target"]
    assert templates["eer"] < pictures["eer"]
    assert templates["templates"] == {"compared": 24, "left_out": 0, "pictures": 72}
    assert templates["pairs_genuine"] == PEOPLE
    assert templates["identification"]["gallery"] == PEOPLE / 2


def test_pairs_of_templates_are_compared_and_checked(stored: Path, tmp_path: Path) -> None:
    lines = ["a,b,same,fold"]
    for person in range(PEOPLE):
        lines.append(f"p{person:02d}-0,p{person:02d}-1,1,{person % 2}")
        lines.append(f"p{person:02d}-0,p{(person + 1) % PEOPLE:02d}-1,0,{person % 2}")
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("\n".join(lines))
    inputs: dict[str, Any] = {"templates": stored / "templates.csv", "evaluation_root": stored / "faces"}
    found = evaluate_folders(evaluation=pairs, embeddings=stored / "embedded", **inputs)["target"]
    assert (found["pairs_genuine"], found["pairs_impostor"]) == (PEOPLE, PEOPLE)
    assert found["folds"]["count"] == 2
    pairs.write_text("a,b,same\np00-0,p00-7,1\np00-0,p77-0,0\n")
    with pytest.raises(InputError, match=r"compares 3 templates, of which .* lacks 2, such as 'p00-7'; it has 24"):
        evaluate_folders(evaluation=pairs, embeddings=stored / "embedded", **inputs)
    pairs.write_text("a,b,same\np00-0,p00-1,0\n")
    with pytest.raises(InputError, match="line 2 contradicts itself"):
        evaluate_folders(evaluation=pairs, embeddings=stored / "embedded", **inputs)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("template\nt\n", "columns template,path"),
        ("template,path\n", "a row for each picture"),
        ("template,path\nt,p00/9.png\n", "names 1 pictures that are not in .* in .* line 2"),
        ("template,path\nt,p00/0.png\n,p01/0.png\n", "line 3 names no template"),
        ("Template ID,path\nt,p00/0.png\n", "Rename 'Template ID' to 'template'"),
        ("template,path\nt,p00/0.png\nt\n", "line 3 needs 2 columns"),
        ("template,path\nt,p00/0.png\nt,p01/0.png\n", "'t' has pictures of several people"),
        ("template,path\nt,p00/0.png\nt,p00/0.png\n", "'t' has a picture twice"),
    ],
)
def test_invalid_template_tables_are_refused(stored: Path, tmp_path: Path, rows: str, words: str) -> None:
    (tmp_path / "t.csv").write_text(rows)
    with pytest.raises(InputError, match=words):
        read_templates(tmp_path / "t.csv", stored / "faces")


def test_embeddings_of_another_model_or_other_pictures_are_refused(stored: Path, tmp_path: Path) -> None:
    features = load_features(stored / "embedded")
    (tmp_path / "few").mkdir()
    features.subset(np.arange(5)).save(tmp_path / "few")
    with pytest.raises(InputError, match=r"lacks 67 of the pictures, such as 'p00/5.png'"):
        evaluate_folders(evaluation=stored / "faces", embeddings=tmp_path / "few")
    description = tmp_path / "few" / "embedding.json"
    description.write_text(re.sub(r'"fingerprint": "\w+"', '"fingerprint": "0"', description.read_text()))
    with pytest.raises(InputError, match="by another model than 'dlib'"):
        evaluate_folders(evaluation=stored / "faces", embeddings=tmp_path / "few")


def test_invalid_combinations_of_options_are_refused(stored: Path) -> None:
    inputs: dict[str, Any] = {"evaluation": stored / "faces", "embeddings": stored / "embedded"}
    with pytest.raises(InputError, match="has no attribute 'half'; it has none"):
        evaluate_folders(**inputs, groups="half")
    with pytest.raises(InputError, match="has no attribute 'age'; it has half"):
        evaluate_folders(**inputs, groups="age", attributes=stored / "attributes.csv")
    with pytest.raises(InputError, match="ask for identification too"):
        evaluate_folders(**inputs, distractors=stored / "faces")
    with pytest.raises(InputError, match="name the attribute"):
        evaluate_folders(**inputs, attributes=stored / "attributes.csv")
    with pytest.raises(InputError, match=r"12 identities of .* are also evaluated"):
        evaluate_folders(**inputs, identification=True, distractors=stored / "faces")


def test_people_with_one_picture_are_non_mated_and_not_enough_alone(stored: Path, tmp_path: Path) -> None:
    for number, person in enumerate(("p00", "p01", "p02")):
        (tmp_path / person).mkdir()
        for picture in range(2 if number == 0 else 1):
            name = f"{person}/{picture}.png"
            (tmp_path / name).write_bytes((stored / "faces" / name).read_bytes())
    found = evaluate_folders(evaluation=tmp_path, embeddings=stored / "embedded", identification=True)["target"]
    assert found["identification"]["probes_mated"] == 1
    assert found["identification"]["probes_non_mated"] == 2
    (tmp_path / "p00" / "1.png").unlink()
    with pytest.raises(InputError, match="got 0 genuine of 3"):
        evaluate_folders(evaluation=tmp_path, embeddings=stored / "embedded", identification=True)


def test_thresholds_are_written_into_the_bundle_and_read_with_the_model(stored: Path, tmp_path: Path) -> None:
    model = load_model("dlib")
    model.save(tmp_path / "run" / "model")
    line: list[str | Path] = ["threshold", "--eval", stored / "faces", "--embeddings", stored / "embedded"]
    line += ["--fmr", "0.01", "--model", tmp_path / "run", "--write"]
    before = json.loads((tmp_path / "run" / "model" / "bundle.json").read_text())
    found = json.loads(printed(*line, "--json"))
    assert load_model(tmp_path / "run").thresholds == {"0.01": found["0.01"]["threshold"]}
    (expected,) = set_thresholds(evaluation=stored / "faces", fmrs=[0.01], embeddings=stored / "embedded")
    assert found["0.01"] == expected.to_dict()
    text = printed(*line, "--fmr", "0.1", "--safe")
    assert "Written" in text
    after = json.loads((tmp_path / "run" / "model" / "bundle.json").read_text())
    assert set(after["thresholds"]) == {"0.01", "0.1"}
    assert after["thresholds"]["0.01"] == expected.safe >= expected.threshold
    assert after["threshold_bounds"]["0.01"]["bound"] == expected.bound
    assert {name: value for name, value in after.items() if name in before and name != "thresholds"} == {
        name: value for name, value in before.items() if name != "thresholds"
    }
    assert [path.name for path in (tmp_path / "run" / "model").iterdir() if path.name.startswith(".")] == []
    with pytest.raises(InputError, match=r"no bundle.json"):
        CliRunner().invoke(app, [*map(str, line[:7]), "--write"], catch_exceptions=False)


def test_real_records_are_compared_and_identified(development_data: Path) -> None:
    """The `.rec` holds eight real pictures of two people."""
    records = development_data / "recordio-fixture" / "train.rec"
    assert read_protocol(records).pairs.counts == (12, 16)
    found = evaluate_folders(evaluation=records, aligned=True, identification=True)["target"]
    assert (found["pairs_genuine"], found["identification"]["probes_mated"]) == (12, 3)
