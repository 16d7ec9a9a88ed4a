"""What a plan that was made from a random part of a pool says about the whole pool."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rsft.envelope import Envelope, choose_envelope
from rsft.sampling.walk import walk
from rsft.thinning import Thinned
from rsft.types import CONFIDENCE, Interval
from rsft.verdict import MIN_EFFECTIVE_SIZE

DRAWS = 200
PRECISION = 0.25
NONE = np.empty(0, np.int64)

# items of a pilot, number of items of its pool, and further items of the pilot that cannot be used
Part = tuple[np.ndarray, int] | tuple[np.ndarray, int, np.ndarray]


@dataclass(frozen=True)
class Pilot:
    """Figures of a pool, estimated from a random part of it, with intervals from a bootstrap over its groups.

    The intervals say what the size of the pilot leaves open, for the ratio as it was fitted.

    Attributes:
        items: Number N of items of the pool.
        rows: (n,) int64 items of the pilot that can be used.
        acceptance_rate: Mean acceptance probability over the pool's usable items, in [0, 1], with the plan's M.
        m: M that the plan's rule would choose on the whole pool.
        clipped_mass: Total variation between target and accepted items, in [0, 1], with the plan's M.
        effective_size: Effective sample size of the pool's acceptance probabilities, in items.
        like_target: Effective number of items like the target in the pilot.
        unusable: (k,) int64 items of the pilot that cannot be used.
    """

    items: int
    rows: np.ndarray
    acceptance_rate: Interval
    m: Interval
    clipped_mass: Interval
    effective_size: Interval
    like_target: float
    unusable: np.ndarray = field(default_factory=lambda: NONE)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def looked_at(self) -> int:
        """Number of items of the pilot, usable or not."""
        return len(self) + len(self.unusable)

    @property
    def is_whole(self) -> bool:
        """Whether the pilot holds the whole pool, so that nothing is open."""
        return self.looked_at == self.items

    @property
    def is_enough(self) -> bool:
        """Whether it holds enough items like the target, and the rate is known to within a quarter."""
        rate = self.acceptance_rate
        half = ((rate.high or 0.0) - (rate.low or 0.0)) / 2
        told = self.like_target >= MIN_EFFECTIVE_SIZE and half <= PRECISION * (rate.value or 0.0)
        return self.is_whole or told

    @property
    def needed(self) -> int | None:
        """Number of items of a pilot that would hold enough like the target; None if this one holds none at all."""
        if self.like_target < 1:
            return None
        return min(self.items, math.ceil(self.looked_at * max(1.0, 1.25 * MIN_EFFECTIVE_SIZE / self.like_target)))

    def figures(self) -> dict[str, float]:
        """Return the sizes, for diagnostics, with `pilot_needed` if a larger pilot would tell more."""
        sizes = {"pilot_items": len(self), "pilot_looked_at": self.looked_at, "pool_items": self.items}
        needed = {} if self.needed is None else {"pilot_needed": self.needed}
        return {name: float(size) for name, size in (sizes | needed).items()}

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-serialisable dictionary."""
        intervals = ("acceptance_rate", "m", "clipped_mass", "effective_size")
        return {
            "items": len(self),
            "looked_at": self.looked_at,
            "like_target": self.like_target,
            **{name: getattr(self, name).to_dict() for name in intervals},
        }


def pilot_items(items: int, size: int, *, seed: int) -> np.ndarray:
    """Return the items of a pilot: (n,) int64, ascending, the first ones that epoch 0 of a lazy sampler visits.

    Args:
        items: Number N of items of the pool.
        size: Number of items of the pilot; all N if it is larger.
        seed: Seed of the plan.

    >>> bool(set(pilot_items(1000, 50, seed=0)) < set(pilot_items(1000, 100, seed=0)))
    True
    """
    size = min(items, size)
    return np.sort(np.concatenate(list(walk(items, seed=seed, reach=size, block=size))))


def identities_accepted(rate: Interval, sizes: np.ndarray) -> Interval:
    """Bound the number of identities of which a pass accepts an item, by the number of items of each.

    A pilot holds one item of most identities, so it cannot tell whether the items of an identity are alike. If they are
    independent, an identity of k items is accepted with probability 1 - (1 - rate)^k, which is the value and, with the
    high end of the rate, the high end. If they are all alike it is accepted with the rate, which is the low end.

    Args:
        rate: Mean acceptance probability of the pool, with its interval.
        sizes: (C,) number of items of each identity.

    >>> print(identities_accepted(Interval(0.5, 0.5, 0.5), np.array([1, 1, 2])))
    1.750 [1.500, 1.750]
    """
    value, low, high = (min(1.0, max(0.0, end or 0.0)) for end in (rate.value, rate.low, rate.high))
    independent = [float((1 - (1 - p) ** sizes).sum()) for p in (value, high)]
    return Interval(independent[0], low * len(sizes), independent[1])


def assess_part(part: Part, thinned: Thinned, identities: Tensor | None, seed: int) -> Pilot:
    """Return the figures of the pool that a plan's items are a part of.

    Args:
        part: As for `rsft.plan`.
        thinned: Envelope and acceptance of these items.
        identities: (n,) integers, or None; items of one identity are drawn together.
        seed: Seed for the bootstrap.

    Raises:
        ValueError: If the numbers are not those of the items, or not ascending, or the larger pool is too small.
    """
    rows, items, unusable = np.asarray(part[0]), part[1], part[2] if len(part) > 2 else NONE
    if rows.shape != (len(thinned.log_ratio),) or items < len(rows) + len(unusable) or bool((np.diff(rows) <= 0).any()):
        raise ValueError(
            f"`plan(pilot=...)` needs the ascending numbers of the {len(thinned.log_ratio)} items, and the size of the "
            f"larger pool, got {rows.shape} numbers and {items}."
        )
    return assess_pilot(
        rows,
        items,
        thinned.log_ratio,
        thinned.envelope,
        like_target=thinned.figures["target_effective_size"],
        groups=identities,
        unusable=unusable,
        seed=seed,
    )


def assess_pilot(
    rows: np.ndarray,
    items: int,
    log_ratio: Tensor,
    envelope: Envelope,
    *,
    like_target: float,
    groups: Tensor | None = None,
    unusable: np.ndarray = NONE,
    seed: int = 0,
) -> Pilot:
    """Estimate the figures of a pool from its pilot.

    Args:
        rows: (n,) int64 items of the pilot that can be used.
        items: Number N of items of the pool.
        log_ratio: (n,) log ratio of the pilot's items, with the retained share.
        envelope: Envelope that was chosen on them.
        like_target: Effective number of items like the target.
        groups: (n,) integers; items of one group, such as a person, are drawn together. None if all are independent.
        unusable: (k,) int64 items of the pilot that cannot be used.
        seed: Seed for the bootstrap.
    """
    looked_at = len(rows) + len(unusable)
    generator = np.random.default_rng(seed)
    index = np.arange(len(rows)) if groups is None else np.unique(groups.numpy(), return_inverse=True)[1]
    members = np.split(np.argsort(index, kind="stable"), np.cumsum(np.bincount(index))[:-1])

    def drawn() -> Tensor:
        if len(members) == len(rows):
            return log_ratio[torch.from_numpy(generator.integers(0, len(rows), len(rows)))]
        chosen = generator.integers(0, len(members), len(members))
        return log_ratio[torch.from_numpy(np.concatenate([members[group] for group in chosen]))]

    def measures(sample: Tensor) -> tuple[float, float, float, float]:
        frozen = choose_envelope(sample, log_m=envelope.log_m)
        # A plan on the whole pool would divide the ratios by their mean there.
        own = choose_envelope(sample - _log_mean(sample) + _log_mean(log_ratio), envelope.rule)
        size = frozen.effective_size / len(sample) * len(rows) / looked_at * items
        return frozen.acceptance_rate, math.exp(own.log_m), frozen.clipped_mass, size

    values = measures(log_ratio)
    if looked_at == items:
        known = [Interval(value, value, value) for value in values]
    else:
        draws = np.array([measures(sample) for sample in _usable(drawn)])
        ends = np.quantile(draws, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], axis=0).T
        known = [Interval(value, *both.tolist()) for value, both in zip(values, ends, strict=True)]
    rate, m, clipped, size = known
    return Pilot(items, rows, rate, m, clipped, size, like_target, unusable)


def _log_mean(log_ratio: Tensor) -> float:
    return float(torch.logsumexp(log_ratio, 0)) - math.log(len(log_ratio))


def _usable(drawn: Callable[[], Tensor]) -> list[Tensor]:
    """Return `DRAWS` bootstrap samples, without those in which no item has target mass."""
    return [sample for sample in (drawn() for _ in range(DRAWS)) if bool(torch.isfinite(sample).any())]
