"""How the log ratios of a pool are spread, and what of them is accepted."""

from typing import Any

import numpy as np
from torch import Tensor

BINS = 48


def ratio_histogram(log_ratio: Tensor, acceptance: Tensor, bins: int = BINS) -> dict[str, Any]:
    """Count the items of a pool by their log ratio, and those of them that an epoch accepts on average.

    Args:
        log_ratio: (N,) log target - log pool of each item; -inf for an item without target mass.
        acceptance: (N,) probability that each item is accepted, in [0, 1].
        bins: Number B of bins of equal width between the smallest and the largest finite log ratio.

    Returns:
        "edges", B + 1 log ratios; "pool", the number of items in each bin; "accepted", the expected number of accepted
        ones; and "without_mass", the number of items without target mass, which are in no bin.

    >>> import torch
    >>> ratio_histogram(torch.tensor([0.0, 0.0, 1.0]), torch.tensor([0.25, 0.25, 1.0]), bins=2)
    {'edges': [0.0, 0.5, 1.0], 'pool': [2, 1], 'accepted': [0.5, 1.0], 'without_mass': 0}
    """
    logs, weights = (values.detach().cpu().double().numpy() for values in (log_ratio, acceptance))
    finite = np.isfinite(logs)
    counts, edges = np.histogram(logs[finite], bins)
    accepted, _ = np.histogram(logs[finite], edges, weights=weights[finite])
    return {
        "edges": edges.tolist(),
        "pool": counts.tolist(),
        "accepted": accepted.tolist(),
        "without_mass": int((~finite).sum()),
    }
