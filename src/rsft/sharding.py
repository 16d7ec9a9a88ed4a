"""What the ranks of a distributed run must agree on: who divides the items, and which probabilities are new."""

from typing import Any

import torch
import torch.distributed
from torch import Tensor

from rsft.sampler import RejectionSampler
from rsft.sequence import group

INSIDE = ("batch_sampler", "sampler", "_sampler", "base_dataloader", "dataset")
SWITCHES = {
    "DistributedSamplerWrapper": "pass use_distributed_sampler=False",
    "BatchSamplerShard": "make the sampler with rank=0, world_size=1",
    "DataLoaderDispatcher": "make the sampler with rank=0, world_size=1",
}


def check_sharding(loader: Any) -> None:
    """Refuse a loader whose accepted items are divided among the ranks twice, or not at all.

    Call it on what the framework made of the loader (`Accelerator.prepare`, `Fabric.setup_dataloaders`), on each rank.

    Args:
        loader: has a `RejectionSampler` inside, and perhaps wrappers of accelerate, Lightning or torch around it.

    Raises:
        ValueError: they are divided twice, or not at all though there are several ranks; or there is no such sampler.
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
            "DistributedSamplerWrapper fixes the number of items when it is made, but each epoch accepts another: "
            "pass use_distributed_sampler=False and let RejectionSampler take rank and world_size from the group."
        )
    if ranks > 1 and sampler.world_size == 1 and not wrappers:
        raise ValueError(
            f"all {ranks} ranks get the same items: make the RejectionSampler after `init_process_group`, without "
            "rank=0, world_size=1."
        )


def gather_updates(indices: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """What all ranks computed, on all ranks alike: for `RejectionSampler.update` at the end of an epoch.

    Two collectives: one `all_gather` of the numbers of items and one of the pairs, padded to the largest number. A pair
    is two int64, the index and the bits of the float64 value, so both arrive exactly. Without a process group what was
    given is returned.

    Args:
        indices: (n,) int64, of this rank; n may differ between ranks.
        values: (n,) floating.

    Returns:
        indices (m,) int64 and values (m,) float64, in the order of the ranks.

    Raises:
        ValueError: there are not as many values as indices.
    """
    if indices.shape != values.shape or indices.ndim != 1:
        raise ValueError(
            f"`gather_updates` needs (n,) indices and as many values, got {indices.shape}, {values.shape}."
        )
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
    """The sampler inside, and the names of what divides its items on the way, outermost first."""
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
