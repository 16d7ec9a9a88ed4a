"""Classical rejection sampling: samples of a target density from a proposal distribution."""

import contextlib
import math
import time
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

from rsft.errors import LowAcceptanceError
from rsft.ratio.density import HasLogProb, density_ratio

PILOT = 10_000
STARTS = 10
MAX_CLIMB = 50.0  # nats; a ratio this far above the pilot's largest is taken to be unbounded
SAFETY = 0.05  # nats


class Proposal(HasLogProb, Protocol):
    """A `torch.distributions.Distribution`, or any object with the same `sample` and `log_prob` methods."""

    def sample(self, sample_shape: torch.Size) -> Tensor:
        """Draw independent items (n, ...), where `sample_shape` is (n,)."""


@dataclass(frozen=True)
class Draws:
    """Result of `draw`.

    Attributes:
        samples: (n, ...) samples of the target; exact if there were no violations.
        log_m: Log of the envelope M.
        acceptance_rate: Accepted share of the proposed items, in [0, 1].
        proposed: Number of proposed items.
        violations: Number of proposed items with a ratio above M. They were accepted, so the target is clipped there.
    """

    samples: Tensor
    log_m: float
    acceptance_rate: float
    proposed: int
    violations: int


def draw(
    n: int,
    target: HasLogProb,
    proposal: Proposal,
    *,
    log_m: float | None = None,
    safety: float = SAFETY,
    max_seconds: float = 60.0,
    seed: int = 0,
    strict: bool = False,
) -> Draws:
    """Draw n samples of a target density by rejection sampling (J. von Neumann, 1951).

    Args:
        n: Number of samples, at least 1.
        target: Distribution with the log density of the target, which may be unnormalised.
        proposal: Distribution to sample from, with heavier tails than the target.
        log_m: Log of a bound M on target / proposal. If None, the bound is the largest ratio found by optimisation from
            the best of `PILOT` (10,000) proposed items, enlarged by `safety`.
        safety: Margin in nats that is added to the log of a bound found by optimisation. It multiplies the acceptance
            rate by exp(-safety).
        max_seconds: Time limit in seconds.
        seed: Seed for the proposed items and the accept decisions. The global random state is not changed.
        strict: If True, raise an error if a ratio exceeds M. If False, count such items as violations.

    Returns:
        The samples, with the envelope, the acceptance rate and the number of violations.

    Raises:
        ValueError: If `n` is below 1, no bound can be found, or a ratio exceeds M and `strict` is True.
        LowAcceptanceError: If the time limit passes before n items are accepted.

    >>> from torch.distributions import Normal
    >>> draws = draw(1000, Normal(0.5, 0.8), Normal(0.0, 1.0))
    >>> round(math.exp(draws.log_m), 2), draws.violations  # the exact bound is 1.769
    (1.86, 0)
    """
    if n < 1:
        raise ValueError(f"`draw(n=...)` needs at least 1, got {n}.")
    started = time.monotonic()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if log_m is None:
            log_m = _largest(target, proposal) + safety
        kept: list[Tensor] = []
        accepted = proposed = violations = 0
        size = n
        while accepted < n:
            if time.monotonic() - started > max_seconds:
                raise LowAcceptanceError(
                    f"`draw` accepted {accepted} of {proposed} proposed items in {max_seconds:g} s, but needs {n}: use "
                    "a proposal closer to the target, a smaller `n` or a larger `max_seconds`."
                )
            x = proposal.sample(torch.Size([size]))
            log_ratio = density_ratio(x, target, proposal).double()
            above = int((log_ratio > log_m).sum())
            if above and strict:
                raise ValueError(
                    f"`draw(log_m={log_m:g})` is no envelope: the ratio of {above} proposed items is up to "
                    f"{math.exp(float(log_ratio.max()) - log_m):.3g} times M. Give a larger `log_m` or `safety`."
                )
            good = torch.rand(size, dtype=torch.float64).log() < log_ratio - log_m
            kept.append(x[good])
            violations += above
            proposed += size
            accepted += int(good.sum())
            rate = max(accepted, 1) / proposed
            size = min(1_000_000, max(1000, int(1.1 * (n - accepted) / rate)))
    return Draws(torch.cat(kept)[:n], log_m, accepted / proposed, proposed, violations)


def _largest(target: HasLogProb, proposal: Proposal) -> float:
    """Find the largest log ratio by gradient ascent from the best items of a pilot sample."""
    pilot = proposal.sample(torch.Size([PILOT]))
    log_ratio = density_ratio(pilot, target, proposal).double()
    limit = float(log_ratio.max()) + MAX_CLIMB
    seen = [float(log_ratio.max())]

    def descend(flat: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the negative log ratio and its gradient, and record the value."""
        x = torch.from_numpy(flat).to(pilot.dtype).reshape(1, *pilot.shape[1:]).requires_grad_()
        value = density_ratio(x, target, proposal).sum()
        (gradient,) = torch.autograd.grad(-value, x)
        seen.append(float(value.detach()))
        return -seen[-1], gradient.flatten().double().numpy()

    for start in pilot[log_ratio.topk(STARTS).indices]:
        # Without a gradient, or outside the support, use the best value recorded so far.
        with contextlib.suppress(RuntimeError, ValueError):
            minimize(descend, start.flatten().double().numpy(), jac=True, method="L-BFGS-B")
        if max(seen) > limit:
            raise ValueError(
                "`draw` finds no bound on target / proposal: the ratio seems unbounded. Use a proposal with heavier "
                "tails than the target, or give `log_m`."
            )
    return max(value for value in seen if not math.isnan(value))
