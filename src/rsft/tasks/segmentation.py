"""The segmentation task: one class per pixel, scored by cross-entropy per picture and intersection over union."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from rsft.tasks.pictures import check_items, check_pictures, covariates, pad_together


@dataclass(frozen=True)
class Segmentation:
    """The segmentation task.

    An item is a pair of a picture (C, H, W) and a mask (H, W) of integer classes. The model returns logits
    (B, classes, H, W). A picture is accepted or rejected with its whole mask. Pixels of `ignore_index` do not count in
    shares, score, loss or metric; a picture with only such pixels has a score of 0. Pictures of different sizes are
    padded at the bottom and on the right: the pictures with zeros, their masks with `ignore_index`. Target shares are
    shares of the pixels, by class.

    Attributes:
        classes: Number of classes; labels are 0 to `classes - 1`.
        ignore_index: Label of pixels without a class.
    """

    classes: int
    ignore_index: int = 255

    def collate(self, items: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        """Make a batch from B items: pictures (B, C, H, W) and masks (B, H, W) int64.

        Raises:
            ValueError: A picture or a mask cannot be used; the message gives its index in the batch.
        """
        check_items(items, "Segmentation.collate")
        pictures, masks = (
            [picture for picture, _ in items],
            [_whole(mask, number) for number, (_, mask) in enumerate(items)],
        )
        check_pictures(pictures, "Segmentation.collate")
        for number, (picture, mask) in enumerate(zip(pictures, masks, strict=True)):
            if mask.shape != picture.shape[1:]:
                raise ValueError(
                    f"`Segmentation.collate` needs masks of their pictures' sizes; item {number} of the batch is "
                    f"{tuple(mask.shape)} for {tuple(picture.shape[1:])}: resize masks by nearest neighbour."
                )
            unknown = mask[((mask < 0) | (mask >= self.classes)) & (mask != self.ignore_index)]
            if len(unknown):
                raise ValueError(
                    f"`Segmentation.collate` needs classes 0 to {self.classes - 1} or {self.ignore_index} for pixels "
                    f"without a label; item {number} of the batch has {unknown.unique().tolist()}."
                )
        return pad_together(pictures, 0.0), pad_together(masks, self.ignore_index)

    def covariates(self, inputs: Sequence[Tensor]) -> dict[str, Tensor]:
        """Measure each picture (C, H, W) without its mask; see `rsft.tasks.pictures.covariates`."""
        return covariates(inputs)

    def memberships(self, targets: Tensor) -> dict[str, Tensor]:
        """Count the pixels of each class in masks (B, H, W): {"class": (B, classes)}, float64."""
        one_hot = functional.one_hot(torch.where(self._labelled(targets), targets, self.classes), self.classes + 1)
        return {"class": one_hot.flatten(1, -2).sum(1)[:, : self.classes].double()}

    def score(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Compute the mean cross-entropy (B,) over the labelled pixels of each picture."""
        pixels = functional.cross_entropy(outputs, targets, ignore_index=self.ignore_index, reduction="none")
        return pixels.flatten(1).sum(1) / self._labelled(targets).flatten(1).sum(1).clamp(min=1)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Compute the mean score over the pictures, a scalar."""
        return self.score(outputs, targets).mean()

    def metric(self, outputs: Sequence[Tensor], targets: Sequence[Tensor]) -> dict[str, float]:
        """Compute the intersection over union (IoU) over a test set, with the pixels of all pictures pooled.

        Args:
            outputs: Logits (classes, H, W) or predicted classes (H, W) of each picture.
            targets: Mask (H, W) of each picture.

        Returns:
            "miou", the mean over the classes that occur in the targets, and "iou_<k>" for each class k, which is NaN if
            the class does not occur.
        """
        from torchmetrics.functional.classification import multiclass_jaccard_index

        found = torch.cat([(o.argmax(0) if o.ndim == 3 else o).flatten() for o in outputs])
        truth = torch.cat([mask.flatten() for mask in targets])
        labelled = self._labelled(truth)
        found, truth = found[labelled], truth[labelled]
        if not len(truth):
            return {"miou": math.nan} | {f"iou_{k}": math.nan for k in range(self.classes)}
        of_class = multiclass_jaccard_index(found, truth, self.classes, average="none")
        present = torch.bincount(truth, minlength=self.classes) > 0
        each = torch.where(present, of_class, math.nan)
        return {"miou": float(of_class[present].mean())} | {f"iou_{k}": float(each[k]) for k in range(self.classes)}

    def _labelled(self, targets: Tensor) -> Tensor:
        """Return a mask of the pixels that have a class."""
        return targets != self.ignore_index


def _whole(mask: Tensor, number: int) -> Tensor:
    """Return the mask of item `number` of a batch as int64; raise ValueError if its values are not whole."""
    if not isinstance(mask, Tensor) or mask.is_complex() or (mask.is_floating_point() and bool((mask % 1 != 0).any())):
        what = mask.dtype if isinstance(mask, Tensor) else type(mask).__name__
        raise ValueError(
            f"`Segmentation.collate` needs masks (H, W) of integer classes; item {number} of the batch has {what}."
        )
    return mask.long()
