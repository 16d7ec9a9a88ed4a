"""Solver for many ridge logistic regressions on one table, one for each fold and regularisation strength."""

import torch
from torch import Tensor

MEMORY = 8
MAX_STEPS = 200
MAX_HALVINGS = 30


def fit_logistic(x: Tensor, y: Tensor, weight: Tensor, penalty: Tensor, *, gap: float = 1e-6) -> tuple[Tensor, Tensor]:
    """Fit J weighted ridge logistic regressions at once.

    Problem j minimises sum_i weight_ji (-log likelihood of y_i) + penalty_j |w_j|^2 / 2. L-BFGS (J. Nocedal, 1980)
    solves all problems together, preconditioned by the eigenvectors of their common Gram matrix. With standardised
    features this is close to Newton's method at the cost of a gradient step, and converges in a few steps.

    Args:
        x: (n, D) standardised features.
        y: (n,) labels in {0, 1}.
        weight: (J, n) item weights >= 0; a weight of 0 holds an item out.
        penalty: (J,) L2 penalties > 0.
        gap: Tolerance: stop when no problem can improve by more than this, in nats per item.

    Returns:
        (J, D) weights and (J,) unpenalised intercepts.
    """
    x = torch.cat([x, x.new_ones(len(x), 1)], 1)
    total = weight.sum(1)
    share = (weight @ y) / total
    ridge = penalty[:, None] * torch.cat([x.new_ones(x.shape[1] - 1), x.new_zeros(1)])
    spectrum, axes = torch.linalg.eigh(x.T @ x)
    curvature = spectrum.clamp(min=0) * (share * (1 - share) * total / len(x))[:, None] + penalty[:, None]

    def precondition(gradient: Tensor) -> Tensor:
        return ((gradient @ axes) / curvature) @ axes.T

    def value(odds: Tensor, at: Tensor) -> Tensor:
        return (weight * (torch.nn.functional.softplus(odds) - y * odds)).sum(1) + (ridge * at**2).sum(1) / 2

    def slope(odds: Tensor, at: Tensor) -> Tensor:
        return (weight * (torch.sigmoid(odds) - y)) @ x + ridge * at

    at = x.new_zeros(len(penalty), x.shape[1])
    at[:, -1] = torch.logit(share)
    odds = at @ x.T
    height, gradient = value(odds, at), slope(odds, at)
    past: list[tuple[Tensor, Tensor, Tensor]] = []
    for _ in range(MAX_STEPS):
        direction = _direction(gradient, past, precondition)
        decrement = (gradient * direction).sum(1)
        if not bool((decrement / 2 > gap * total).any()):
            break
        change, length = direction @ x.T, torch.ones_like(penalty)
        for _ in range(MAX_HALVINGS):
            tried, tried_odds = at - length[:, None] * direction, odds - length[:, None] * change
            tried_height = value(tried_odds, tried)
            # Armijo's condition, with a tolerance for rounding errors
            worse = tried_height > height - 1e-4 * length * decrement + 1e-6 * height
            if not bool(worse.any()):
                break
            length = torch.where(worse, length / 2, length)
        tried_gradient = slope(tried_odds, tried)
        moved, turned = tried - at, tried_gradient - gradient
        bend = (moved * turned).sum(1)
        past = [*past, (moved, turned, torch.where(bend > 0, 1 / bend.clamp(min=1e-30), 0))][-MEMORY:]
        at, odds, height, gradient = tried, tried_odds, tried_height, tried_gradient
    return at[:, :-1], at[:, -1]


def _direction(gradient: Tensor, past: list[tuple[Tensor, Tensor, Tensor]], precondition) -> Tensor:  # type: ignore[no-untyped-def]
    """Run the two-loop recursion of L-BFGS for each problem. Steps without positive curvature are ignored."""
    rest, shares = gradient, []
    for moved, turned, inverse_bend in reversed(past):
        share = inverse_bend * (moved * rest).sum(1)
        shares.append(share)
        rest = rest - share[:, None] * turned
    result = precondition(rest)
    for (moved, turned, inverse_bend), share in zip(past, reversed(shares), strict=True):
        result = result + (share - inverse_bend * (turned * result).sum(1))[:, None] * moved
    return result
