"""Rejection sampling by the book: samples of a target density from a proposal that can be sampled."""

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
MAX_CLIMB = 50.0  # nats above the pilot's largest ratio: it has no bound
SAFETY = 0.05  # nats


class Proposal(HasLogProb, Protocol):
    """A `torch.distributions.Distribution`, or anything else with its `sample` and `log_prob`."""

    def sample(self, sample_shape: torch.Size) -> Tensor:
        """So many independent items: (n, ...)."""


@dataclass(frozen=True)
class Draws:
    """Samples of the target, and how they came about.

    Attributes:
        samples: (n, ...) exact draws where there was no violation.
        log_m: log of the envelope used.
        acceptance_rate: accepted of all that were proposed, in [0, 1].
        proposed: how many were.
        violations: proposed items whose ratio was above M; they were accepted, so the target is clipped there.
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
    """Draw n samples of a target (J. von Neumann, 1951).

    Args:
        n: how many.
        target: its log density, known up to a constant.
        proposal: can be sampled, and is wider than the target.
        log_m: log of a bound on target / proposal. Otherwise the largest ratio found by optimisation from the best of
            `PILOT` proposed items, plus `safety`.
        safety: added to the log of a bound that was found, in nats; the acceptance rate falls by exp(-safety).
        max_seconds: longest time it may take.
        seed: of the proposal's samples and the decisions; the global random state is left as it was.
        strict: raise where an item violates the envelope, in place of counting it.

    Raises:
        ValueError: no bound can be found, or `strict` and an item's ratio is above M.
        LowAcceptanceError: `max_seconds` passed; the message says how many were accepted.

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
                    f"`draw` accepted {accepted} of {proposed} proposed items in {max_seconds:g} s, {n} were asked "
                    "for: take a proposal nearer to the target, a smaller n, or more `max_seconds`."
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
    """The largest log ratio, climbed to from the best of a pilot."""
    pilot = proposal.sample(torch.Size([PILOT]))
    log_ratio = density_ratio(pilot, target, proposal).double()
    limit = float(log_ratio.max()) + MAX_CLIMB
    seen = [float(log_ratio.max())]

    def descend(flat: np.ndarray) -> tuple[float, np.ndarray]:
        x = torch.from_numpy(flat).to(pilot.dtype).reshape(1, *pilot.shape[1:]).requires_grad_()
        value = density_ratio(x, target, proposal).sum()
        (gradient,) = torch.autograd.grad(-value, x)
        seen.append(float(value.detach()))
        return -seen[-1], gradient.flatten().double().numpy()

    for start in pilot[log_ratio.topk(STARTS).indices]:
        # no gradient, or outside the support: what was seen on the way must do
        with contextlib.suppress(RuntimeError, ValueError):
            minimize(descend, start.flatten().double().numpy(), jac=True, method="L-BFGS-B")
        if max(seen) > limit:
            raise ValueError(
                "`draw` finds no bound of target / proposal: the ratio grows without end. Take a proposal with heavier "
                "tails than the target, or give `log_m`."
            )
    return max(value for value in seen if not math.isnan(value))
