"""The commands that list, check and export models and migrate galleries."""

import json
import logging
import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper
from typer.testing import CliRunner

from rsft.cli.main import app, run
from rsft.cli.show import log_to_stderr
from rsft.face.networks.chip_points import ARCFACE, scaled
from rsft.face.networks.load import KNOWN

PAGE = Path(__file__).parents[2] / "docs"


def rsft(*arguments: str | Path) -> str:
    """Run a command that must succeed and return its standard output."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """Run a command that must fail with exit code 2 and return its one-line error."""
    monkeypatch.setattr("sys.argv", ["rsft", *map(str, arguments)])
    monkeypatch.setattr("rsft.cli.show.log_to_stderr", lambda: None)
    with pytest.raises(SystemExit) as caught:
        run()
    assert caught.value.code == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("rsft: ")]
    return line


@pytest.mark.parametrize("command", ["models", "models check", "export", "gallery migrate"])
def test_every_command_has_help_and_is_documented(command: str) -> None:
    assert "--json" in rsft(*command.split(), "--help")
    assert f"rsft {command}" in (PAGE / "commands.md").read_text()


def test_models_are_listed_and_documented() -> None:
    printed = rsft("models")
    page = (PAGE / "models.md").read_text()
    listed = json.loads(rsft("models", "--json"))
    for model in listed["models"]:
        assert model["name"] in printed
        assert f"| `{model['name']}` | {model['licence']} |" in page
    for family in listed["architectures"]:
        assert family["name"] in printed.replace("\n", " ")
        assert f"`{family['name']}`" in page


@pytest.fixture(scope="module")
def exported(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, object]]:
    """Export the dlib network as ONNX and as a bundle, and compare it on real chips."""
    folder = tmp_path_factory.mktemp("export")
    printed = rsft(
        "export", "dlib", "--onnx", folder / "dlib.onnx", "--bundle", folder / "bundle",
        "--pictures", faces / "pool", "--aligned", "--json",
    )  # fmt: skip
    return folder, json.loads(printed)


def test_an_exported_model_has_the_same_outputs(exported: tuple[Path, dict[str, object]]) -> None:
    folder, result = exported
    assert result["chips"] == 16
    assert isinstance(result["error"], float)
    assert result["error"] < 1e-4
    proto = onnx.load(folder / "dlib.onnx")
    stated = {entry.key: json.loads(entry.value) for entry in proto.metadata_props}
    assert (stated["size"], stated["order"], stated["value_range"]) == (150, "RGB", [0, 255])
    assert stated["fingerprint"] == result["fingerprint"]
    assert proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param
    # compare with dlib's own outputs, after two conversions
    for model in (folder / "dlib.onnx", folder / "bundle"):
        found = json.loads(rsft("models", "check", model, "--json"))
        assert found["error"] < 1e-4
        assert (found["reference"], found["licence"]) == ("recorded outputs", "CC0-1.0")


@pytest.fixture(scope="module")
def tuned(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tune a model that was read from ONNX: two convolutions and a matrix, for chips of 32 px."""
    folder = tmp_path_factory.mktemp("tuned")
    generator = np.random.default_rng(0)
    shapes = {"k1": (8, 3, 5, 5), "p": (8, 1, 1), "k2": (8, 8, 3, 3), "w": (16, 8 * 6 * 6)}
    arrays = {name: generator.normal(0, 0.1, shape).astype(np.float32) for name, shape in shapes.items()}
    nodes = [
        helper.make_node("Conv", ["x", "k1"], ["a"], strides=[2, 2]),
        helper.make_node("PRelu", ["a", "p"], ["b"]),
        helper.make_node("Conv", ["b", "k2"], ["c"], strides=[2, 2]),
        helper.make_node("Flatten", ["c"], ["d"]),
        helper.make_node("Gemm", ["d", "w"], ["y"], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", 1, (1, 3, 32, 32))],
        [helper.make_tensor_value_info("y", 1, (1, 16))],
        [onnx.numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(proto, folder / "small.onnx")
    bundle = {"template": scaled(ARCFACE, 32 / 112), "licence": "CC-BY-NC-4.0", "std": 128.0}
    (folder / "small.json").write_text(json.dumps(bundle))
    (folder / "run.toml").write_text(
        "[recipe]\nsteps = 4\nbatch_size = 8\nviews = 2\nlearning_rate = 0.01\nmax_retention_loss = 1.0\n"
    )
    rsft(
        "fit", "--pool", faces / "pool", "--target", faces / "target", "--eval", faces / "evaluation",
        "--retain", faces / "retention", "--aligned", "--model", folder / "small.onnx",
        "--config", folder / "run.toml", "--out", folder / "run",
    )  # fmt: skip
    return folder


def test_a_network_read_from_onnx_is_tuned_checked_and_exported(tuned: Path, faces: Path) -> None:
    run = tuned / "run"
    bundle = json.loads((run / "model" / "bundle.json").read_text())
    assert (bundle["order"], bundle["std"], bundle["licence"]) == ("RGB", [128.0] * 3, "CC-BY-NC-4.0")
    assert bundle["source"].startswith("rsft, from small ")
    assert json.loads(rsft("models", "check", run, "--json"))["error"] < 1e-5
    result = json.loads(
        rsft("export", run, "--onnx", tuned / "out.onnx", "--pictures", faces / "pool", "--aligned", "--json")
    )
    assert result["error"] < 1e-4
    assert json.loads(rsft("models", "check", tuned / "out.onnx", "--json"))["error"] < 1e-4


def test_a_gallery_is_migrated_to_the_tuned_network(tuned: Path, faces: Path, tmp_path: Path) -> None:
    pool: list[str | Path] = ["--pool", faces / "retention", "--aligned"]
    # another normalisation makes it another model even if tuning kept the weights
    (tmp_path / "other.onnx").write_bytes((tuned / "small.onnx").read_bytes())
    (tmp_path / "other.json").write_text((tuned / "small.json").read_text().replace("128.0", "100.0"))
    rsft("embed", *pool, "--model", tmp_path / "other.onnx", "--out", tmp_path / "old")
    text = rsft("gallery", "migrate", tmp_path / "old", *pool, "--model", tuned / "run", "--out", tmp_path / "new")
    assert "60 pictures enrolled again, 0 left out" in text
    assert "No decision was compared: there is no threshold at FMR 0.001 of the old model" in text
    made_with = json.loads((tmp_path / "new" / "embedding.json").read_text())["fingerprint"]
    assert made_with == json.loads((tuned / "run" / "model" / "bundle.json").read_text())["fingerprint"]


def test_the_model_card_is_complete_and_contains_no_names_or_paths(tuned: Path, faces: Path) -> None:
    card = (tuned / "run" / "model_card.md").read_text()
    metrics = json.loads((tuned / "run" / "metrics.json").read_text())
    plan = json.loads((tuned / "run" / "plan.json").read_text())
    headings = ["Licences", "Data", "Target", "Figures", "Retention", "Limits", "Out of scope"]
    assert [line[3:] for line in card.splitlines() if line.startswith("## ")] == headings
    assert "CC-BY-NC-4.0. **Not for commercial use.**" in card
    assert f"M = {plan['m']:.2f}; {100 * plan['envelope']['acceptance_rate']:.1f} %" in card
    assert f"Clipped: {100 * plan['envelope']['clipped_mass']:.1f} %" in card
    for system in ("pretrained", "tuned"):
        for part in ("target", "retain"):
            tar = metrics[system][part]["tar_at_fmr"]["0.01"]
            assert f"| {part} | {system} | {tar['value']:.3f} [{tar['low']:.3f}, {tar['high']:.3f}] |" in card
    change = metrics["differences"]["tuned - pretrained"]["retain"]["0.01"]["value"]
    assert f"Change against the pretrained network on the retention set: {change:+.3f}" in card
    people = {path.name for path in faces.glob("*/*")}
    assert not people & set(re.findall(r"\w+", card))
    assert str(tuned) not in card
    assert str(faces) not in card


def test_errors_are_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert "needs `onnx`" in refused(monkeypatch, capsys, "export", "dlib")
    assert "does not exist" in refused(monkeypatch, capsys, "export", "dlib", "--onnx", tmp_path / "no" / "x.onnx")
    assert "exists" in refused(monkeypatch, capsys, "export", "dlib", "--bundle", tmp_path)
    assert "no model 'nonesuch'" in refused(monkeypatch, capsys, "models", "check", "nonesuch")
    (tmp_path / "x.onnx").write_bytes(b"no graph")
    (tmp_path / "pool").mkdir()
    (tmp_path / "pool" / "x.jpg").write_bytes(b"listed, and not opened")
    assert "is not an ONNX file" in refused(
        monkeypatch,
        capsys,
        "embed",
        "--pool",
        tmp_path / "pool",
        "--model",
        tmp_path / "x.onnx",
        "--out",
        tmp_path / "o",
    )


def test_the_licence_is_printed_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger("rsft")
    before, level = list(logger.handlers), logger.level
    try:
        log_to_stderr()
        rsft("models", "check", "dlib")
        assert f"model dlib: licence {KNOWN['dlib'].licence}" in capsys.readouterr().err
    finally:
        logger.handlers[:] = before
        logger.setLevel(level)
