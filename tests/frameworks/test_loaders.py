"""One process: plain and stateful loaders and the Hugging Face Trainer yield the exact sequence."""

from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from lightning_fabric import Fabric
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset
from torchdata.stateful_dataloader import StatefulDataLoader

from rsft import IdentityBatches, LazyRejectionSampler, RejectionSampler

ITEMS = 97
ACCEPTANCE = torch.linspace(0.2, 1, ITEMS, dtype=torch.float64)
DATASET = TensorDataset(torch.arange(ITEMS))


def sampler() -> RejectionSampler:
    return RejectionSampler(ACCEPTANCE, seed=5)


def sequence(epoch: int) -> list[int]:
    alone = sampler()
    alone.set_epoch(epoch)
    return list(alone)


def read(batches: Any) -> list[int]:
    return [index for (batch,) in batches for index in batch.tolist()]


@pytest.mark.filterwarnings("ignore:'pin_memory'")  # pinning has no effect without a GPU
@pytest.mark.parametrize("pin", [False, True])
@pytest.mark.parametrize("workers", [0, 1, 2])
def test_persistent_workers_see_every_epoch(workers: int, pin: bool) -> None:
    ours = sampler()
    batches = DataLoader(DATASET, 8, sampler=ours, num_workers=workers, persistent_workers=workers > 0, pin_memory=pin)
    for epoch in (0, 1, 5):
        ours.set_epoch(epoch)
        assert read(batches) == sequence(epoch)


@pytest.mark.filterwarnings("ignore:'set_vital'")
@pytest.mark.parametrize("stop", [1, 4, -1, -2])  # number of batches seen; -1: all, -2: all and the end of the epoch
@pytest.mark.parametrize(("workers", "every"), [(0, 1), (2, 1), (2, 3)])
def test_a_stateful_loader_resumes_at_any_batch_of_any_epoch(workers: int, every: int, stop: int) -> None:
    options: dict[str, Any] = {"num_workers": workers, "snapshot_every_n_steps": every}
    if workers:
        options["prefetch_factor"] = 4
    for epoch in (0, 2):
        ours = sampler()
        batches = StatefulDataLoader(DATASET, 8, sampler=ours, **options)
        ours.set_epoch(epoch)
        iterator = iter(batches)
        limit = stop if stop > 0 else -(-len(sequence(epoch)) // 8)
        seen = read(next(iterator) for _ in range(limit))
        if stop == -2:
            assert list(iterator) == []
        state = batches.state_dict()

        again = sampler()
        resumed = StatefulDataLoader(DATASET, 8, sampler=again, **options)
        resumed.load_state_dict(state)
        again.set_epoch(epoch + (stop == -2))
        rest = read(resumed)
        if stop == -2:
            assert rest == sequence(epoch + 1)
        else:
            assert seen + rest == sequence(epoch)
        again.set_epoch(epoch + 3)
        assert read(resumed) == sequence(epoch + 3)


@pytest.mark.filterwarnings("ignore:'set_vital'")
@pytest.mark.parametrize("stop", [1, 4, -1, -2])  # as above
@pytest.mark.parametrize("workers", [0, 2])
def test_a_stateful_loader_resumes_a_sampler_that_has_not_seen_the_pool(workers: int, stop: int) -> None:
    def made() -> LazyRejectionSampler:
        return LazyRejectionSampler(lambda items: ACCEPTANCE[items].log(), 0.0, ITEMS, seed=5, block=16, balanced=True)

    def lazily(epoch: int) -> list[int]:
        alone = made()
        alone.set_epoch(epoch)
        return list(alone)

    for epoch in (0, 2):
        ours = made()
        batches = StatefulDataLoader(DATASET, 8, sampler=ours, num_workers=workers)
        ours.set_epoch(epoch)
        iterator = iter(batches)
        limit = stop if stop > 0 else -(-len(lazily(epoch)) // 8)
        seen = read(next(iterator) for _ in range(limit))
        if stop == -2:
            assert list(iterator) == []
        again = made()
        resumed = StatefulDataLoader(DATASET, 8, sampler=again, num_workers=workers)
        resumed.load_state_dict(batches.state_dict())
        again.set_epoch(epoch + (stop == -2))
        assert read(resumed) == (lazily(epoch + 1) if stop == -2 else lazily(epoch)[len(seen) :])
        assert seen == lazily(epoch)[: len(seen)]
        again.set_epoch(epoch + 3)
        assert read(resumed) == lazily(epoch + 3)


@pytest.mark.filterwarnings("ignore:'set_vital'")
@pytest.mark.parametrize("stop", [0, 2, None])
@pytest.mark.parametrize("workers", [0, 2])
def test_a_stateful_loader_resumes_batches_of_identities(workers: int, stop: int | None) -> None:
    def batches() -> IdentityBatches:
        return IdentityBatches(sampler(), torch.arange(ITEMS) // 6, identities=3, images=2)

    ours = batches()
    loader = StatefulDataLoader(DATASET, batch_sampler=ours, num_workers=workers)
    ours.set_epoch(1)
    seen = read(islice(loader, stop))
    again = batches()
    resumed = StatefulDataLoader(DATASET, batch_sampler=again, num_workers=workers)
    resumed.load_state_dict(loader.state_dict())
    alone = batches()
    alone.set_epoch(1 if stop is not None else 2)
    if stop is None:  # the loader reached the end of the epoch
        again.set_epoch(2)
        seen = []
    assert seen + read(resumed) == [index for batch in alone for index in batch]


def stopped(epoch: int, batches: int) -> tuple[list[int], dict[str, Any]]:
    """Return the items seen of an epoch, and the state to resume it."""
    ours = sampler()
    ours.set_epoch(epoch)
    iterator = iter(DataLoader(DATASET, 8, sampler=ours, num_workers=2))
    seen = read(next(iterator) for _ in range(batches))
    return seen, ours.state_dict(taken=len(seen))


@pytest.mark.parametrize("framework", ["accelerate", "fabric"])
def test_a_loader_that_counts_epochs_itself_raises_after_a_resume_unless_its_epoch_is_set(framework: str) -> None:
    seen, state = stopped(epoch=2, batches=3)
    ours = sampler()
    ours.load_state_dict(state)
    plain = DataLoader(DATASET, 8, sampler=ours)
    if framework == "accelerate":
        batches = Accelerator(cpu=True).prepare(plain)
    else:
        batches = Fabric(accelerator="cpu", devices=1).setup_dataloaders(plain, use_distributed_sampler=False)
    with pytest.raises(ValueError, match=r"docs/sampler\.md"):
        next(iter(batches))
    if framework == "accelerate":
        batches.set_epoch(2)
        assert seen + read(batches) == sequence(2)
        assert read(batches) == sequence(3)
    else:
        assert seen + read(plain) == sequence(2)  # Fabric's loader has no `set_epoch`: iterate over the plain loader


class Counting(torch.utils.data.Dataset[dict[str, Tensor]]):
    """Records which items are read."""

    def __init__(self) -> None:
        self.read: list[int] = []

    def __len__(self) -> int:
        return ITEMS

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        self.read.append(index)
        return {"x": torch.tensor([float(index)])}


@pytest.mark.filterwarnings("ignore")  # those of the Trainer
def test_the_transformers_trainer_trains_on_the_sequence_and_resumes_within_it(tmp_path: Path) -> None:
    from transformers import Trainer, TrainingArguments

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))
            self.seen: list[int] = []

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            self.seen += x.flatten().long().tolist()
            return {"loss": (self.weight * x / ITEMS - 1).square().mean()}

    class RejectionTrainer(Trainer):
        def _get_train_sampler(self, train_dataset: Any = None) -> RejectionSampler:
            return RejectionSampler(ACCEPTANCE, seed=5, rank=0, world_size=1)

    def train(resume: bool, stop_after: int) -> tuple[list[int], list[int]]:
        arguments = TrainingArguments(
            output_dir=str(tmp_path),
            num_train_epochs=2,
            per_device_train_batch_size=8,
            save_steps=stop_after,
            max_steps=-1 if resume else stop_after,
            lr_scheduler_type="constant",
            report_to="none",
            disable_tqdm=True,
            use_cpu=True,
        )
        model, data = Model(), Counting()
        RejectionTrainer(model, arguments, train_dataset=data).train(resume_from_checkpoint=resume)
        return model.seen, data.read

    steps = -(-len(sequence(0)) // 8) + 3  # three batches into the second epoch
    before, decoded = train(resume=False, stop_after=steps)
    after, _ = train(resume=True, stop_after=steps)
    assert before == sequence(0) + sequence(1)[:24]
    # the Trainer uses the number of steps of the first epoch for every epoch
    planned = sequence(1)[: 8 * -(-len(sequence(0)) // 8)]
    assert before + after == sequence(0) + planned
    assert set(decoded) <= set(sequence(0) + sequence(1))


def test_rejected_items_are_never_read() -> None:
    data = Counting()
    ours = sampler()
    for epoch in range(2):
        ours.set_epoch(epoch)
        assert sum(len(batch["x"]) for batch in DataLoader(data, 8, sampler=ours)) == len(ours)
    assert data.read == sequence(0) + sequence(1)
    assert all(a != b for a, b in pairwise(data.read))
