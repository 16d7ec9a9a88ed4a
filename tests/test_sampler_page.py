import re
from pathlib import Path

import pytest

import rsft

PAGE = (Path(__file__).parents[1] / "docs" / "sampler.md").read_text()


def test_the_examples_of_the_sampler_page_run() -> None:
    names: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.S):
        exec(block, names)
    assert len(list(names["loader"])) > 0  # type: ignore[call-overload]


@pytest.mark.parametrize(
    "name", sorted(set(re.findall(r"`([A-Z]\w+|[a-z]+_[a-z]+)\(", PAGE)) - {"StatefulDataLoader", "setup_dataloaders"})
)
def test_every_function_named_on_the_page_exists(name: str) -> None:
    assert hasattr(rsft, name) or hasattr(rsft.RejectionSampler, name)
