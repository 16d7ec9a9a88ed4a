from collections.abc import Iterator

import numpy as np
import pytest
import torch

from rsft.baselines import Method, alternatives
from rsft.errors import LowAcceptanceError
from rsft.plan import Plan, plan_from_ratio

ITEMS, STEPS, BATCH_SIZE = 50, 400, 64
RATIO = torch.linspace(0.1, 4.0, ITEMS, dtype=torch.float64)


@pytest.fixture(scope="module")
def planned() -> Plan:
    return plan_from_ratio(RATIO.log(), envelope="max")


def shares(method: Method, seed: int = 0) -> np.ndarray:
    """Return the share of the total loss weight that falls on each item."""
    total = np.zeros(ITEMS)
    for items, weights in method.batches(STEPS, BATCH_SIZE, seed):
        assert len(items) == BATCH_SIZE
        np.add.at(total, items.numpy(), 1.0 if weights is None else weights.numpy())
    return total / total.sum()


def deviation(observed: np.ndarray, expected: np.ndarray) -> float:
    """Return the largest deviation in standard errors of independent draws, an upper bound without replacement."""
    return float(np.max(np.abs(observed - expected) / np.sqrt(expected / (STEPS * BATCH_SIZE))))


# The largest of 50 deviations exceeds 4 standard errors about once in 300 tests.
LIMIT = 4.0
TARGET = (RATIO / RATIO.sum()).numpy()
FLAT = np.full(ITEMS, 1 / ITEMS)


@pytest.mark.parametrize("name", ["weighted sampling", "rejection", "loss weights"])
def test_methods_for_the_target_train_on_the_target_distribution(planned: Plan, name: str) -> None:
    observed = shares(alternatives(planned)[name])
    assert deviation(observed, TARGET) < LIMIT
    assert deviation(observed, FLAT) > 2 * LIMIT, "a flat rule would pass"


@pytest.mark.parametrize("name", ["uniform", "fresh subset"])
def test_uniform_methods_train_on_the_pool_distribution(planned: Plan, name: str) -> None:
    observed = shares(alternatives(planned)[name])
    assert deviation(observed, FLAT) < LIMIT
    assert deviation(observed, TARGET) > 2 * LIMIT, "the target's rule would pass"


def test_epochs_of_the_subset_and_of_rejection_have_equal_expected_size(planned: Plan) -> None:
    methods = alternatives(planned)
    sizes = {name: [len(next_epoch) for next_epoch in first(methods[name], 200)] for name in methods}
    expected = planned.acceptance.sum().item()
    error = np.sqrt(ITEMS / 4 / 200)
    assert abs(np.mean(sizes["rejection"]) - expected) < 4 * error
    assert abs(np.mean(sizes["fresh subset"]) - expected) < 4 * error
    assert set(sizes["uniform"]) == {ITEMS}


def first(method: Method, epochs: int) -> list[np.ndarray]:
    return [epoch for epoch, _ in zip(method.epochs(0), range(epochs), strict=False)]


def test_draws_are_reproducible_and_differ_between_seeds(planned: Plan) -> None:
    for name, method in alternatives(planned, oracle=np.arange(ITEMS) < 9).items():
        draws = [torch.cat([items for items, _ in method.batches(3, 8, seed)]).tolist() for seed in (0, 0, 1)]
        assert draws[0] == draws[1], name
        assert draws[0] != draws[2], name


def test_the_oracle_draws_only_known_target_items(planned: Plan) -> None:
    known = np.zeros(ITEMS, bool)
    known[[3, 5]] = True
    oracle = alternatives(planned, oracle=known)["oracle"]
    assert {item for items, _ in oracle.batches(5, 4, 0) for item in items.tolist()} == {3, 5}


def test_the_steps_of_a_method_override_those_of_the_comparison() -> None:
    def epochs(seed: int) -> Iterator[np.ndarray]:
        while True:
            yield np.arange(3)

    batches = list(Method(epochs, steps=2).batches(5, 2, 0))
    assert [items.tolist() for items, _ in batches] == [[0, 1], [2, 0]]


def test_a_bad_oracle_is_refused(planned: Plan) -> None:
    with pytest.raises(ValueError, match="50,"):
        alternatives(planned, oracle=np.zeros(3, bool))
    with pytest.raises(ValueError, match="0 true"):
        alternatives(planned, oracle=np.zeros(ITEMS, bool))


def test_a_method_that_accepts_nothing_raises() -> None:
    def epochs(seed: int) -> Iterator[np.ndarray]:
        while True:
            yield np.empty(0, np.int64)

    with pytest.raises(LowAcceptanceError, match="fewer than one batch of 2 items"):
        list(Method(epochs).batches(1, 2, 0))
