"""The detection task: boxes with classes, scored by the detector's own loss per picture and average precision."""

import contextlib
import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from rsft.tasks.pictures import check_items, check_pictures, covariates, pad_together

# The objects of one picture: "boxes" (n, 4) as left, top, right, bottom in pixels, "labels" (n,) and, if a model
# detected them, "scores" (n,).
Objects = Mapping[str, Tensor]
SIZES = ("small", "medium", "large")
MEAN_PRECISION, OF_SIZES = 0, slice(3, 6)  # indices into COCO's twelve summary values
HALF_OVERLAP = 1


@dataclass(frozen=True)
class Detection:
    """The detection task.

    An item is a pair of a picture (C, H, W) and its objects: a mapping with "boxes" (n, 4) as left, top, right, bottom
    in pixels, and "labels" (n,). The model may return anything that `loss_of_each` and `decode` understand. A picture
    is accepted or rejected with all its objects. A picture without objects is a valid item that adds to no share.
    Pictures of different sizes are padded with zeros at the bottom and on the right, so boxes keep their coordinates.
    Target shares are shares of the boxes, by class ("class") or by size ("size": 0 small, 1 medium, 2 large).

    Attributes:
        classes: Number of classes; labels are 0 to `classes - 1`, without a background class.
        loss_of_each: Function (outputs, list of B objects) -> (B,) losses.
        decode: Function that turns the outputs of one picture into its detected objects of all classes, with "scores".
        size_edges: Areas in square pixels at which medium and large objects begin; the default is COCO's.
    """

    classes: int
    loss_of_each: Callable[[Any, Sequence[Objects]], Tensor]
    decode: Callable[[Any], Objects]
    size_edges: tuple[float, float] = (32.0**2, 96.0**2)

    def collate(self, items: Sequence[tuple[Tensor, Objects]]) -> tuple[Tensor, list[dict[str, Tensor]]]:
        """Make a batch from B items: pictures (B, C, H, W) and a list of B objects.

        Raises:
            ValueError: A picture, box or label cannot be used; the message gives its index in the batch.
        """
        check_items(items, "Detection.collate")
        pictures = [picture for picture, _ in items]
        check_pictures(pictures, "Detection.collate")
        objects = [self._checked(found, picture, n) for n, (picture, found) in enumerate(items)]
        return pad_together(pictures, 0.0), objects

    def covariates(self, inputs: Sequence[Tensor]) -> dict[str, Tensor]:
        """Measure each picture (C, H, W) without its objects; see `rsft.tasks.pictures.covariates`."""
        return covariates(inputs)

    def memberships(self, targets: Sequence[Objects]) -> dict[str, Tensor]:
        """Count the boxes of each picture: {"class": (B, classes), "size": (B, 3)}, float64."""
        edges = torch.tensor(self.size_edges)
        sizes = [torch.bucketize(_areas(found["boxes"]), edges, right=True) for found in targets]
        return {
            "class": torch.stack([functional.one_hot(o["labels"], self.classes).sum(0) for o in targets]).double(),
            "size": torch.stack([functional.one_hot(size, len(SIZES)).sum(0) for size in sizes]).double(),
        }

    def score(self, outputs: Any, targets: Sequence[Objects]) -> Tensor:
        """Compute the loss (B,) of each picture by `loss_of_each`."""
        return self.loss_of_each(outputs, targets)

    def loss(self, outputs: Any, targets: Sequence[Objects]) -> Tensor:
        """Compute the mean loss per picture, a scalar."""
        return self.score(outputs, targets).mean()

    def metric(self, outputs: Sequence[Any], targets: Sequence[Objects]) -> dict[str, float]:
        """Compute COCO's mean average precision over a test set.

        Args:
            outputs: Outputs of the model for each picture, which `decode` accepts.
            targets: Objects of each picture.

        Returns:
            The values of `average_precision`.
        """
        return average_precision([self.decode(output) for output in outputs], targets, self.classes, self.size_edges)

    def _checked(self, objects: Objects, picture: Tensor, number: int) -> dict[str, Tensor]:
        """Convert and check the objects of item `number` of a batch."""
        call = f"`Detection.collate`, item {number} of the batch,"
        boxes, labels = torch.as_tensor(objects["boxes"]).float(), torch.as_tensor(objects["labels"]).long()
        if not boxes.numel():
            boxes = boxes.reshape(0, 4)
        if boxes.shape != (len(labels), 4) or labels.ndim != 1:
            raise ValueError(
                f"{call} needs (n, 4) boxes and n labels, got {tuple(boxes.shape)}, {tuple(labels.shape)}."
            )
        height, width = picture.shape[1:]
        inside = (boxes >= 0).all(1) & (boxes[:, 2] <= width) & (boxes[:, 3] <= height)
        wrong = (~(inside & (boxes[:, 2:] > boxes[:, :2]).all(1))).nonzero()
        if len(wrong):
            raise ValueError(
                f"{call} has the box {boxes[wrong[0, 0]].tolist()}: boxes need left < right and top < bottom within "
                f"the picture of {width} x {height} pixels."
            )
        unknown = labels[(labels < 0) | (labels >= self.classes)]
        if len(unknown):
            raise ValueError(f"{call} needs classes 0 to {self.classes - 1}, got {unknown.unique().tolist()}.")
        return {"boxes": boxes, "labels": labels}


def average_precision(
    found: Sequence[Objects], truth: Sequence[Objects], classes: int, size_edges: tuple[float, float]
) -> dict[str, float]:
    """Compute COCO's mean average precision.

    Args:
        found: Detected objects of each picture: "boxes" (n, 4) as left, top, right, bottom, "labels" and "scores" (n,).
        truth: True objects of each picture: "boxes" (n, 4) and "labels" (n,).
        classes: Number of classes.
        size_edges: Areas in square pixels at which medium and large objects begin.

    Returns:
        "map", the mean over overlaps (IoU) of 0.5 to 0.95; "map_50", at an overlap of 0.5; and "map_small",
        "map_medium" and "map_large", for objects of each size. A value is NaN if there are no true objects for it.
    """
    from faster_coco_eval import COCO, COCOeval_faster

    annotations = [
        {"image_id": image, "category_id": label, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
        for image, objects in enumerate(truth)
        for box, label in zip(_as_sizes(objects["boxes"]), objects["labels"].tolist(), strict=True)
    ]
    for number, annotation in enumerate(annotations, 1):
        annotation["id"] = number
    detections = [
        {"image_id": image, "category_id": label, "bbox": box, "score": score}
        for image, objects in enumerate(found)
        for box, label, score in zip(
            _as_sizes(objects["boxes"]), objects["labels"].tolist(), objects["scores"].tolist(), strict=True
        )
    ]
    names = ("map", "map_50", *(f"map_{size}" for size in SIZES))
    if not annotations:
        return dict.fromkeys(names, math.nan)
    if not detections:
        sizes = torch.cat([torch.bucketize(_areas(o["boxes"]), torch.tensor(size_edges), right=True) for o in truth])
        occur = torch.bincount(sizes, minlength=len(SIZES)) > 0
        return dict(zip(names, (0.0, 0.0, *(0.0 if there else math.nan for there in occur)), strict=True))
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(
            {
                "images": [{"id": image} for image in range(len(truth))],
                "categories": [{"id": number} for number in range(classes)],
                "annotations": annotations,
            }
        )
        evaluation = COCOeval_faster(coco, coco.loadRes(detections), "bbox")
        low, high = size_edges
        evaluation.params.areaRng = [[0, 1e10], [0, low], [low, high], [high, 1e10]]
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    figures = evaluation.stats
    values = (figures[MEAN_PRECISION], figures[HALF_OVERLAP], *figures[OF_SIZES])
    # COCO gives -1 if there are no true objects
    return {name: float(value) if value >= 0 else math.nan for name, value in zip(names, values, strict=True)}


def _areas(boxes: Tensor) -> Tensor:
    """Compute the areas (n,) of boxes (n, 4)."""
    return (boxes[:, 2:] - boxes[:, :2]).prod(1)


def _as_sizes(boxes: Tensor) -> list[list[float]]:
    """Convert boxes (n, 4) to lists of left, top, width, height."""
    return torch.cat([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1).tolist()
