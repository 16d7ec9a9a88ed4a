"""Small tasks for the tests: random pictures with valid targets, and the smallest models that can be trained."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from rsft.tasks.classification import Classification
from rsft.tasks.detection import Detection, Objects
from rsft.tasks.segmentation import Segmentation

CLASSES, SIDE = 3, 16


def pictures(items: int, seed: int = 0) -> Tensor:
    return torch.rand(items, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))


def classification(items: int = 6) -> tuple[Classification, nn.Module, list[Any]]:
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, CLASSES))
    return Classification(CLASSES), model, [(p, n % CLASSES) for n, p in enumerate(pictures(items))]


def segmentation(items: int = 6) -> tuple[Segmentation, nn.Module, list[Any]]:
    masks = torch.randint(CLASSES, (items, SIDE, SIDE), generator=torch.Generator().manual_seed(1))
    masks[0, :4], masks[1] = 255, 255
    model = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, CLASSES, 1))
    return Segmentation(CLASSES), model, list(zip(pictures(items), masks, strict=True))


def loss_of_each(outputs: Tensor, objects: Sequence[Objects]) -> Tensor:
    """Compute the loss of outputs (B, 4 + classes), which predict one box per picture."""
    losses = []
    for output, found in zip(outputs, objects, strict=True):
        if not len(found["labels"]):
            losses.append(output.square().mean())
            continue
        box = functional.l1_loss(output[:4], found["boxes"][0] / SIDE)
        losses.append(box + functional.cross_entropy(output[None, 4:], found["labels"][:1]))
    return torch.stack(losses)


def decode(output: Tensor) -> Objects:
    return {"boxes": output[None, :4] * SIDE, "labels": output[4:].argmax()[None], "scores": output[4:].max()[None]}


def detection(items: int = 6) -> tuple[Detection, nn.Module, list[Any]]:
    model = nn.Sequential(nn.Flatten(), nn.Linear(SIDE * SIDE, 4 + CLASSES))
    objects: list[Objects] = [
        {"boxes": torch.tensor([[1.0, 1.0, 4.0 + n, 6.0]] * (n % 3)), "labels": torch.tensor([n % CLASSES] * (n % 3))}
        for n in range(items)
    ]
    task = Detection(CLASSES, loss_of_each, decode, size_edges=(20.0, 30.0))
    return task, model, list(zip(pictures(items), objects, strict=True))


SMALL = {"classification": classification, "segmentation": segmentation, "detection": detection}
