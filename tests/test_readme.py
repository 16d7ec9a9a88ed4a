import json
import re
from pathlib import Path

from rsft.types import Interval

README = (Path(__file__).parents[1] / "README.md").read_text()


def test_the_example_without_pictures_runs() -> None:
    blocks = re.findall(r"```python\n(.*?)```", README, re.S)
    (block,) = [block for block in blocks if "import rsft\n" in block]
    names: dict[str, object] = {}
    exec(block, names)
    assert "worth trying" in str(names["plan"].verdict)  # type: ignore[attr-defined]


def test_the_example_with_pictures_names_the_arguments_of_fit() -> None:
    import inspect

    from rsft.face.fit import fit

    (block,) = [block for block in re.findall(r"```python\n(.*?)```", README, re.S) if "rsft.face.fit" in block]
    used = re.findall(r"^    (\w+)=", block, re.M)
    assert used
    assert set(used) <= set(inspect.signature(fit).parameters)


def test_every_link_in_the_repository_leads_somewhere() -> None:
    root = Path(__file__).parents[1]
    for link in re.findall(r"\]\(([^)#]+)\)", README):
        assert (root / link).exists(), link


def test_the_table_is_that_of_the_evidence() -> None:
    shifts = json.loads((Path(__file__).parents[1] / "benchmarks" / "results" / "evidence.json").read_text())["shifts"]
    for name in ("night", "mask", "low-resolution", "mixed"):
        differences = shifts[name]["comparison"]["differences"]["rejection"]
        for other in ("pretrained", "uniform", "loss weights"):
            for key in ("target", "retain"):
                assert Interval(**differences[other][f"{key} TAR at FMR 0.001"]).signed() in README, (name, other, key)
