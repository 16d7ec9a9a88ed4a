"""Loaders of frameworks that count the epochs themselves draw every epoch anew, or `check_sharding` says why not."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from accelerate.data_loader import prepare_data_loader
from lightning_fabric import Fabric
from lightning_fabric.utilities.data import _update_dataloader
from lightning_fabric.utilities.distributed import DistributedSamplerWrapper
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, TensorDataset

import rsft

ITEMS, BATCH = 600, 8
DATASET = TensorDataset(torch.arange(ITEMS))
PEOPLE = torch.arange(ITEMS) // 10


def sampler() -> rsft.RejectionSampler:
    return rsft.RejectionSampler(torch.full((ITEMS,), 0.3), rank=0, world_size=1)


def identities() -> rsft.IdentityBatches:
    return rsft.IdentityBatches(sampler(), PEOPLE, identities=4, images=2)


def third(items: Any) -> Any:
    return 0.3


def log_third(items: Any) -> Tensor:
    return torch.full((len(items),), 0.3).log()


def lazy() -> rsft.LazyRejectionSampler:
    return rsft.LazyRejectionSampler(log_third, 0.0, ITEMS, rank=0, world_size=1)


def stream() -> rsft.RejectionStream:
    return rsft.RejectionStream(range(ITEMS), third, rank=0, world_size=1)


class Hiding:
    """A batch sampler of the user, whose sampler no framework finds."""

    def __init__(self) -> None:
        self._sampler, self.batch_size, self.drop_last = BatchSampler(sampler(), BATCH, True), BATCH, True

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self._sampler)

    def __len__(self) -> int:
        return len(self._sampler)


LOADERS: dict[str, Callable[[], DataLoader]] = {
    "identities": lambda: DataLoader(DATASET, batch_sampler=identities()),
    "sampler": lambda: DataLoader(DATASET, BATCH, sampler=sampler()),
    "lazy": lambda: DataLoader(DATASET, BATCH, sampler=lazy()),
    "stream": lambda: DataLoader(stream(), BATCH),
    "hiding": lambda: DataLoader(DATASET, batch_sampler=Hiding()),
}


def accelerated(processes: int, **options: Any) -> Callable[[DataLoader], Any]:
    def prepare(loader: DataLoader) -> Any:
        options.setdefault("put_on_device", False)
        return prepare_data_loader(loader, num_processes=processes, process_index=0, **options)

    return prepare


def by_fabric(loader: DataLoader) -> Any:
    return Fabric(accelerator="cpu", devices=1).setup_dataloaders(loader)


FRAMEWORKS: dict[str, Callable[[DataLoader], Any]] = {
    "accelerate": accelerated(1),
    "two processes": accelerated(2),
    "split batches": accelerated(2, split_batches=True),
    "dispatched": accelerated(1, dispatch_batches=True, put_on_device=True),
    "Fabric": by_fabric,
}


def items_of(batches: Any) -> tuple[int, ...]:
    rows = [batch[0] if isinstance(batch, list | tuple) else batch for batch in batches]
    return tuple(sorted(torch.cat(rows).tolist()))


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("kind", LOADERS)
def test_every_epoch_is_another_or_the_check_says_what_to_do(kind: str, framework: str) -> None:
    batches = FRAMEWORKS[framework](LOADERS[kind]())
    unseen = kind == "hiding" or (kind == "stream" and framework == "Fabric")
    if unseen:
        advice = "give Hiding an attribute `sampler`" if kind == "hiding" else "call its `set_epoch` before each epoch"
        with pytest.raises(ValueError, match=f"the epoch, so every epoch would be the same: {advice}"):
            rsft.check_sharding(batches)
    else:
        rsft.check_sharding(batches)
    assert len({items_of(batches) for _ in range(3)}) == (1 if unseen else 3)


def test_a_stream_whose_epoch_is_set_by_the_user_passes_under_fabric() -> None:
    ours = stream()
    batches = by_fabric(DataLoader(ours, BATCH))
    ours.set_epoch(0)
    rsft.check_sharding(batches)


def test_batches_follow_the_epoch_and_the_updates_of_their_sampler() -> None:
    ours, expected = identities(), identities()
    first = list(ours)
    ours.sampler.set_epoch(1)
    expected.set_epoch(1)
    assert list(ours) == list(expected) != first
    assert len(ours) == len(expected)
    ours.sampler.update(torch.arange(ITEMS), torch.ones(ITEMS))
    ours.sampler.set_epoch(2)
    ours.sampler.set_epoch(1)
    assert sorted(item for batch in ours for item in batch) == list(range(ITEMS))


def test_batches_whose_sampler_a_framework_replaces_name_the_switch() -> None:
    loader = LOADERS["identities"]()
    with pytest.raises(TypeError, match="use_distributed_sampler=False"):
        _update_dataloader(loader, DistributedSamplerWrapper(sampler(), num_replicas=2, rank=0))
    with pytest.raises(TypeError, match="use_distributed_sampler=False"):
        rsft.IdentityBatches(BatchSampler(sampler(), 2, True), PEOPLE, identities=4, images=2)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["identities", "sampler", "stream"])
def test_what_is_divided_twice_is_refused(kind: str) -> None:
    loader = LOADERS[kind]()
    ours = {"identities": loader.batch_sampler, "sampler": loader.sampler, "stream": loader.dataset}[kind]
    ours.world_size = 2  # type: ignore[union-attr]
    with pytest.raises(
        ValueError, match=r"divided twice, by \w+ \(world_size=2\) and by \w+: make the s\w+ with rank=0"
    ):
        rsft.check_sharding(accelerated(2)(loader))
