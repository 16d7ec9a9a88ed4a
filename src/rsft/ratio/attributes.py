"""The exact ratio when the target is known by the shares of a discrete attribute."""

import math
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence

import torch
from torch import Tensor


def attribute_ratio(pool_labels: Sequence[Hashable] | Tensor, target_shares: Mapping[Hashable, float]) -> Tensor:
    """Log target share - log pool share of every item's attribute value.

    Args:
        pool_labels: (N,) attribute values of the pool's items.
        target_shares: each value's share of the target; they sum to 1. A value left out has share 0.

    Returns:
        (N,) float64; -inf for items whose value the target does not have.

    Raises:
        ValueError: shares do not sum to 1, one is negative, or a value with a share does not occur in the pool.

    >>> attribute_ratio(["day", "day", "day", "night"], {"day": 0.5, "night": 0.5}).exp()
    tensor([0.6667, 0.6667, 0.6667, 2.0000], dtype=torch.float64)
    """
    labels = pool_labels.tolist() if isinstance(pool_labels, Tensor) else list(pool_labels)
    total = sum(target_shares.values())
    if min(target_shares.values(), default=-1.0) < 0 or not math.isclose(total, 1, abs_tol=1e-6):
        raise ValueError(
            f"`attribute_ratio(target_shares=...)` needs shares >= 0 that sum to 1, got a sum of {total:g}."
        )
    counts = Counter(labels)
    absent = [value for value, share in target_shares.items() if share > 0 and value not in counts]
    if absent:
        raise ValueError(
            f"`attribute_ratio(target_shares=...)` gives a share to {absent}, which no pool item has: "
            f"the pool has {sorted(counts, key=str)}."
        )
    log_ratio = {
        value: math.log(share / total * len(labels) / counts[value])
        if (share := target_shares.get(value, 0))
        else -math.inf
        for value in counts
    }
    return torch.tensor([log_ratio[label] for label in labels], dtype=torch.float64)
