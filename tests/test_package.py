"""Importing the package and asking for help cost little, and every public name is there when it is used."""

import subprocess
import sys
from types import ModuleType

import pytest


def loaded_after(code: str) -> set[str]:
    """Return the heavy packages that a fresh process has loaded after running some code."""
    told = "import sys; print(*{'torch', 'numpy', 'scipy', 'sklearn', 'pyarrow'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", f"{code}\n{told}"], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


def test_importing_the_package_loads_nothing_heavy_until_a_name_is_used() -> None:
    assert loaded_after("import rsft") == set()
    assert "torch" in loaded_after("import rsft; rsft.RejectionSampler")


@pytest.mark.parametrize("words", [["--help"], ["fit", "--help"], []])
def test_help_loads_nothing_heavy(words: list[str]) -> None:
    run = f"import sys, rsft.cli.main as m; sys.argv = ['rsft', *{words}]"
    ended = "try:\n    m.run()\nexcept SystemExit as end:\n    assert not end.code or not sys.argv[1:]\n"
    assert loaded_after(f"{run}\n{ended}") == set()


def test_every_public_name_is_what_it_says_and_none_is_a_module() -> None:
    import rsft.compare
    import rsft.draw
    import rsft.plan  # modules of the same name as a public function

    for name in rsft.__all__:
        assert getattr(rsft, name).__name__ == name
        assert not isinstance(getattr(rsft, name), ModuleType)
    with pytest.raises(AttributeError, match="absent"):
        rsft.absent  # type: ignore[attr-defined]  # noqa: B018
