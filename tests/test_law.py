"""The frozen rule of a plan draws the target from items that the plan was not made from."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from law import LOG_M, Rule, assert_draws_the_target, log_ratio
from torch import Tensor

from rsft import plan
from rsft.law import Law
from rsft.ratio.base import DensityRatio
from rsft.sampling.acceptance import accept

OFF = 0.7  # a fitted ratio is known up to a constant


class Exact(DensityRatio):
    """The ratio of the pair with closed forms, times a constant."""

    def log_ratio(self, x: Tensor) -> Tensor:  # type: ignore[override]
        return log_ratio(x[:, 0]) + OFF


def drawn(log_r: Tensor, log_m: float, seed: int, *, law: Law, likeness: bool = False) -> np.ndarray:
    """Accept by a law, from items with given ratios: the one feature is an item with that ratio."""
    # log r is quadratic in x, with its maximum at 0.5 / 0.36: both items with this ratio are equally good.
    x = 0.5 / 0.36 + torch.sqrt((LOG_M - log_r).clamp(min=0) * 2 / (1 / 0.64 - 1))
    acceptance = (law.likeness if likeness else law.acceptance)(x[:, None])
    return accept(acceptance.numpy(), seed=seed)


EXACT = Law(Exact(), OFF, 0.0, LOG_M, LOG_M)
WRONG: dict[str, Rule] = {
    "mean forgotten": partial(drawn, law=Law(Exact(), 0.0, 0.0, LOG_M, LOG_M)),
    "mean added": partial(drawn, law=Law(Exact(), -OFF, 0.0, LOG_M, LOG_M)),
    "pool retained": partial(drawn, law=Law(Exact(), OFF, 0.3, math.log(0.7 * math.exp(LOG_M) + 0.3), LOG_M)),
    "another envelope": partial(drawn, law=Law(Exact(), OFF, 0.0, LOG_M + 0.1, LOG_M)),
}


@pytest.mark.parametrize("seed", range(3))
def test_items_accepted_by_the_law_follow_the_target(seed: int) -> None:
    assert_draws_the_target(partial(drawn, law=EXACT), seed)
    retaining = Law(Exact(), OFF, 0.3, 0.0, LOG_M)
    assert_draws_the_target(partial(drawn, law=retaining, likeness=True), seed)


@pytest.mark.parametrize("name", WRONG)
def test_wrong_laws_are_told_apart(name: str) -> None:
    with pytest.raises(AssertionError):
        assert_draws_the_target(WRONG[name], 0)


def test_the_law_of_a_plan_is_its_ratio_scaled_mixed_and_clipped() -> None:
    generator = torch.Generator().manual_seed(0)
    pool, new = (torch.randn(4000, 2, generator=generator) for _ in range(2))
    target = torch.randn(800, 2, generator=generator) + torch.tensor([1.0, 0.0])
    made = plan(pool, target, envelope="max_tv=0.05", retain_fraction=0.3)
    law = made.law
    assert law is not None
    ratio = 0.7 * (law.ratio.log_ratio(new) - law.log_mean).exp() + 0.3
    torch.testing.assert_close(law.log_ratio(new).exp(), ratio)
    torch.testing.assert_close(law.acceptance(new), (ratio / math.exp(made.envelope.log_m)).clamp(max=1))
    error = 5 * float(ratio.std()) / 4000**0.5 + 5 * made.diagnostics["mean_ratio_error"]
    assert float(ratio.mean()) == pytest.approx(1, abs=error)
    assert float(law.acceptance(new).min()) >= 0.3 / math.exp(made.envelope.log_m)
    assert float(law.likeness(new).min()) < 0.1 * float(law.acceptance(new).min())
    # On the items of the plan, held-out values and those of all models differ by the noise of the fit.
    assert float((law.log_ratio(pool) - made.log_ratio).abs().mean()) < 0.05
    assert float((law.likeness(pool) - made.likeness).abs().mean()) < 0.05


def test_plans_of_identities_have_no_law() -> None:
    generator = torch.Generator().manual_seed(0)
    pool, target = torch.randn(600, 1, generator=generator), torch.randn(200, 1, generator=generator) + 1
    people = torch.arange(600) // 3
    assert plan(pool, target, identities=people).law is not None
    for options in ({"accept_by": "identity"}, {"floor": 2}):
        made = plan(pool, target, identities=people, **options)
        assert made.law is None
        with pytest.raises(ValueError, match="whose items are accepted singly"):
            made.sampler(score=lambda items: pool[items], items=600)
