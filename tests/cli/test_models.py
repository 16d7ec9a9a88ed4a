"""Models in and out from the command line."""

import json
import logging
from pathlib import Path

import onnx
import pytest
from typer.testing import CliRunner

from rsft.cli.main import app, run
from rsft.cli.show import log_to_stderr
from rsft.face.model import KNOWN

PAGE = Path(__file__).parents[2] / "docs"


def rsft(*arguments: str | Path) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    monkeypatch.setattr("sys.argv", ["rsft", *map(str, arguments)])
    monkeypatch.setattr("rsft.cli.show.log_to_stderr", lambda: None)
    with pytest.raises(SystemExit) as caught:
        run()
    assert caught.value.code == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("rsft: ")]
    return line


@pytest.mark.parametrize("command", ["models", "models check", "export", "gallery migrate"])
def test_every_command_has_help_and_is_in_the_docs(command: str) -> None:
    assert "--json" in rsft(*command.split(), "--help")
    assert f"rsft {command}" in (PAGE / "commands.md").read_text()


def test_models_are_listed_and_in_the_docs() -> None:
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
    """The dlib network as ONNX and as a bundle, compared on real chips."""
    folder = tmp_path_factory.mktemp("export")
    printed = rsft(
        "export", "dlib", "--onnx", folder / "dlib.onnx", "--bundle", folder / "bundle",
        "--pictures", faces / "pool", "--aligned", "--json",
    )  # fmt: skip
    return folder, json.loads(printed)


def test_an_exported_model_is_the_model(exported: tuple[Path, dict[str, object]]) -> None:
    folder, result = exported
    assert result["chips"] == 16
    assert isinstance(result["error"], float)
    assert result["error"] < 1e-4
    proto = onnx.load(folder / "dlib.onnx")
    stated = {entry.key: json.loads(entry.value) for entry in proto.metadata_props}
    assert (stated["size"], stated["order"], stated["value_range"]) == (150, "RGB", [0, 255])
    assert stated["fingerprint"] == result["fingerprint"]
    assert proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param
    # against what dlib itself gave, through two conversions
    for model in (folder / "dlib.onnx", folder / "bundle"):
        found = json.loads(rsft("models", "check", model, "--json"))
        assert found["error"] < 1e-4
        assert (found["reference"], found["licence"]) == ("recorded outputs", "CC0-1.0")


def test_any_model_is_embedded_with_and_a_gallery_moves_to_it(
    exported: tuple[Path, dict[str, object]], faces: Path, tmp_path: Path
) -> None:
    folder, _ = exported
    pool: list[str | Path] = ["--pool", faces / "target", "--aligned"]
    rsft("embed", *pool, "--model", folder / "dlib.onnx", "--out", tmp_path / "old")
    text = rsft("gallery", "migrate", tmp_path / "old", *pool, "--model", "dlib", "--out", tmp_path / "new")
    assert "enrolled anew, 0 left out" in text
    assert "has no threshold" in text
    found = json.loads((tmp_path / "new" / "changes.json").read_text())
    assert found == []  # it is the same network


def test_mistakes_are_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert "needs `onnx`" in refused(monkeypatch, capsys, "export", "dlib")
    assert "does not exist" in refused(monkeypatch, capsys, "export", "dlib", "--onnx", tmp_path / "no" / "x.onnx")
    assert "exists" in refused(monkeypatch, capsys, "export", "dlib", "--bundle", tmp_path)
    assert "no model 'nonesuch'" in refused(monkeypatch, capsys, "models", "check", "nonesuch")
    (tmp_path / "x.onnx").write_bytes(b"no graph")
    assert "is no ONNX file" in refused(
        monkeypatch, capsys, "embed", "--pool", ".", "--model", tmp_path / "x.onnx", "--out", tmp_path / "o"
    )


def test_the_licence_goes_to_the_error_stream(capsys: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger("rsft")
    before, level = list(logger.handlers), logger.level
    try:
        log_to_stderr()
        rsft("models", "check", "dlib")
        assert f"model dlib: licence {KNOWN['dlib'].licence}" in capsys.readouterr().err
    finally:
        logger.handlers[:] = before
        logger.setLevel(level)
