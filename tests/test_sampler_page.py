import json
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


def test_the_table_of_speed_is_that_of_the_benchmark() -> None:
    results = Path(__file__).parents[1] / "benchmarks" / "results" / "sampler.json"
    told = json.loads(results.read_text())
    figures = told["sizes"][str(10**7)]["figures"]
    bare = figures["bare generator, float32"]["cpu_seconds"]
    names = {
        "rsft, accepted set": "rsft accepted",
        "rsft, in shuffled order": "rsft in order",
        "the same, windows of 2^20": "rsft in order, windows of 2^20",
        "rsft, iterated as Python numbers": "rsft iterated",
        "WeightedRandomSampler, iterated": "WeightedRandomSampler iterated",
        "torch.multinomial": "torch.multinomial",
    }
    for shown, name in names.items():
        speed, peer = (figures[name][key] for key in ("per_second", "per_second_over_WeightedRandomSampler"))
        assert f"| {shown} | {speed / 1e6:.1f} M | {peer:.1f} | {figures[name]['cpu_seconds'] / bare:.1f} |" in PAGE
    largest = told["largest"]
    assert f"in {largest['first_batch_seconds']:.2f} s with {largest['extra_megabytes']:.0f} MB" in PAGE
    assert f"{largest['cpu_seconds_for_len']:.1f} s of a processor" in PAGE
