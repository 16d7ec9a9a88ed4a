"""Tests of `membership_ratio` against closed forms, raking and drawn samples, and for unreachable shares."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from rsft import membership_ratio, plan_from_ratio
from rsft.ratio.attributes import attribute_ratio, raked_ratio
from rsft.ratio.memberships import shares


def boxes(items: int = 4000, seed: int = 0) -> Tensor:
    """Draw the counts of 4 classes of objects in each picture. Pictures may be empty; the last class is rare."""
    generator = torch.Generator().manual_seed(seed)
    return torch.poisson(torch.tensor([3.0, 1.0, 0.3, 0.1]).expand(items, 4), generator=generator)


WANTED = {0: 0.4, 1: 0.3, 2: 0.2, 3: 0.1}


def test_with_one_class_per_item_the_ratio_equals_attribute_ratio_and_raking() -> None:
    generator = torch.Generator().manual_seed(0)
    light, mask = (torch.randint(k, (3000,), generator=generator) for k in (3, 2))
    tables = {"light": torch.nn.functional.one_hot(light, 3), "mask": torch.nn.functional.one_hot(mask, 2)}
    wanted = {"light": {0: 0.1, 1: 0.2, 2: 0.7}, "mask": {0: 0.3, 1: 0.7}}
    one = membership_ratio(tables, {"light": wanted["light"]})
    torch.testing.assert_close(one.log_ratio, attribute_ratio(light, wanted["light"]), rtol=0, atol=1e-5)
    both = membership_ratio(tables, wanted)
    raked = raked_ratio({"light": light, "mask": mask}, wanted)
    torch.testing.assert_close(both.log_ratio, raked, rtol=0, atol=1e-5)
    assert both.shortfall < 1e-6


def test_two_kinds_of_pictures_match_the_closed_form() -> None:
    # A share a of the target has none of class 1, and a share 1 - a has a quarter of it, so (1 - a) / 4 = t.
    pixels = torch.tensor([[8.0, 0.0]] * 90 + [[6.0, 2.0]] * 10)
    for t in (0.05, 0.1, 0.2):
        found = membership_ratio({"pixel": pixels}, {"pixel": {1: t}}, least_effective=1)
        expected = torch.tensor([(1 - 4 * t) / 0.9] * 90 + [4 * t / 0.1] * 10, dtype=torch.float64)
        torch.testing.assert_close(found.log_ratio.exp(), expected, rtol=1e-5, atol=1e-5)


def test_the_ratio_is_the_tilt_of_least_divergence() -> None:
    counts = boxes()
    found = membership_ratio({"box": counts}, {"box": WANTED})
    torch.testing.assert_close(
        shares(counts, found.log_ratio.exp()), torch.tensor(list(WANTED.values())).double(), rtol=0, atol=1e-6
    )
    # Lagrange's condition for the least divergence: log r is linear in the gaps.
    gaps = counts.double() - counts.double().sum(1, keepdim=True) * torch.tensor(list(WANTED.values())).double()
    design = torch.cat([gaps[:, 1:], torch.ones(len(counts), 1, dtype=torch.float64)], 1)  # the gaps sum to 0
    fit = design @ torch.linalg.lstsq(design, found.log_ratio[:, None]).solution
    torch.testing.assert_close(fit[:, 0], found.log_ratio, rtol=0, atol=1e-6)
    # Another ratio with the same shares has a larger divergence.
    weight = found.log_ratio.softmax(0)
    move = torch.randn(len(weight), dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * weight
    move -= design @ torch.linalg.lstsq(design, move[:, None]).solution.flatten()
    other = weight + move * (weight / move.abs()).min() / 2
    torch.testing.assert_close(other @ design, weight @ design, rtol=0, atol=1e-9)
    assert (other * (other * len(other)).log()).sum() > (weight * (weight * len(weight)).log()).sum()


def drawn_shares(log_ratio: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """Return the shares in the items accepted in 40 epochs, and their standard errors by the delta method."""
    sampler = plan_from_ratio(log_ratio).sampler()
    taken = counts[torch.cat([sampler.accepted(epoch) for epoch in range(40)])].double()
    found, total = shares(taken), taken.sum(1)
    residual = taken - found * total[:, None]
    return found, residual.square().sum(0).sqrt() / total.sum()


def average_class_ratio(counts: Tensor) -> Tensor:
    """Wrong rule: the mean of target share / pool share over the boxes of an item."""
    ratio = torch.tensor(list(WANTED.values())).double() / shares(counts)
    return ((counts.double() @ ratio) / counts.sum(1).clamp(min=1)).clamp(min=1e-9).log()


def rarest_class_ratio(counts: Tensor) -> Tensor:
    """Wrong rule: repeat factors, the largest target share / pool share among the classes of an item."""
    ratio = torch.tensor(list(WANTED.values())).double() / shares(counts)
    return ((counts > 0) * ratio).max(1).values.clamp(min=1e-9).log()


def by_image(counts: Tensor) -> Tensor:
    """Wrong rule: each picture counts once, regardless of its number of boxes."""
    return membership_ratio({"box": counts / counts.sum(1, keepdim=True).clamp(min=1)}, {"box": WANTED}).log_ratio


def test_the_accepted_items_have_the_target_shares() -> None:
    counts = boxes()
    found, error = drawn_shares(membership_ratio({"box": counts}, {"box": WANTED}).log_ratio, counts)
    assert ((found - torch.tensor(list(WANTED.values()))).abs() < 5 * error).all()


@pytest.mark.parametrize("wrong", [average_class_ratio, rarest_class_ratio, by_image])
def test_wrong_rules_miss_the_target_shares(wrong: Callable[[Tensor], Tensor]) -> None:
    counts = boxes()
    found, error = drawn_shares(wrong(counts), counts)
    assert ((found - torch.tensor(list(WANTED.values()))).abs() > 5 * error).any()


def test_unreachable_shares_are_reported_as_a_shortfall() -> None:
    # At most a quarter of a picture is class 1, so the closest possible share to one half is one quarter.
    pixels = torch.tensor([[8.0, 0.0]] * 200 + [[6.0, 2.0]] * 100)
    found = membership_ratio({"pixel": pixels}, {"pixel": {1: 0.5}})
    assert found.shortfall == pytest.approx(0.25, abs=1e-6)
    assert found.achieved["pixel"][1] == pytest.approx(0.25, abs=1e-6)
    assert found.effective_size == pytest.approx(100, rel=1e-4)
    assert "achieved 0.2500, wanted 0.5000" in str(found)


def test_empty_and_nearly_empty_pictures_do_not_hide_a_shortfall() -> None:
    # The largest share, 4 of 10, occurs in crowded pictures. Empty and nearly empty ones have none of class 1.
    counts = torch.tensor([[6.0, 4.0]] * 100 + [[1.0, 0.0]] * 100 + [[0.0, 0.0]] * 100)
    found = membership_ratio({"box": counts}, {"box": {1: 0.5}})
    assert found.achieved["box"][1] == pytest.approx(0.4, abs=1e-4)
    assert found.shortfall == pytest.approx(0.1, abs=1e-4)


def test_the_effective_size_stays_above_its_bound() -> None:
    counts = boxes()
    sizes = []
    for least in (500.0, 50.0):
        found = membership_ratio({"box": counts}, {"box": {3: 0.9}}, least_effective=least)
        assert found.effective_size >= least
        sizes.append(found.shortfall)
    assert sizes[0] > 0.05 > sizes[1]


def test_empty_items_and_unlisted_classes_are_supported() -> None:
    counts = torch.tensor([[0.0, 0.0, 0.0], [4.0, 2.0, 0.0], [4.0, 2.0, 6.0]]).repeat(50, 1)
    found = membership_ratio({"box": counts}, {"box": {2: 0.2}})
    ratio = found.log_ratio[:3].exp()
    assert ratio.isfinite().all()
    achieved = shares(counts, found.log_ratio.exp())
    assert achieved[2] == pytest.approx(0.2, abs=1e-6)
    assert achieved[0] / achieved[1] == pytest.approx(2.0)  # unlisted classes keep their proportion
    assert ratio[0] > 0
    assert found.log_ratio.logsumexp(0) - math.log(150) == pytest.approx(0, abs=1e-9)


def test_the_ratio_is_independent_of_item_order_and_count_unit() -> None:
    counts = boxes(500)
    order = torch.randperm(500, generator=torch.Generator().manual_seed(0))
    found = membership_ratio({"box": counts}, {"box": {3: 0.1}}).log_ratio
    shuffled = membership_ratio({"box": counts[order]}, {"box": {3: 0.1}}).log_ratio
    torch.testing.assert_close(found[order], shuffled, rtol=0, atol=1e-6)
    scaled = membership_ratio({"box": counts * 1000}, {"box": {3: 0.1}}).log_ratio
    torch.testing.assert_close(found, scaled, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("tables", "wanted", "message"),
    [
        ({"box": torch.ones(4, 2)}, {"pixel": {0: 1.0}}, r"needs shares of \['box'\]"),
        ({"box": torch.ones(4, 2)}, {}, r"needs shares of \['box'\]"),
        ({"box": torch.ones(4, 2)}, {"box": {2: 0.1}}, r"classes 0 to 1, and `target_shares` names \[2\]"),
        ({"box": torch.ones(4, 2)}, {"box": {0: 0.9, 1: 0.9}}, "a sum of 1.8"),
        ({"box": torch.ones(4, 2)}, {"box": {0: 0.1, 1: 0.1}}, "a sum of 0.2"),
        ({"box": torch.ones(4, 2)}, {"box": {0: -0.1}}, r"shares in \[0, 1\]"),
        ({"box": torch.tensor([[1.0, 0.0]] * 4)}, {"box": {1: 0.1}}, r"gives a share to \[1\]: no item has it"),
        ({"box": torch.tensor([[1.0, 1.0], [1.0, -1.0]])}, {"box": {1: 0.1}}, "item 1 has"),
        ({"box": torch.tensor([[1.0, math.nan]])}, {"box": {1: 0.1}}, "item 0 has"),
        ({"box": torch.ones(4)}, {"box": {0: 0.1}}, r"needs \(N, K\) counts"),
        ({"a": torch.zeros(4, 2)}, {"a": {0: 0.1}}, "needs at least one count > 0"),
        ({"a": torch.zeros(4, 2)}, {"a": {0: 0.0}}, "needs at least one count > 0"),
        ({"a": torch.ones(4, 2), "b": torch.ones(3, 2)}, {"a": {0: 0.1}, "b": {0: 0.1}}, "of the same N items"),
    ],
)
def test_bad_input_is_refused(tables: dict[str, Tensor], wanted: dict[str, dict[int, float]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        membership_ratio(tables, wanted)
