"""Ridge logistic regressions on one table, many at a time: one for each fold and strength of the regularisation."""

import torch
from torch import Tensor

MEMORY = 8
MAX_STEPS = 200
MAX_HALVINGS = 30


def fit_logistic(x: Tensor, y: Tensor, weight: Tensor, penalty: Tensor, *, gap: float = 1e-6) -> tuple[Tensor, Tensor]:
    """Minimise, for each problem j, sum_i weight_ji (-log likelihood of y_i) + penalty_j |w_j|^2 / 2.

    L-BFGS over all problems at once (J. Nocedal, 1980), preconditioned by the eigenvectors of the one Gram matrix they
    share: with standardised features it is nearly Newton's method at a gradient's price, and ends in a few steps.

    Args:
        x: (n, D), standardised.
        y: (n,) in {0, 1}.
        weight: (J, n) >= 0, such as 0 for items held out.
        penalty: (J,) > 0.
        gap: stop when no problem can gain more than this, in nats an item.

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
            # Armijo's condition, as far as the arithmetic can tell
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
    """The two loops of L-BFGS, each problem with its own history; a step that did not bend counts for nothing."""
    rest, shares = gradient, []
    for moved, turned, inverse_bend in reversed(past):
        share = inverse_bend * (moved * rest).sum(1)
        shares.append(share)
        rest = rest - share[:, None] * turned
    result = precondition(rest)
    for (moved, turned, inverse_bend), share in zip(past, reversed(shares), strict=True):
        result = result + (share - inverse_bend * (turned * result).sum(1))[:, None] * moved
    return result
