"""One rank of a run under `torchrun`: it writes the items that each framework gives it, as JSON.

torchrun --nproc_per_node 2 ranks.py FOLDER
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed
from accelerate import Accelerator
from accelerate.utils import DataLoaderConfiguration
from lightning_fabric import Fabric
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, TensorDataset
from torchdata.stateful_dataloader import StatefulDataLoader

from rsft import RejectionSampler
from rsft.sampling.sharding import check_sharding, gather_updates

ITEMS, BATCH, EPOCHS = 301, 4, 2
ACCEPTANCE = torch.linspace(0, 1, ITEMS, dtype=torch.float64)
DATASET = TensorDataset(torch.arange(ITEMS))


def loader(sampler: RejectionSampler, **options: Any) -> DataLoader:
    return DataLoader(DATASET, BATCH, sampler=sampler, **options)


def read(batches: Any, limit: int | None = None) -> list[list[int]]:
    """Return the indices of each batch, of the first `limit` batches."""
    found: list[list[int]] = []
    for (batch,) in batches:
        found.append(batch.tolist())
        if len(found) == limit:
            break
    return found


def by_torch() -> list[list[list[int]]]:
    sampler = RejectionSampler(ACCEPTANCE)
    batches = loader(sampler, num_workers=1, persistent_workers=True)
    check_sharding(batches)
    epochs = []
    for epoch in range(EPOCHS):
        sampler.set_epoch(epoch)
        epochs.append(read(batches))
    return epochs


def by_updates() -> list[list[list[int]]]:
    """Read an epoch, lower the probabilities of the items that any rank saw, and read the next epoch."""
    sampler = RejectionSampler(ACCEPTANCE)
    batches = loader(sampler)
    epochs = [read(batches)]
    seen = torch.tensor([index for batch in epochs[0] for index in batch])
    sampler.update(*gather_updates(seen, ACCEPTANCE[seen] / 4))
    sampler.set_epoch(1)
    return [*epochs, read(batches)]


def by_trainer(folder: str) -> list[int]:
    """Return the items that the transformers Trainer gives to the model of this rank in two epochs."""
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
            return RejectionSampler(ACCEPTANCE, rank=0, world_size=1)

    arguments = TrainingArguments(
        folder,
        num_train_epochs=EPOCHS,
        per_device_train_batch_size=BATCH,
        dataloader_drop_last=True,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
    )
    model = Model()
    RejectionTrainer(model, arguments, train_dataset=[{"x": torch.tensor([float(i)])} for i in range(ITEMS)]).train()
    return model.seen


def by_stateful_loader() -> list[list[list[int]]]:
    """Stop after three batches of each epoch and resume with a new loader."""
    epochs = []
    for epoch in range(EPOCHS):
        sampler = RejectionSampler(ACCEPTANCE)
        sampler.set_epoch(epoch)
        first = StatefulDataLoader(DATASET, BATCH, sampler=sampler, num_workers=1)
        seen = read(first, 3)
        second = StatefulDataLoader(DATASET, BATCH, sampler=RejectionSampler(ACCEPTANCE), num_workers=1)
        second.load_state_dict(first.state_dict())
        epochs.append(seen + read(second))
    return epochs


def by_accelerate(accelerator: Accelerator) -> list[list[list[int]]]:
    sampler = RejectionSampler(ACCEPTANCE, rank=0, world_size=1)
    batches = accelerator.prepare(loader(sampler, drop_last=True))
    check_sharding(batches)
    return [read(batches) for _ in range(EPOCHS)]  # accelerate counts the epochs itself


def by_fabric(fabric: Fabric) -> list[list[list[int]]]:
    batches = fabric.setup_dataloaders(loader(RejectionSampler(ACCEPTANCE)), use_distributed_sampler=False)
    check_sharding(batches)
    return [read(batches) for _ in range(EPOCHS)]  # Fabric counts the epochs itself


def refused(make: Any) -> str:
    try:
        check_sharding(make())
    except ValueError as error:
        return str(error)
    return ""


def trained(rank: int) -> list[float]:
    """Return the weights of a linear model after an epoch on the accepted items under DistributedDataParallel."""
    torch.manual_seed(0)
    model = DistributedDataParallel(torch.nn.Linear(1, 1))
    optimizer = torch.optim.SGD(model.parameters(), 1e-2)
    for (batch,) in loader(RejectionSampler(ACCEPTANCE)):
        loss = model(batch[:, None] / ITEMS).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return torch.cat([p.detach().flatten() for p in model.parameters()]).tolist()


def main() -> None:
    early = RejectionSampler(ACCEPTANCE)  # before the process group exists
    accelerator = Accelerator(cpu=True, dataloader_config=DataLoaderConfiguration(even_batches=False))
    fabric = Fabric(accelerator="cpu", strategy="ddp", devices=accelerator.num_processes)
    fabric.launch()
    rank, ranks = torch.distributed.get_rank(), torch.distributed.get_world_size()
    big = 2**53 + 1 + 2 * rank  # an index that float64 cannot represent
    indices, values = gather_updates(
        torch.tensor([big, *range(rank)]), torch.tensor([0.1 + rank, *([1 / 3] * rank)], dtype=torch.float64)
    )
    results = {
        "torch": by_torch(),
        "stateful": by_stateful_loader(),
        "accelerate": by_accelerate(accelerator),
        "fabric": by_fabric(fabric),
        "updates": by_updates(),
        "weights": trained(rank),
        "gathered": [indices.tolist(), values.tolist()],
        "early": refused_iteration(early),
        "twice": refused(lambda: accelerator.prepare(loader(RejectionSampler(ACCEPTANCE)))),
        "wrapped": refused(lambda: fabric.setup_dataloaders(loader(RejectionSampler(ACCEPTANCE)))),
        "undivided": refused(lambda: loader(RejectionSampler(ACCEPTANCE, rank=0, world_size=1))),
    }
    if ranks == 2:  # importing transformers takes seconds
        results["trainer"] = by_trainer(sys.argv[1])
    (Path(sys.argv[1]) / f"{rank}-{ranks}.json").write_text(json.dumps(results))
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def refused_iteration(sampler: RejectionSampler) -> str:
    try:
        next(iter(sampler))
    except ValueError as error:
        return str(error)
    return ""


if __name__ == "__main__":
    main()
    os._exit(0)  # the shutdown of gloo's threads under load may end a process with SIGABRT
