"""What is done to a chip before the first layer of a network, as a part of the network."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from rsft.errors import InputError

ORDERS = ("RGB", "BGR")


class Preprocess(nn.Module):
    """(B, 3, H, W) RGB in 0..255 -> the same in the wished order, as (x - mean) / std.

    Its numbers are no weights: they are stated once, in the bundle, and are not in the state dict.

    Args:
        order: "RGB" or "BGR".
        mean: in 0..255, one number or one for each channel, in that order.
        std: likewise, not 0.

    Raises:
        InputError: another order, or numbers that are not as above.

    >>> Preprocess("BGR", 127.5, 127.5)(torch.tensor([255.0, 127.5, 0.0]).reshape(1, 3, 1, 1)).flatten().tolist()
    [-1.0, 0.0, 1.0]
    """

    mean: Tensor
    std: Tensor

    def __init__(self, order: str = "RGB", mean: float | Sequence[float] = 0, std: float | Sequence[float] = 1) -> None:
        super().__init__()
        if order not in ORDERS:
            raise InputError(f"the colour order of a model is 'RGB' or 'BGR', got '{order}'.")
        self.order = order
        for name, values in (("mean", mean), ("std", std)):
            numbers = torch.as_tensor(values, dtype=torch.float32).flatten()
            if len(numbers) not in (1, 3) or not numbers.isfinite().all() or (name == "std" and (numbers == 0).any()):
                raise InputError(f"the {name} of a model needs one number or three, std not 0; got {values}.")
            self.register_buffer(name, numbers.expand(3).reshape(3, 1, 1).clone(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.order == "BGR":
            x = x.flip(1)
        return (x - self.mean) / self.std

    def settings(self) -> dict[str, str | list[float]]:
        """As `bundle.json` states it."""
        numbers = {name: [float(f"{v:.7g}") for v in getattr(self, name).flatten()] for name in ("mean", "std")}
        return {"order": self.order, **numbers}

    def is_identity(self) -> bool:
        """Whether nothing is changed."""
        return self.settings() == Preprocess().settings()
