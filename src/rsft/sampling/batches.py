"""Batches of P identities x K images made of the accepted items, optionally with equally many items per identity."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from torch.utils.data import BatchSampler

from rsft.per_item import codes_of
from rsft.sampling.acceptance import Stream, random_words
from rsft.sampling.sampler import RejectionSampler
from rsft.sampling.sequence import GlobalSequence


class IdentityBatches(GlobalSequence[list[int]], BatchSampler):
    """Batches of P different identities with K accepted items each, for the `batch_sampler` of a DataLoader.

    The accepted items of an identity are cut, in their random order, into groups of K. Items left over, and identities
    with fewer than K accepted items, are left out of the epoch. The groups are laid out identity by identity, in random
    order, and dealt to the largest number of batches that can be filled with different identities. If identity i has
    c_i groups, this is the largest b with sum_i min(c_i, b) >= P b. The batches are a pure function of (seed, epoch,
    acceptance, labels). `GlobalSequence` describes how ranks divide them; batches that do not fill a step of all ranks
    are left out.

    Acceptance decides which items are used, not how often an identity is: identities with few accepted items lose a
    larger share to the remainders. With `per_identity`, all identities that have an accepted item are used equally
    often.

    The epoch is that of the sampler, so it may be set here or there: frameworks call `batch_sampler.sampler.set_epoch`.

    Args:
        sampler: Draws the items. Its seed, epoch, rank, world size and updates are used, its position is not.
        labels: (N,) integers or texts, the identity of each item of the pool.
        identities: Number P of identities in a batch, at least 1.
        images: Number K of items of each identity in a batch, at least 1.
        per_identity: Number of items that each identity contributes to an epoch, a multiple of K. If more are accepted,
            the first ones are used; if fewer are, all of them are repeated in turn. By default each accepted item is
            used at most once.

    Attributes:
        sampler: As given.
        batch_size: P * K.
        drop_last: True, as all batches have one size.

    Raises:
        TypeError: If `sampler` is another one, as when a framework puts its own in its place.
        ValueError: If `labels` is not of shape (N,) or has missing values, P or K is below 1, or `per_identity` is not
            a multiple of K.

    >>> from torch import Tensor
    >>> labels = Tensor([0, 0, 1, 1, 2, 2, 3, 3])
    >>> batches = IdentityBatches(RejectionSampler(Tensor([1] * 8)), labels, identities=2, images=2)
    >>> [len(labels[batch].unique()) for batch in batches]
    [2, 2]
    """

    def __new__(cls, *arguments: Any, **options: Any) -> "IdentityBatches":
        if "drop_last" in options:  # how Lightning makes a batch sampler again, around a sampler of its own
            raise TypeError(
                "`IdentityBatches` divides its batches itself: pass use_distributed_sampler=False to Lightning."
            )
        return super().__new__(cls)

    def __init__(
        self,
        sampler: RejectionSampler,
        labels: Any,
        *,
        identities: int,
        images: int,
        per_identity: int | None = None,
    ) -> None:
        if not isinstance(sampler, RejectionSampler):
            raise TypeError(
                f"`IdentityBatches(sampler=...)` needs a RejectionSampler, got {type(sampler).__name__}: if a "
                "framework put it there, pass use_distributed_sampler=False to it."
            )
        super().__init__(sampler.rank, sampler.world_size, pad=False)
        self._by_group, self.epoch = sampler._by_group, sampler.epoch
        names, self._codes = codes_of(labels, "IdentityBatches(labels=...)", sampler.items)
        if identities < 1 or images < 1:
            raise ValueError(
                f"`IdentityBatches` needs identities and images of at least 1, got {identities}, {images}."
            )
        if per_identity is not None and (per_identity < 1 or per_identity % images):
            raise ValueError(
                f"`IdentityBatches(per_identity=...)` needs a multiple of images={images}, got {per_identity}."
            )
        self.sampler: RejectionSampler = sampler
        self._identities = len(names)
        self._shape = identities, images
        self._per_identity = per_identity
        self._arranged: tuple[int, np.ndarray] | None = None  # of which version of the sampler, and the batches
        # accelerate and Lightning read these attributes of a batch sampler
        self.batch_size, self.drop_last = identities * images, True

    def __iter__(self) -> Iterator[list[int]]:
        self._follow()
        return super().__iter__()

    def __len__(self) -> int:
        self._follow()
        return super().__len__()

    def state_dict(self, *, taken: int | None = None) -> dict[str, Any]:
        self._follow()
        return super().state_dict(taken=taken)

    def _follow(self) -> None:
        """Go to the epoch of the sampler, if it was set there."""
        if self.sampler.epoch != self.epoch:
            self.set_epoch(self.sampler.epoch)

    def _parts(self) -> Iterator[np.ndarray]:
        if self._arranged is None or self._arranged[0] != self.sampler.version:
            self._arranged = self.sampler.version, self._arrange(self.sampler.sequence().numpy())
        yield self._arranged[1]

    def _count(self) -> int:
        return sum(map(len, self._parts()))

    def _choose(self, epoch: int) -> None:
        self.sampler.set_epoch(epoch)

    def _contents(self) -> dict[str, Any]:
        return {"sampler": self.sampler.state_dict(taken=0), "batches": [*self._shape, self._per_identity]}

    def _restore(self, state: Mapping[str, Any]) -> None:
        if state["batches"] != self._contents()["batches"]:
            raise ValueError(
                f"`load_state_dict` got the state of batches with (identities, images, per_identity) = "
                f"{state['batches']}, but these have {self._contents()['batches']}: resume with those of the state."
            )
        self.sampler.load_state_dict(state["sampler"])

    def _arrange(self, accepted: np.ndarray) -> np.ndarray:
        """Return the batches of an epoch: (b, P * K) item indices."""
        identities, images = self._shape
        codes = self._codes[accepted]
        accepted = accepted[np.argsort(codes, kind="stable")]  # by identity, in random order within each
        present, counts = np.unique(codes, return_counts=True)
        first = np.cumsum(counts) - counts
        wanted = counts // images if self._per_identity is None else np.full_like(counts, self._per_identity // images)
        batches = _most_batches(wanted, identities)
        wanted = np.minimum(wanted, batches)
        shuffled = np.argsort(self._keys(self._identities, part=2)[present], kind="stable")
        owner = np.repeat(shuffled, wanted[shuffled])[: identities * batches]
        number = np.concatenate([np.arange(0), *map(np.arange, wanted[shuffled])])[: identities * batches]
        members = (number[:, None] * images + np.arange(images)) % counts[owner][:, None]
        groups = accepted[first[owner][:, None] + members]
        # Group t goes to batch t mod b. The groups of an identity are consecutive and at most b, so no batch gets two.
        dealt = groups.reshape(identities, batches, images).swapaxes(0, 1).reshape(batches, identities * images)
        return dealt[np.argsort(self._keys(batches, part=3), kind="stable")]

    def _keys(self, count: int, part: int) -> np.ndarray:
        return random_words(self.sampler.seed, self.sampler.epoch, 0, count, Stream.SHUFFLE, part=part)


def _most_batches(groups: np.ndarray, identities: int) -> int:
    """Return the largest b with sum(min(groups, b)) >= identities * b, where `groups` counts those of each identity.

    >>> _most_batches(np.array([5, 1, 1]), 2)
    2
    """
    low, high = 0, int(groups.sum()) // identities
    while low < high:
        middle = (low + high + 1) // 2
        if np.minimum(groups, middle).sum() >= identities * middle:
            low = middle
        else:
            high = middle - 1
    return low
