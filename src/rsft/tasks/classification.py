"""One class an item: cross-entropy, accuracy and balanced accuracy."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from rsft.tasks.pictures import check_pictures, covariates, pad_together


@dataclass(frozen=True)
class Classification:
    """Items (picture (C, H, W), class); outputs (B, classes) logits.

    Pictures of several sizes are filled up with zeros below and to the right. Target shares: of classes, by item.

    Attributes:
        classes: how many.
    """

    classes: int

    def collate(self, items: Sequence[tuple[Tensor, Any]]) -> tuple[Tensor, Tensor]:
        pictures = [picture for picture, _ in items]
        check_pictures(pictures, "Classification.collate")
        labels = torch.tensor([int(label) for _, label in items])
        outside = ((labels < 0) | (labels >= self.classes)).nonzero()
        if len(outside):
            number = int(outside[0])
            raise ValueError(
                f"`Classification.collate` needs classes 0 to {self.classes - 1}, number {number} of the batch has "
                f"{int(labels[number])}."
            )
        return pad_together(pictures, 0.0), labels

    def covariates(self, inputs: Sequence[Tensor]) -> dict[str, Tensor]:
        return covariates(inputs)

    def memberships(self, targets: Tensor) -> dict[str, Tensor]:
        """{"class": (B, classes)}: one of each item."""
        return {"class": functional.one_hot(targets, self.classes).double()}

    def score(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return functional.cross_entropy(outputs, targets, reduction="none")

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return self.score(outputs, targets).mean()

    def metric(self, outputs: Sequence[Tensor], targets: Sequence[Tensor]) -> dict[str, float]:
        """Accuracy, and the mean recall of the classes that occur in the targets."""
        from torchmetrics.functional.classification import multiclass_accuracy

        found, truth = torch.stack(list(outputs)), torch.as_tensor([int(label) for label in targets])
        recall = multiclass_accuracy(found, truth, self.classes, average="none")
        present = torch.bincount(truth, minlength=self.classes) > 0
        return {
            "accuracy": float(multiclass_accuracy(found, truth, self.classes, average="micro")),
            "balanced_accuracy": float(recall[present].mean()),
        }
