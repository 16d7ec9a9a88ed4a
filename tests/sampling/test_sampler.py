import math
import subprocess
import sys
import tracemalloc
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from torch.utils.data import DataLoader, TensorDataset

from rsft import RejectionSampler
from rsft.sampling.acceptance import accept
from rsft.sampling.probabilities import AcceptanceRule
from rsft.sampling.quantise import quantise
from rsft.sampling.sequence import GlobalSequence

ACCEPTANCE = torch.rand(997, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def merged(samplers: list[RejectionSampler]) -> list[int]:
    """Return the rows of all ranks in global order."""
    return [index for step in zip(*samplers, strict=True) for index in step]


def at(world_size: int, seed: int = 0, window: int | None = None, pad: bool = False) -> list[RejectionSampler]:
    return [
        RejectionSampler(ACCEPTANCE, seed=seed, rank=k, world_size=world_size, window=window, pad=pad)
        for k in range(world_size)
    ]


@pytest.mark.parametrize("window", [None, 64])
@pytest.mark.parametrize("world_size", [2, 3, 4, 8])
def test_every_world_size_yields_the_same_sequence(world_size: int, window: int | None) -> None:
    alone = list(RejectionSampler(ACCEPTANCE, seed=3, window=window))
    samplers = at(world_size, seed=3, window=window)
    assert {len(sampler) for sampler in samplers} == {len(alone) // world_size}
    assert merged(samplers) == alone[: len(alone) // world_size * world_size]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("world_size", [1, 4, 8])
def test_padding_repeats_only_items_of_the_last_step(world_size: int, seed: int) -> None:
    alone = list(RejectionSampler(ACCEPTANCE, seed=seed))
    samplers = at(world_size, seed, pad=True)
    together = merged(samplers)
    assert {len(sampler) * world_size for sampler in samplers} == {len(together)}
    last = alone[len(alone) // world_size * world_size :]
    assert together[: len(alone)] == alone
    assert len(together) - len(alone) == -len(alone) % world_size
    assert set(together[len(alone) :]) <= set(last)
    state = samplers[0].state_dict()
    resumed = at(world_size, seed, pad=True)[0]
    resumed.load_state_dict(state)
    assert (len(resumed), list(resumed)) == (0, [])


def test_an_epoch_yields_every_accepted_item_once() -> None:
    sampler = RejectionSampler(ACCEPTANCE, seed=1)
    sampler.set_epoch(4)
    indices = list(sampler)
    assert sorted(indices) == sampler.accepted().tolist() == sampler.accepted(4).tolist()
    assert len(indices) == len(sampler) == len(set(indices))
    assert indices != sorted(indices)
    assert list(RejectionSampler(ACCEPTANCE, seed=1, shuffle=False)) == sampler.accepted(0).tolist()


def test_epochs_and_seeds_accept_different_sets() -> None:
    sampler = RejectionSampler(ACCEPTANCE)
    sets = [tuple(sampler.accepted(epoch).tolist()) for epoch in range(3)]
    sets += [tuple(RejectionSampler(ACCEPTANCE, seed=seed).accepted().tolist()) for seed in (1, 2)]
    assert len(set(sets)) == 5


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(0, 200)), max_size=6), st.integers(0, 2**32))
def test_changing_the_world_size_within_an_epoch_loses_and_repeats_no_item(
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


def test_setting_the_resumed_epoch_again_keeps_the_position() -> None:
    sampler = RejectionSampler(ACCEPTANCE)
    sampler.set_epoch(2)
    iterator = iter(sampler)
    first = [next(iterator) for _ in range(10)]
    resumed = RejectionSampler(ACCEPTANCE)
    resumed.load_state_dict(sampler.state_dict())
    resumed.set_epoch(2)
    assert len(resumed) == len(sampler) - 10
    assert first + list(resumed) == list(sampler)
    assert list(resumed) == list(sampler)  # the next iteration is complete again


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("batch_size", [1, 7])
def test_a_dataloader_yields_the_same_for_any_workers_and_batch_size(workers: int, batch_size: int) -> None:
    dataset = TensorDataset(torch.arange(len(ACCEPTANCE)))
    loader = DataLoader(
        dataset, batch_size, sampler=RejectionSampler(ACCEPTANCE), num_workers=workers, multiprocessing_context=None
    )
    assert torch.cat([batch for (batch,) in loader]).tolist() == list(RejectionSampler(ACCEPTANCE))


def test_bad_acceptance_ranks_and_states_are_rejected() -> None:
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
    with pytest.raises(ValueError, match="at least 32"):
        RejectionSampler(torch.ones(2), window=0)
    with pytest.raises(ValueError, match="items"):
        RejectionSampler(lambda start, stop: np.ones(stop - start))
    with pytest.raises(ValueError, match=r"block\s\[0, 5\), got \(4,\)"):
        list(RejectionSampler(lambda start, stop: np.ones(4), items=5))
    with pytest.raises(ValueError, match=r"the first at row 2: 1\.3"):
        list(RejectionSampler(lambda start, stop: np.arange(start, stop) / 1.5, items=5))


def test_a_state_of_other_probabilities_or_order_is_rejected() -> None:
    state = RejectionSampler(ACCEPTANCE).state_dict()
    with pytest.raises(ValueError, match="other probabilities"):
        RejectionSampler(ACCEPTANCE / 2).load_state_dict(state)
    with pytest.raises(ValueError, match="`window`"):
        RejectionSampler(ACCEPTANCE, window=64).load_state_dict(state)
    with pytest.raises(ValueError, match="`shuffle`"):
        RejectionSampler(ACCEPTANCE, shuffle=False).load_state_dict(state)


# Sources of the probabilities


class EveryThird:
    """A toy rule that accepts every third item; the first one depends on seed and epoch."""

    def __len__(self) -> int:
        return 100

    def accepted(self, seed: int, epoch: int) -> np.ndarray:
        return np.arange((seed + epoch) % 3, 100, 3)


@pytest.mark.parametrize("window", [None, 32])
def test_a_rule_decides_which_items_are_accepted_and_the_sampler_orders_them(window: int | None) -> None:
    assert isinstance(EveryThird(), AcceptanceRule)
    alone = RejectionSampler(EveryThird(), seed=1, window=window)
    assert sorted(alone) == list(range(1, 100, 3))
    alone.set_epoch(1)
    assert sorted(alone) == list(range(2, 100, 3)) == alone.accepted().tolist()
    order = list(alone)
    ranks = [RejectionSampler(EveryThird(), seed=1, rank=k, world_size=2, window=window) for k in range(2)]
    for sampler in ranks:
        sampler.load_state_dict({**alone.state_dict(), "position": 0})
    assert merged(ranks) == order[:32]
    with pytest.raises(TypeError, match="rule"):
        alone.update(torch.tensor([1]), torch.tensor([0.5]))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_tensor_array_memmap_and_function_give_the_same_sequence(dtype: torch.dtype, tmp_path: Path) -> None:
    tensor = ACCEPTANCE.to(dtype)
    array = (tensor.float() if dtype == torch.bfloat16 else tensor).numpy()
    array.tofile(tmp_path / "acceptance")
    mapped = np.memmap(tmp_path / "acceptance", array.dtype, "r")
    block: dict[str, object] = {"items": len(array)}
    expected = list(RejectionSampler(tensor, window=64))
    assert list(RejectionSampler(array, window=64)) == expected
    assert list(RejectionSampler(mapped, window=64)) == expected
    assert list(RejectionSampler(lambda a, b: array[a:b], window=64, **block)) == expected  # type: ignore[arg-type]


def test_quantised_probabilities_act_as_their_value() -> None:
    quantised = quantise(ACCEPTANCE.numpy(), "uint8", seed=0)
    value = torch.from_numpy(quantised / 255)
    assert list(RejectionSampler(quantised)) == list(RejectionSampler(value))
    with pytest.raises(ValueError, match="row 0"):
        RejectionSampler(torch.tensor([51, 255]))  # integers other than uint8 are not quantised


def test_a_memmap_is_checked_as_it_is_read(tmp_path: Path) -> None:
    np.array([0.5, 1.5]).tofile(tmp_path / "acceptance")
    sampler = RejectionSampler(np.memmap(tmp_path / "acceptance", np.float64, "r"))
    with pytest.raises(ValueError, match=r"the first at row 1: 1\.5"):
        list(sampler)


LARGE = """
import sys, time, tracemalloc
import numpy as np
from rsft import RejectionSampler
items = int(sys.argv[2])
def sampler():
    return iter(RejectionSampler(np.memmap(sys.argv[1], np.uint8, "r", shape=(items,)), rank=1, world_size=4))
started = time.monotonic()
iterator = sampler()
first = [next(iterator) for _ in range(256)]
seconds = time.monotonic() - started
tracemalloc.start()
iterator = sampler()
again = [next(iterator) for _ in range(100_000)]
print(seconds, tracemalloc.get_traced_memory()[1] / 2**20, again[:256] == first, len(set(again)), max(again))
"""


def test_a_billion_items_start_within_a_second_and_64_mb(tmp_path: Path) -> None:
    items = 10**9
    with open(tmp_path / "acceptance", "wb") as file:
        file.truncate(items)  # a sparse file of zeros, with parts that are always accepted
        for start in range(0, items, 2**21):
            file.seek(start)
            file.write(bytes([255]) * 2**16)
    command = [sys.executable, "-c", LARGE, str(tmp_path / "acceptance"), str(items)]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    seconds, megabytes, same, distinct, largest = out
    assert float(seconds) < 1
    assert float(megabytes) < 64  # without the file's pages, which belong to the kernel's cache
    assert (same, int(distinct)) == ("True", 100_000)
    assert int(largest) < items


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_windows_of_a_large_pool_need_less_than_64_mb_at_any_acceptance(probability: float) -> None:
    tracemalloc.start()
    sampler = RejectionSampler(lambda start, stop: np.full(stop - start, probability), items=2**24 + 1)
    indices = list(islice(sampler, 2000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(set(indices)) == 2000 * probability
    assert peak < 64 * 2**20


# Probabilities that change


def test_an_update_takes_effect_in_the_next_epoch_and_after_a_resume() -> None:
    sampler = RejectionSampler(ACCEPTANCE)
    before = list(sampler)
    sampler.update(torch.arange(500), torch.zeros(500))
    sampler.update(torch.tensor([7, 3]), torch.tensor([1.0, 1.0]))  # the later values count
    assert list(sampler) == before
    state = sampler.state_dict()
    resumed = RejectionSampler(ACCEPTANCE)
    resumed.load_state_dict(state)
    for each in (sampler, resumed):
        each.set_epoch(1)
    expected = ACCEPTANCE.clone()
    expected[:500] = 0
    expected[[3, 7]] = 1
    fresh = RejectionSampler(expected)
    fresh.set_epoch(1)
    assert list(sampler) == list(resumed) == list(fresh)
    again = RejectionSampler(ACCEPTANCE)
    again.load_state_dict(sampler.state_dict())
    again.set_epoch(2)
    assert again.accepted().tolist() == RejectionSampler(expected).accepted(2).tolist()
    assert float(ACCEPTANCE[:500].max()) > 0  # the argument is not changed


def test_bad_updates_are_rejected() -> None:
    sampler = RejectionSampler(ACCEPTANCE)
    with pytest.raises(ValueError, match="each item once"):
        sampler.update(torch.tensor([1, 1]), torch.tensor([0.5, 0.5]))
    with pytest.raises(ValueError, match=r"in \[0, 997\)"):
        sampler.update(torch.tensor([997]), torch.tensor([0.5]))
    with pytest.raises(ValueError, match="row 0"):
        sampler.update(torch.tensor([1]), torch.tensor([1.5]))
    with pytest.raises(ValueError, match=r"\(n,\) probabilities"):
        sampler.update(torch.tensor([1]), torch.tensor([0.5, 0.5]))
    with pytest.raises(TypeError, match="integers"):
        sampler.update(torch.tensor([1.0]), torch.tensor([0.5]))


# Resuming


def test_setting_an_epoch_before_the_resumed_one_raises() -> None:
    sampler = RejectionSampler(ACCEPTANCE)
    sampler.set_epoch(2)
    iterator = iter(sampler)
    for _ in range(5):
        next(iterator)
    resumed = RejectionSampler(ACCEPTANCE)
    resumed.load_state_dict(sampler.state_dict())
    with pytest.raises(ValueError, match="start the loop at epoch 2"):
        resumed.set_epoch(0)
    assert len(list(resumed)) == len(sampler) - 5
    resumed.set_epoch(0)  # after the resumed epoch has run, any epoch can be set


def test_the_state_counts_the_items_taken_not_those_prefetched() -> None:
    dataset = TensorDataset(torch.arange(len(ACCEPTANCE)))
    sampler = RejectionSampler(ACCEPTANCE, rank=0, world_size=2)
    loader = DataLoader(dataset, 8, sampler=sampler, num_workers=2)
    seen: list[int] = []
    for number, (batch,) in enumerate(loader, 1):
        seen += batch.tolist()
        if number == 3:
            state = sampler.state_dict(taken=len(seen))
            assert sampler.state_dict()["position"] > state["position"] == 2 * len(seen)
            break
    resumed = RejectionSampler(ACCEPTANCE, rank=0, world_size=2)
    resumed.load_state_dict(state)
    assert seen + list(resumed) == list(RejectionSampler(ACCEPTANCE, rank=0, world_size=2))


@pytest.mark.parametrize("batches", [0, 1, 6, -1])  # batches before the interruption; -1: all
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(("world_size", "later"), [(1, 1), (1, 3), (2, 2), (3, 2), (4, 8), (8, 4)])
def test_loaders_resume_at_any_batch_with_any_number_of_ranks_and_workers(
    world_size: int, later: int, workers: int, batches: int
) -> None:
    dataset, batch_size, epoch = TensorDataset(torch.arange(len(ACCEPTANCE))), 4, 3
    sampler = RejectionSampler(ACCEPTANCE)
    sampler.set_epoch(epoch)
    whole = list(sampler)

    def by_rank(samplers: list[RejectionSampler], limit: int | None) -> list[list[int]]:
        loaders = (DataLoader(dataset, batch_size, sampler=each, num_workers=workers) for each in samplers)
        return [[i for (batch,) in islice(loader, limit) for i in batch.tolist()] for loader in loaders]

    first, second = at(world_size), at(later)
    for each in first:
        each.set_epoch(epoch)
    seen = by_rank(first, None if batches < 0 else batches)
    for each in second:
        each.load_state_dict(first[-1].state_dict(taken=len(seen[-1])))
        each.set_epoch(epoch)
    rest = by_rank(second, None)
    found = [index for part in (seen, rest) for step in zip(*part, strict=True) for index in step]
    assert found == whole[: len(found)]
    assert len(whole) - len(found) < later


@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_loading_the_state_of_a_finished_epoch_keeps_the_next_epoch_that_was_set(world_size: int) -> None:
    """A loader that loads its state only when it is iterated calls `load_state_dict` after `set_epoch`."""
    sampler = at(world_size)[0]
    list(sampler)
    state = sampler.state_dict()
    resumed, fresh = at(world_size)[0], at(world_size)[0]
    for each in (resumed, fresh):
        each.set_epoch(1)
    resumed.load_state_dict(state)
    assert list(resumed) == list(fresh)
    finished = at(world_size)[0]
    finished.load_state_dict(state)
    assert list(finished) == []


class Training(RuleBasedStateMachine):
    """Epochs, resumes, changes of world size and updates in any order, compared with a list of the expected items."""

    @initialize(seed=st.integers(0, 2**40), window=st.sampled_from([None, 32, 100]))
    def start(self, seed: int, window: int | None) -> None:
        self.seed, self.window, self.epoch = seed, window, 0
        self.now = self.later = ACCEPTANCE.clone()
        self.join(2)
        self.begin()

    def join(self, world_size: int) -> None:
        self.ranks = at(world_size, self.seed, self.window)

    def begin(self) -> None:
        oracle = RejectionSampler(self.now, seed=self.seed, window=self.window)
        oracle.set_epoch(self.epoch)
        self.expected, self.seen = list(oracle), list[int]()
        self.iterators = [iter(rank) for rank in self.ranks]

    @rule(steps=st.integers(1, 150))
    def train(self, steps: int) -> None:
        for _ in range(min(steps, (len(self.expected) - len(self.seen)) // len(self.ranks))):
            self.seen += [next(iterator) for iterator in self.iterators]

    @rule(world_size=st.integers(1, 4), any_rank=st.integers(0, 3))
    def resume(self, world_size: int, any_rank: int) -> None:
        state = self.ranks[any_rank % len(self.ranks)].state_dict()
        self.join(world_size)
        for rank in self.ranks:
            rank.load_state_dict(state)
            rank.set_epoch(self.epoch)
        assert {len(rank) for rank in self.ranks} == {(len(self.expected) - len(self.seen)) // world_size}
        self.iterators = [iter(rank) for rank in self.ranks]

    @rule(more=st.integers(1, 3))
    def next_epoch(self, more: int) -> None:
        self.epoch, self.now = self.epoch + more, self.later
        for rank in self.ranks:
            rank.set_epoch(self.epoch)
        self.begin()

    @rule(items=st.lists(st.integers(0, len(ACCEPTANCE) - 1), unique=True), probability=st.floats(0, 1))
    def update(self, items: list[int], probability: float) -> None:
        self.later = self.later.clone()
        self.later[items] = probability
        for rank in self.ranks:
            rank.update(torch.tensor(items, dtype=torch.int64), torch.full((len(items),), probability).double())

    @rule(read=st.sampled_from(["len", "accepted", "state_dict"]))
    def look(self, read: str) -> None:
        """Reading the sampler changes nothing."""
        len(self.ranks[0]) if read == "len" else getattr(self.ranks[0], read)()

    @invariant()
    def nothing_is_lost_or_repeated(self) -> None:
        if hasattr(self, "seen"):
            assert self.seen == self.expected[: len(self.seen)]


TestTraining = Training.TestCase
TestTraining.settings = settings(max_examples=30, stateful_step_count=30)


@pytest.mark.parametrize("window", [None, 512])
def test_items_are_accepted_with_their_probability_with_several_ranks(window: int | None) -> None:
    """Count the items that the ranks yield over many epochs; padding ensures that none is left out."""
    probability = torch.linspace(0, 1, 1000, dtype=torch.float64)
    epochs, world_size = 200, 4
    counts = torch.zeros(1000, dtype=torch.float64)
    samplers = [
        RejectionSampler(probability, rank=k, world_size=world_size, window=window, pad=True) for k in range(world_size)
    ]
    for epoch in range(epochs):
        for sampler in samplers:
            sampler.set_epoch(epoch)
        accepted = torch.tensor(sorted(set(merged(samplers))))
        assert accepted.tolist() == samplers[0].accepted().tolist()
        counts[accepted] += 1
    error = (probability * (1 - probability) / epochs).sqrt()
    worst = ((counts / epochs - probability).abs() / error.clamp(min=1e-9)).max()
    assert worst < 5  # largest of a thousand: false alarm 6e-4, but the seeds are fixed
    assert abs(float(counts.sum()) / epochs - 500) < 5 * math.sqrt(
        float((probability * (1 - probability)).sum()) / epochs
    )


# Edges


def test_a_window_has_at_least_32_items() -> None:
    assert sorted(RejectionSampler(ACCEPTANCE, window=32)) == RejectionSampler(ACCEPTANCE).accepted().tolist()
    with pytest.raises(ValueError, match="at least 32 items, got 31"):
        RejectionSampler(ACCEPTANCE, window=31)


@pytest.mark.parametrize(("items", "window"), [(2**24, 2**24), (2**24 + 1, 2**20)])
def test_a_pool_of_up_to_2_to_the_24_items_is_one_window(items: int, window: int) -> None:
    sampler = RejectionSampler(lambda start, stop: np.zeros(stop - start), items=items)
    assert (sampler.items, sampler.window) == (items, window)


@pytest.mark.parametrize("window", [None, 64])
def test_the_sequence_is_what_one_rank_yields(window: int | None) -> None:
    sampler = RejectionSampler(ACCEPTANCE, seed=2, window=window)
    sequence = sampler.sequence()
    assert (sequence.dtype, sampler.accepted().dtype) == (torch.int64, torch.int64)
    assert sequence.tolist() == list(sampler)
    sampler.set_epoch(3)
    assert len(sampler) == len(sampler.sequence()) == len(sampler.accepted())
    assert sampler.sequence().tolist() == list(sampler)


def test_a_pool_of_no_items_has_an_empty_epoch() -> None:
    sampler = RejectionSampler(torch.empty(0))
    assert (len(sampler), list(sampler)) == (0, [])
    assert sampler.sequence().dtype == sampler.accepted().dtype == torch.int64


@pytest.mark.parametrize("index", [-1, 997])
def test_an_update_takes_indices_of_the_pool_alone(index: int) -> None:
    sampler = RejectionSampler(ACCEPTANCE)
    with pytest.raises(ValueError, match=r"in \[0, 997\)"):
        sampler.update(torch.tensor([5, index]), torch.tensor([0.5, 0.5]))
    with pytest.raises(ValueError, match=r"\(n,\) indices"):
        sampler.update(torch.tensor([[5, 6]]), torch.tensor([[0.5, 0.5]]))
    sampler.update(torch.empty(0, dtype=torch.int64), torch.empty(0))  # nothing to change is no error
    sampler.update(torch.tensor([996, 0], dtype=torch.int32), torch.tensor([1.0, 0.0]))
    for epoch in range(1, 20):
        sampler.set_epoch(epoch)
        accepted = sampler.accepted().tolist()
        assert 996 in accepted
        assert 0 not in accepted


def test_a_state_brings_its_seed() -> None:
    original, other = RejectionSampler(ACCEPTANCE, seed=5), RejectionSampler(ACCEPTANCE, seed=6)
    list(other)  # drawn with its own seed before
    other.load_state_dict(original.state_dict())
    assert list(other) == list(original)
    assert (len(other), other.accepted().tolist()) == (len(original), original.accepted().tolist())


@pytest.mark.parametrize("rank", [-1, 2, 5])
def test_a_rank_outside_of_the_world_is_refused(rank: int) -> None:
    with pytest.raises(ValueError, match=r"needs a rank in \[0, 2\)"):
        RejectionSampler(ACCEPTANCE, rank=rank, world_size=2)


@pytest.mark.parametrize("pad", [False, True])
def test_an_epoch_that_was_set_before_the_state_was_loaded_follows_the_rest_of_the_resumed_one(pad: bool) -> None:
    """One row is left for two ranks: it is padded to a step, or left out, and then the later epoch begins at once."""
    whole = list(RejectionSampler(ACCEPTANCE))
    later = RejectionSampler(ACCEPTANCE, rank=0, world_size=2, pad=pad)
    later.set_epoch(1)
    expected = list(later)
    for left in (1, 10):
        resumed = RejectionSampler(ACCEPTANCE, rank=0, world_size=2, pad=pad)
        resumed.set_epoch(1)
        state = {**RejectionSampler(ACCEPTANCE).state_dict(), "position": len(whole) - left, "world_size": 2}
        resumed.load_state_dict(state)
        if left > 1 or pad:
            assert list(resumed) == whole[len(whole) - left :][::2]
        assert list(resumed) == expected


@pytest.mark.parametrize("items", [3, 1000])
def test_a_state_of_a_smaller_or_a_larger_pool_is_refused_by_its_size(items: int) -> None:
    state = RejectionSampler(torch.ones(items)).state_dict()
    with pytest.raises(ValueError, match=f"state of a pool of {items} items, but this pool has 997"):
        RejectionSampler(ACCEPTANCE).load_state_dict(state)


def test_a_rank_or_a_world_size_alone_is_taken_with_the_other_of_one_process() -> None:
    whole = list(RejectionSampler(ACCEPTANCE))
    assert list(RejectionSampler(ACCEPTANCE, world_size=2)) == whole[: len(whole) // 2 * 2 : 2]
    assert list(RejectionSampler(ACCEPTANCE, rank=0)) == whole


@pytest.mark.parametrize(("made", "used"), [((0, 1), (0, 2)), ((1, 2), (0, 2)), ((0, 2), (0, 1))])
def test_a_sampler_of_the_process_group_is_not_used_in_another_group(
    made: tuple[int, int], used: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rsft.sampling.sequence.group", lambda: made)
    by_group, said = RejectionSampler(ACCEPTANCE), RejectionSampler(ACCEPTANCE, rank=made[0], world_size=made[1])
    assert list(by_group) == list(said)
    monkeypatch.setattr("rsft.sampling.sequence.group", lambda: used)
    with pytest.raises(ValueError, match=f"made for rank {made[0]} of {made[1]}, .* is rank {used[0]} of {used[1]}"):
        list(by_group)
    assert len(list(said)) == len(said)


def test_a_large_number_of_an_epoch_is_that_epoch_also_if_it_is_read_again() -> None:
    sampler = RejectionSampler(ACCEPTANCE)
    sampler.set_epoch(int("100000"))
    iterator = iter(sampler)
    first = [next(iterator) for _ in range(10)]
    resumed = RejectionSampler(ACCEPTANCE)
    resumed.load_state_dict(sampler.state_dict())
    resumed.set_epoch(int("100000"))
    assert first + list(resumed) == list(sampler)


def test_without_another_epoch_the_resumed_one_is_repeated() -> None:
    sampler = RejectionSampler(ACCEPTANCE)
    sampler.set_epoch(2)
    resumed = RejectionSampler(ACCEPTANCE)
    resumed.load_state_dict(sampler.state_dict())
    assert list(resumed) == list(resumed) == list(sampler)


@pytest.mark.parametrize("pad", [False, True])
@pytest.mark.parametrize("left", [0, 1, 2, 3])
def test_what_is_left_of_a_resumed_epoch_comes_before_a_later_one_if_it_is_a_step(left: int, pad: bool) -> None:
    whole = list(RejectionSampler(ACCEPTANCE))
    resumed, later = at(2, pad=pad)[0], at(2, pad=pad)[0]
    for sampler in (resumed, later):
        sampler.set_epoch(1)
    state = {**RejectionSampler(ACCEPTANCE).state_dict(), "position": len(whole) - left, "world_size": 2}
    resumed.load_state_dict(state)
    if left >= (1 if pad else 2):
        steps = -(-left // 2) if pad else left // 2
        assert list(resumed) == whole[len(whole) - left :][::2][:steps]
    assert list(resumed) == list(later)


def test_a_state_without_updates_says_so_and_one_with_updates_has_each_with_its_value() -> None:
    sampler = RejectionSampler(ACCEPTANCE)
    assert [part.tolist() for part in (*sampler.state_dict()["pending"], *sampler.state_dict()["updated"])] == [[]] * 4
    sampler.update(torch.tensor([7, 3]), torch.tensor([1.0, 0.0]))
    pending = dict(zip(*(part.tolist() for part in sampler.state_dict()["pending"]), strict=True))
    assert pending == {3: 0.0, 7: 1.0}
    sampler.set_epoch(1)
    state = sampler.state_dict()
    assert dict(zip(*(part.tolist() for part in state["updated"]), strict=True)) == pending
    assert [part.tolist() for part in state["pending"]] == [[], []]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_an_update_may_have_any_precision(dtype: torch.dtype) -> None:
    sampler = RejectionSampler(ACCEPTANCE)
    sampler.update(torch.arange(997), torch.linspace(0, 1, 997).to(dtype))
    sampler.set_epoch(1)
    fresh = RejectionSampler(torch.linspace(0, 1, 997).to(dtype).double())
    assert sampler.accepted(1).tolist() == fresh.accepted(1).tolist()


@pytest.mark.parametrize("left_out", ["_parts", "_count", "_choose", "_contents", "_restore"])
def test_a_sequence_needs_all_of_its_parts(left_out: str) -> None:
    methods = {name: getattr(RejectionSampler, name) for name in GlobalSequence.__abstractmethods__ if name != left_out}
    unfinished = type("Unfinished", (GlobalSequence,), methods)
    with pytest.raises(TypeError, match=left_out):
        unfinished(0, 1, False)
    whole = type("Whole", (unfinished,), {left_out: getattr(RejectionSampler, left_out)})
    assert whole(0, 1, False).world_size == 1


# Balanced epochs


@pytest.mark.parametrize("window", [None, 64])
def test_balanced_epochs_accept_by_balanced_numbers_in_any_window(window: int | None) -> None:
    sampler = RejectionSampler(ACCEPTANCE, seed=3, balanced=True, window=window)
    independent = RejectionSampler(ACCEPTANCE, seed=3, balanced=False, window=window)
    for epoch in (0, 1, 2, 30):
        sampler.set_epoch(epoch)
        kept = np.flatnonzero(accept(ACCEPTANCE.numpy(), seed=3, epoch=epoch, balanced=True)).tolist()
        assert sorted(sampler) == sampler.accepted().tolist() == kept
        assert (kept == independent.accepted(epoch).tolist()) == (epoch == 0)


def test_balanced_epochs_use_an_item_as_often_as_its_probability_says_and_independent_ones_do_not() -> None:
    epochs = 60

    def off(*, balanced: bool) -> float:
        sampler = RejectionSampler(ACCEPTANCE, balanced=balanced)
        counts = sum(torch.bincount(sampler.accepted(epoch), minlength=len(ACCEPTANCE)) for epoch in range(epochs))
        return float((counts - epochs * ACCEPTANCE).abs().max())

    assert off(balanced=True) < 3.1
    assert off(balanced=False) > 6  # three standard deviations at P = 0.5, of 997 items


def test_balanced_epochs_are_the_same_for_any_number_of_ranks_and_after_a_resume() -> None:
    def made(**options: int) -> RejectionSampler:
        return RejectionSampler(ACCEPTANCE, seed=3, balanced=True, **options)  # type: ignore[arg-type]

    alone = made()
    alone.set_epoch(4)
    whole, iterator = list(alone), iter(alone)
    seen = [next(iterator) for _ in range(10)]
    ranks = [made(rank=k, world_size=3) for k in range(3)]
    for sampler in ranks:
        sampler.load_state_dict(alone.state_dict())
    rest = merged(ranks)
    assert seen + rest == whole[: 10 + len(rest)]
    assert len(whole) - len(rest) - 10 < 3


def test_a_state_of_independent_epochs_is_rejected_by_balanced_ones() -> None:
    with pytest.raises(ValueError, match="`balanced`"):
        RejectionSampler(ACCEPTANCE).load_state_dict(RejectionSampler(ACCEPTANCE, balanced=False).state_dict())


def test_an_update_of_balanced_epochs_takes_effect() -> None:
    sampler = RejectionSampler(ACCEPTANCE, balanced=True)
    sampler.update(torch.arange(997), 1 - ACCEPTANCE)
    sampler.set_epoch(1)
    assert sampler.accepted().tolist() == RejectionSampler(1 - ACCEPTANCE, balanced=True).accepted(1).tolist()


def test_a_rule_draws_the_same_when_balanced() -> None:
    assert list(RejectionSampler(EveryThird(), balanced=True)) == list(RejectionSampler(EveryThird(), balanced=False))
