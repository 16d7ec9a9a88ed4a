"""Penalties that are added to the loss, so that the tuned model stays near the pretrained one."""

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Distillation(nn.Module):
    """Penalty: `weight` times the mean of 1 - cosine between the outputs and those of the initial model.

    Source: Z. Li and D. Hoiem, "Learning without forgetting", 2016, with a cosine in place of cross-entropy.

    Args:
        model: Module (B, ...) -> (B, D) in its initial state; a frozen copy is kept.
        weight: Weight of the penalty, at least 0.
    """

    def __init__(self, model: nn.Module, weight: float) -> None:
        super().__init__()
        self._weight = weight
        self._teacher = deepcopy(model).eval().requires_grad_(False)

    def forward(self, model: nn.Module, inputs: Any, outputs: Tensor) -> Tensor:
        with torch.no_grad():
            reference = self._teacher(inputs)
        return self._weight * (1 - F.cosine_similarity(outputs.float(), reference.float())).mean()


class PullToStart(nn.Module):
    """Penalty: `weight` times the squared distance of the trained parameters from their initial values.

    The squares are summed over all parameters that require a gradient when the penalty is made.

    Source: X. Li et al., "Explicit inductive bias for transfer learning with convolutional networks", 2018 (L2-SP).

    Args:
        model: Module in its initial state; a copy of its trained parameters is kept.
        weight: Weight of the penalty, at least 0.
    """

    def __init__(self, model: nn.Module, weight: float) -> None:
        super().__init__()
        self._weight = weight
        self._names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
        for number, name in enumerate(self._names):
            self.register_buffer(str(number), model.get_parameter(name).detach().clone(), persistent=False)

    def forward(self, model: nn.Module, inputs: Any, outputs: Tensor) -> Tensor:
        distances = [
            (model.get_parameter(name) - self.get_buffer(str(number))).square().sum()
            for number, name in enumerate(self._names)
        ]
        return self._weight * torch.stack(distances).sum()
