"""Boxes with classes: the detector's own loss a picture, average precision."""

import contextlib
import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from rsft.tasks.pictures import check_pictures, covariates, pad_together

# Of one picture: "boxes" (n, 4) as left, top, right, bottom in pixels, "labels" (n,); and "scores" (n,) where found.
Objects = Mapping[str, Tensor]
SIZES = ("small", "medium", "large")
MEAN_PRECISION, OF_SIZES = 0, slice(3, 6)  # places in COCO's twelve figures
HALF_OVERLAP = 1


@dataclass(frozen=True)
class Detection:
    """Items (picture (C, H, W), objects); what a model's outputs are is told by `loss_of_each` and `decode`.

    A picture is accepted with all its objects; one without any is an item like others, and adds to no share. Pictures
    of several sizes are filled up with zeros below and to the right, so boxes stay where they are. Target shares: of
    classes, by box ("class"), and of sizes, by box ("size": 0 small, 1 medium, 2 large).

    Attributes:
        classes: how many; labels are 0 to classes - 1, without a background.
        loss_of_each: (outputs, list of B objects) -> (B,) losses.
        decode: one picture's outputs -> its found objects, boxes of any class, with scores.
        size_edges: areas in square pixels where medium and large begin; the default is COCO's.
    """

    classes: int
    loss_of_each: Callable[[Any, Sequence[Objects]], Tensor]
    decode: Callable[[Any], Objects]
    size_edges: tuple[float, float] = (32.0**2, 96.0**2)

    def collate(self, items: Sequence[tuple[Tensor, Objects]]) -> tuple[Tensor, list[dict[str, Tensor]]]:
        pictures = [picture for picture, _ in items]
        check_pictures(pictures, "Detection.collate")
        objects = [self._checked(found, picture, n) for n, (picture, found) in enumerate(items)]
        return pad_together(pictures, 0.0), objects

    def covariates(self, inputs: Sequence[Tensor]) -> dict[str, Tensor]:
        return covariates(inputs)

    def memberships(self, targets: Sequence[Objects]) -> dict[str, Tensor]:
        """{"class": (B, classes), "size": (B, 3)}: boxes of each."""
        edges = torch.tensor(self.size_edges)
        sizes = [torch.bucketize(_areas(found["boxes"]), edges, right=True) for found in targets]
        return {
            "class": torch.stack([functional.one_hot(o["labels"], self.classes).sum(0) for o in targets]).double(),
            "size": torch.stack([functional.one_hot(size, len(SIZES)).sum(0) for size in sizes]).double(),
        }

    def score(self, outputs: Any, targets: Sequence[Objects]) -> Tensor:
        return self.loss_of_each(outputs, targets)

    def loss(self, outputs: Any, targets: Sequence[Objects]) -> Tensor:
        return self.score(outputs, targets).mean()

    def metric(self, outputs: Sequence[Any], targets: Sequence[Objects]) -> dict[str, float]:
        """COCO's mean average precision: over overlaps .5 to .95, at .5, and of objects of each size."""
        return average_precision([self.decode(output) for output in outputs], targets, self.classes, self.size_edges)

    def _checked(self, objects: Objects, picture: Tensor, number: int) -> dict[str, Tensor]:
        call = f"`Detection.collate`, number {number} of the batch,"
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
    """COCO's figures: "map", "map_50", "map_small", "map_medium", "map_large"; NaN where undefined.

    Args:
        found: boxes, labels and scores of each picture.
        truth: boxes and labels of each picture.
        classes: how many.
        size_edges: areas where medium and large begin.
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
    # COCO writes -1 where there is nothing to find
    return {name: float(value) if value >= 0 else math.nan for name, value in zip(names, values, strict=True)}


def _areas(boxes: Tensor) -> Tensor:
    return (boxes[:, 2:] - boxes[:, :2]).prod(1)


def _as_sizes(boxes: Tensor) -> list[list[float]]:
    """Left, top, width, height."""
    return torch.cat([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1).tolist()
