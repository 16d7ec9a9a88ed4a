import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader, TensorDataset

from rsft import RejectionSampler

ACCEPTANCE = torch.rand(997, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def merged(samplers: list[RejectionSampler]) -> list[int]:
    """What the ranks yield, in global order."""
    return [index for step in zip(*samplers, strict=True) for index in step]


def at(world_size: int, seed: int = 0) -> list[RejectionSampler]:
    return [RejectionSampler(ACCEPTANCE, seed=seed, rank=k, world_size=world_size) for k in range(world_size)]


@pytest.mark.parametrize("world_size", [2, 3, 4, 8])
def test_every_world_size_yields_the_same_sequence(world_size: int) -> None:
    alone = list(RejectionSampler(ACCEPTANCE, seed=3))
    together = merged(at(world_size, seed=3))
    assert together == alone[: len(alone) // world_size * world_size]


def test_an_epoch_is_the_accepted_set_without_repeats() -> None:
    sampler = RejectionSampler(ACCEPTANCE, seed=1)
    sampler.set_epoch(4)
    indices = list(sampler)
    assert sorted(indices) == sampler.accepted().tolist() == sampler.accepted(4).tolist()
    assert len(indices) == len(sampler) == len(set(indices))
    assert indices != sorted(indices)
    assert list(RejectionSampler(ACCEPTANCE, seed=1, shuffle=False)) == sampler.accepted(0).tolist()


def test_epochs_and_seeds_differ() -> None:
    sampler = RejectionSampler(ACCEPTANCE)
    sets = [tuple(sampler.accepted(epoch).tolist()) for epoch in range(3)]
    sets += [tuple(RejectionSampler(ACCEPTANCE, seed=seed).accepted().tolist()) for seed in (1, 2)]
    assert len(set(sets)) == 5


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(0, 200)), max_size=6), st.integers(0, 2**32))
def test_changing_the_world_size_in_an_epoch_loses_and_repeats_nothing(
    changes: list[tuple[int, int]], seed: int
) -> None:
    whole = list(RejectionSampler(ACCEPTANCE, seed=seed))
    seen: list[int] = []
    state = RejectionSampler(ACCEPTANCE, seed=seed).state_dict()
    for world_size, steps in changes:
        samplers = at(world_size, seed)
        for sampler in samplers:
            sampler.load_state_dict(state)
        iterators = [iter(sampler) for sampler in samplers]
        steps = min(steps, len(samplers[0]) - 1)
        for _ in range(max(steps, 0)):
            seen += [next(iterator) for iterator in iterators]
        if steps > 0:
            state = samplers[0].state_dict()
    assert seen == whole[: len(seen)]


def test_resume_keeps_its_place_when_the_same_epoch_is_set() -> None:
    sampler = RejectionSampler(ACCEPTANCE)
    sampler.set_epoch(2)
    iterator = iter(sampler)
    first = [next(iterator) for _ in range(10)]
    resumed = RejectionSampler(ACCEPTANCE)
    resumed.load_state_dict(sampler.state_dict())
    resumed.set_epoch(2)
    assert len(resumed) == len(sampler) - 10
    assert first + list(resumed) == list(sampler)
    assert list(resumed) == list(sampler)  # the next pass is whole again


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("batch_size", [1, 7])
def test_a_dataloader_yields_the_same_for_any_workers_and_batch_size(workers: int, batch_size: int) -> None:
    dataset = TensorDataset(torch.arange(len(ACCEPTANCE)))
    loader = DataLoader(
        dataset, batch_size, sampler=RejectionSampler(ACCEPTANCE), num_workers=workers, multiprocessing_context=None
    )
    assert torch.cat([batch for (batch,) in loader]).tolist() == list(RejectionSampler(ACCEPTANCE))


def test_bad_acceptance_and_ranks_and_states_are_refused() -> None:
    with pytest.raises(ValueError, match=r"the first at row 1: 1\.5"):
        RejectionSampler(torch.tensor([0.5, 1.5]))
    with pytest.raises(ValueError, match="not, the first at row 0: nan"):
        RejectionSampler(torch.tensor([float("nan")]))
    with pytest.raises(ValueError, match="shape"):
        RejectionSampler(torch.ones(2, 2))
    with pytest.raises(ValueError, match="rank"):
        RejectionSampler(torch.ones(2), rank=2, world_size=2)
    with pytest.raises(ValueError, match="pool of 3 items"):
        RejectionSampler(torch.ones(2)).load_state_dict({"items": 3})
