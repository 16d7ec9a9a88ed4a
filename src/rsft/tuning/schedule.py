"""Learning rates: the schedule over the steps, and the rate of each parameter."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import nn

WARMUP_STEPS = 100  # base of the warm-up fraction if the number of steps has no limit


def warmup_cosine(steps: int | None, warmup_fraction: float) -> Callable[[int], float]:
    """Return the function step -> factor of the learning rate: linear warm-up, then a cosine to 0 at `steps`.

    Args:
        steps: Number of steps. If None, the warm-up is a share of 100 steps, and the factor stays 1 after it.
        warmup_fraction: Share of the steps in which the factor rises, in [0, 1].

    >>> [round(warmup_cosine(4, 0.5)(step), 2) for step in range(5)]
    [0.5, 1.0, 1.0, 0.5, 0.0]
    """
    warmup = max(1, round(warmup_fraction * (steps or WARMUP_STEPS)))

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        if steps is None:
            return 1.0
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, steps - warmup))))

    return factor


def parameter_groups(
    parameters: Iterable[tuple[str, nn.Parameter]], rates: float | Mapping[str, float]
) -> list[dict[str, Any]]:
    """Return parameter groups for an optimiser, one for each learning rate.

    Args:
        parameters: Names and parameters; those that do not require a gradient are left out.
        rates: One rate, or a mapping from prefixes of names to rates. The longest matching prefix counts, and ""
            matches all names.

    Raises:
        ValueError: If a prefix matches no trained parameter, or a name has no rate.

    >>> groups = parameter_groups(nn.Linear(2, 2).named_parameters(), {"": 0.1, "bias": 0.2})
    >>> [(group["lr"], len(group["params"])) for group in groups]
    [(0.1, 1), (0.2, 1)]
    """
    rates = rates if isinstance(rates, Mapping) else {"": rates}
    groups: dict[str, dict[str, Any]] = {start: {"params": [], "lr": rate} for start, rate in rates.items()}
    for name, parameter in parameters:
        if parameter.requires_grad:
            fitting = [start for start in rates if name.startswith(start)]
            if not fitting:
                raise ValueError(f"`learning_rate` has no rate for '{name}': add one for \"\", which matches all.")
            groups[max(fitting, key=len)]["params"].append(parameter)
    idle = [start for start, group in groups.items() if start and not group["params"]]
    if idle:
        raise ValueError(
            f"`learning_rate` names '{idle[0]}', but no trained parameter's name begins with it: check the names."
        )
    return [group for group in groups.values() if group["params"]]
