"""Exact ratios for a target that is specified by the shares of discrete attribute values."""

import math
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from rsft.missing import label_name


def attribute_ratio(pool_labels: Sequence[Hashable] | Tensor, target_shares: Mapping[Any, float]) -> Tensor:
    """Compute log target share - log pool share of each item's attribute value.

    Args:
        pool_labels: (N,) attribute values of the pool's items. For joint shares of several attributes, pass tuples.
        target_shares: Maps each value to its share of the target. The shares sum to 1; a value that is not named has
            share 0.

    Returns:
        (N,) float64 log ratio; -inf for items whose value has share 0 in the target.

    Raises:
        ValueError: If the shares do not sum to 1, a share is negative, a value with a positive share does not occur in
            the pool, or an item has no value: None, not a number, an empty text or another that stands for none, or -1,
            unless the shares name it. Whether the target has such items is not known.

    >>> attribute_ratio(["day", "day", "day", "night"], {"day": 0.5, "night": 0.5}).exp()
    tensor([0.6667, 0.6667, 0.6667, 2.0000], dtype=torch.float64)
    """
    labels = _as_list(pool_labels, "attribute_ratio(pool_labels=...)")
    total = sum(target_shares.values())
    if min(target_shares.values(), default=-1.0) < 0 or not math.isclose(total, 1, abs_tol=1e-6):
        raise ValueError(
            f"`attribute_ratio(target_shares=...)` needs shares >= 0 that sum to 1, got a sum of {total:g}."
        )
    lacking = [row for row, value in enumerate(labels) if value not in target_shares and _lacks(value)]
    if lacking:
        raise ValueError(
            f"`attribute_ratio(pool_labels=...)` needs a value for each item, and {len(lacking)} of {len(labels)} have "
            f"none, the first is item {lacking[0]} with {labels[lacking[0]]!r}: leave them out, or name the share of "
            "such items in the target."
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


def raked_ratio(
    pool_attributes: Mapping[str, Sequence[Hashable] | Tensor],
    target_shares: Mapping[str, Mapping[Any, float]],
    *,
    tolerance: float = 1e-9,
    most: int = 10_000,
) -> Tensor:
    """Compute the log ratio that matches the target shares of several attributes, each given separately.

    Uses iterative proportional fitting (W. Deming and F. Stephan, 1940). Among all ratios with these margins, the
    result has the smallest Kullback-Leibler divergence from the pool.

    Args:
        pool_attributes: Maps the name of each attribute to the (N,) values of the pool's items.
        target_shares: Maps the name of each attribute to the shares of its values, which sum to 1. The shares of
            attributes that are not listed are not constrained.
        tolerance: Largest absolute error allowed in any share.
        most: Maximum number of rounds.

    Returns:
        (N,) float64 log ratio with mean ratio 1 over the pool; -inf for items with a value of share 0.

    Raises:
        ValueError: If the shares of an attribute do not sum to 1, a share is negative, a value with a positive share or
            an attribute does not occur in the pool, or no weights of the pool's items meet all margins together.

    >>> pool = {"light": ["day", "day", "night", "night"], "mask": [0, 1, 0, 1]}
    >>> raked_ratio(pool, {"light": {"day": 0.2, "night": 0.8}, "mask": {0: 0.5, 1: 0.5}}).exp()
    tensor([0.4000, 0.4000, 1.6000, 1.6000], dtype=torch.float64)
    """
    missing = [name for name in target_shares if name not in pool_attributes]
    if missing or not target_shares:
        raise ValueError(
            f"`raked_ratio(target_shares=...)` needs attributes of the pool, which has {sorted(pool_attributes)}; got "
            f"{sorted(target_shares)}."
        )
    margins = []
    for name, shares in target_shares.items():
        labels = _as_list(pool_attributes[name], f"raked_ratio(pool_attributes=...)['{name}']")
        try:
            attribute_ratio(labels, shares)  # only to validate the shares
        except ValueError as error:
            raise ValueError(f"of the attribute '{name}', {error}") from error
        values = {value: number for number, value in enumerate(dict.fromkeys(labels))}
        index = torch.tensor([values[label] for label in labels])
        goal = torch.tensor([shares.get(value, 0.0) for value in values], dtype=torch.float64)
        margins.append((name, index, goal / goal.sum()))
    items = len(margins[0][1])
    if any(len(index) != items for _, index, _ in margins):
        raise ValueError(
            "`raked_ratio(pool_attributes=...)` needs attributes of the same items, got lengths "
            f"{[len(index) for _, index, _ in margins]}."
        )
    weight = torch.full((items,), 1 / items, dtype=torch.float64)
    for _ in range(most):
        off = 0.0
        for _, index, goal in margins:
            share = torch.zeros_like(goal).index_add_(0, index, weight)
            off = max(off, float((share - goal).abs().max()))
            weight = weight * torch.where(share > 0, goal / share, 0.0)[index]
        if off < tolerance:
            return (weight * items).log()
    raise ValueError(
        f"`raked_ratio` cannot meet the shares of {[name for name, _, _ in margins]} together: after {most} rounds "
        f"one is off by {off:.3g}. The pool lacks a combination that the target needs: give fewer attributes."
    )


def _lacks(value: Hashable) -> bool:
    """Return whether an item, or a part of its joint value, has no value."""
    return any(map(_lacks, value)) if isinstance(value, tuple) else label_name(value) == ""


def _as_list(labels: Any, call: str) -> list[Hashable]:
    """Return labels as a list of Python values; raise ValueError unless there is one for each item."""
    if isinstance(labels, str | bytes | Mapping) or not hasattr(labels, "__iter__") or getattr(labels, "ndim", 1) != 1:
        raise ValueError(f"`{call}` needs one value for each item, (N,), got a {type(labels).__name__}.")
    listed = labels.tolist() if hasattr(labels, "tolist") else list(labels)
    for row, label in enumerate(listed):
        if not isinstance(label, Hashable):
            raise ValueError(
                f"`{call}` needs texts, numbers or tuples of these, got a {type(label).__name__} at row {row}."
            )
    return listed
