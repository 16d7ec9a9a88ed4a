"""What a new user meets in the first hour: wrong words, absent paths, and help that says how to go on."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer.main
from command_line import refused, rsft

from rsft.cli.examples import EXAMPLES
from rsft.cli.main import app
from rsft.errors import install_command

ROOT: Any = typer.main.get_command(app)
NAMES = tuple(EXAMPLES)


def command_of(name: str) -> Any:
    found = ROOT
    for word in name.split():
        found = found.commands[word]
    return found


@pytest.mark.parametrize("name", NAMES)
def test_the_help_of_a_command_is_whole_in_80_columns(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERMINAL_WIDTH", "80")
    printed = rsft(*name.split(), "-h").stdout
    assert "…" not in printed
    assert all(len(line) <= 80 for line in printed.splitlines())
    words = "".join(re.sub(r"[│\s]", "", line) for line in printed.splitlines())
    for option in command_of(name).params:
        told = (option.help or "").replace("\\[", "[")
        assert option.param_type_name == "argument" or option.opts[0] in words
        assert "".join(told.split()) in words, option.name  # no bracket is taken for markup
    for line in EXAMPLES[name]:
        assert "".join(line.split()) in words


@pytest.mark.parametrize("line", [line for lines in EXAMPLES.values() for line in lines])
def test_the_examples_are_command_lines(line: str) -> None:
    program, *words = shlex.split(line)
    name = next(name for name in (" ".join(words[:2]), words[0]) if name in EXAMPLES)
    command_of(name).make_context(name, words[len(name.split()) :])
    assert program == "rsft"


def test_every_command_has_its_options_in_panels() -> None:
    leaves = {name for name, one in ROOT.commands.items() if not hasattr(one, "commands")}
    inner = {f"{name} {sub}" for name, one in ROOT.commands.items() for sub in getattr(one, "commands", ())}
    assert leaves | inner == set(NAMES)
    for name in NAMES:
        for option in command_of(name).params:
            assert option.param_type_name == "argument" or option.rich_help_panel, (name, option.name)
    assert rsft("--version").stdout.startswith("rsft ")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("fitt", "`rsft` has no command 'fitt' (did you mean 'fit'?)"),
        ("models chek", "`rsft models` has no command 'chek' (did you mean 'check'?)"),
        ("fit --pol x", "`rsft fit` has no option '--pol' (did you mean '--pool'?); see `rsft fit --help`"),
        ("fit --pool x --out y", "`rsft fit` needs --target, --eval;"),
        (
            "demo --shift nite",
            "--shift: 'nite' is not one of 'low-resolution', 'mask', 'night' (did you mean",
        ),
        ("demo --seed x", "--seed needs a whole number, got 'x'"),
        ("models check dlip", "no model 'dlip' (did you mean 'dlib'?)"),
        ("export runn --onnx a.onnx", "no model 'runn'"),
        ("threshold --eval . --fmr 2", "--fmr needs a rate above 0 and below 1, such as 0.001; got 2.0"),
        (
            "plan --pool . --target . --envelope max_tb=1",
            "there is no rule 'max_tb=1' (did you mean 'max_tv'?)",
        ),
        ("plan --pool . --target . --features embeding", "(did you mean 'embedding'?)"),
        ("plan --pool . --target . --method clasifier", "(did you mean 'classifier'?)"),
        (
            "plan --pool . --target . --accept-by itm",
            "--accept-by: 'itm' is not one of item, identity (",
        ),
    ],
)
def test_a_wrong_word_is_one_line_with_the_nearest(line: str, words: str) -> None:
    assert words in refused(*line.split())


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[recipe]\nlerning_rate = 1.0", "there is no setting recipe.lerning_rate (did you mean 'learning_rate'?)"),
        ("steps = 1", "'steps' stands outside the table: put the line [recipe] before it"),
        ("[recipie]\nsteps = 1", "there is no table [recipie] (did you mean 'recipe'?)"),
        ("seeds = 1\n[recipe]", "there is no setting 'seeds'"),
        ("[recipe]\nsteps = 'x'", "recipe.steps needs a whole number, got 'x'"),
        ("[recipe]\nloss = 'arcfase'", "recipe.loss: 'arcfase' is not one of arcface, cosface, adaface (did you mean"),
        ("recipe = 3", "needs its settings in a table [recipe], got recipe = 3"),
    ],
)
def test_no_setting_is_ignored_in_silence(content: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(content)
    assert words in refused("plan", "--pool", tmp_path, "--target", tmp_path, "--config", tmp_path / "recipe.toml")


def test_a_wrong_path_is_told_before_pytorch_is_imported(tmp_path: Path) -> None:
    (tmp_path / "pool").mkdir()
    (tmp_path / "recipe.toml").write_text("[recipe]\nstep = 1\n")
    lines = {
        "--target: 'taget' does not exist (did you mean 'target'?)": ["plan", "--pool", "pool", "--target", "taget"],
        "--pool: 'ab:/c' does not exist, nor is there a scheme 'ab://' of URLs.": ["plan", "--pool", "ab://c"],
        "(did you mean 'steps'?)": ["plan", "--pool", "pool", "--target", "pool", "--config", "recipe.toml"],
        "no model 'sfase' (did you mean 'sface'?)": ["embed", "--pool", "pool", "--out", "x", "--model", "sfase"],
        "the output folder": ["embed", "--pool", "pool", "--out", "target"],
    }
    (tmp_path / "target").mkdir()
    code = (
        "import sys; from rsft.cli.main import run\ntry:\n run()\n"
        "finally:\n assert not {'torch', 'cv2'} & sys.modules.keys()"
    )
    for words, line in lines.items():
        found = subprocess.run(
            [sys.executable, "-c", code, *line], capture_output=True, text=True, check=False, cwd=tmp_path
        )
        assert found.returncode == 2, found.stderr
        (told,) = found.stderr.splitlines()
        assert words in told


def test_too_few_target_pictures_are_told_before_anything_is_embedded(faces: Path, tmp_path: Path) -> None:
    for picture in sorted((faces / "target").rglob("*.jpg"))[:9] or sorted((faces / "target").rglob("*.*"))[:9]:
        (tmp_path / picture.name).symlink_to(picture)
    line = ("--pool", faces / "pool", "--target", tmp_path, "--aligned")
    told = rsft("plan", *line, code=2).stderr
    assert (
        "a plan needs 10 target pictures or more, got 9: add pictures of the deployment, or set recipe.method" in told
    )
    assert "embed" not in told
    assert "got 9" in refused("fit", *line, "--eval", faces / "evaluation", "--out", tmp_path.with_name("run"))


def test_a_rate_that_the_pairs_cannot_support_is_told_before_they_are_embedded(faces: Path) -> None:
    told = rsft("threshold", "--eval", faces / "evaluation", "--fmr", "0.00001", "--aligned", code=2).stderr
    assert "needs 300000 impostor comparisons" in told
    assert "embed" not in told


def test_a_device_is_checked_and_taken(faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setenv("ACCELERATE_USE_CPU", "")  # restored at the end
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    line = ("embed", "--pool", faces / "target", "--out", tmp_path / "out", "--aligned")
    assert "the device 'cuda' cannot be used" in refused(*line, "--device", "cuda")
    rsft(*line, "--device", "cpu")
    assert os.environ["ACCELERATE_USE_CPU"] == "true"


def test_nobody_of_this_name_is_no_clean_bill(tmp_path: Path) -> None:
    (tmp_path / "pool.csv").write_text("path,identity\n1.jpg,ann lee\n2.jpg,bob\n")
    told = refused("forget", "--identity", "ann_lea", "--manifest", tmp_path / "pool.csv")
    assert "no such person: none of the 0 runs and 1 manifests names 'ann_lea' (did you mean 'ann lee'?)" in told
    assert "name the runs" in refused("forget", "--identity", "ann")


def test_how_to_install_is_said_in_one_place() -> None:
    source = Path(__file__).parents[2] / "src" / "rsft"
    assert [path for path in source.rglob("*.py") if re.search(r"pip install[^\n]*\[", path.read_text())] == [
        source / "errors.py"
    ]
    assert install_command("onnx") == json.loads(rsft("doctor", "--json").stdout)["extras"]["onnx"]["install"]
