"""Every outcome on data built to have it."""

import pytest
import torch

from rsft import plan
from rsft.verdict import Outcome


def normal(n: int, mean: float, seed: int, spread: float = 1.0, d: int = 4) -> torch.Tensor:
    x = spread * torch.randn(n, d, generator=torch.Generator().manual_seed(seed))
    x[:, 0] += mean
    return x


@pytest.mark.parametrize(
    ("target", "outcome"),
    [
        (normal(500, 1.0, 1), Outcome.WORTH_TRYING),
        (normal(500, 0.0, 1), Outcome.POOL_MATCHES),
        (normal(500, 9.0, 1), Outcome.TOO_LITTLE_SUPPORT),
        (normal(20, 1.0, 1), Outcome.TARGET_TOO_SMALL),
    ],
)
def test_outcomes(target: torch.Tensor, outcome: Outcome) -> None:
    result = plan(normal(3000, 0.0, 0), target, envelope="max_tv=0.02")
    assert result.verdict.outcome == outcome
    assert result.verdict.reason


def test_retaining_all_of_the_pool_accepts_all_of_it() -> None:
    result = plan(normal(500, 0.0, 0), normal(300, 1.0, 1), retain_fraction=1.0)
    assert torch.equal(result.acceptance, torch.ones(500, dtype=torch.float64))


def test_the_retained_share_is_the_stated_one() -> None:
    """Of the accepted, the expected share drawn for the pool's part of the mixture."""
    share = 0.3
    result = plan(normal(3000, 0.0, 0), normal(800, 1.0, 1), retain_fraction=share)
    drawn_for_pool = share * len(result.log_ratio) / result.log_ratio.exp().sum()
    assert float(drawn_for_pool) == pytest.approx(share)
    assert float(result.acceptance.max()) == pytest.approx(1)


def test_identities_kept_are_those_of_a_simulation() -> None:
    identities = torch.arange(900) // 3
    result = plan(normal(900, 0.0, 0), normal(300, 1.0, 1), identities=identities)
    kept = [len(identities[result.sampler(seed=seed).accepted()].unique()) for seed in range(300)]
    mean, error = torch.tensor(kept).double().mean(), torch.tensor(kept).double().std() / 300**0.5
    assert abs(result.diagnostics["identities_accepted"] - mean) < 5 * error


def test_a_plan_samples_what_it_says_and_is_plain_json() -> None:
    import json

    result = plan(normal(1000, 0.0, 0), normal(300, 1.0, 1), envelope="rate=0.2", seed=7)
    assert result.sampler().seed == 7
    assert float(result.acceptance.mean()) == pytest.approx(0.2)
    assert json.loads(json.dumps(result.to_dict()))["envelope"]["rule"] == "rate=0.2"
