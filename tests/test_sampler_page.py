import re
from collections.abc import Callable
from pathlib import Path

import pytest
from pages import Ran

import rsft

PAGE = (Path(__file__).parents[1] / "docs" / "sampler.md").read_text()


def test_the_examples_of_the_sampler_page_give_batches(run_page: Callable[[str], Ran]) -> None:
    assert len(list(run_page("docs/sampler.md").names["loader"])) > 0


@pytest.mark.parametrize(
    "name", sorted(set(re.findall(r"`([A-Z]\w+|[a-z]+_[a-z]+)\(", PAGE)) - {"StatefulDataLoader", "setup_dataloaders"})
)
def test_every_function_named_on_the_page_exists(name: str) -> None:
    assert hasattr(rsft, name) or hasattr(rsft.RejectionSampler, name)
