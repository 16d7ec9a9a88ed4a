"""Tests that accepted items follow the target exactly, and that the same check rejects wrong rules."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from law import LOG_M, Rule, assert_draws_the_target, log_ratio
from torch import Tensor

from rsft import RejectionSampler, acceptance_probability
from rsft.sampling.acceptance import GOLDEN, accept, accept_at, uniforms
from rsft.sampling.lazy import LazyRejectionSampler


def ours(log_r: Tensor, log_m: float, seed: int) -> np.ndarray:
    """Accept by the rule of the library."""
    return accept(acceptance_probability(log_r, log_m).numpy(), seed=seed)


def ours_by_sampler(world_size: int, window: int | None = None) -> Rule:
    """Accept with samplers on several ranks. At most 7 of about 85,000 items do not divide evenly among them."""

    def rule(log_r: Tensor, log_m: float, seed: int) -> np.ndarray:
        kept = np.zeros(len(log_r), bool)
        for rank in range(world_size):
            acceptance = acceptance_probability(log_r, log_m)
            kept[list(RejectionSampler(acceptance, seed=seed, rank=rank, world_size=world_size, window=window))] = True
        return kept

    return rule


def balanced(log_r: Tensor, log_m: float, seed: int, *, epoch: int) -> np.ndarray:
    """Accept in one of the balanced epochs."""
    return accept(acceptance_probability(log_r, log_m).numpy(), seed=seed, epoch=epoch, balanced=True)


def scattered(log_r: Tensor, log_m: float, seed: int) -> np.ndarray:
    """Accept the items in another order, by their numbers."""
    items = np.random.default_rng(seed).permutation(len(log_r))
    kept = np.zeros(len(log_r), bool)
    kept[items] = accept_at(acceptance_probability(log_r[items], log_m).numpy(), items, seed=seed)
    return kept


def lazily(log_r: Tensor, log_m: float, seed: int, *, epoch: int, even: bool) -> np.ndarray:
    """Accept by a pass that computes each ratio when it reaches the item."""
    sampler = LazyRejectionSampler(lambda items: log_r[items], log_m, len(log_r), seed=seed, block=4096, balanced=even)
    kept = np.zeros(len(log_r), bool)
    kept[sampler.accepted(epoch).numpy()] = True
    return kept


def u(log_r: Tensor, seed: int) -> np.ndarray:
    """Return the uniform random numbers of the items."""
    return uniforms(seed, 0, 0, len(log_r))


def ratio(log_r: Tensor) -> np.ndarray:
    """Return the ratios as an array."""
    return log_r.exp().numpy()


STEP = GOLDEN / 2**53
WRONG: dict[str, Rule] = {
    "envelope forgotten": lambda r, m, s: u(r, s) < ratio(r),
    "ratio inverted": lambda r, m, s: u(r, s) < np.minimum(1, 1 / ratio(r) / math.exp(m)),
    "mean instead of maximum": lambda r, m, s: u(r, s) < np.minimum(1, ratio(r) / ratio(r).mean()),
    "sorted uniforms": lambda r, m, s: np.sort(u(r, s)) < ratio(r) / math.exp(m),
    "log ratio against linear u": lambda r, m, s: u(r, s) < (r - m).numpy() + 1,
    "square root of the ratio": lambda r, m, s: u(r, s) < np.sqrt(ratio(r) / math.exp(m)),
    "one uniform for a whole batch": lambda r, m, s: np.repeat(u(r, s)[::64], 64)[: len(r)] < ratio(r) / math.exp(m),
    "10 % slack envelope": lambda r, m, s: u(r, s) < ratio(r) / math.exp(m) / 1.1,
    "one sequence over items": lambda r, m, s: (u(r[:1], s) + np.arange(len(r)) * STEP) % 1 < ratio(r) / math.exp(m),
    "a step beyond one": lambda r, m, s: u(r, s) + STEP < ratio(r) / math.exp(m),
    "a step without a start": lambda r, m, s: np.full(len(r), 3 * STEP % 1) < ratio(r) / math.exp(m),
    "top-k in place of a draw": lambda r, m, s: _top_k(ratio(r), round(len(r) / math.exp(m))),
}


def _top_k(r: np.ndarray, k: int) -> np.ndarray:
    """Keep the k items with the largest ratios."""
    kept = np.zeros(len(r), bool)
    kept[np.argsort(-r, kind="stable")[:k]] = True
    return kept


RULES: dict[str, Rule] = {
    "joined": ours,
    "scattered": scattered,
    **{f"balanced, epoch {epoch}": partial(balanced, epoch=epoch) for epoch in (0, 1, 2, 13, 500)},
    **{f"lazy, epoch {epoch}": partial(lazily, epoch=epoch, even=False) for epoch in (0, 2)},
    "lazy, balanced": partial(lazily, epoch=5, even=True),
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("window", [None, 2**14])
@pytest.mark.parametrize("world_size", [1, 2, 3, 4, 8])
def test_the_items_of_all_ranks_follow_the_target(world_size: int, window: int | None, seed: int) -> None:
    assert_draws_the_target(ours_by_sampler(world_size, window), seed)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_accepted_items_follow_the_target(rule: Rule, seed: int) -> None:
    assert_draws_the_target(rule, seed)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", WRONG)
def test_the_check_rejects_wrong_rules(name: str, seed: int) -> None:
    with pytest.raises(AssertionError):
        assert_draws_the_target(WRONG[name], seed)


def test_the_exact_envelope_is_the_largest_ratio() -> None:
    x = torch.linspace(-8, 8, 100_001, dtype=torch.float64)
    assert float(log_ratio(x).max()) == pytest.approx(LOG_M, abs=1e-6)


def test_an_item_is_accepted_at_its_rate_over_epochs() -> None:
    epochs = 20_000
    probability = 0.3
    rate = np.mean([uniforms(7, epoch, 5, 6)[0] < probability for epoch in range(epochs)])
    assert abs(rate - probability) < 5 * math.sqrt(probability * (1 - probability) / epochs)
