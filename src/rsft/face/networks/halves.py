"""Run stored activations through the part of a network after the cut."""

import numpy as np
import torch
from torch import Tensor, nn


def sum_views(suffix: nn.Module, activations: np.ndarray) -> np.ndarray:
    """Compute the embeddings that are compared: the sum over a picture and its mirror image.

    Args:
        suffix: The stages from the cut on.
        activations: (B, 2, ...) float16 inputs of the suffix for each picture and its mirror image.

    Returns:
        (B, D) float32 embeddings.
    """
    with torch.inference_mode():
        views = suffix(as_input(torch.from_numpy(activations).flatten(0, 1).to(next(suffix.parameters()).device)))
    return views.unflatten(0, (-1, 2)).sum(1).cpu().numpy()


def as_input(activations: Tensor) -> Tensor:
    """Convert stored activations (B, ...) to float32 in the memory format that is fastest for a network.

    The format is channels-last for (B, C, H, W), contiguous otherwise.
    """
    maps = activations.ndim == 4
    return activations.float().contiguous(memory_format=torch.channels_last if maps else torch.contiguous_format)
