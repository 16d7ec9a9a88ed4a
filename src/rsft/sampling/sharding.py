"""Agreement between the ranks of a distributed run: who divides the items, and which probabilities are new."""

from typing import Any

import torch
import torch.distributed
from torch import Tensor

from rsft.sampling.sampler import RejectionSampler
from rsft.sampling.sequence import group

INSIDE = ("batch_sampler", "sampler", "_sampler", "base_dataloader", "dataset")
SWITCHES = {
    "DistributedSamplerWrapper": "pass use_distributed_sampler=False",
    "BatchSamplerShard": "make the sampler with rank=0, world_size=1",
    "DataLoaderDispatcher": "make the sampler with rank=0, world_size=1",
}


def check_sharding(loader: Any) -> None:
    """Raise an error if the accepted items of a loader are divided among the ranks twice, or not at all.

    Call it on each rank, on the loader that the framework returned (`Accelerator.prepare`,
    `Fabric.setup_dataloaders`).

    Args:
        loader: DataLoader with a `RejectionSampler` inside, which accelerate, Lightning or torch may have wrapped.

    Raises:
        ValueError: If the items are divided twice, if they are not divided although there are several ranks, if a
            wrapper fixes their number for all epochs, or if the loader contains no `RejectionSampler`.
    """
    found = _find(loader, [], set())
    if found is None:
        raise ValueError(
            f"`check_sharding` found no RejectionSampler in the {type(loader).__name__}: it was replaced or not given."
        )
    sampler, wrappers = found
    _, ranks = group()
    if sampler.world_size > 1 and wrappers:
        advice = SWITCHES.get(wrappers[0], "make the sampler with rank=0, world_size=1")
        raise ValueError(
            f"the accepted items are divided twice, by RejectionSampler (world_size={sampler.world_size}) and by "
            f"{wrappers[0]}: {advice}."
        )
    if wrappers and "DistributedSamplerWrapper" in wrappers:
        raise ValueError(
            "DistributedSamplerWrapper fixes the number of items when it is made, but each epoch has its own number: "
            "pass use_distributed_sampler=False, so that RejectionSampler takes rank and world_size from the group."
        )
    if ranks > 1 and sampler.world_size == 1 and not wrappers:
        raise ValueError(
            f"all {ranks} ranks get the same items: make the RejectionSampler after `init_process_group`, without "
            "rank=0, world_size=1."
        )


def gather_updates(indices: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Gather (index, value) pairs from all ranks on every rank, for `RejectionSampler.update` at the end of an epoch.

    This takes two collectives: an `all_gather` of the numbers of pairs, and one of the pairs, padded to the largest
    number. A pair is sent as two int64, the index and the bits of the float64 value, so both arrive exactly. Without a
    process group, the pairs of this process are returned.

    Args:
        indices: (n,) int64 item indices of this rank; n may differ between ranks.
        values: (n,) floating, the value of each item.

    Returns:
        Indices (m,) int64 and values (m,) float64 of all ranks, in the order of the ranks.

    Raises:
        ValueError: If `indices` and `values` are not of the same shape (n,).
    """
    if indices.shape != values.shape or indices.ndim != 1:
        raise ValueError(f"`gather_updates` needs (n,) indices and (n,) values, got {indices.shape}, {values.shape}.")
    pairs = torch.stack([indices.to(torch.int64), values.to(torch.float64).view(torch.int64)])
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        device = "cuda" if torch.distributed.get_backend() == "nccl" else "cpu"
        ranks = torch.distributed.get_world_size()
        counts = torch.empty(ranks, dtype=torch.int64, device=device).split(1)
        torch.distributed.all_gather(list(counts), torch.tensor([len(indices)], device=device))
        padded = torch.zeros(2, int(max(counts)), dtype=torch.int64, device=device)
        padded[:, : len(indices)] = pairs
        gathered = [torch.empty_like(padded) for _ in range(ranks)]
        torch.distributed.all_gather(gathered, padded)
        pairs = torch.cat([part[:, :count] for part, count in zip(gathered, counts, strict=True)], dim=1).cpu()
    return pairs[0], pairs[1].contiguous().view(torch.float64)


def _find(part: Any, wrappers: list[str], seen: set[int]) -> tuple[RejectionSampler, list[str]] | None:
    """Return the sampler inside and the class names of the wrappers that divide its items, outermost first."""
    if isinstance(part, RejectionSampler):
        return part, wrappers
    if id(part) in seen:
        return None
    seen.add(id(part))
    dividing = getattr(part, "num_processes", 1) != 1 or getattr(part, "num_replicas", 1) != 1
    dividing |= type(part).__name__ == "DataLoaderDispatcher"
    inner = [*wrappers, type(part).__name__] if dividing else wrappers
    children = (vars(part).get(name) for name in INSIDE if hasattr(part, "__dict__"))
    return next((found for child in children if child is not None and (found := _find(child, inner, seen))), None)
