"""When to stop training."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Stopping:
    """Training ends at the first condition met; at least one is needed.

    Attributes:
        steps: optimiser steps.
        epochs: passes over the batches.
        accepted: samples trained on.
        seconds: wall time.
        patience: validations in a row without a new best.

    >>> Stopping(steps=100, seconds=60.0).reached(steps=100, accepted=6400, seconds=9.0, stale=0)
    'steps'
    """

    steps: int | None = None
    epochs: int | None = None
    accepted: int | None = None
    seconds: float | None = None
    patience: int | None = None

    def __post_init__(self) -> None:
        limits = self._limits()
        if not limits:
            raise ValueError("`Stopping` needs at least one of steps, epochs, accepted, seconds or patience.")
        for name, limit in limits.items():
            if limit <= 0:
                raise ValueError(f"`Stopping({name}=...)` needs a value above 0, got {limit}.")

    def reached(self, *, steps: int, accepted: int, seconds: float, stale: int) -> str | None:
        """The first condition that is met within an epoch, or None. `stale` counts validations since the best."""
        so_far = {"steps": steps, "accepted": accepted, "seconds": seconds, "patience": stale}
        return next((name for name, limit in self._limits().items() if so_far.get(name, 0) >= limit), None)

    def _limits(self) -> dict[str, float]:
        return {name: limit for name, limit in vars(self).items() if limit is not None}
