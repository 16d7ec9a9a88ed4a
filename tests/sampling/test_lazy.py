"""The lazy sampler against `RejectionSampler`, which knows all ratios; what it computes, keeps and refuses."""

import math
import pickle
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from rsft import LazyRejectionSampler, RejectionSampler, acceptance_probability
from rsft.errors import LowAcceptanceError

ITEMS = 997
LOG_M = 1.0
LOG_RATIO = 2 * torch.randn(ITEMS, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
ACCEPTANCE = acceptance_probability(LOG_RATIO, LOG_M)


class Counted:
    """The ratios, and how often that of each item was asked for."""

    def __init__(self, log_ratio: Tensor = LOG_RATIO) -> None:
        self.log_ratio, self.counts, self.calls = log_ratio, np.zeros(len(log_ratio), int), 0

    def __call__(self, items: np.ndarray) -> Tensor:
        assert (np.diff(items) > 0).all()
        self.counts[items] += 1
        self.calls += 1
        return self.log_ratio[items]


def lazy(log_ratio: Any = None, **options: Any) -> LazyRejectionSampler:
    return LazyRejectionSampler(log_ratio or Counted(), LOG_M, **{"items": ITEMS, "seed": 3, "block": 32, **options})


def merged(samplers: list[LazyRejectionSampler]) -> list[int]:
    """Return the rows of all ranks in global order."""
    return [index for step in zip(*samplers, strict=True) for index in step]


def sequence(epoch: int, **options: Any) -> list[int]:
    sampler = lazy(**options)
    sampler.set_epoch(epoch)
    return list(sampler)


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize(("block", "chunk"), [(7, 1), (32, 1), (32, 5), (64, 64), (2000, 1)])
def test_the_accepted_items_are_those_of_the_sampler_that_knows_all_ratios(
    balanced: bool, block: int, chunk: int
) -> None:
    sampler = lazy(block=block, chunk=chunk, balanced=balanced)
    known = RejectionSampler(ACCEPTANCE, seed=3, balanced=balanced)
    orders = set()
    for epoch in (0, 1, 77):
        sampler.set_epoch(epoch)
        found = list(sampler)
        assert sorted(found) == known.accepted(epoch).tolist() == sampler.accepted(epoch).tolist()
        assert found == sampler.sequence().tolist()
        orders.add(tuple(found))
    assert len(orders) == 3
    assert all(list(order) != sorted(order) for order in orders)


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1), st.floats(-5, 5), st.booleans())
def test_the_accepted_items_agree_for_any_seed_epoch_and_envelope(
    seed: int, epoch: int, log_m: float, balanced: bool
) -> None:
    sampler = LazyRejectionSampler(Counted(), log_m, ITEMS, seed=seed, balanced=balanced)
    known = RejectionSampler(acceptance_probability(LOG_RATIO, log_m), seed=seed, balanced=balanced)
    assert sampler.accepted(epoch).tolist() == known.accepted(epoch).tolist()


@pytest.mark.parametrize("chunk", [1, 5])
def test_all_passes_of_a_reach_meet_the_same_items_and_no_others(chunk: int) -> None:
    counted = Counted()
    sampler = lazy(counted, reach=200, chunk=chunk)
    for epoch in range(3):
        sampler.set_epoch(epoch)
        list(sampler)
        items, values = sampler.scored
        assert len(items) == 200
        assert torch.equal(values, LOG_RATIO[items])
    assert counted.counts.sum() == 200
    met = set(items.tolist())
    assert set(sampler.accepted(9).tolist()) == met & set(RejectionSampler(ACCEPTANCE, seed=3).accepted(9).tolist())


@pytest.mark.parametrize("epoch", [0, 2])
@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_every_world_size_yields_the_same_sequence(world_size: int, epoch: int) -> None:
    alone = sequence(epoch)
    for pad in (False, True):
        samplers = [lazy(rank=rank, world_size=world_size, pad=pad) for rank in range(world_size)]
        for sampler in samplers:
            sampler.set_epoch(epoch)
        together = merged(samplers)
        whole = len(alone) // world_size * world_size
        assert together[:whole] == alone[:whole]
        assert len(together) == (-(-len(alone) // world_size) * world_size if pad else whole)
        assert {len(sampler) * world_size for sampler in samplers} == {len(together)}


@settings(max_examples=25)
@given(st.sampled_from([1, 2, 3, 4]), st.sampled_from([1, 2, 3, 4]), st.floats(0, 1), st.booleans())
def test_a_pass_resumes_anywhere_with_any_number_of_ranks(before: int, after: int, part: float, balanced: bool) -> None:
    whole = sequence(1, balanced=balanced)
    samplers = [lazy(rank=rank, world_size=before, balanced=balanced) for rank in range(before)]
    for sampler in samplers:
        sampler.set_epoch(1)
    steps = int(part * len(samplers[0]))
    iterators = [iter(sampler) for sampler in samplers]
    seen = [next(iterator) for _ in range(steps) for iterator in iterators]
    resumed = [lazy(rank=rank, world_size=after, balanced=balanced) for rank in range(after)]
    for sampler in resumed:
        sampler.load_state_dict(samplers[-1].state_dict())
        assert sampler.epoch == 1
    rest = merged(resumed)
    assert seen + rest == whole[: len(seen) + len(rest)]
    assert len(whole) - len(seen) - len(rest) < after


def test_a_ratio_is_computed_once_over_epochs_iterations_and_lengths() -> None:
    counted = Counted()
    sampler = lazy(counted)
    for epoch in range(3):
        sampler.set_epoch(epoch)
        assert len(sampler) == len(list(sampler)) == len(sampler.accepted())
    assert (counted.counts == 1).all()
    assert counted.calls == -(-ITEMS // 32)


def test_only_the_blocks_that_are_reached_are_computed() -> None:
    counted = Counted()
    iterator = iter(lazy(counted))
    next(iterator)
    assert counted.counts.sum() == 32
    list(iterator)
    assert (counted.counts == 1).all()


def test_a_resume_computes_eight_ratios_again_and_those_that_are_missing() -> None:
    sampler = lazy()
    iterator = iter(sampler)
    seen = [next(iterator) for _ in range(30)]
    items = sampler.scored[0].tolist()
    counted = Counted()
    resumed = lazy(counted)
    resumed.load_state_dict(sampler.state_dict())
    assert counted.counts.sum() == 8
    assert set(np.flatnonzero(counted.counts)) <= set(items)
    counted.counts[:] = 0
    assert seen + list(resumed) == sequence(0)
    assert set(np.flatnonzero(counted.counts)) == set(range(ITEMS)) - set(items)
    assert counted.counts.max() == 1


def test_ratios_that_are_known_are_neither_computed_nor_compared() -> None:
    """A plan knows held-out ratios of its pilot, which are not those that its rule gives."""
    items = np.arange(0, ITEMS, 3)
    held_out = LOG_RATIO.clone()
    held_out[items] += 0.5
    counted = Counted()
    sampler = lazy(counted, known=(items, held_out[items]))
    assert sampler.scored[0].tolist() == items.tolist()
    known = RejectionSampler(acceptance_probability(held_out, LOG_M), seed=3)
    assert sampler.accepted().tolist() == known.accepted().tolist()
    assert counted.counts[items].sum() == 0
    assert counted.counts.sum() == ITEMS - len(items)
    for again in (lazy(known=(items, held_out[items])), lazy()):
        again.load_state_dict(sampler.state_dict())
        assert again.accepted(1).tolist() == known.accepted(1).tolist()
        third = lazy()
        third.load_state_dict(again.state_dict())
        assert third.accepted(1).tolist() == known.accepted(1).tolist()
    only = lazy(known=(items, held_out[items]))
    fresh = lazy(known=(items, held_out[items]))
    fresh.load_state_dict(only.state_dict())  # nothing has been computed that could be compared
    assert list(fresh) == list(only)


def test_items_that_cannot_be_used_are_never_accepted_and_do_not_change_the_others() -> None:
    broken = LOG_RATIO.clone()
    broken[::4] = -math.inf
    sampler = lazy(Counted(broken))
    for epoch in range(5):
        usable = [item for item in RejectionSampler(ACCEPTANCE, seed=3).accepted(epoch).tolist() if item % 4]
        assert sampler.accepted(epoch).tolist() == usable
    resumed = lazy(Counted(broken))
    resumed.load_state_dict(sampler.state_dict())
    assert list(resumed) == list(sampler)
    with pytest.raises(ValueError, match=r"the log ratio of item \d+ was -inf and is now"):
        lazy().load_state_dict(sampler.state_dict())


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_a_ratio_that_is_none_is_reported_by_its_item(wrong: float) -> None:
    broken = LOG_RATIO.clone()
    broken[[401, 777]] = wrong
    with pytest.raises(ValueError, match=rf"gave {wrong} for item 401: a ratio must"):
        list(lazy(Counted(broken), block=1000))


@pytest.mark.parametrize("shape", [(31,), (33,), (32, 1), ()])
def test_another_number_of_ratios_is_reported_by_the_items(shape: tuple[int, ...]) -> None:
    first = walk_of(lazy())[0]
    words = rf"needs \(32,\) values for the items from {first[0]} to {first[-1]}, got \({shape[0] if shape else ''}"
    with pytest.raises(ValueError, match=words):
        list(lazy(lambda items: torch.zeros(shape)))


def test_a_function_that_has_changed_is_refused_and_the_sampler_stays_as_it_was() -> None:
    state = lazy()
    list(state)
    other = lazy(Counted(LOG_RATIO + 0.01))
    expected = list(other)
    with pytest.raises(ValueError, match=r"the log ratio of item 0 was .* The pool or the function has changed"):
        other.load_state_dict(state.state_dict())
    assert list(other) == expected
    lazy(Counted(LOG_RATIO + 1e-5)).load_state_dict(state.state_dict())  # as on another device


@pytest.mark.parametrize(
    "options",
    [{"items": ITEMS - 1}, {"reach": 100}, {"block": 16}, {"chunk": 2}, {"balanced": False}, {"log_m": 2.0}],
)
def test_the_state_of_another_order_is_refused(options: dict[str, Any]) -> None:
    options = {"log_m": LOG_M, "items": ITEMS, "block": 32, "seed": 3, **options}
    with pytest.raises(ValueError, match="the state of another run"):
        LazyRejectionSampler(Counted(), **options).load_state_dict(lazy().state_dict())


def test_the_seed_comes_from_the_state() -> None:
    other = lazy(seed=8)
    assert list(other) != sequence(0)
    other.load_state_dict(lazy().state_dict())
    assert list(other) == sequence(0)


@pytest.mark.parametrize("chunk", [1, 8])
def test_a_pass_without_accepted_items_stops_with_the_mean_acceptance(chunk: int) -> None:
    none = partial(torch.full, fill_value=-20.0, dtype=torch.float64)
    sampler = LazyRejectionSampler(lambda items: none((len(items),)), 0.0, 10**9, block=64, chunk=chunk, max_barren=500)
    with pytest.raises(LowAcceptanceError, match=r"none of the last 512 items .* of the 512 items met is 2\.1e-09"):
        next(iter(sampler))


def test_barren_items_are_counted_from_the_last_accepted_one() -> None:
    sparse = torch.full((ITEMS,), -math.inf, dtype=torch.float64)
    order = np.concatenate(walk_of(lazy()))
    sparse[order[::100]] = LOG_M  # in every third or fourth block
    assert len(list(lazy(Counted(sparse), max_barren=129))) == 10
    with pytest.raises(LowAcceptanceError):
        list(lazy(Counted(sparse), max_barren=64))
    with pytest.raises(LowAcceptanceError):
        len(lazy(Counted(sparse), max_barren=64))


def walk_of(sampler: LazyRejectionSampler) -> list[np.ndarray]:
    """The blocks of a pass."""
    met: list[np.ndarray] = []

    def log_ratio(items: np.ndarray) -> Tensor:
        met.append(items)
        return LOG_RATIO[items]

    list(LazyRejectionSampler(log_ratio, LOG_M, ITEMS, seed=sampler.seed, block=32))
    return met


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"items": 0}, "got 0, "),
        ({"reach": 0}, "got 997, 0, "),
        ({"chunk": 0}, "needs items, reach, chunk"),
        ({"max_barren": 0}, "needs items, reach, chunk"),
        ({"block": 4, "chunk": 5}, "a block of at least one chunk"),
        ({"rank": 2, "world_size": 2}, "rank"),
    ],
)
def test_sizes_out_of_range_are_rejected(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        lazy(**options)


@pytest.mark.parametrize("log_m", [math.nan, math.inf, -math.inf])
def test_an_envelope_that_is_not_finite_is_rejected(log_m: float) -> None:
    with pytest.raises(ValueError, match=r"LazyRejectionSampler\(log_m=\.\.\.\)` needs a finite number"):
        LazyRejectionSampler(Counted(), log_m, 5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_ratios_may_be_of_any_precision_and_kind(dtype: torch.dtype) -> None:
    values = LOG_RATIO.to(dtype)
    exact = RejectionSampler(acceptance_probability(values.double(), LOG_M), seed=3).accepted().tolist()
    assert lazy(lambda items: values[items]).accepted().tolist() == exact
    assert lazy(lambda items: values.numpy()[items]).accepted().tolist() == exact
    assert lazy(lambda items: values.clone().requires_grad_()[items]).accepted().tolist() == exact


@pytest.mark.parametrize("workers", [0, 2])
def test_a_dataloader_yields_the_sequence_of_every_epoch(workers: int) -> None:
    sampler = lazy()
    loader = DataLoader(TensorDataset(torch.arange(ITEMS)), 8, sampler=sampler, num_workers=workers)
    for epoch in (0, 1):
        sampler.set_epoch(epoch)
        assert torch.cat([batch for (batch,) in loader]).tolist() == sequence(epoch)


def test_the_items_taken_of_a_loader_that_reads_ahead_say_where_to_resume() -> None:
    sampler = lazy()
    iterator = iter(DataLoader(TensorDataset(torch.arange(ITEMS)), 8, sampler=sampler, num_workers=2))
    seen = torch.cat([next(iterator)[0] for _ in range(3)]).tolist()
    resumed = lazy()
    resumed.load_state_dict(sampler.state_dict(taken=len(seen)))
    assert seen + list(resumed) == sequence(0)


def test_a_later_epoch_follows_the_rest_of_a_resumed_one() -> None:
    sampler = lazy()
    iterator = iter(sampler)
    seen = [next(iterator) for _ in range(20)]
    resumed = lazy()
    resumed.set_epoch(1)
    resumed.load_state_dict(sampler.state_dict())
    assert seen + list(resumed) == sequence(0)
    assert list(resumed) == sequence(1)
    list(iterator)
    done = lazy()
    done.set_epoch(1)
    done.load_state_dict(sampler.state_dict())  # nothing is left of epoch 0
    assert list(done) == sequence(1)


def test_a_sampler_can_be_pickled_if_its_function_can() -> None:
    sampler = lazy(partial(np.take, LOG_RATIO.numpy()))
    next(iter(sampler))
    copy = pickle.loads(pickle.dumps(sampler))
    assert torch.equal(copy.scored[0], sampler.scored[0])
    assert list(copy) == sequence(0)
    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(lazy(lambda items: LOG_RATIO[items]))


def test_the_state_is_of_plain_types_and_can_be_saved(tmp_path: Any) -> None:
    sampler = lazy()
    next(iter(sampler))
    torch.save(sampler.state_dict(), tmp_path / "state")
    resumed = lazy()
    resumed.load_state_dict(torch.load(tmp_path / "state", weights_only=True))
    assert list(resumed) == sequence(0)[1:]
