"""Shared by the examples: real handwritten digits (scikit-learn), and pictures composed of them."""

import torch
from sklearn.datasets import load_digits
from torch import Tensor
from torch.nn import functional

INK = 0.3  # above it a pixel is of the digit


def digits() -> tuple[Tensor, Tensor]:
    """(1797, 1, 8, 8) in [0, 1] and (1797,) labels."""
    pictures, labels = load_digits(return_X_y=True)
    return torch.tensor(pictures / 16, dtype=torch.float32).view(-1, 1, 8, 8), torch.tensor(labels)


def masked_scenes(
    pictures: Tensor, labels: Tensor, shares: Tensor, count: int, *, seed: int, side: int = 32
) -> list[tuple[Tensor, Tensor]]:
    """Pictures with three digits of 12 x 12 pixels and their masks: 0 is background, class k + 1 is digit k.

    Args:
        pictures: (n, 1, 8, 8).
        labels: (n,).
        shares: (K,) how often each digit 0 to K - 1 comes.
        count: how many.
        seed: of what is drawn.
        side: of a scene, in pixels.
    """
    generator = torch.Generator().manual_seed(seed)
    scenes = []
    for _ in range(count):
        scene, mask = 0.2 * torch.rand(1, side, side, generator=generator), torch.zeros(side, side, dtype=torch.long)
        for digit in torch.multinomial(shares, 3, replacement=True, generator=generator).tolist():
            top, left = torch.randint(side - 12, (2,), generator=generator).tolist()
            pixels = functional.interpolate(_one(pictures, labels, digit, generator), 12, mode="bilinear")[0]
            place = scene[:, top : top + 12, left : left + 12]
            place.copy_(torch.maximum(place, pixels))
            mask[top : top + 12, left : left + 12][pixels[0] > INK] = digit + 1
        scenes.append((scene, mask))
    return scenes


def boxed_scenes(
    pictures: Tensor, labels: Tensor, sizes: Tensor, shares: Tensor, count: int, *, seed: int, side: int = 64
) -> list[tuple[Tensor, dict[str, Tensor]]]:
    """Pictures with one to four digits of several sizes, and their boxes; all of one class.

    Args:
        pictures: (n, 1, 8, 8).
        labels: (n,).
        sizes: (S,) sides of a digit in pixels.
        shares: (S,) how often each comes.
        count: how many.
        seed: of what is drawn.
        side: of a scene, in pixels.
    """
    generator = torch.Generator().manual_seed(seed)
    scenes = []
    for _ in range(count):
        scene, boxes = 0.2 * torch.rand(1, side, side, generator=generator), []
        objects = int(torch.randint(1, 5, (1,), generator=generator))
        for number in torch.multinomial(shares, objects, replacement=True, generator=generator).tolist():
            size = int(sizes[number])
            top, left = torch.randint(side - size, (2,), generator=generator).tolist()
            digit = int(torch.randint(10, (1,), generator=generator))
            pixels = functional.interpolate(_one(pictures, labels, digit, generator), size, mode="bilinear")[0]
            place = scene[:, top : top + size, left : left + size]
            place.copy_(torch.maximum(place, pixels))
            boxes.append([left, top, left + size, top + size])
        objects_here = {"boxes": torch.tensor(boxes).float(), "labels": torch.zeros(objects, dtype=torch.long)}
        scenes.append((scene, objects_here))
    return scenes


def _one(pictures: Tensor, labels: Tensor, digit: int, generator: torch.Generator) -> Tensor:
    rows = (labels == digit).nonzero().flatten()
    return pictures[rows[torch.randint(len(rows), (1,), generator=generator)]]
