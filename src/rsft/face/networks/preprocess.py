"""Preprocessing of chips as the first module of a network."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from rsft.errors import InputError

ORDERS = ("RGB", "BGR")


class Preprocess(nn.Module):
    """Reorder the channels of (B, 3, H, W) RGB pictures in 0..255 and normalise them as (x - mean) / std.

    The mean and std are not weights: the bundle states them, and the state dict does not contain them.

    Args:
        order: Order of the output channels, "RGB" or "BGR".
        mean: Value to subtract, in 0..255: one number, or one per channel in the given order.
        std: Value to divide by, not 0: one number, or one per channel in the given order.

    Raises:
        InputError: The order is unknown; mean or std is not one or three finite numbers; or std contains 0.

    >>> Preprocess("BGR", 127.5, 127.5)(torch.tensor([255.0, 127.5, 0.0]).reshape(1, 3, 1, 1)).flatten().tolist()
    [-1.0, 0.0, 1.0]
    """

    mean: Tensor
    std: Tensor

    def __init__(self, order: str = "RGB", mean: float | Sequence[float] = 0, std: float | Sequence[float] = 1) -> None:
        super().__init__()
        if order not in ORDERS:
            raise InputError(f"the colour order of a model must be 'RGB' or 'BGR', got '{order}'.")
        self.order = order
        for name, values in (("mean", mean), ("std", std)):
            numbers = torch.as_tensor(values, dtype=torch.float32).flatten()
            if len(numbers) not in (1, 3) or not numbers.isfinite().all() or (name == "std" and (numbers == 0).any()):
                raise InputError(f"the {name} of a model must be one number or three, std not 0; got {values}.")
            self.register_buffer(name, numbers.expand(3).reshape(3, 1, 1).clone(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.order == "BGR":
            x = x.flip(1)
        return (x - self.mean) / self.std

    def settings(self) -> dict[str, str | list[float]]:
        """Return "order", and "mean" and "std" of each channel, as `bundle.json` states them."""
        numbers = {name: [float(f"{v:.7g}") for v in getattr(self, name).flatten()] for name in ("mean", "std")}
        return {"order": self.order, **numbers}

    def is_identity(self) -> bool:
        """Return whether the module leaves its input unchanged."""
        return self.settings() == Preprocess().settings()
