"""Choice of the parameters that train, and of the mode of the modules."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

NORMALISATION = (
    nn.modules.batchnorm._BatchNorm,
    nn.modules.instancenorm._InstanceNorm,
)
AFFINE = (*NORMALISATION, nn.LayerNorm, nn.GroupNorm)


def train_from(network: nn.Sequential, stage: int) -> None:
    """Let the parameters of the stages from `stage` on train, and freeze those before.

    >>> network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    >>> train_from(network, 1)
    >>> [parameter.requires_grad for parameter in network.parameters()]
    [False, False, True, True]
    """
    for index, module in enumerate(network):
        module.requires_grad_(index >= stage)


def train_only(model: nn.Module, kinds: tuple[type[nn.Module], ...] = AFFINE) -> None:
    """Freeze all parameters except those of layers of the given kinds; frozen parameters stay frozen.

    Args:
        model: Changed in place.
        kinds: Types of the layers that keep training; the default is normalisation layers.

    Raises:
        ValueError: If the model has no such layer that trains.

    >>> network = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    >>> train_only(network)
    >>> [parameter.requires_grad for parameter in network.parameters()]
    [False, False, True, True]
    """
    kept = {
        parameter
        for module in model.modules()
        if isinstance(module, kinds)
        for parameter in module.parameters(recurse=False)
        if parameter.requires_grad
    }
    if not kept:
        names = ", ".join(sorted(kind.__name__.lstrip("_") for kind in kinds))
        raise ValueError(
            f"`train_only` found no layer to train of the kinds {names}: choose others, or train all "
            '(trains = "all" in a recipe).'
        )
    for parameter in model.parameters():
        parameter.requires_grad_(parameter in kept)


def set_training_mode(model: nn.Module) -> None:
    """Put modules that contain parameters that train into training mode, and all others into evaluation mode.

    Normalisation layers are put into evaluation mode in any case: otherwise their running statistics would drift
    towards the accepted samples, even with frozen weights.
    """
    for module in model.modules():
        trains = any(parameter.requires_grad for parameter in module.parameters())
        module.training = trains and not isinstance(module, NORMALISATION)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Context manager for evaluation mode without gradients; on exit, every module returns to its own mode."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def interpolate(start: dict[str, Tensor], end: dict[str, Tensor], share: float) -> dict[str, Tensor]:
    """Return the weights on the line from `start` (share 0) to `end` (share 1).

    Entries that are not floating point are taken from `end`.

    Source: M. Wortsman et al., "Robust fine-tuning of zero-shot models", 2022.
    """
    return {
        name: torch.lerp(start[name], tensor, share) if tensor.is_floating_point() else tensor
        for name, tensor in end.items()
    }
