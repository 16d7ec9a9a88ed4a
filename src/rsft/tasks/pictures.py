"""Covariates of unlabelled pictures, and batches of pictures of different sizes."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from rsft.errors import InputError
from rsft.per_item import check_parts

MIN_SPREAD = 1e-12


def covariates(pictures: Sequence[Tensor] | Tensor) -> dict[str, Tensor]:
    """Compute the brightness, contrast, sharpness, noise and size of pictures.

    The grey level of a pixel is the mean of its channels.

    Args:
        pictures: (B, C, H, W), or B pictures (C, H, W) that may differ in size. Each has at least 3 x 3 pixels. Pixels
            may be on any scale.

    Returns:
        Name -> (B,) float32:

        - "brightness": mean grey level.
        - "contrast": standard deviation of the grey level.
        - "sharpness": log of the variance of the Laplacian of the grey level, after a 3 x 3 mean against noise.
        - "noise": mean absolute difference between the grey level and its 3 x 3 median.
        - "size": square root of the number of pixels.

    Raises:
        ValueError: A picture is not (C, H, W), is smaller than 3 x 3 pixels, or has a pixel that is not finite.
    """
    rows = [_covariates_of(picture, number) for number, picture in enumerate(pictures)]
    names = ("brightness", "contrast", "sharpness", "noise", "size")
    return dict(zip(names, torch.tensor(rows).reshape(-1, len(names)).T, strict=True))


def _covariates_of(picture: Tensor, number: int) -> list[float]:
    """Compute the covariates of one picture, in the order in which `covariates` names them."""
    if picture.ndim != 3 or min(picture.shape[1:]) < 3 or not torch.isfinite(picture).all():
        raise ValueError(
            f"`covariates` needs finite pictures (C, H, W) of at least 3 x 3 pixels; picture {number} is "
            f"{tuple(picture.shape)}" + (" and not finite." if not torch.isfinite(picture).all() else ".")
        )
    grey = picture.detach().float().mean(0)[None, None]
    height, width = picture.shape[1:]
    patches = functional.unfold(functional.pad(grey, (1, 1, 1, 1), mode="replicate"), 3)[0]  # (9, H * W)
    smooth = patches.mean(0).view(1, 1, height, width)
    kernel = torch.tensor([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]], device=grey.device)[None, None]
    edges = functional.conv2d(smooth, kernel)
    sharpness = (edges.var(correction=0) + MIN_SPREAD).log()
    noise = (grey.flatten() - patches.median(0).values).abs().mean()
    figures = (grey.mean(), grey.std(correction=0), sharpness, noise)
    return [*(float(figure) for figure in figures), float(height * width) ** 0.5]


def pad_together(pictures: Sequence[Tensor], value: float) -> Tensor:
    """Stack B tensors (..., H, W) of different sizes into (B, ..., H, W), padded at the bottom and on the right.

    Args:
        pictures: The tensors. H and W of the result are the largest height and width.
        value: Value of the padding.

    >>> pad_together([torch.ones(1, 1), torch.ones(2, 1)], 0.0).tolist()
    [[[1.0], [0.0]], [[1.0], [1.0]]]
    """
    height, width = (max(picture.shape[side] for picture in pictures) for side in (-2, -1))
    return torch.stack(
        [functional.pad(p, (0, width - p.shape[-1], 0, height - p.shape[-2]), value=value) for p in pictures]
    )


def check_items(items: Sequence[Any], call: str) -> None:
    """Raise an error unless the items of a batch are pairs; `call` names the calling function in the message.

    Raises:
        InputError: There is no item, or one is no pair, such as a single tensor, which could pass for a pair of rows.
    """
    if not items:
        raise InputError(f"`{call}` needs at least one item.")
    for number, item in enumerate(items):
        check_parts(item, call, f"items (input, target); item {number} of the batch is none")


def check_pictures(pictures: Sequence[Tensor], call: str) -> None:
    """Raise an error unless all pictures of a batch are (C, H, W) with the same number of channels.

    Args:
        pictures: The pictures, at least one.
        call: Name of the calling function, for the message.

    Raises:
        ValueError: A picture has another shape; the message gives its index in the batch.
    """
    channels = pictures[0].shape[0] if isinstance(pictures[0], Tensor) and pictures[0].ndim == 3 else None
    for number, picture in enumerate(pictures):
        if not isinstance(picture, Tensor):
            raise ValueError(
                f"`{call}` needs pictures as tensors (C, H, W); item {number} of the batch is a "
                f"{type(picture).__name__}."
            )
        if picture.ndim != 3 or picture.shape[0] != channels:
            raise ValueError(
                f"`{call}` needs pictures (C, H, W) with the same number of channels; item {number} of the batch is "
                f"{tuple(picture.shape)}, the first {tuple(pictures[0].shape)}."
            )
