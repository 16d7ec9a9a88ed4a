"""A class for every pixel: cross-entropy a picture, intersection over union."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from rsft.tasks.pictures import check_pictures, covariates, pad_together


@dataclass(frozen=True)
class Segmentation:
    """Items (picture (C, H, W), mask (H, W) of classes); outputs (B, classes, H, W) logits.

    A picture is accepted with its whole mask. Pixels of `ignore_index` count nowhere: not in shares, score, loss or
    metric; a picture of nothing else scores 0. Pictures of several sizes are filled up below and to the right, with
    zeros, and their masks with `ignore_index`. Target shares: of classes, by pixel.

    Attributes:
        classes: how many.
        ignore_index: of pixels without a label.
    """

    classes: int
    ignore_index: int = 255

    def collate(self, items: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        pictures, masks = [picture for picture, _ in items], [mask.long() for _, mask in items]
        check_pictures(pictures, "Segmentation.collate")
        for number, (picture, mask) in enumerate(zip(pictures, masks, strict=True)):
            if mask.shape != picture.shape[1:]:
                raise ValueError(
                    f"`Segmentation.collate` needs masks of their pictures' sizes; number {number} of the batch is "
                    f"{tuple(mask.shape)} for {tuple(picture.shape[1:])}: resize masks with the nearest neighbour."
                )
            unknown = mask[((mask < 0) | (mask >= self.classes)) & (mask != self.ignore_index)]
            if len(unknown):
                raise ValueError(
                    f"`Segmentation.collate` needs classes 0 to {self.classes - 1} or {self.ignore_index} for pixels "
                    f"without a label; number {number} of the batch has {unknown.unique().tolist()}."
                )
        return pad_together(pictures, 0.0), pad_together(masks, self.ignore_index)

    def covariates(self, inputs: Sequence[Tensor]) -> dict[str, Tensor]:
        return covariates(inputs)

    def memberships(self, targets: Tensor) -> dict[str, Tensor]:
        """{"class": (B, classes)}: pixels of each class."""
        one_hot = functional.one_hot(torch.where(self._labelled(targets), targets, self.classes), self.classes + 1)
        return {"class": one_hot.flatten(1, -2).sum(1)[:, : self.classes].double()}

    def score(self, outputs: Tensor, targets: Tensor) -> Tensor:
        pixels = functional.cross_entropy(outputs, targets, ignore_index=self.ignore_index, reduction="none")
        return pixels.flatten(1).sum(1) / self._labelled(targets).flatten(1).sum(1).clamp(min=1)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return self.score(outputs, targets).mean()

    def metric(self, outputs: Sequence[Tensor], targets: Sequence[Tensor]) -> dict[str, float]:
        """Intersection over union, pixels of all pictures together: the mean over classes that occur, and of each.

        Args:
            outputs: (classes, H, W) logits each, or (H, W) classes.
            targets: (H, W) each.
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
        return targets != self.ignore_index
