"""The exact ratio of two known densities."""

from typing import Protocol

from torch import Tensor


class HasLogProb(Protocol):
    """A `torch.distributions.Distribution`, or anything else with its `log_prob`."""

    def log_prob(self, value: Tensor) -> Tensor:
        """Log density of each item, (N,) or (N, D)."""


def density_ratio(x: Tensor, target: HasLogProb, proposal: HasLogProb) -> Tensor:
    """Log target(x) - log proposal(x).

    Args:
        x: (N, ...) items.
        target: their density in the target population.
        proposal: their density in the pool.

    Returns:
        (N,); the log densities of independent coordinates are added up.

    Raises:
        ValueError: an item has no density under the proposal, which cannot have drawn it.

    >>> from torch.distributions import Normal
    >>> import torch
    >>> density_ratio(torch.tensor([0.0, 1.0]), Normal(1.0, 1.0), Normal(0.0, 1.0))
    tensor([-0.5000,  0.5000])
    """
    log_target, log_proposal = (_per_item(d.log_prob(x)) for d in (target, proposal))
    impossible = log_proposal.isneginf()
    if impossible.any():
        raise ValueError(
            f"`density_ratio(proposal=...)` gives density 0 to {int(impossible.sum())} items, the first at row "
            f"{int(impossible.nonzero()[0])}: a proposal must cover every item of the pool."
        )
    return log_target - log_proposal


def _per_item(log_prob: Tensor) -> Tensor:
    return log_prob.flatten(1).sum(1) if log_prob.ndim > 1 else log_prob
