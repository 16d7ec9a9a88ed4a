import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from accelerate.state import AcceleratorState

from rsft.face.recipe import Recipe

PAGE = (Path(__file__).parents[2] / "docs" / "tuning.md").read_text()


@pytest.fixture(autouse=True)
def _fresh_state() -> Iterator[None]:
    """Accelerate keeps one precision a process."""
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


def test_the_examples_run_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    for block in blocks:
        exec(block, names)
        AcceleratorState._reset_state(reset_partial_state=True)
    assert len(blocks) == 4
    assert list(tmp_path.glob("checkpoints/step-*"))
    assert list(tmp_path.glob("cache/*/shard-00000.npy"))


def test_the_recipe_is_one() -> None:
    (block,) = re.findall(r"```toml\n(.*?)```", PAGE, re.S)
    assert Recipe(**tomllib.loads(block)["recipe"]).trains == "lora"
