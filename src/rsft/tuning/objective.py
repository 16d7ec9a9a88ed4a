"""Objective: the model, its loss and its penalties as one module, and the default accelerator."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from rsft.tuning.distributed import on_cpu

if TYPE_CHECKING:
    from accelerate import Accelerator

Loss = Callable[[Any, Any], Tensor]
Penalty = Callable[[nn.Module, Any, Any], Tensor]


class Objective(nn.Module):
    """Module (inputs, targets) -> scalar: the loss of the model's outputs plus the penalties.

    It is one module, so that one wrapper applies precision, distribution or compilation to all of it.

    Args:
        model: Module inputs -> outputs.
        loss: Function (outputs, targets) -> scalar; it may be a module with parameters.
        penalties: Functions (model, inputs, outputs) -> scalar that are added to the loss.
    """

    def __init__(self, model: nn.Module, loss: Loss, penalties: Sequence[Penalty] = ()) -> None:
        super().__init__()
        self.model, self.loss, self._penalties = model, loss, penalties
        self._moving_along = nn.ModuleList(penalty for penalty in penalties if isinstance(penalty, nn.Module))

    def forward(self, inputs: Any, targets: Any) -> Tensor:
        outputs = self.model(inputs)
        value = self.loss(outputs, targets)
        for penalty in self._penalties:
            value = value + penalty(self.model, inputs, outputs)
        return value

    def parts(self) -> dict[str, nn.Module]:
        """Return the model and, if it is a module, the loss."""
        return {"model": self.model} | ({"loss": self.loss} if isinstance(self.loss, nn.Module) else {})

    def trained(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Yield names and parameters that require a gradient; names of the loss's parameters begin with "loss."."""
        for part, module in self.parts().items():
            for name, parameter in module.named_parameters(prefix="loss" if part == "loss" else ""):
                if parameter.requires_grad:
                    yield name, parameter


def default_accelerator() -> "Accelerator":
    """Return an accelerator for CUDA, MPS or the CPU and all processes of `torchrun` or `accelerate launch`.

    It does not broadcast buffers at every step, since the running statistics are frozen.
    """
    from accelerate import Accelerator
    from accelerate.utils import DistributedDataParallelKwargs

    return Accelerator(cpu=on_cpu(), kwargs_handlers=[DistributedDataParallelKwargs(broadcast_buffers=False)])


def in_channels_last(inputs: Any) -> Any:
    """Return pictures (B, C, H, W) in channels-last memory format, and anything else unchanged."""
    if isinstance(inputs, Tensor) and inputs.ndim == 4:
        return inputs.contiguous(memory_format=torch.channels_last)
    return inputs
