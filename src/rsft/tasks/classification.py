"""The classification task: one class per item, scored by cross-entropy, accuracy and balanced accuracy."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from rsft.tasks.pictures import check_items, check_pictures, covariates, pad_together


@dataclass(frozen=True)
class Classification:
    """The classification task.

    An item is a pair of a picture (C, H, W) and an integer class. The model returns logits (B, classes). Pictures of
    different sizes are padded with zeros at the bottom and on the right. Target shares are shares of items, by class.

    Attributes:
        classes: Number of classes; labels are 0 to `classes - 1`.
    """

    classes: int

    def collate(self, items: Sequence[tuple[Tensor, Any]]) -> tuple[Tensor, Tensor]:
        """Make a batch from B items: pictures (B, C, H, W) and classes (B,) int64.

        Raises:
            ValueError: A picture or a class cannot be used; the message gives its index in the batch.
        """
        check_items(items, "Classification.collate")
        pictures = [picture for picture, _ in items]
        check_pictures(pictures, "Classification.collate")
        labels = torch.tensor([_class_of(label, number) for number, (_, label) in enumerate(items)])
        outside = ((labels < 0) | (labels >= self.classes)).nonzero()
        if len(outside):
            number = int(outside[0])
            raise ValueError(
                f"`Classification.collate` needs classes 0 to {self.classes - 1}; item {number} of the batch has "
                f"{int(labels[number])}."
            )
        return pad_together(pictures, 0.0), labels

    def covariates(self, inputs: Sequence[Tensor]) -> dict[str, Tensor]:
        """Measure each picture (C, H, W) without its label; see `rsft.tasks.pictures.covariates`."""
        return covariates(inputs)

    def memberships(self, targets: Tensor) -> dict[str, Tensor]:
        """Return {"class": (B, classes)} counts, float64: 1 for the class of each item, and 0 for all others."""
        return {"class": functional.one_hot(targets, self.classes).double()}

    def score(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Compute the cross-entropy (B,) of each item from logits (B, classes) and classes (B,)."""
        return functional.cross_entropy(outputs, targets, reduction="none")

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Compute the mean cross-entropy, a scalar, from logits (B, classes) and classes (B,)."""
        return self.score(outputs, targets).mean()

    def metric(self, outputs: Sequence[Tensor], targets: Sequence[Tensor]) -> dict[str, float]:
        """Compute the accuracy and the balanced accuracy over a test set.

        Args:
            outputs: Logits (classes,) of each item.
            targets: Class of each item.

        Returns:
            "accuracy", and "balanced_accuracy": the mean recall of the classes that occur in the targets.
        """
        from torchmetrics.functional.classification import multiclass_accuracy

        found, truth = torch.stack(list(outputs)), torch.as_tensor([int(label) for label in targets])
        recall = multiclass_accuracy(found, truth, self.classes, average="none")
        present = torch.bincount(truth, minlength=self.classes) > 0
        return {
            "accuracy": float(multiclass_accuracy(found, truth, self.classes, average="micro")),
            "balanced_accuracy": float(recall[present].mean()),
        }


def _class_of(label: Any, number: int) -> int:
    """Return the class of item `number` of a batch; raise ValueError if its label is no whole number."""
    array = np.asarray(label)
    value = array.item() if array.size == 1 else None
    if not isinstance(value, int | float) or value % 1 != 0:  # NaN too
        raise ValueError(f"`Classification.collate` needs integer classes; item {number} of the batch has {label!r}.")
    return int(value)
