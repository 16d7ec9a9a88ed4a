"""Exact ratio of two known densities."""

from typing import Protocol

from torch import Tensor


class HasLogProb(Protocol):
    """A `torch.distributions.Distribution`, or any object with the same `log_prob` method."""

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log density of each item, (N,), or of each of its independent coordinates, (N, D)."""


def density_ratio(x: Tensor, target: HasLogProb, proposal: HasLogProb) -> Tensor:
    """Compute the log density ratio log target(x) - log proposal(x).

    Args:
        x: (N, ...) items.
        target: Density of the target population.
        proposal: Density from which the pool was drawn.

    Returns:
        (N,) log ratios. If `log_prob` returns one value for each coordinate, the values are summed.

    Raises:
        ValueError: If an item has density 0 under the proposal, so that the proposal cannot have generated it.

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
    """Sum the log densities of the coordinates: (N, ...) -> (N,)."""
    return log_prob.flatten(1).sum(1) if log_prob.ndim > 1 else log_prob
