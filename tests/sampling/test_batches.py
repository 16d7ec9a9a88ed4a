import math
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader, TensorDataset

from rsft import RejectionSampler
from rsft.sampling.batches import IdentityBatches, _most_batches

ITEMS = 600
GENERATOR = torch.Generator().manual_seed(0)
ACCEPTANCE = torch.rand(ITEMS, generator=GENERATOR, dtype=torch.float64)
# identities have between 1 and about a hundred items
LABELS = (torch.rand(ITEMS, generator=GENERATOR) ** 3 * 40).long() * 7


def batches(rank: int = 0, world_size: int = 1, per_identity: int | None = None, seed: int = 1) -> IdentityBatches:
    sampler = RejectionSampler(ACCEPTANCE, seed=seed, rank=rank, world_size=world_size)
    return IdentityBatches(sampler, LABELS, identities=4, images=3, per_identity=per_identity)


def test_batches_have_different_identities_and_use_accepted_items_once() -> None:
    ours = batches()
    accepted = RejectionSampler(ACCEPTANCE, seed=1).accepted().tolist()
    all_items: list[int] = []
    for batch in ours:
        groups = LABELS[batch].reshape(4, 3)
        assert (groups == groups[:, :1]).all()
        assert len(groups.unique()) == 4
        all_items += batch
    assert len(all_items) == len(set(all_items)) == 12 * len(ours)
    assert set(all_items) <= set(accepted)
    groups_at_hand = torch.bincount(LABELS[accepted]) // 3
    assert len(ours) == _most_batches(groups_at_hand.numpy(), 4)


@given(st.lists(st.integers(0, 8), min_size=1, max_size=7), st.integers(1, 4))
def test_the_number_of_batches_is_the_largest_possible(groups: list[int], identities: int) -> None:
    """The reference takes the identities with the most groups left, batch by batch, which is optimal."""
    left, most = sorted(groups), 0
    while len(left) >= identities and left[-identities] > 0:
        left = sorted([*left[:-identities], *(count - 1 for count in left[-identities:])])
        most += 1
    assert _most_batches(np.array(groups), identities) == most


def test_classes_are_equally_frequent_and_items_repeat_only_if_necessary() -> None:
    ours = batches(per_identity=6)
    items = Counter(item for batch in ours for item in batch)
    classes = Counter(LABELS[item].item() for item in items.elements())
    accepted = RejectionSampler(ACCEPTANCE, seed=1).accepted()
    sizes = Counter(LABELS[accepted].tolist())
    # fewer than 4 groups of 3 are left over
    assert sum(6 - classes[label] for label in sizes) < 12
    for label, count in classes.items():
        times = [items[item] for item in accepted.tolist() if LABELS[item] == label and items[item]]
        assert max(times) - min(times) <= 1 or count < 6
        assert max(times) <= math.ceil(6 / sizes[label])


@pytest.mark.parametrize("world_size", [2, 3, 4])
def test_ranks_divide_one_sequence_and_the_number_of_ranks_can_change(world_size: int) -> None:
    alone = list(batches())
    ranks = [batches(rank, world_size) for rank in range(world_size)]
    iterators = [iter(rank) for rank in ranks]
    seen = [next(iterator) for _ in range(2) for iterator in iterators]
    resumed = [batches(rank, 2) for rank in range(2)]
    for each in resumed:
        each.load_state_dict(ranks[-1].state_dict())
        each.set_epoch(0)
    rest = [batch for step in zip(*resumed, strict=True) for batch in step]
    assert seen + rest == alone[: len(seen) + len(rest)]
    assert len(alone) - len(seen + rest) < 2


def test_epochs_differ_and_resume_through_a_loader() -> None:
    ours = batches()
    loader = DataLoader(TensorDataset(torch.arange(ITEMS)), batch_sampler=ours, num_workers=2)
    epochs = []
    for epoch in range(2):
        ours.set_epoch(epoch)
        epochs.append([batch.tolist() for (batch,) in loader])
        assert epochs[-1] == list(ours)
    assert epochs[0] != epochs[1]
    resumed = batches()
    resumed.load_state_dict(ours.state_dict(taken=3))
    assert list(resumed) == epochs[1][3:]


def test_identities_are_combined_at_random() -> None:
    """With equal identities, all pairs share a batch equally often over the epochs."""
    labels = torch.arange(8).repeat_interleave(2)
    ours = IdentityBatches(RejectionSampler(torch.ones(16)), labels, identities=2, images=2)
    meetings: Counter[tuple[int, ...]] = Counter()
    epochs = 2000
    for epoch in range(epochs):
        ours.set_epoch(epoch)
        meetings.update(tuple(sorted(set(labels[batch].tolist()))) for batch in ours)
    assert sum(meetings.values()) == 4 * epochs
    expected = 4 * epochs / 28  # 28 pairs
    for count in meetings.values():
        assert abs(count - expected) < 5 * math.sqrt(epochs * (1 / 7) * (6 / 7))
    assert len(meetings) == 28


def test_too_few_identities_give_no_batch() -> None:
    ours = IdentityBatches(RejectionSampler(torch.ones(4)), torch.tensor([0, 0, 1, 1]), identities=3, images=2)
    assert (len(ours), list(ours)) == (0, [])
    none = IdentityBatches(RejectionSampler(torch.zeros(4)), torch.tensor([0, 0, 1, 1]), identities=1, images=2)
    assert (len(none), list(none)) == (0, [])


def test_bad_arguments_and_states_are_rejected() -> None:
    sampler = RejectionSampler(torch.ones(4))
    labels = torch.zeros(4, dtype=torch.int64)
    with pytest.raises(ValueError, match="each of 4 items"):
        IdentityBatches(sampler, labels[:3], identities=1, images=1)
    with pytest.raises(ValueError, match="at least 1"):
        IdentityBatches(sampler, labels, identities=0, images=1)
    with pytest.raises(ValueError, match="multiple of images=2"):
        IdentityBatches(sampler, labels, identities=1, images=2, per_identity=3)
    with pytest.raises(ValueError, match="resume with those"):
        batches(per_identity=6).load_state_dict(batches().state_dict())
