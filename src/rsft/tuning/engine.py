"""What a training runs on: the model, its loss and its penalties as one module, on the devices accelerate found."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from rsft.tuning.processes import on_cpu

if TYPE_CHECKING:
    from accelerate import Accelerator

Loss = Callable[[Any, Any], Tensor]
Penalty = Callable[[nn.Module, Any, Any], Tensor]


class Objective(nn.Module):
    """(inputs, targets) -> scalar. One module, so that one wrapper gives all of it precision, ranks or compilation.

    Args:
        model: inputs -> outputs.
        loss: (outputs, targets) -> scalar; it may be a module with parameters.
        penalties: (model, inputs, outputs) -> scalar, each added to the loss.
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
        """The model, and the loss where it is a module."""
        return {"model": self.model} | ({"loss": self.loss} if isinstance(self.loss, nn.Module) else {})

    def trained(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Names and parameters that require a gradient; those of the loss begin with "loss."."""
        for part, module in self.parts().items():
            for name, parameter in module.named_parameters(prefix="loss" if part == "loss" else ""):
                if parameter.requires_grad:
                    yield name, parameter


def default_accelerator() -> "Accelerator":
    """CUDA, MPS or CPU, and as many processes as `torchrun` or `accelerate launch` started.

    Frozen statistics do not change, so they are not sent round at every step.
    """
    from accelerate import Accelerator
    from accelerate.utils import DistributedDataParallelKwargs

    return Accelerator(cpu=on_cpu(), kwargs_handlers=[DistributedDataParallelKwargs(broadcast_buffers=False)])


def in_channels_last(inputs: Any) -> Any:
    """Pictures (B, C, H, W) in that memory format; anything else as it is."""
    if isinstance(inputs, Tensor) and inputs.ndim == 4:
        return inputs.contiguous(memory_format=torch.channels_last)
    return inputs
