"""Every parser accepts a mutated input or refuses it in one line that names the file, and does nothing else.

The long form is `benchmarks/soak_fuzz.py`.
"""

import json
import warnings
from pathlib import Path
from random import Random

import pytest
from attempts import Parser, Watch, attempt, limited, prepare
from parsers import parsers

INPUTS = 150  # of each parser, divided by how slow it is
PARSERS = parsers()
RESULTS = Path(__file__).parents[2] / "benchmarks" / "results" / "soak_fuzz.json"


@pytest.fixture(scope="module")
def watch(tmp_path_factory: pytest.TempPathFactory) -> Watch:
    return Watch(tmp_path_factory.getbasetemp())


@pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.name)
def test_mutated_input_is_accepted_or_refused_in_one_line(parser: Parser, watch: Watch, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of libraries, at odd numbers
        prepare(parser, tmp_path)
        bad = {}
        with limited():
            for number in range(max(1, INPUTS // parser.slow)):
                outcome = attempt(parser, Random(f"1/{parser.name}/{number}"), tmp_path / "x", watch)
                if outcome.startswith("BAD"):
                    bad[number] = outcome
    assert not bad


def test_the_figures_of_the_long_form_are_of_all_parsers() -> None:
    found = json.loads(RESULTS.read_text())
    assert set(found["parsers"]) == {parser.name for parser in PARSERS}
    assert found["inputs"] == sum(part["inputs"] for part in found["parsers"].values())


def test_the_hook_sees_what_it_should(watch: Watch, tmp_path: Path) -> None:
    """Code that runs, a process, and a file outside are seen; a literal that is parsed is not."""
    import ast
    import subprocess

    def fails(what: str) -> None:
        if what == "exec":
            exec("1")
        elif what == "process":
            subprocess.run(["true"], check=True)
        elif what == "write":
            open("/dev/null", "w").close()
        else:
            ast.literal_eval("[1]")

    for what, seen in (("exec", "exec"), ("process", "subprocess.Popen"), ("write", "writes /dev/null"), ("parse", "")):
        with watch.watching() as noted:
            fails(what)
        assert any(seen in note for note in noted) if seen else not noted, what
