"""Agreement between the ranks of a distributed run: who divides the items, and which probabilities are new."""

from typing import Any

import torch
import torch.distributed
from torch import Tensor

from rsft.sampling.sequence import GlobalSequence, group
from rsft.sampling.stream import RejectionStream

Ours = GlobalSequence[Any] | RejectionStream
INSIDE = ("batch_sampler", "sampler", "_sampler", "base_dataloader", "dataset")
SWITCHES = {
    "DistributedSamplerWrapper": "pass use_distributed_sampler=False",
    "BatchSamplerShard": "make the sampler with rank=0, world_size=1",
    "DataLoaderDispatcher": "make the sampler with rank=0, world_size=1",
    "IterableDatasetShard": "make the stream with rank=0, world_size=1",
}
# Where these loaders call `set_epoch` before each epoch: attributes of the loader, one after the other.
SET_EPOCH_OF = {
    "_FabricDataLoader": ("sampler", "batch_sampler.sampler"),
    "DataLoaderShard": ("batch_sampler", "batch_sampler.sampler", "batch_sampler.batch_sampler.sampler", "dataset"),
    "DataLoaderDispatcher": ("batch_sampler.sampler", "dataset"),
}


def check_sharding(loader: Any) -> None:
    """Raise an error if a loader divides the accepted items twice or not at all, or draws the same in every epoch.

    Call it on each rank, on the loader that the framework returned (`Accelerator.prepare`,
    `Fabric.setup_dataloaders`).

    Args:
        loader: DataLoader with a `RejectionSampler`, another sampler of this library or a `RejectionStream` inside,
            which accelerate, Lightning or torch may have wrapped.

    Raises:
        ValueError: If the items are divided twice, if they are not divided although there are several ranks, if a
            wrapper fixes their number for all epochs, if the `set_epoch` of the framework does not reach the sampler,
            or if the loader contains none.
    """
    found = _find(loader, [], set())
    if found is None:
        raise ValueError(
            f"`check_sharding` found no RejectionSampler in the {type(loader).__name__}: it was replaced or not given, "
            "or a batch sampler around it does not have it as its attribute `sampler`."
        )
    sampler, wrappers = found
    _, ranks = group()
    name = type(sampler).__name__
    if sampler.world_size > 1 and wrappers:
        advice = SWITCHES.get(wrappers[0], "make the sampler with rank=0, world_size=1")
        raise ValueError(
            f"the accepted items are divided twice, by {name} (world_size={sampler.world_size}) and by {wrappers[0]}: "
            f"{advice}."
        )
    if wrappers and "DistributedSamplerWrapper" in wrappers:
        raise ValueError(
            "DistributedSamplerWrapper fixes the number of items when it is made, but each epoch has its own number: "
            f"pass use_distributed_sampler=False, so that {name} takes rank and world_size from the group."
        )
    if ranks > 1 and sampler.world_size == 1 and not wrappers:
        raise ValueError(
            f"all {ranks} ranks get the same items: make the {name} after `init_process_group`, without rank=0, "
            "world_size=1."
        )
    if not _reached(loader, sampler):
        if isinstance(sampler, RejectionStream):
            advice = "call its `set_epoch` before each epoch, and the first time before this check"
        elif loader.batch_sampler is None:
            advice = "pass it as `batch_sampler=...` to the DataLoader"
        else:
            advice = f"give {_innermost(loader.batch_sampler)} an attribute `sampler` that is the {name}"
        raise ValueError(
            f"{type(loader).__name__} does not tell {name} the epoch, so every epoch would be the same: {advice}."
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


def _reached(loader: Any, sampler: Ours) -> bool:
    """Return whether the `set_epoch` of a loader that counts the epochs itself reaches the sampler."""
    places = SET_EPOCH_OF.get(type(loader).__name__)
    if places is None or (isinstance(sampler, RejectionStream) and sampler.told_epoch):
        return True
    for place in places:  # IdentityBatches holds its sampler and follows it
        part = loader
        for name in place.split("."):
            part = getattr(part, name, None)
        found = _find(part, [], set()) if hasattr(part, "set_epoch") else None
        if found is not None and found[0] in (sampler, getattr(sampler, "sampler", None)):
            return True
    return False


def _innermost(batch_sampler: Any) -> str:
    """Return the class name of a batch sampler inside the wrappers of accelerate."""
    inner = getattr(batch_sampler, "batch_sampler", None)
    return type(batch_sampler).__name__ if inner is None else _innermost(inner)


def _find(part: Any, wrappers: list[str], seen: set[int]) -> tuple[Ours, list[str]] | None:
    """Return the sampler inside and the class names of the wrappers that divide its items, outermost first."""
    if isinstance(part, GlobalSequence | RejectionStream):
        return part, wrappers
    if id(part) in seen:
        return None
    seen.add(id(part))
    dividing = getattr(part, "num_processes", 1) != 1 or getattr(part, "num_replicas", 1) != 1
    dividing |= type(part).__name__ == "DataLoaderDispatcher"
    inner = [*wrappers, type(part).__name__] if dividing else wrappers
    children = (vars(part).get(name) for name in INSIDE if hasattr(part, "__dict__"))
    return next((found for child in children if child is not None and (found := _find(child, inner, seen))), None)
