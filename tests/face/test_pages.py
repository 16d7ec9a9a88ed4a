"""The pages on evaluation, privacy and data agree with the code."""

import re
from collections.abc import Callable
from pathlib import Path

from pages import Ran

from rsft.data.images import MAX_PIXELS
from rsft.data.withdrawn import IDENTITIES, NAMES
from rsft.face.check import PROVENANCE
from rsft.face.evaluation.all_pairs import BINS
from rsft.face.evaluation.folds import GRID
from rsft.face.evaluation.trials import MAX_LISTED
from rsft.face.runs.pseudonyms import HASH_DIGITS, SALT_FILE

DOCS = Path(__file__).parents[2] / "docs"
EVALUATION, PRIVACY, DATA = ((DOCS / f"{name}.md").read_text() for name in ("evaluation", "privacy", "data"))


def test_the_threshold_of_the_evaluation_example_is_for_its_rate(run_page: Callable[[str], Ran]) -> None:
    assert run_page("docs/evaluation.md").names["threshold"].wished == 0.001


def test_the_pages_name_only_existing_options() -> None:
    from typer.main import get_command

    from rsft.cli.main import app

    commands = get_command(app).commands  # type: ignore[attr-defined]
    options = {
        option
        for name in ("evaluate", "threshold", "forget", "fit", "embed", "plan")
        for parameter in commands[name].params
        for option in parameter.opts
    }
    for page in (EVALUATION, PRIVACY):
        assert set(re.findall(r"--[a-z][a-z-]+", page)) <= options


def test_numbers_and_names_agree_with_the_code() -> None:
    assert f"2^{MAX_LISTED.bit_length() - 1} comparisons are listed" in EVALUATION
    assert f"bins of 2^-{BINS.bit_length() - 1}" in EVALUATION
    assert (GRID[1], round(GRID[-1], 2)) == (0.01, 3.99)
    assert f"{HASH_DIGITS} digits" in PRIVACY
    assert SALT_FILE in PRIVACY
    assert f"{MAX_PIXELS // 10**6} million pixels" in DATA
    assert all(name in PRIVACY for name in NAMES)
    assert all(f"`{name}`" in PRIVACY for name in PROVENANCE)
    shown = re.search(r"\((`m\..*?)\)", PRIVACY)
    assert shown is not None
    for example, pattern in zip(re.findall(r"`(.*?)`", shown[1]), IDENTITIES.values(), strict=True):
        assert pattern.fullmatch(example)
