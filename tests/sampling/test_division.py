"""Ranks that take shares take the sequence once, resume with any number of ranks, and order their own windows alone."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rsft import RejectionSampler
from rsft.sampling.division import spans_left

ITEMS = 2000
ACCEPTANCE = torch.linspace(0, 1, ITEMS, dtype=torch.float64)


def sampler(rank: int, ranks: int, *, window: int | None = 64, pad: bool = False) -> RejectionSampler:
    return RejectionSampler(ACCEPTANCE, seed=3, rank=rank, world_size=ranks, window=window, pad=pad, shares=True)


def whole(window: int | None = 64) -> list[int]:
    return list(RejectionSampler(ACCEPTANCE, seed=3, window=window, rank=0, world_size=1))


@pytest.mark.parametrize("window", [None, 64])
@pytest.mark.parametrize("ranks", [1, 2, 3, 8])
def test_shares_laid_end_to_end_are_the_sequence(ranks: int, window: int | None) -> None:
    shares = [list(sampler(rank, ranks, window=window)) for rank in range(ranks)]
    expected = whole(window)
    assert [item for share in shares for item in share] == expected[: len(expected) // ranks * ranks]
    assert {len(share) for share in shares} == {len(sampler(0, ranks, window=window))}


def test_padding_gives_everything_and_repeats_only_the_rest() -> None:
    expected = whole()
    ranks = next(n for n in range(3, 12) if len(expected) % n > 1)
    shares = [list(sampler(rank, ranks, pad=True)) for rank in range(ranks)]
    assert {len(share) for share in shares} == {-(-len(expected) // ranks)} == {len(sampler(0, ranks, pad=True))}
    rest = expected[len(expected) // ranks * ranks :]
    assert [share[-1] for share in shares] == [rest[rank % len(rest)] for rank in range(ranks)]
    assert {item for share in shares for item in share} == set(expected)


@settings(max_examples=15)
@given(
    worlds=st.lists(st.integers(1, 6), min_size=1, max_size=4),
    fractions=st.lists(st.floats(0, 1), min_size=4, max_size=4),
    pad=st.booleans(),
)
def test_any_chain_of_resumes_loses_and_repeats_nothing(worlds: list[int], fractions: list[float], pad: bool) -> None:
    """Each run but the last is cut off; the last takes all that is left, up to an incomplete step."""
    taken: list[int] = []
    state = None
    for number, ranks in enumerate(worlds):
        samplers = [sampler(rank, ranks, pad=pad) for rank in range(ranks)]
        for one in samplers:
            if state is not None:
                one.load_state_dict(state)
        last = number == len(worlds) - 1
        steps = len(samplers[0]) if last else int(fractions[number] * (len(samplers[0]) - pad))
        rows = [[item for item, _ in zip(one, range(steps), strict=False)] for one in samplers]
        assert all(len(row) == steps for row in rows)
        state = samplers[0].state_dict(taken=steps)
        assert all(one.state_dict(taken=steps)["position"] == state["position"] for one in samplers)
        taken += [item for row in rows for item in row]
    expected = whole()
    if pad:
        assert set(taken) == set(expected)
        assert len(taken) < len(expected) + worlds[-1]
    else:
        assert len(set(taken)) == len(taken) > len(expected) - worlds[-1]
        assert set(taken) <= set(expected)


def test_a_rank_orders_the_windows_of_its_share_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    ordered: list[int] = []
    order = RejectionSampler._order

    def noting(self: RejectionSampler, chunks: np.ndarray) -> np.ndarray:
        ordered.append(int(chunks[0]))
        return order(self, chunks)

    monkeypatch.setattr(RejectionSampler, "_order", noting)
    windows = -(-ITEMS // 64)
    for rank in range(4):
        ordered.clear()
        list(sampler(rank, 4))
        assert len(ordered) == len(set(ordered)) <= windows // 2  # a quarter of the items, not of the windows
    ordered.clear()
    list(RejectionSampler(ACCEPTANCE, seed=3, window=64, rank=0, world_size=4))
    assert len(ordered) >= windows


def test_nothing_is_left_of_an_epoch_whose_last_step_was_filled() -> None:
    ranks = next(n for n in range(3, 12) if len(whole()) % n > 1)
    done, again = sampler(0, ranks, pad=True), sampler(0, 1, pad=True)
    list(done)
    again.load_state_dict(done.state_dict())
    assert len(again) == 0 == len(list(again))


def test_a_finished_epoch_is_followed_by_the_next() -> None:
    done = sampler(1, 2)
    list(done)
    again = sampler(1, 2)
    again.set_epoch(1)
    again.load_state_dict(done.state_dict())
    expected = sampler(1, 2)
    expected.set_epoch(1)
    assert list(again) == list(expected)


def test_a_state_of_the_other_division_is_refused() -> None:
    turns = RejectionSampler(ACCEPTANCE, seed=3, window=64)
    for one, other in ((turns, sampler(0, 1)), (sampler(0, 1), turns)):
        with pytest.raises(ValueError, match="or `shares`"):
            one.load_state_dict(other.state_dict())


def test_what_is_left_of_shares_is_in_order_and_apart() -> None:
    left = spans_left(((3, 5), (2, 4), (4, 1)), 100)
    assert sum(stop - start for start, stop in left) == 100 - 15 - 8 - 4
    assert all(stop <= start for (_, stop), (start, _) in pairwise(left))
